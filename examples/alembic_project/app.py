"""
Add an item to the shop and count them.

Run `alembic upgrade head` first, and then this; or both with `oxy-pg run --` in front.
"""

import sqlalchemy

import oxy_pg

engine = sqlalchemy.create_engine(oxy_pg.ensure(driver="psycopg"))
with engine.begin() as connection:
    connection.execute(sqlalchemy.text("INSERT INTO item (name) VALUES ('a chair')"))
    found = connection.scalar(sqlalchemy.text("SELECT count(*) FROM item"))
    print(f"{engine.url.database}: {found} item(s)")
