"""What a server refuses, made to refuse by a real one: the message says what it is."""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import refusals
from oxy_pg.transfer.backup import backup
from oxy_pg.transfer.copy import copy_database
from oxy_pg.transfer.copy.copy_plan import Order


def name_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


@pytest.fixture
def statement_pool(postgresql_18, pgbouncer, monkeypatch):
    """Give the address of PgBouncer in statement mode for a URL of that server."""

    def through(url: str) -> str:
        pool = pgbouncer(postgresql_18)
        with psycopg.connect(
            url.replace(f":{postgresql_18.port}/", f":{pool.port}/"), autocommit=True
        ):
            pass
        path = pool.home / "pgbouncer.ini"
        path.write_text(path.read_text().replace("= transaction", "= statement"))
        pool._process.send_signal(1)  # reads it again
        return url.replace(f":{postgresql_18.port}/", f":{pool.port}/")

    return through


@pytest.mark.parametrize("verb", ["backup", "push", "push --swap", "push --dry-run", "pull"])
def test_a_pooler_in_statement_mode(verb, postgresql_18, statement_pool, embedded, tmp_path, cli):
    """
    A typed error that says so; at the command line no traceback.
    """
    url = postgresql_18.new_database(rights="CREATEDB")
    pooled = statement_pool(url)
    embedded.ensure_database()
    command = {
        "backup": ["backup", tmp_path, "--from", pooled],
        "pull": ["pull", "--from", pooled],
    }.get(verb, [*verb.split(), "--to", pooled])

    done = cli(*command, OXY_STATE_DIR=embedded.state_dir)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pooler in statement mode" in done.stderr
    assert "once the server is back" not in done.stderr


def test_no_room_for_locks(postgresql_18, with_18, tmp_path):
    """
    pg_dump locks every table: the setting that has to be raised, and to what.
    """
    url = postgresql_18.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        for first in range(0, 16_000, 1000):
            connection.execute(
                f"DO $$ BEGIN FOR i IN {first}..{first + 999} LOOP"
                " EXECUTE 'CREATE TABLE t' || i || ' ()'; END LOOP; END $$".encode()
            )
    with pytest.raises(oxy_pg.TransferRefused, match="max_locks_per_transaction") as caught:
        backup.backup(str(tmp_path), url)
    assert "out of shared memory" in caught.value.reason


def test_row_level_security(postgresql_18, with_18, tmp_path):
    """
    Not "grant the right": a policy would leave rows out.
    """
    url = postgresql_18.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        connection.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")

    with pytest.raises(oxy_pg.TransferRefused, match="BYPASSRLS"):
        backup.backup(str(tmp_path), url)


def test_texts_that_cannot_be_converted(embedded, new_database, postgresql_18, with_18):
    """
    From SQL_ASCII, which takes any byte, to UTF8: the encodings, not "correct the cause".
    """
    target = new_database()
    with postgresql_18.superuser() as connection:
        connection.execute("DROP DATABASE IF EXISTS ascii WITH (FORCE)")
        connection.execute(
            "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )
    source = f"postgresql://postgres@/ascii?host={postgresql_18.home}&port={postgresql_18.port}"
    with psycopg.connect(source, client_encoding="SQL_ASCII") as connection:
        connection.execute("CREATE TABLE t AS SELECT convert_from('\\xe9', 'SQL_ASCII') AS a")

    order = Order("pull", source, target, superuser=embedded.superuser_url(), alongside=True)
    with pytest.raises(oxy_pg.TransferError, match="SHOW server_encoding"):
        copy_database.run(order, dry_run=False, on_progress=None)


@contextlib.contextmanager
def ended(superuser, source, query):
    """End every session of a database as soon as it runs a query that matches."""
    over = threading.Event()

    def end() -> None:
        with superuser as connection:
            while not over.is_set():
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND query ~ %s",
                    (name_of(source), query),
                )

    ending = threading.Thread(target=end)
    ending.start()
    try:
        yield
    finally:
        over.set()
        ending.join()


@pytest.mark.parametrize("verb", ["pull", "push", "push --swap", "backup"])
def test_the_source_goes_while_its_schema_is_read(verb, embedded, debian_15, tmp_path, cli):
    """
    pg_dump's connection ends, as in a failover: what to do next is said, whoever runs it.
    """
    tables = (
        "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s ()', i);"
        " END LOOP; END $$"
    )
    source = embedded.ensure_database("leaving") if "push" in verb else debian_15.new_database()
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute(tables)
    superuser = embedded.superuser_url("postgres") if "push" in verb else None
    words = {
        "pull": ["pull", "--from", source, "-d", "arriving"],
        "backup": ["backup", tmp_path, "--from", source],
    }
    target = debian_15.new_database(rights="CREATEDB")
    try:
        with ended(
            psycopg.connect(superuser, autocommit=True) if superuser else debian_15.superuser(),
            source,
            "^LOCK TABLE",
        ):
            done = cli(
                *words.get(verb, [*verb.split(), "-d", "leaving", "--to", target]),
                OXY_STATE_DIR=embedded.state_dir,
            )
    finally:
        embedded.drop_database("leaving")

    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert "The connection was lost" in done.stderr, done.stderr
    assert "arriving" not in embedded.databases()


