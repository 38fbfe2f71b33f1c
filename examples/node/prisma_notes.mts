import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./generated/client.ts";

const prisma = new PrismaClient({
  adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }),
});

await prisma.note.create({ data: { text: "from Prisma" } });
console.log(await prisma.note.findMany({ orderBy: { id: "asc" } }));
await prisma.$disconnect();
