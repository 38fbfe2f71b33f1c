# /// script
# requires-python = ">=3.11"
# dependencies = ["oxy-pg"]
# ///
import psycopg

import oxy_pg

with oxy_pg.temporary() as server, psycopg.connect(server.url()) as connection:
    print(connection.execute("SELECT count(*) FROM generate_series(1, 3)").fetchone())
