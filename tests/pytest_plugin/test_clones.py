"""What prevents the creation of one test database, or its drop, costs no other."""

from __future__ import annotations

import os
import subprocess
import textwrap

import psycopg
import pytest

import oxy_pg
from oxy_pg.errors import ServerError
from oxy_pg.pytest_plugin.clones import Clones
from tests.conftest import wait_until
from tests.own_mounts import needs_mounts, with_python
from tests.pytest_plugin.conftest import CONFTEST


@pytest.fixture(scope="module")
def server():
    with oxy_pg.temporary() as server:
        yield server


@pytest.fixture
def clones(server):
    made = Clones(lambda: psycopg.connect(server.url(), autocommit=True), ours=True)
    yield made
    made.close()


def take_four(clones):
    for _ in range(4):
        clones.take()


def test_a_template_that_was_in_use_for_a_while(server, clones):
    """The test that waits gets the error; the next one a database."""
    server.create_database("template_in_use")
    clones.use_template("template_in_use")
    for _ in range(3):
        clones.take()
    # PostgreSQL waits five seconds for each; up to two were created ahead.
    in_use = pytest.raises(ServerError, match="being accessed")
    with psycopg.connect(server.url("template_in_use")), in_use:
        take_four(clones)
    assert clones.take() in server.databases()


def test_a_used_database_that_cannot_be_dropped_yet(server, clones):
    """The superuser looks at it; others are dropped, and that one at the end."""
    server.create_database("template_seen")
    clones.use_template("template_seen")
    seen, dropped = clones.take(), clones.take()
    with psycopg.connect(server.superuser_url(seen)):
        clones.give_back(seen)
        clones.give_back(dropped)
        assert wait_until(lambda: dropped not in server.databases(), 60)
        clones.take()
        assert seen in server.databases()
    clones.close()
    assert seen not in server.databases()


FULL = """
    import psycopg
    import pytest

    @pytest.mark.parametrize("number", range(30))
    def test_quick(oxy_pg_url, number):
        with psycopg.connect(oxy_pg_url) as connection:
            connection.execute("INSERT INTO item VALUES (2, 'two')")
"""


@pytest.fixture
def mounted(base_dir):
    """Mount a small file system; returns its directory."""
    places = []

    def mount(*what):
        small = base_dir / f"small-{len(places)}"
        small.mkdir()
        subprocess.run(["mount", *what, small], check=True)
        places.append(small)
        small.chmod(0o1777)
        return small

    yield mount
    for small in places:
        assert wait_until(lambda small=small: not list(small.glob("oxy_pg-*/*")))
        subprocess.run(["umount", "--lazy", small], check=True)
        small.rmdir()


@needs_mounts
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_small_temporary_directory(session, mounted, base_dir, monkeypatch, kind):
    """Used databases are dropped as soon as it is full: thirty would take twice the room."""
    image = base_dir / "image"
    if kind == "ext4":
        image.touch()
        os.truncate(image, 150 << 20)
        made = subprocess.run(["mkfs.ext4", "-q", "-m0", image], check=False)
        if made.returncode or not os.path.exists("/dev/loop-control"):
            pytest.skip("there is no ext4 or no loop device")
        small = mounted("-o", "loop", image)
    else:
        small = mounted("-t", "tmpfs", "-o", "size=110m", "tmpfs")
    monkeypatch.setenv("TMPDIR", str(small))
    session(FULL).assert_outcomes(passed=30)


AHEAD = """
    import os, time
    import psycopg
    import pytest

    there = []

    @pytest.mark.parametrize("number", range(12))
    def test_it(oxy_pg_url, oxy_pg_server, number):
        if there:
            assert os.path.basename(oxy_pg_url) in there[-1]
        with psycopg.connect(oxy_pg_server.superuser_url()) as connection:
            for _ in range(600):  # until the two that come next are there
                rows = connection.execute(
                    "SELECT datname FROM pg_database WHERE datname ~ '^oxy_pg_test_' AND oid >"
                    " (SELECT oid FROM pg_database WHERE datname = %s)",
                    (os.path.basename(oxy_pg_url),),
                ).fetchall()
                if len(rows) >= 2:
                    break
                time.sleep(0.05)
        there.append({name for (name,) in rows})
"""


