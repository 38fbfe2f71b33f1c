import time

import psycopg

import oxy_pg

# Waits for the server of OXY_DATABASE_URL, which compose starts at the same moment.
with psycopg.connect(oxy_pg.ensure()) as connection:
    row = connection.execute("SELECT current_database(), current_setting('port')").fetchone()
    print("connected to", row, flush=True)

time.sleep(1)
