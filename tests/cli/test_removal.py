"""``oxy-pg reset`` and ``uninstall``: what goes, what stays, and what nobody may fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg.server.cluster import binaries
from tests.conftest import stop_everything_below


@pytest.fixture
def place(base_dir):
    """A directory of this test's own, which the server's user can enter under root."""
    path = Path(tempfile.mkdtemp(prefix="removal-", dir=base_dir))
    path.chmod(0o711)
    yield path
    stop_everything_below(path)
    shutil.rmtree(path)


@pytest.fixture
def places(place):
    """Places of this test's own for all that oxy_pg keeps."""
    (place / "tmp").mkdir()
    (place / "tmp").chmod(0o1777)
    return {
        "HOME": place / "home",
        "OXY_STATE_DIR": place / "state",
        "OXY_PG_CACHE_DIR": place / "home/.cache/oxy_pg",
        "OXY_PG_BINARIES_DIR": place / "home/.local/share/oxy_pg/binaries",
        "XDG_STATE_HOME": place / "home/.local/state",
        "XDG_DATA_HOME": place / "home/.local/share",
        "TMPDIR": place / "tmp",
    }


@pytest.fixture
def oxy(cli, places):
    """``oxy-pg`` with those."""
    places["HOME"].mkdir(mode=0o755)

    def run(*arguments, code=0, **variables):
        done = cli(*arguments, **places, **variables)
        assert code == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        return done

    yield run
    run("stop")


def everything(directory) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


# --- a directory of somebody else's ---


@pytest.fixture
def full(place):
    """A directory with other things in it, as /etc is."""
    place = place / "full"
    place.mkdir(mode=0o755)
    for name in ("passwd", ".bashrc", "port"):
        (place / name).write_text("theirs")
    return place


@pytest.mark.parametrize(
    "command",
    [
        ("start",),
        ("url",),
        ("run", "--", "true"),
        ("psql", "--", "-c", "SELECT 1"),
        ("restart",),
        ("stop",),
        ("reset", "--yes"),
        ("upgrade",),
        ("tune", "--apply"),
        ("status",),
        ("doctor",),
        ("logs",),
    ],
    ids=" ".join,
)
def test_a_directory_of_others_is_never_filled(cli, full, command):
    """
    ``--state-dir /etc``: not even a lock is put there, by no command; those that start say why.
    """
    done = cli("--state-dir", full, *command)

    assert {"passwd", ".bashrc", "port"} == everything(full)
    assert "Traceback" not in done.stderr
    if command[0] in {"start", "url", "run", "psql", "restart"}:
        assert 1 == done.returncode
        assert f"{full} holds other files (.bashrc, passwd)" in done.stderr
        assert "Nothing was written there" in done.stderr
        assert f"such as {full}/postgres" in done.stderr


def test_nor_by_a_server(full):
    server = oxy_pg.Server(full)
    with pytest.raises(oxy_pg.ConfigurationError, match="holds other files"):
        server.start()
    server.stop()
    server.destroy()

    assert {"passwd", ".bashrc", "port"} == everything(full)


def test_a_data_directory_of_others_gets_no_lock(place):
    """
    A cluster that somebody has made by hand where ours would be.
    """
    (place / "postgres_data").mkdir()
    (place / "postgres_data/PG_VERSION").write_text("16\n")

    with pytest.raises(oxy_pg.ForeignDataDirectory):
        oxy_pg.Server(place).start()

    assert {"postgres_data", "postgres_data/PG_VERSION"} == everything(place)


@pytest.mark.parametrize("name", ["db.sqlite", "lost+found", ".gitignore"])
def test_a_directory_that_is_meant_for_it_is_used(state_dir, name):
    """
    With an application's database that is to be migrated; and one that is as good as empty.
    """
    state_dir.mkdir()
    state_dir.chmod(0o711)
    if name == "lost+found":
        (state_dir / name).mkdir()
    else:
        (state_dir / name).write_text("")
    if name == "db.sqlite":
        (state_dir / "charts").mkdir()
    before = everything(state_dir)
    with oxy_pg.Server(state_dir) as server:
        assert "running" == server.status().state
        server.destroy()

    assert before == everything(state_dir)


def test_the_default_directory_may_hold_more(oxy, places, place):
    """
    ``~/.local/share/oxy`` is the application's own.
    """
    default = places["XDG_DATA_HOME"] / "oxy"
    default.mkdir(parents=True, mode=0o711)
    (default / "charts").write_text("theirs")
    del places["OXY_STATE_DIR"]
    oxy("start")
    oxy("reset", "--yes")

    assert {"charts"} == everything(default)