def test_the_next_is_made_while_the_test_runs(session):
    """What a test gets was there while the one before it ran; PostgreSQL's list is the oracle."""
    session(AHEAD).assert_outcomes(passed=12)


SCARCE = """
    import psycopg
    import pytest

    @pytest.mark.parametrize("number", range(30))
    def test_quick(oxy_pg_url, oxy_pg_server, number):
        with psycopg.connect(oxy_pg_server.superuser_url()) as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM pg_database WHERE datname ~ '^oxy_pg_test'"
            ).fetchone()
        # The template, this test's, and two at most that are created or dropped at this moment.
        assert count <= 4, count
"""


@needs_mounts
def test_little_memory_is_not_filled(session, mounted, monkeypatch):
    """With less than 512 MB of room in memory no more databases are there than are in use."""
    small = mounted("-t", "tmpfs", "-o", "size=400m", "tmpfs")
    monkeypatch.setenv("OXY_PG_TEMP_DIR", str(small))
    session(SCARCE).assert_outcomes(passed=30)


FILL = "CREATE TABLE full AS SELECT repeat('x', 999) FROM generate_series(1, 300000)"
FILLING = f"""
    def test_it(oxy_pg_connection):
        oxy_pg_connection.execute({FILL!r})

    def test_next(oxy_pg_url):
        pass
"""


@needs_mounts
@pytest.mark.parametrize("where", ["test", "template", "start"])
def test_a_full_directory_says_what_to_do(session, mounted, where):
    """A test that fills it, a template, or a server that has no room to begin with."""
    small = mounted("-t", "tmpfs", "-o", f"size={8 if where == 'start' else 120}m", "tmpfs")
    filled = CONFTEST + f"            connection.execute({FILL!r})\n"
    conftest = filled if where == "template" else CONFTEST
    result = session(FILLING, f"--oxy-pg-dir={small}", conftest=conftest)

    result.assert_outcomes(**{"failed": 1, "passed": 1} if where == "test" else {"errors": 2})
    result.stdout.fnmatch_lines(["*--oxy-pg-dir*"])


SHRINKING = {
    "conftest": """
        import os, shutil
        import pytest

        def pytest_sessionstart(session):
            if getattr(session.config, "workerinput", {}).get("workerid") == "gw0":
                free = shutil.disk_usage("/dev/shm").free
                with open("/dev/shm/filler", "wb") as file:
                    os.posix_fallocate(file.fileno(), 0, free - (700 << 20))
    """,
    "tests": """
        import time
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_it(oxy_pg_url, oxy_pg_server, worker_id, number):
            assert oxy_pg_server.state_dir.startswith("/dev/shm/oxy_pg-")
            time.sleep(0.2)
            with open(f"/tmp/places-{worker_id}", "w") as file:
                file.write(oxy_pg_server.state_dir)
    """,
}  # fmt: skip


@needs_mounts
def test_workers_share_a_server_while_the_room_shrinks(tmp_path):
    """The place is chosen once, by the controller; a worker would see less room than there was."""
    (tmp_path / "conftest.py").write_text(textwrap.dedent(SHRINKING["conftest"]))
    (tmp_path / "test_it.py").write_text(textwrap.dedent(SHRINKING["tests"]))
    text = {path.name: path.read_text() for path in tmp_path.iterdir()}
    code = f"""
import glob, pathlib, subprocess, sys
for name, text in {text!r}.items(): pathlib.Path("/tmp", name).write_text(text)
done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider",
                       "-p", "no:asyncio", "/tmp"], capture_output=True, text=True)
assert "8 passed" in done.stdout, done.stdout + done.stderr
places = [pathlib.Path(path).read_text() for path in glob.glob("/tmp/places-*")]
print(len(places), len(set(places)))
"""
    mount = "mount -t tmpfs -o size=3g,mode=1777 tmpfs /dev/shm"
    assert "2 1\n" == with_python(mount, code)
