"""``temporary()``: a server for the length of a block, and nothing of it afterwards."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.server import temporary
from tests.conftest import processes_below, wait_until


@pytest.fixture
def places():
    """What this test's temporary servers have on disk; fixtures of other tests may have one too."""

    def found():
        return set(Path(tempfile.gettempdir()).glob("oxy_pg-*/temporary-*"))

    before = found()
    return lambda: sorted(found() - before)


def test_lives_as_long_as_the_block(places):
    """
    Running inside, with a URL that works; gone outside, directory and all.
    """
    with oxy_pg.temporary() as server:
        with psycopg.connect(server.url()) as connection:
            assert ("off",) == connection.execute("SHOW fsync").fetchone()
        assert 1 == len(places())
        pid = server.status().pid

    assert [] == places()
    assert not Path(f"/proc/{pid}").exists() or wait_until(lambda: not alive(pid))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" != Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_an_error_inside_leaves_nothing(places):
    """
    The block's own error comes through, and the server is gone.
    """
    with pytest.raises(ZeroDivisionError), oxy_pg.temporary():
        raise ZeroDivisionError

    assert [] == places()


def test_two_at_once_are_two():
    """
    Each has a directory, a port and data of its own.
    """
    with oxy_pg.temporary() as one, oxy_pg.temporary() as two:
        with psycopg.connect(one.url()) as connection:
            connection.execute("CREATE TABLE here (id int)")
        with psycopg.connect(two.url()) as connection:
            assert (None,) == connection.execute("SELECT to_regclass('here')").fetchone()


def test_takes_settings_and_extensions():
    """
    As ensure() does.
    """
    settings = {"max_connections": 7, "superuser_reserved_connections": 2}
    with (
        oxy_pg.temporary(settings=settings, extensions=["vector"]) as server,
        psycopg.connect(server.url()) as connection,
    ):
        assert ("7",) == connection.execute("SHOW max_connections").fetchone()
        connection.execute("SELECT '[1]'::vector")


def test_clones_databases():
    """
    A database can be copied from another one as its template.
    """
    with oxy_pg.temporary() as server:
        server.create_database("model")
        with psycopg.connect(server.url("model")) as connection:
            connection.execute("CREATE TABLE copied AS SELECT 7 AS number")
        server.create_database("copy", template="model")

        with psycopg.connect(server.url("copy")) as connection:
            assert (7,) == connection.execute("SELECT number FROM copied").fetchone()
        assert ["copy", "model", "oxy"] == server.databases()
        server.drop_database("copy")
        server.drop_database("copy")
        assert ["model", "oxy"] == server.databases()
        with pytest.raises(oxy_pg.ConfigurationError, match="already exists"):
            server.create_database("model")
        with pytest.raises(oxy_pg.ConfigurationError, match="does not exist"):
            server.create_database("other", template="nothing")


def test_a_killed_process_leaves_nothing(start_python, base_dir, places):
    """
    After kill -9 of its only user the server goes at once, and its directory with it.
    """
    process = start_python(
        "import oxy_pg, time\n"
        "with oxy_pg.temporary() as server: print(server.url()); time.sleep(600)"
    )
    assert process.stdout.readline().startswith("postgresql://")
    place = places()[0]

    process.kill()

    assert wait_until(lambda: not place.exists() and not processes_below(place))


def test_what_a_killed_supervisor_leaves_is_swept_up(start_python, places):
    """
    Its directory is removed by the next temporary server.
    """
    process = start_python(
        "import oxy_pg, time\n"
        "with oxy_pg.temporary() as server: print(server.status().supervisor_pid); time.sleep(600)"
    )
    supervisor = int(process.stdout.readline())
    place = places()[0]
    os.kill(supervisor, signal.SIGKILL)
    process.kill()
    assert wait_until(lambda: not processes_below(place))
    assert place.exists()

    with oxy_pg.temporary():
        assert not place.exists()


def test_a_killed_postmaster_leaves_no_shared_memory():
    """
    Killed at the very end, when nobody starts it again, its segment goes with its directory.
    """
    segments = Path("/proc/sysvipc/shm")
    if not segments.exists():
        pytest.skip("only Linux lists System V segments in a file")
    with oxy_pg.temporary() as server:
        status = server.status()
        lines = Path(f"{status.data_dir}/postmaster.pid").read_text().splitlines()
        segment = lines[6].split()[1]
        assert segment in segments.read_text()
        os.kill(status.pid, signal.SIGKILL)

    assert wait_until(lambda: segment not in segments.read_text())


def test_a_cached_server_keeps_its_own_roles(base_dir, monkeypatch):
    """
    What sessions leave is removed, and not the roles that the server is looked at with.
    """
    monkeypatch.setenv("OXY_PG_CACHE_DIR", str(base_dir / "cache"))
    found = []
    for _ in range(2):
        server = temporary.CachedServer(settings={})
        server.start()
        try:
            url = server.superuser_url("postgres")
            with psycopg.connect(url, autocommit=True) as connection:
                rows = connection.execute(
                    "SELECT rolname, oid FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
                ).fetchall()
                connection.execute("CREATE ROLE left_by_a_test")
        finally:
            server.close()
        found.append(rows)
    server.stop()

    assert ["oxy", "oxy_monitor", "oxy_reader", "postgres"] == [name for name, _ in found[0]]
    assert found[0] == found[1]


def test_has_no_maps_of_space_and_can_do_without():
    """
    Their files are not copied for each test's database; PostgreSQL finds nothing wrong.
    """
    with oxy_pg.temporary():
        pass  # now there is a template
    with oxy_pg.temporary() as server:
        base = Path(server.state_dir, "postgres_data", "base", "1")
        maps = [path.name for path in base.iterdir() if path.name.endswith(("_fsm", "_vm"))]
        server.create_database("copied", template="template1")
        with psycopg.connect(server.superuser_url("copied"), autocommit=True) as connection:
            said = []
            connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
            connection.execute("VACUUM (FREEZE, DISABLE_PAGE_SKIPPING)")
            connection.execute(
                "CREATE TABLE public.t AS SELECT n FROM generate_series(1, 10000) AS n"
            )
            connection.execute("DELETE FROM public.t WHERE n % 2 = 0")
            connection.execute("VACUUM ANALYZE")
            connection.execute("INSERT INTO public.t SELECT 1 FROM generate_series(1, 5000)")
            rows = connection.execute("SELECT count(*) FROM public.t").fetchone()
        log = "".join(path.read_text() for path in base.parents[1].glob("log/*.log"))

    assert [] == maps
    assert [] == said
    assert (10000,) == rows
    assert not [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line]


def test_is_copied_from_the_template(state_dir, replace_initdb):
    """
    initdb runs for the first one, and again only when its result is no longer in the cache.
    """
    calls = state_dir.parent / "calls"
    calls.touch()
    calls.chmod(0o666)
    replace_initdb(f'echo called >> {calls}; exec "$INITDB" "$@"')

    def initialised():
        with oxy_pg.temporary() as server, psycopg.connect(server.url()) as connection:
            assert ("oxy",) == connection.execute("SELECT current_database()").fetchone()
        return calls.read_text().count("called")

    assert [1, 1] == [initialised(), initialised()]
    (template,) = (state_dir.parent / "cache").glob("template-*")
    template.rename(state_dir.parent / "away")
    assert [2, 2] == [initialised(), initialised()]
    assert template.exists()