def test_what_a_killed_start_has_left_is_ours(state_dir):
    """
    Alone in its directory; a copy of the data that a person has put alongside is not removed.
    """
    state_dir.mkdir()
    state_dir.chmod(0o711)
    (state_dir / "postgres_data.new-1").mkdir()
    for name in ("lock", "password", "password.1-2.new", "settings.json"):
        (state_dir / name).write_text("{}" if name == "settings.json" else "")
    server = oxy_pg.Server(state_dir)
    server.start()
    (state_dir / "postgres_data.tar.gz").write_text("a copy")

    server.destroy()

    assert {"postgres_data.tar.gz"} == everything(state_dir)


# --- reset ---


def test_reset_leaves_nothing(oxy, places):
    """
    Also with settings, a crash and kept clusters behind it; the next start is a first one.
    """
    oxy("start", OXY_PG_SETTINGS="work_mem=5MB")
    state = places["OXY_STATE_DIR"]
    oxy("stop")
    (state / "postgres_data.old-15").mkdir()
    done = oxy("reset", "--yes")

    assert "postgres_data.old-15, which an upgrade kept" in done.stderr
    assert not state.exists()
    assert "Nothing was deleted" in oxy("reset", "--yes").stderr
    oxy("start")


def test_reset_and_start_at_the_same_time(state_dir, start_python):
    """
    Whatever the order, there is one server at a time: none loses its directory while it starts.
    """
    code = (
        "import os, oxy_pg\n"
        f"server = oxy_pg.Server({str(state_dir)!r}, keep_alive=0)\n"
        "for number in range(3):\n"
        "    server.start()\n"
        "    if os.environ['REMOVES']:\n"
        "        server.destroy()\n"
        "print('done')\n"
    )
    processes = [start_python(code, REMOVES=removes) for removes in ("", "1")]
    for process in processes:
        said, errors = process.communicate(timeout=100)
        assert "done\n" == said, errors


# --- uninstall ---


def test_uninstall_asks_and_leaves_nothing(oxy, places, place):
    """
    State, cache, checksums and added programs are listed with their sizes first.
    """
    with psycopg.connect(oxy("url", "--create", "-d", "shop").stdout.strip()) as connection:
        connection.execute("CREATE TABLE item (name text)")
    (place / "home/mine").write_text("mine")
    run = "import oxy_pg\nwith oxy_pg.temporary(): pass"  # which keeps a template
    subprocess.run(
        [sys.executable, "-c", run],
        env={**os.environ, **{name: str(value) for name, value in places.items()}},
        check=True,
    )
    program = places["OXY_PG_BINARIES_DIR"] / "16.14-x/bin/postgres"
    program.parent.mkdir(parents=True)
    program.write_bytes(os.urandom(3_000_000))
    before = everything(place)

    refused = oxy("uninstall", code=2)

    assert before == everything(place)
    for part in (
        f"{places['OXY_STATE_DIR']}/postgres_data (databases)",
        "shop: 7.",
        f"{places['OXY_PG_CACHE_DIR']}/template-16.",
        f"3.0 MB  {places['OXY_PG_BINARIES_DIR']}/16.14-x (programs)",
        "in total",
    ):
        assert part in refused.stderr
    oxy("uninstall", "--yes")
    rest = {name for name in everything(place) if not (place / name).is_dir()}

    assert {"home/mine"} == rest
    assert not (places["OXY_STATE_DIR"]).exists()
    assert not [name for name in everything(place) if "oxy_pg" in name and "tmp/" not in name]
    assert "keeps nothing here" in oxy("uninstall", "--yes").stderr


def test_uninstall_leaves_the_programs_of_another_server(oxy, places, place):
    """
    A server of another state directory goes on, and can be restarted.
    """
    found = binaries.find()
    copy = places["OXY_PG_BINARIES_DIR"] / "16-x"
    copy.mkdir(parents=True)
    package = os.path.dirname(os.path.dirname(os.path.dirname(found.bin_dir)))
    name = os.path.basename(os.path.dirname(os.path.dirname(found.bin_dir)))
    for part in (name, f"{name}.libs"):
        if os.path.isdir(f"{package}/{part}"):
            subprocess.run(["cp", "-r", f"{package}/{part}", copy], check=True)
    bin_dir = str(copy) + found.bin_dir.removeprefix(package)
    other = place / "other"
    oxy("--state-dir", other, "start", OXY_PG_BIN_DIR=bin_dir)

    done = oxy("uninstall", "--yes")

    assert f"{copy} stays" in done.stderr
    oxy("--state-dir", other, "restart", OXY_PG_BIN_DIR=bin_dir)
    oxy("--state-dir", other, "reset", "--yes")