def test_the_source_goes_while_its_rows_are_read(debian_15, tmp_path, cli):
    """By then pg_dump has told of much else, row-level security too; the last words count."""
    source = debian_15.new_database()
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT md5(g::text) FROM generate_series(1, 500000) AS g"
        )
    with ended(debian_15.superuser(), source, "^COPY"):
        done = cli("backup", tmp_path, "--from", source)

    assert done.returncode == 1, done.stdout
    assert "The connection was lost" in done.stderr, done.stderr
    assert "error ignored" not in done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("wanted", ["read-write", "primary"])
def test_only_a_standby_answers(wanted, debian_15, standby, tmp_path, cli):
    """
    Not "check host and port": they are right, and another primary may be about to take over.
    """
    url = debian_15.new_database()
    replica = standby()
    replica.catch_up()
    url = url.replace(f":{debian_15.port}/", f":{replica.port}/")

    source = f"{url}&target_session_attrs={wanted}"
    done = cli("backup", tmp_path, "--from", source, "--timeout", "1")

    assert done.returncode == 1
    assert "only standbys have answered" in done.stderr, done.stderr
    assert "Check host and port" not in done.stderr


@pytest.mark.parametrize("cause", ["vacuum", "lock", "database"])
def test_a_standby_that_cancels_a_backup(cause, debian_15, standby, embedded, tmp_path, cli):
    """
    A backup from a standby that waits for nobody, while the primary changes what it reads.

    Each cause is told in other words by the server; the remedy is the same, and no file is left.
    """
    url = debian_15.new_database()
    name = name_of(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT g AS id, md5(random()::text) AS x"
            " FROM generate_series(1, 300000) g"
        )
        connection.execute("CREATE TABLE u AS SELECT g AS id FROM generate_series(1, 1000) g")
    replica = standby(hot_standby_feedback="off", max_standby_streaming_delay="0")
    replica.catch_up()
    over = threading.Event()
    statements = {
        "vacuum": ["DELETE FROM u", "VACUUM u", "INSERT INTO u SELECT generate_series(1, 1000)"],
        "lock": ["ALTER TABLE u ADD c int", "ALTER TABLE u DROP c"],
        "database": [f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"],
    }[cause]

    def change() -> None:
        if cause == "database":  # not before the backup is at work
            with replica.superuser() as connection:
                while (
                    not over.is_set()
                    and not connection.execute(
                        "SELECT FROM pg_stat_activity WHERE datname = %s AND query ~ '^COPY'",
                        (name,),
                    ).fetchall()
                ):
                    time.sleep(0.01)
        database = "postgres" if cause == "database" else name
        with debian_15.superuser(database) as connection:
            while not over.is_set():
                for statement in statements:
                    connection.execute(statement.encode())

    changes = threading.Thread(target=change)
    changes.start()
    try:
        source = url.replace(f":{debian_15.port}/", f":{replica.port}/")
        done = cli("backup", tmp_path, "--from", source, OXY_STATE_DIR=embedded.state_dir)
    finally:
        over.set()
        changes.join()

    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert "conflict with recovery" in done.stderr
    assert "A standby has cancelled it" in done.stderr
    assert "error ignored" not in done.stderr, "psycopg's own log"
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("ERROR:  canceling statement due to conflict with recovery", "A standby has cancelled"),
        ("FATAL:  terminating connection due to conflict with recovery", "A standby has cancelled"),
        ('ERROR:  invalid snapshot identifier: "00000003-1"', "not on one server"),
        ('ERROR:  snapshot "00000003-0000001B-1" does not exist', "not on one server"),
        ("cannot execute COPY FROM in a read-only transaction", "A standby has answered"),
        ("ERROR:  division by zero", None),
    ],
)
def test_what_only_a_cluster_says(said, means):
    """
    Every form of the words; servers say the first three above, and in ``tests/cluster``.
    """
    found = refusals.remedy(said)
    assert (means or "") in (found or "")
    assert (found is None) == (means is None)


@pytest.mark.parametrize("way", ["pull", "push"])
def test_constraints_that_older_servers_do_not_know_are_named(
    embedded, postgresql_18, with_18, way
):
    """
    NOT ENFORCED, of PostgreSQL 18: which constraint it is, and what to do about it.
    """
    source = postgresql_18.new_database()
    with psycopg.connect(source) as connection:
        connection.execute(
            'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b ("A b" int, CONSTRAINT "to A"'
            ' FOREIGN KEY ("A b") REFERENCES a NOT ENFORCED)'
        )
    act = {
        "pull": lambda: embedded.pull(source, database="not_enforced"),
        "push": lambda: copy_database.run(
            Order("push", source, embedded.ensure_database("not_enforced_too")),
            dry_run=False,
            on_progress=None,
        ),
    }[way]

    with pytest.raises(
        oxy_pg.TransferRefused, match=r'constraint "to A".* is NOT ENFORCED.*PostgreSQL 18'
    ):
        act()
