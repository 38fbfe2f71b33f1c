"""A server for a script or a test: it runs inside the block, and is removed after it."""

import psycopg

import oxy_pg

with oxy_pg.temporary() as server, psycopg.connect(server.url()) as connection:
    row = connection.execute("SELECT sum(n) FROM generate_series(1, 100) AS n").fetchone()
    print(row)
