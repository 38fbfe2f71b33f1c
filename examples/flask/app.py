"""A web application: Flask and psycopg."""

import psycopg
from flask import Flask, g, request

import oxy_pg

app = Flask(__name__)
URL = oxy_pg.ensure()

with psycopg.connect(URL) as connection:
    connection.execute("SELECT pg_advisory_xact_lock(1)")  # workers that start at once
    connection.execute(
        "CREATE TABLE IF NOT EXISTS note"
        " (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)"
    )


def database() -> psycopg.Connection:
    if "connection" not in g:
        g.connection = psycopg.connect(URL, autocommit=True)
    return g.connection


@app.teardown_appcontext
def close(error: BaseException | None) -> None:
    if "connection" in g:
        g.connection.close()


@app.post("/notes")
def add() -> tuple[str, int]:
    database().execute("INSERT INTO note (text) VALUES (%s)", [request.form["text"]])
    return "", 201


@app.get("/notes")
def notes() -> list[str]:
    rows = database().execute("SELECT text FROM note ORDER BY id")
    return [text for (text,) in rows]
