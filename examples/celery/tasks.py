import psycopg
from celery import Celery

import oxy_pg

URL = oxy_pg.ensure()
FOR_SQLALCHEMY = oxy_pg.ensure(driver="psycopg")

# PostgreSQL is the broker and keeps the results: no Redis or RabbitMQ is needed for development.
app = Celery("tasks", broker=f"sqla+{FOR_SQLALCHEMY}", backend=f"db+{FOR_SQLALCHEMY}")


@app.task
def add(text: str) -> int:
    with psycopg.connect(URL) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (text text NOT NULL)")
        connection.execute("INSERT INTO note VALUES (%s)", [text])
        row = connection.execute("SELECT count(*) FROM note").fetchone()
    assert row is not None
    return int(row[0])
