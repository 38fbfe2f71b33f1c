import { sql } from "drizzle-orm";
import { blob, index, integer, primaryKey, real, sqliteTable, text } from "drizzle-orm/sqlite-core";

export const users = sqliteTable("users", {
  id: integer().primaryKey({ autoIncrement: true }),
  email: text().notNull().unique(),
  role: text({ enum: ["admin", "writer"] }).notNull().default("writer"),
  isActive: integer("is_active", { mode: "boolean" }).notNull().default(true),
  createdAt: integer("created_at", { mode: "timestamp" }).notNull().default(sql`(unixepoch())`),
  invitedBy: integer("invited_by"),
});

export const posts = sqliteTable(
  "posts",
  {
    id: text().primaryKey().$defaultFn(() => crypto.randomUUID()),
    authorId: integer("author_id").notNull().references(() => users.id, { onDelete: "cascade" }),
    title: text().notNull(),
    meta: text({ mode: "json" }).notNull().default({}),
    rating: real(),
    price: text(),
    views: integer().notNull().default(0),
    picture: blob({ mode: "buffer" }),
    publishedAt: integer("published_at", { mode: "timestamp_ms" }),
    day: text(),
    updatedAt: text("updated_at").notNull().default(sql`CURRENT_TIMESTAMP`),
  },
  (table) => [index("posts_author_idx").on(table.authorId, table.title)],
);

export const tags = sqliteTable("tags", {
  id: integer().primaryKey(),
  name: text().notNull().unique(),
});

export const postsToTags = sqliteTable(
  "posts_to_tags",
  {
    postId: text("post_id").notNull().references(() => posts.id),
    tagId: integer("tag_id").notNull().references(() => tags.id),
  },
  (table) => [primaryKey({ columns: [table.postId, table.tagId] })],
);

export const settings = sqliteTable("settings", {
  key: text().primaryKey(),
  value: text({ mode: "json" }),
});
