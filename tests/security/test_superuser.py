"""What the role ``oxy`` leaves in its database for the superuser to run: nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

import oxy_pg
from tests.other_servers import DEBIAN_15, postgresql_18_bin
from tests.transfer.copy.old_clusters import OldCluster

TRAPS = (Path(__file__).parent / "traps.sql").read_text()
TRAP_ROWS = 500 + 500 + 500 + 9 + 1  # with those of the materialized view
USABLE = (
    "-c statement_timeout=0 -c idle_session_timeout=0 -c role=none"
    " -c default_transaction_read_only=off -c search_path=pg_catalog"
)
DOMAIN_CHECKS = """
    SELECT conname, pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint')
    FROM pg_constraint WHERE contypid IN ('public.guarded'::regtype, 'public.lately'::regtype)
    ORDER BY conname
"""
DOMAINS = [
    ("guarded_check", "CHECK (evil.trap('domain in a definition'::text)) NOT VALID", False, "kept"),
    ("later", "CHECK (evil.trap('late domain'::text)) NOT VALID", False, None),
]
IS_SUPERUSER = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'oxy'"


def sprung(server) -> list[str]:
    """What has been run as superuser, according to the server's own log."""
    logs = Path(server.status().data_dir).rglob("*.log")
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
    return [line for line in lines if "TRAPPED" in line]


def without_catalog_views(url, **options) -> None:
    """Without the views that another version, whose catalogs are different, cannot create."""
    with psycopg.connect(url, autocommit=True, **options) as connection:
        connection.execute("DROP VIEW evil.pg_class, evil.pg_database, evil.pg_extension")


@pytest.fixture
def trapped(state_dir):
    """A server whose database is full of traps."""
    oxy_pg.ensure(state_dir=state_dir)
    server = oxy_pg.Server(state_dir)
    # Not in a transaction: not all of it may be what one may do.
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(TRAPS.encode())
    yield server
    with psycopg.connect(server.superuser_url()) as connection:
        assert (False,) == connection.execute(IS_SUPERUSER).fetchone()
    assert [] == sprung(server)
    server.stop()


def test_the_traps_work(state_dir):
    """
    A superuser without our settings runs them: otherwise the other tests prove nothing.
    """
    oxy_pg.ensure(state_dir=state_dir)
    server = oxy_pg.Server(state_dir)
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(TRAPS.encode())
    bare = server.superuser_url("oxy").partition("&options=")[0]
    statements = (
        "SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'item'",
        "SELECT count(*) FROM public.item",
        "SELECT current_setting('port')",
        "SELECT 1 FROM pg_database",
        "UPDATE public.item SET checked = 2 WHERE id OPERATOR(pg_catalog.=) 1",
    )
    usable = USABLE.replace("search_path=", "search_path=evil,")
    with psycopg.connect(bare, autocommit=True, options=usable) as connection:
        for number, statement in enumerate(statements, 1):
            before = len(sprung(server))
            connection.execute(statement)
            assert before < len(sprung(server)), number
    server.stop()


def test_every_session_of_the_superuser_is_pinned(trapped):
    """
    What the database sets for its sessions does not reach the superuser's.
    """
    with psycopg.connect(trapped.superuser_url("oxy")) as connection:
        found = {
            name: connection.execute(f"SHOW {name}").fetchone()[0]
            for name in (
                "search_path",
                "statement_timeout",
                "idle_session_timeout",
                "default_transaction_read_only",
                "client_encoding",
                "bytea_output",
                "datestyle",
                "role",
                "row_security",
            )
        }
        assert ("postgres", "postgres") == connection.execute(
            "SELECT session_user, current_user"
        ).fetchone()
    assert found == {
        "search_path": "pg_catalog, pg_temp",
        "statement_timeout": "0",
        "idle_session_timeout": "0",
        "default_transaction_read_only": "off",
        "client_encoding": "UTF8",
        "bytea_output": "hex",
        "datestyle": "ISO, MDY",
        "role": "none",
        "row_security": "on",
    }


