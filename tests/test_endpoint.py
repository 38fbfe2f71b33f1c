"""Which server is meant: argument, environment, default; and no guess where another is at work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import oxy_pg

PACKAGE = Path(oxy_pg.__file__).parent


@pytest.fixture
def ours(state_dir, monkeypatch):
    """A server with a table in it, and a default server that is another one."""
    monkeypatch.delenv("OXY_DATABASE_URL", raising=False)
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir / "default"))
    url = oxy_pg.ensure(state_dir=state_dir / "ours")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE item (id int)")
        connection.execute("INSERT INTO item VALUES (1), (2)")
    oxy_pg.Server(state_dir / "default").ensure_database()
    oxy_pg.Server(state_dir / "default").stop()
    yield state_dir / "ours"
    for name in ("ours", "default"):
        oxy_pg.Server(state_dir / name).stop("immediate")


def items(manifest: oxy_pg.Manifest) -> list[tuple[str, int]]:
    return [(table.name, table.rows) for table in manifest.tables]


def test_a_backup_without_a_server_is_no_guess(ours, tmp_path):
    """
    ``ensure(state_dir=…)``, and then ``backup()`` of a default server that is empty: refused.
    """
    with pytest.raises(oxy_pg.ConfigurationError, match=r"backup\(\) does not say.*ours"):
        oxy_pg.backup(tmp_path / "b.dump")

    assert not (tmp_path / "b.dump").exists()


@pytest.mark.parametrize("verb", ["restore", "push", "pull", "migrate_sqlite"])
def test_the_other_verbs_neither(ours, tmp_path, verb):
    """
    What replaces or copies a database must not take another one either.
    """
    source = tmp_path / "b.dump"
    oxy_pg.backup(source, state_dir=ours)
    with pytest.raises(oxy_pg.ConfigurationError, match=rf"{verb}\(\) does not say"):
        getattr(oxy_pg, verb)(str(source))


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_nor_those_that_always_mean_the_embedded_one(ours, monkeypatch, verb):
    """
    OXY_DATABASE_URL is not what ``push()`` reads or ``pull()`` replaces.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/nowhere")
    with pytest.raises(oxy_pg.ConfigurationError, match=rf"{verb}\(\) does not say.*ours"):
        getattr(oxy_pg, verb)("postgresql://u:p@127.0.0.1:1/other")


def test_the_environment_is_an_answer(ours, tmp_path, monkeypatch):
    """
    With OXY_DATABASE_URL set, a verb that can mean any server means that one.
    """
    url = oxy_pg.ensure("also", state_dir=ours)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE other (id int)")
    monkeypatch.setenv("OXY_DATABASE_URL", url)

    report = oxy_pg.backup(tmp_path)

    assert ("also", [("other", 0)]) == (report.manifest.database, items(report.manifest))
    restored = oxy_pg.restore(report.path, confirm=lambda _: True)
    assert ("also", True) == (restored.database, restored.replaced)


def test_a_backup_without_tables_warns(ours, tmp_path, cli):
    """
    In the report, and at the command line even with ``--quiet``: both name the server.
    """
    default = ours.with_name("default")
    report = oxy_pg.backup(tmp_path / "a.dump", state_dir=default)
    (warning,) = report.warnings

    assert "has no tables" in warning
    assert str(default) in warning
    assert warning in report.to_json()
    done = cli("backup", tmp_path / "b.dump", "--quiet", "--state-dir", default)
    assert 0 == done.returncode
    assert f"warning: {warning}\n" == done.stderr
    assert () == oxy_pg.backup(tmp_path / "c.dump", state_dir=ours).warnings


def test_an_argument_names_it(ours, tmp_path):
    report = oxy_pg.backup(tmp_path, state_dir=ours)

    assert [("item", 2)] == items(report.manifest)


def test_a_method_means_its_server(ours, tmp_path, monkeypatch):
    """
    Also where the environment names another one.
    """
    monkeypatch.setenv("OXY_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/nowhere")
    server = oxy_pg.Server(ours)

    report = server.backup(tmp_path)
    restored = server.restore(report.path, database="again")
    assert [("item", 2)] == items(report.manifest)
    assert "again" == restored.database
    with psycopg.connect(server.url("again")) as connection:
        assert (2,) == connection.execute("SELECT count(*) FROM item").fetchone()


def test_a_temporary_server_has_the_methods_too(tmp_path):
    with oxy_pg.temporary() as server:
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE here (id int)")
        assert isinstance(server, oxy_pg.Server)
        assert [("here", 0)] == items(server.backup(tmp_path / "b.dump").manifest)


def test_a_url_and_a_state_directory_are_too_much(tmp_path):
    with pytest.raises(oxy_pg.ConfigurationError, match="Leave one out"):
        oxy_pg.backup(tmp_path / "b", "postgresql://u@127.0.0.1/x", state_dir=tmp_path)


def test_an_argument_beats_the_environment(ours, tmp_path, monkeypatch):
    monkeypatch.setenv("OXY_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/nowhere")

    assert [("item", 2)] == items(oxy_pg.backup(tmp_path, state_dir=ours).manifest)


@pytest.mark.parametrize("command", ["status", "url", "backup"])
def test_so_it_does_on_the_command_line(ours, tmp_path, cli, command):
    """
    ``--state-dir`` names the embedded server, whatever the environment says.
    """
    words = ["backup", tmp_path / "b.dump"] if command == "backup" else [command]
    done = cli(
        *words,
        "--state-dir",
        ours,
        OXY_DATABASE_URL="postgresql://u:p@127.0.0.1:1/nowhere",
    )

    assert 0 == done.returncode, done.stderr
    assert "nowhere" not in done.stdout + done.stderr


