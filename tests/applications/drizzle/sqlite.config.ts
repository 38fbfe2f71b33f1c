import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  schema: "./sqlite.ts",
  out: "./sqlite",
  dbCredentials: { url: "file:app.db" },
});
