import sqlalchemy
from alembic import context
from models import Base

import oxy_pg

# In production OXY_DATABASE_URL is set, and ensure() returns that URL.
engine = sqlalchemy.create_engine(oxy_pg.ensure(driver="psycopg"))

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
