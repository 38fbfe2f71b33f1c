import pg from "pg";

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();

await client.query("CREATE TABLE IF NOT EXISTS note (id serial PRIMARY KEY, text text NOT NULL)");
await client.query("INSERT INTO note (text) VALUES ($1)", ["from Node"]);
const { rows } = await client.query("SELECT text FROM note");
console.log(rows);

await client.end();
