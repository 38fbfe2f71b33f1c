"""A schema on its way: what the target's version takes of it."""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.transfer import tools
from oxy_pg.transfer.parts import schema


def test_options_that_only_newer_servers_know_are_left_out(server, debian_15):
    """
    An older pg_dump shows what 15.20 keeps among a column's options; no server lets it be set.
    """
    with debian_15.superuser() as connection:
        connection.execute("DROP DATABASE IF EXISTS options")
        connection.execute("CREATE DATABASE options")
    with debian_15.superuser("options") as connection:
        connection.execute("CREATE TABLE t (a integer, b text)")
        connection.execute("ALTER TABLE t ALTER COLUMN b SET (n_distinct = 5)")
    source = f"postgresql://postgres@/options?host={debian_15.home}&port={debian_15.port}"
    older = next(found for found in tools.installed() if found.version == "16.2")
    path = str(debian_15.home / "schema.dump")

    archive = schema.dump(older, source, path)
    with psycopg.connect(server.superuser_url("oxy"), autocommit=True) as connection:
        archive.execute("pre-data", connection)

        options = (
            "SELECT attoptions FROM pg_attribute"
            " WHERE attrelid = 'public.t'::regclass AND attnum > 0"
        )
        assert [(None,), (["n_distinct=5"],)] == connection.execute(options).fetchall()


SETTING = (
    'could not execute query: ERROR:  unrecognized configuration parameter "transaction_timeout"\n'
)
REFUSED = 'could not execute query: ERROR:  syntax error at or near "NOT"\n'


@pytest.mark.parametrize(
    ("pieces", "unexpected"),
    [
        (["pg_restore: ", "error: ", SETTING], 0),
        (["pg_restore: ", "error: ", SETTING, "pg_restore: ", "error: ", REFUSED], 1),
        (["pg_restore: ", "pg_restore: ", "error: ", "error: ", SETTING, REFUSED], 1),
        (["pg_restore: ", "pg_restore: ", "error: ", "error: ", REFUSED, SETTING], 1),
        (["pg_restore: ", "pg_restore: ", "error: ", "error: ", SETTING, SETTING], 0),
    ],
)
def test_errors_of_two_processes_in_one_line(pieces, unexpected):
    """
    One that matters is never taken for a setting that the server does not know.
    """
    assert unexpected == schema.unexpected_errors("".join(pieces))