def test_looking_and_setting(trapped, cli, state_dir):
    """
    Status, doctor, tune, settings, extensions and psql: the traps stay shut.
    """
    place = ("--state-dir", state_dir)
    for words in (
        ("status",),
        ("status", "--json"),
        ("doctor",),
        ("tune",),
        ("url",),
        ("psql", "--superuser", "-d", "oxy", *place, "--", "-c", "SELECT count(*) FROM pg_class"),
        ("psql", "--superuser", "-d", "oxy", *place, "--", "-c", r"\d", "-c", r"\dt public.*"),
        ("psql", "--superuser", "-d", "oxy", *place, "--", "-c", "ANALYZE"),
    ):
        done = cli(*words, *(place if words[0] != "psql" else ()))
        assert "Traceback" not in done.stderr
        assert words[0] in ("doctor", "status") or not done.returncode, done.stderr
    oxy_pg.ensure(extensions=["vector"], settings={"work_mem": "9MB"}, state_dir=state_dir)
    oxy_pg.ensure("another", state_dir=state_dir)
    with psycopg.connect(trapped.superuser_url("oxy")) as connection:
        where = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'"
        assert ("public",) == connection.execute(where).fetchone()


def test_backup_and_restore(trapped, tmp_path):
    """
    A backup is read by a role that is no superuser, has all rows, and a restore gives them back.
    """
    report = trapped.backup(tmp_path / "a.dump")
    assert report.manifest.rows == TRAP_ROWS - 500
    trapped.restore(report.path)
    trapped.restore(report.path, in_place=True, clean=True, database="oxy")

    plain = trapped.backup(tmp_path / "a.sql.gz", plain=True)
    assert plain.manifest.rows == report.manifest.rows
    with psycopg.connect(trapped.superuser_url("oxy")) as connection:
        count = "SELECT count(*) FROM public.hidden"
        assert (9,) == connection.execute(count).fetchone()


def test_push_and_pull(trapped, debian_15):
    """
    Nor when the database is copied to another server, and back.
    """
    without_catalog_views(trapped.url(), options=USABLE)
    target = debian_15.new_database()
    trapped.push(target)
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("ALTER TABLE public.hidden NO FORCE ROW LEVEL SECURITY")
    trapped.pull(target, if_not_empty="replace")


@pytest.mark.parametrize("version", [15, 18])
def test_upgrade(state_dir, version):
    """
    The rows of a cluster of another version are written as their tables' owners.
    """
    bin_dir = DEBIAN_15 if version == 15 else postgresql_18_bin()
    if not (bin_dir / "postgres").exists():
        pytest.skip("Debian's package postgresql-15 is not installed; .ci/run installs it")
    old = OldCluster(state_dir, bin_dir)
    with old.running() as url:
        with psycopg.connect(url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE staff NOLOGIN CONNECTION LIMIT 3")
            connection.execute("GRANT staff TO oxy; GRANT CREATE ON SCHEMA public TO oxy, staff")
        with psycopg.connect(url(user="oxy"), autocommit=True) as connection:
            connection.execute(TRAPS.encode())
            connection.execute("CREATE TABLE public.staffs (id integer CHECK (evil.fine(id)))")
            connection.execute("INSERT INTO public.staffs VALUES (1)")
            connection.execute("ALTER TABLE public.staffs OWNER TO staff")
        without_catalog_views(url(), options=USABLE)
        with psycopg.connect(url("postgres"), autocommit=True) as connection:
            connection.execute("ALTER ROLE oxy NOSUPERUSER")

    oxy_pg.upgrade(state_dir, old_bin_dir=bin_dir)

    server = oxy_pg.Server(state_dir)
    with psycopg.connect(server.superuser_url("oxy")) as connection:
        assert (False,) == connection.execute(IS_SUPERUSER).fetchone()
        limits = "SELECT rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname = 'staff'"
        assert (False, 3) == connection.execute(limits).fetchone()
        rights = "SELECT has_table_privilege('oxy', 'public.sealed', 'INSERT')"
        assert (False,) == connection.execute(rights).fetchone()
        rows = "SELECT count(*) FROM public.item UNION ALL SELECT count(*) FROM public.staffs"
        assert [(500,), (1,)] == connection.execute(rows).fetchall()
        assert DOMAINS == connection.execute(DOMAIN_CHECKS).fetchall()
    assert [] == sprung(server)
    server.stop()
