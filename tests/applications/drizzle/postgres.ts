import {
  bigint, boolean, customType, date, doublePrecision, index, integer, jsonb, numeric, pgEnum,
  pgTable, primaryKey, serial, text, timestamp, uuid, varchar,
} from "drizzle-orm/pg-core";

const bytea = customType<{ data: Buffer }>({ dataType: () => "bytea" });
export const role = pgEnum("role", ["admin", "writer"]);

export const users = pgTable("users", {
  id: integer().primaryKey().generatedAlwaysAsIdentity(),
  email: varchar({ length: 320 }).notNull().unique(),
  role: role().notNull().default("writer"),
  isActive: boolean("is_active").notNull().default(true),
  createdAt: timestamp("created_at", { withTimezone: true }).notNull().defaultNow(),
  invitedBy: integer("invited_by"),
});

export const posts = pgTable(
  "posts",
  {
    id: uuid().primaryKey().$defaultFn(() => crypto.randomUUID()),
    authorId: integer("author_id").notNull().references(() => users.id, { onDelete: "cascade" }),
    title: text().notNull(),
    meta: jsonb().notNull().default({}),
    rating: doublePrecision(),
    price: numeric({ precision: 12, scale: 2 }),
    views: bigint({ mode: "number" }).notNull().default(0),
    picture: bytea(),
    publishedAt: timestamp("published_at", { precision: 3, withTimezone: true }),
    day: date(),
    updatedAt: timestamp("updated_at", { mode: "string" }).notNull().defaultNow(),
  },
  (table) => [index("posts_author_idx").on(table.authorId, table.title)],
);

export const tags = pgTable("tags", {
  id: serial().primaryKey(),
  name: text().notNull().unique(),
});

export const postsToTags = pgTable(
  "posts_to_tags",
  {
    postId: uuid("post_id").notNull().references(() => posts.id),
    tagId: integer("tag_id").notNull().references(() => tags.id),
  },
  (table) => [primaryKey({ columns: [table.postId, table.tagId] })],
);

export const settings = pgTable("settings", {
  key: text().primaryKey(),
  value: jsonb(),
});
