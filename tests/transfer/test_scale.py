"""
Many tables, many large objects, and a large database: against pg_dump and pg_restore themselves.

OXY_PG_SCALE is the part of 10,000 tables, 20,000 large objects and 2 GB that is made (1 is all).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer import tools

SCALE = float(os.environ.get("OXY_PG_SCALE", "1"))
SCRIPTS = {
    "tables": (
        int(10_000 * SCALE),
        "CREATE TABLE t{0} (id int PRIMARY KEY, x text); INSERT INTO t{0} VALUES (1, 'x')",
    ),
    "large objects": (int(20_000 * SCALE), "PERFORM lo_from_bytea(0, 'x')"),
    "rows": (int(2000 * SCALE), None),
}
# A process of its own, whose largest size is that of this alone.
MEASURED = """
import resource, sys, time
import oxy_pg
began = time.monotonic()
getattr(oxy_pg, sys.argv[1])(*filter(None, sys.argv[2:4]), **eval(sys.argv[4]))
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def roomy(base_dir):
    """An embedded server with room for the locks of so many tables."""
    settings = {"max_locks_per_transaction": "512"}
    with oxy_pg.Server(base_dir / "roomy", settings=settings, keep_alive=5) as server:
        yield server
    server.destroy()


def make(url: str, kind: str) -> None:
    number, statement = SCRIPTS[kind]
    with psycopg.connect(url, autocommit=True) as connection:
        if statement is None:
            connection.execute(
                "CREATE TABLE r AS SELECT g AS id, repeat(md5(g::text), 30) AS x"
                f" FROM generate_series(1, {number * 1000}) g".encode()
            )
            connection.execute("CREATE INDEX ON r (id)")
            return
        for first in range(0, number, 500):
            work = (
                statement
                if "PERFORM" in statement
                else "EXECUTE format($x$" + statement.replace("{0}", "%1$s") + "$x$, i)"
            )
            connection.execute(
                f"DO $$ BEGIN FOR i IN {first}..{min(first + 500, number) - 1} LOOP {work};"
                " END LOOP; END $$".encode()
            )


def measured(verb: str, *arguments: object, **options: object) -> tuple[float, int]:
    """Seconds, and kilobytes at most."""
    words = [sys.executable, "-c", MEASURED, verb, *map(str, arguments)]
    done = subprocess.run([*words, repr(options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, size = done.stdout.split()
    return float(seconds), int(size)


def timed(*words: object) -> float:
    began = time.monotonic()
    subprocess.run(list(map(str, words)), check=True, capture_output=True)
    return time.monotonic() - began


@pytest.mark.parametrize("kind", SCRIPTS)
def test_against_the_programs(kind, roomy, tmp_path, capsys):
    """
    Backup and restore take not much longer than pg_dump and pg_restore with as many jobs; the
    process itself stays small.
    """
    roomy.drop_database("many")
    url = roomy.ensure_database("many")
    make(url, kind)
    programs = tools.find(16)
    ours, theirs = tmp_path / "ours.dump", tmp_path / "theirs.dump"
    superuser = roomy.superuser_url("many")

    made, backup_size = measured("backup", ours, roomy.reader_url("many"))
    dumped = timed(programs.program("pg_dump"), "-Fc", "-Z1", "-f", theirs, superuser)
    restored, restore_size = measured("restore", ours, url, jobs=2)
    roomy.drop_database("again")
    again = roomy.ensure_database("again")
    options = ("--no-owner", "--jobs=2", "-d", roomy.url("again"))
    loaded = timed(programs.program("pg_restore"), *options, theirs)
    roomy.drop_database("again")
    again = roomy.ensure_database("again")
    source = {"state_dir": str(roomy.state_dir), "database": "many"}
    pushed, push_size = measured("push", again, "", **source)

    with capsys.disabled():
        print(
            f"\n{kind}: backup {made:.1f} s, {made / dumped:.2f} x pg_dump, {backup_size >> 10} MB;"
            f" restore {restored:.1f} s, {restored / loaded:.2f} x pg_restore,"
            f" {restore_size >> 10} MB; push {pushed:.1f} s,"
            f" {pushed / (dumped + loaded):.2f} x both, {push_size >> 10} MB"
        )
    for size in (backup_size, restore_size, push_size):
        assert size < 400_000
