"""Alembic's environment: the project's own database, by hand and under `oxy-pg run`."""

import sqlalchemy
from alembic import context

import oxy_pg

engine = sqlalchemy.create_engine(oxy_pg.ensure(driver="psycopg"))
with engine.begin() as connection:
    context.configure(connection=connection)
    context.run_migrations()
