import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: process.env.SCHEMA ?? "./postgres.ts",
  out: process.env.OUT ?? "./postgres",
  dbCredentials: { url: process.env.DATABASE_URL! },
});
