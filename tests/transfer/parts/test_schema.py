"""A schema on its way: what the target's version takes of it."""

from __future__ import annotations

import psycopg

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
