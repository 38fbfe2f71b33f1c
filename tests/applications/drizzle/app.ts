// A Drizzle project: `make` fills its database, `use` reads the old rows and writes new ones.
import { createClient } from "@libsql/client";
import { asc, count, eq } from "drizzle-orm";
import { drizzle as onSqlite } from "drizzle-orm/libsql";
import { drizzle as onPostgres } from "drizzle-orm/node-postgres";
import pg from "pg";

const url = process.env.DATABASE_URL;
const pool = url ? new pg.Pool({ connectionString: url }) : undefined;
const { users, posts, tags, postsToTags, settings }: any = await import(
  url ? (process.env.SCHEMA ?? "./postgres.ts") : "./sqlite.ts"
);
const db: any = pool ? onPostgres(pool) : onSqlite(createClient({ url: "file:app.db" }));

async function make() {
  for (const [number, email] of ["ada@example.org", "bob.ü@example.org"].entries()) {
    const [user] = await db.insert(users).values({
      email,
      role: number ? "writer" : "admin",
      isActive: number === 0,
      invitedBy: number ? 1 : null,
    }).returning();
    for (let n = 0; n < 5; n++) {
      await db.insert(posts).values({
        authorId: user.id,
        title: `Post ${n} of ${email} \u{1f680}\n'`,
        meta: { n, list: [1.5, null, "ü"], nested: { yes: true } },
        rating: n ? n / 3 : null,
        price: n ? `${n}.50` : null,
        views: n * 2 ** 40,
        picture: n ? Buffer.from([0, 255, n]) : null,
        publishedAt: n ? new Date(1_700_000_000_123 + n) : null,
        day: n ? `2024-02-0${n}` : null,
      });
    }
  }
  await db.insert(users).values({ email: "gone@example.org" });
  await db.delete(users).where(eq(users.email, "gone@example.org"));
  await db.insert(tags).values([{ name: "red" }, { name: "green" }]);
  for (const post of await db.select().from(posts)) {
    await db.insert(postsToTags).values({ postId: post.id, tagId: 1 + (post.meta.n % 2) });
  }
  await db.update(settings).set({ value: "Ours" }).where(eq(settings.key, "title"));
  await db.insert(settings).values({ key: "limits", value: { posts: 5 } });
}

async function use() {
  const written = await db.select().from(posts).orderBy(asc(posts.title));
  // Either side has a form of its own for a time without a zone.
  console.log(written.map(({ updatedAt, ...post }: any) => ({ ...post, year: updatedAt.length })));
  console.log(await db.select().from(users).orderBy(asc(users.id)));
  console.log(await db.select().from(settings).orderBy(asc(settings.key)));
  const [user] = await db.insert(users).values({ email: "eve@example.org" }).returning();
  const [post] = await db.insert(posts).values({ authorId: user.id, title: "New" }).returning();
  const [tag] = await db.insert(tags).values({ name: "blue" }).returning();
  await db.insert(postsToTags).values({ postId: post.id, tagId: tag.id });
  console.log(user.id, user.role, user.isActive, tag.id, post.views, post.meta);
  console.log(await db.select({ rows: count() }).from(postsToTags));
}

await ({ make, use } as any)[process.argv[2]]();
await pool?.end();
