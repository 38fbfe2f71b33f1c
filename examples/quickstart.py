"""Start PostgreSQL 16 with one line, and run a query."""

import psycopg

import oxy_pg

url = oxy_pg.ensure()
print(url)

with psycopg.connect(url) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS visits (at timestamptz DEFAULT now())")
    connection.execute("INSERT INTO visits DEFAULT VALUES")
    row = connection.execute("SELECT version(), count(*) FROM visits").fetchone()
    assert row is not None
    print(f"{row[0].split(' on ')[0]} has seen {row[1]} visit(s).")
