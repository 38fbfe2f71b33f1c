import getpass

import psycopg

import oxy_pg

with psycopg.connect(oxy_pg.ensure()) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS start (at timestamptz DEFAULT now())")
    connection.execute("INSERT INTO start DEFAULT VALUES")
    row = connection.execute("SELECT count(*) FROM start").fetchone()
    assert row is not None
    print(f"{getpass.getuser()} has started this {row[0]} time(s)")
