import { PrismaLibSQL } from "@prisma/adapter-libsql";
import { PrismaPg } from "@prisma/adapter-pg";
import pg from "pg";
import { defineConfig } from "prisma/config";

const url = process.env.DATABASE_URL;
const side = url ? "postgres" : "sqlite";

// The adapter does not know PostgreSQL's type name, which Prisma's own queries of the catalogs
// return: it reads them as text.
const AS_TEXT: Record<number, number> = { 19: 25, 1003: 1009 };

class Pool extends pg.Pool {
  async query(...words: any): Promise<any> {
    const result: any = await (super.query as any)(...words);
    for (const field of result.fields) {
      field.dataTypeID = AS_TEXT[field.dataTypeID] ?? field.dataTypeID;
    }
    return result;
  }
}

function adapter() {
  if (url) return new PrismaPg(new Pool({ connectionString: url }));
  return new PrismaLibSQL({ url: "file:app.db" });
}

export default defineConfig({
  // The schema engine of the npm package; any other one is a download.
  engine: "js",
  experimental: { adapter: true },
  schema: side,
  migrations: { path: `${side}/migrations` },
  adapter: async () => adapter(),
});