def test_the_default_is_meant_where_it_is_at_work_too(ours, tmp_path):
    oxy_pg.ensure()

    assert [] == items(oxy_pg.backup(tmp_path / "b.dump").manifest)


def test_a_server_that_has_stopped_is_not_at_work(ours, tmp_path):
    """
    Then nothing can be lost by taking the default one.
    """
    oxy_pg.Server(ours).stop()
    oxy_pg.Server().start()

    assert [] == items(oxy_pg.backup(tmp_path / "b.dump").manifest)


def test_the_environment_is_read_in_one_place():
    """
    OXY_DATABASE_URL is looked up in ``_endpoint`` alone, and for the plugin's header line.
    """
    command = [
        "grep",
        "-rlE",
        r"environ(ment)?(\.get\(|\[)(VARIABLE\b|.OXY_DATABASE_URL.\))",
        "--include=*.py",
    ]
    found = subprocess.run([*command, str(PACKAGE)], capture_output=True, text=True, check=True)

    readers = [str(PACKAGE / name) for name in ("_endpoint.py", "pytest_plugin/options.py")]
    assert readers == sorted(found.stdout.split())


def test_the_environment_is_written_in_two_places():
    """
    ``--oxy-pg-embedded`` takes OXY_DATABASE_URL away, from the tested application too; libpq's
    variables are hidden while we connect to our own server.
    """
    command = ["grep", "-rnE", r"os\.environ\[.*\] ?=|environ\.(update|setdefault|pop)"]
    found = subprocess.run(
        [*command, "--include=*.py", str(PACKAGE)], capture_output=True, text=True, check=False
    )

    writers = {str(PACKAGE / name) for name in ("pytest_plugin/options.py", "system/libpq.py")}
    assert writers == {line.partition(":")[0] for line in found.stdout.splitlines()}


def test_asking_costs_no_import():
    """
    On the way of every ``ensure()``.
    """
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import oxy_pg._endpoint; "
        "print('typing' in sys.modules, 're' in sys.modules)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {code}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "False False" == done.stdout.strip()


@pytest.mark.parametrize("verb", ["backup", "export_sqlite"])
def test_a_database_by_its_name_is_never_another(ours, tmp_path, monkeypatch, verb):
    """
    What ``database=`` means does not depend on OXY_DATABASE_URL, or it is an error.
    """
    server = oxy_pg.Server(ours)
    shop = server.ensure_database("shop")
    with psycopg.connect(shop) as connection:
        connection.execute("CREATE TABLE of_the_shop AS SELECT 1 AS id")

    def tables(**options):
        if verb == "backup":
            manifest = oxy_pg.backup(tmp_path / "a.dump", force=True, **options).manifest
            return [table.name for table in manifest.tables]
        found = oxy_pg.export_sqlite(tmp_path / "a.db", force=True, **options)
        return [table.name for table in found.tables]

    monkeypatch.setenv("OXY_DATABASE_URL", server.url())  # as `oxy-pg run` sets it
    assert ["of_the_shop"] == [name.rpartition(".")[2] for name in tables(database="shop")]

    monkeypatch.setenv("OXY_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/live")
    with pytest.raises(oxy_pg.ConfigurationError, match="OXY_DATABASE_URL_SHOP"):
        tables(database="shop")
    monkeypatch.setenv("OXY_DATABASE_URL_SHOP", shop)
    assert ["of_the_shop"] == [name.rpartition(".")[2] for name in tables(database="shop")]

    with pytest.raises(oxy_pg.ConfigurationError, match="names the database 'oxy'"):
        tables(url=server.url(), database="shop")


def test_no_server_is_made_for_a_file_that_is_not_there(state_dir, tmp_path):
    """
    The message says that nothing was created.
    """
    server = oxy_pg.Server(state_dir)
    for source in (tmp_path / "none.db", tmp_path, f"sqlite:///{tmp_path}/none.db"):
        with pytest.raises(oxy_pg.SourceUnreadable):
            server.migrate_sqlite(source)

    assert not state_dir.exists()


@pytest.mark.parametrize("way", ["oxy-pg url", "ensure", "a driver's spelling"])
def test_a_url_alone_names_its_server_to_another_process(ours, cli, run_python, way):
    """
    That process knows neither the state directory nor that the server is embedded.
    """
    if way == "oxy-pg url":
        url = cli("url", "--state-dir", ours).stdout.strip()
    else:
        url = oxy_pg.ensure(state_dir=ours, driver=None if way == "ensure" else "psycopg")
        url = url.replace("postgresql+psycopg", "postgresql")
    answer = run_python("import oxy_pg; print(oxy_pg.ensure('shop'))", OXY_DATABASE_URL=url)

    port = url.rpartition(":")[2].partition("/")[0]
    assert f"{port}/shop" == answer.strip().rpartition(":")[2].partition("?")[0]
    assert "shop" in oxy_pg.Server(ours).databases()


def test_a_url_with_another_password_does_not(ours, run_python):
    """
    The password tells which server it is, not the port.
    """
    url = oxy_pg.ensure(state_dir=ours).replace("oxy:", "oxy:x")
    code = f"from oxy_pg import _endpoint\nprint(_endpoint.embedded_state_dir({url!r}, set()))\n"
    assert "None" == run_python(code).strip()
