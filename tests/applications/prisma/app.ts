// A Prisma project: `make` fills its database, `use` reads the old rows and writes new ones.
import { PrismaLibSQL } from "@prisma/adapter-libsql";
import { PrismaPg } from "@prisma/adapter-pg";

const url = process.env.DATABASE_URL;
const { PrismaClient }: any = await import(url ? "./postgres/client/client.ts" : "./sqlite/client/client.ts");
const adapter = url ? new PrismaPg({ connectionString: url }) : new PrismaLibSQL({ url: "file:app.db" });
const prisma = new PrismaClient({ adapter });

async function make() {
  for (const [number, email] of ["ada@example.org", "bob.ü@example.org"].entries()) {
    await prisma.user.create({
      data: {
        email,
        isActive: number === 0,
        posts: {
          create: [0, 1, 2, 3, 4].map((n) => ({
            title: `Post ${n} of ${email} \u{1f680}\n'`,
            meta: n ? { n, list: [1.5, null, "ü"], nested: { yes: true } } : undefined,
            rating: n ? n / 3 : null,
            price: n ? `${n}.50` : null,
            views: BigInt(n) * 2n ** 50n,
            picture: n ? Buffer.from([0, 255, n]) : null,
            publishedAt: n ? new Date(1_700_000_000_123 + n) : null,
            tags: { connectOrCreate: tagged(n % 2 ? "red" : "green") },
          })),
        },
      },
    });
  }
  await prisma.user.create({ data: { email: "gone@example.org" } });
  await prisma.user.delete({ where: { email: "gone@example.org" } });
  await prisma.setting.update({ where: { key: "title" }, data: { value: "Ours" } });
  await prisma.setting.create({ data: { key: "limit", value: "5" } });
}

function tagged(name: string) {
  return { where: { name }, create: { name } };
}

function show(value: unknown) {
  const plain = (_: string, one: unknown) => (typeof one === "bigint" ? `${one}n` : one);
  console.log(JSON.stringify(value, plain, 1));
}

async function use() {
  show(
    await prisma.user.findMany({
      orderBy: { id: "asc" },
      include: { posts: { orderBy: { title: "asc" }, include: { tags: true } } },
    }),
  );
  show(await prisma.setting.findMany({ orderBy: { key: "asc" } }));
  const user = await prisma.user.create({
    data: {
      email: "eve@example.org",
      posts: { create: { title: "New", tags: { connectOrCreate: tagged("blue") } } },
    },
    include: { posts: { include: { tags: true } } },
  });
  const [post] = user.posts;
  console.log(user.id, user.isActive, post.views, post.tags, await prisma.post.count());
}

await ({ make, use } as any)[process.argv[2]]();
await prisma.$disconnect();
