"""A project's own defaults in pyproject.toml; what forbids a server, and what names one."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

import oxy_pg
from oxy_pg import _defaults, project

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = (*_defaults.VARIABLES.values(), "OXY_DATABASE_URL", "DATABASE_URL", "OXY_PG_EMBEDDED")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory below one with the pyproject.toml that a test writes."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    below = tmp_path / "src" / "app"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.setattr(project, "_known", {})

    def write(text: str) -> Path:
        (tmp_path / "pyproject.toml").write_text(text)
        project._known.clear()
        return tmp_path

    return write


def found() -> tuple[object, ...]:
    """What applies without an argument: settings, keep-alive and port."""
    ours = project.of_working_directory()
    return (
        _defaults.settings(None, ours),
        _defaults.keep_alive(None, ours),
        _defaults.port(None, ours),
    )


def test_without_a_file_the_defaults_hold(here):
    assert project.of_working_directory() is None
    assert "oxy" == _defaults.database(None, project.of_working_directory())
    assert (None, None, None) == found()


@pytest.mark.parametrize(
    "text",
    [
        "[tool.oxy-pg]\ndatabase = 'shop'",
        '[ tool . "oxy-pg" ]\ndatabase = "shop"',
        "tool.oxy-pg.database = 'shop'",
        "[tool]\noxy-pg = { database = 'shop' }",
    ],
)
def test_every_spelling_of_the_table(here, text):
    """
    As TOML allows it, not as one regular expression reads it.
    """
    here(text)

    assert "shop" == _defaults.database(None, project.of_working_directory())


def test_a_nearer_file_without_the_table_is_passed_over(here):
    """
    A workspace's member has a pyproject.toml of its own.
    """
    root = here("[tool.oxy-pg]\ndatabase = 'shop'")
    (root / "src" / "pyproject.toml").write_text("[project]\nname = 'member'\n")

    assert "shop" == _defaults.database(None, project.of_working_directory())


def test_argument_environment_project_default(here, monkeypatch):
    here(
        "[tool.oxy-pg]\ndatabase = 'shop'\nport = 15432\nkeep-alive = 'inf'\n"
        "extensions = ['vector']\nsettings = { work_mem = '7MB', max_connections = 20 }\n"
    )
    assert ({"work_mem": "7MB", "max_connections": 20}, float("inf"), 15432) == found()
    assert ("citext", "vector") == _defaults.extensions(["citext"], project.of_working_directory())
    assert {"work_mem": "9MB", "max_connections": 20} == _defaults.settings(
        {"work_mem": "9MB"}, project.of_working_directory()
    )

    monkeypatch.setenv("OXY_PG_DATABASE", "other")
    monkeypatch.setenv("OXY_PG_PORT", "25432")
    monkeypatch.setenv("OXY_PG_SETTINGS", "work_mem=8MB, lock_timeout=5s")
    settings = {"work_mem": "8MB", "max_connections": 20, "lock_timeout": "5s"}
    assert (settings, float("inf"), 25432) == found()
    assert "other" == _defaults.database(None, project.of_working_directory())
    assert "mine" == _defaults.database("mine", None)


def test_the_state_directory_is_relative_to_the_file(here):
    root = here("[tool.oxy-pg]\nstate-dir = '.oxy/../.pg data'\n")

    assert str(root / ".pg data") == oxy_pg.Server().state_dir


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("databse = 'x'", "the nearest key is 'database'"),
        ("keep_alive = 5", "the nearest key is 'keep-alive'"),
        ("nonsense = 5", "The keys are database"),
        ("port = 70000", "a number from 1 to 65535"),
        ("port = true", "a number from 1 to 65535"),
        ("database = ''", "not empty"),
        ("extensions = 'vector'", "a list of names"),
        ("keep-alive = -1", "0 or more"),
        ("settings = 'x'", "not a table"),
        ("settings = { work_mem = [1] }", "a text or a number"),
        ("settings = { archive_command = 'rm -rf /' }", "runs a command"),
        ("settings = { shared_preload_libraries = '/tmp/evil.so' }", "runs a command"),
        ("settings = { Session_Preload_Libraries = 'evil' }", "runs a command"),
        ("settings = { listen_addresses = '*' }", "runs a command"),
        ("settings = { dynamic_library_path = '/tmp' }", "runs a command"),
        ("settings = { ssl_passphrase_command = 'x' }", "runs a command"),
        ("settings = { log_directory = '/etc' }", "runs a command"),
        ("settings = { 'archive_command ' = 'x' }", "runs a command"),
        ("settings = { \"\\tArchive_Library\\n\" = 'x' }", "runs a command"),
        ("settings = { krb_server_keyfile = '/etc/x' }", "runs a command"),
        ("settings = { extension_control_path = '/tmp' }", "runs a command"),
        ("settings = { include = '/tmp/more.conf' }", "runs a command"),
        ("settings = { Include_If_Exists = 'more.conf' }", "runs a command"),
        ("settings = { include_dir = '/tmp' }", "runs a command"),
        ("settings = { 'plperl.on_init' = 'system(q(id))' }", "runs a command"),
        ("settings = { 'plperl.on_plperlu_init' = 'system(q(id))' }", "runs a command"),
        ("settings = { 'pltclu.start_proc' = 'x' }", "runs a command"),
        ("settings = { 'basebackup_to_shell.command' = 'x' }", "runs a command"),
        ("settings = { ssl_crl_dir = '/tmp' }", "runs a command"),
        ("settings = { primary_conninfo = 'host=example.org' }", "runs a command"),
    ],
)
def test_what_cannot_be_meant(here, line, words):
    """
    An error that names the file and the key; nothing that a downloaded project could run.
    """
    root = here(f"[tool.oxy-pg]\n{line}\n")

    with pytest.raises(oxy_pg.ConfigurationError, match=words) as caught:
        _defaults.database(None, project.of_working_directory())
    assert str(root / "pyproject.toml") in str(caught.value)


def test_a_broken_file_is_named(here):
    root = here("[tool.oxy-pg\ndatabase = ")

    with pytest.raises(oxy_pg.ConfigurationError, match="not valid TOML") as caught:
        _defaults.database(None, project.of_working_directory())
    assert str(root) in str(caught.value)


def test_a_projects_file_that_is_none_of_ours_costs_no_parser(run_python, tmp_path):
    """
    Every project that depends on oxy-pg names it; that alone is no reason to parse.
    """
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = ['oxy-pg']\n")
    code = (
        f"import os, sys; os.chdir({str(tmp_path)!r}); from oxy_pg import project; "
        "project.of_working_directory(); print('tomllib' in sys.modules)"
    )

    assert "False" == run_python(code)


def extensions_in(url: str) -> set[str]:
    """What is there, after a migration of the application's role has asked for pgvector."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        return {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}


def test_every_database_has_the_projects_extensions(here, state_dir, tmp_path, cli):
    """
    So that a migration may ask for them: made by ensure(), create_database(), and the commands.
    """
    here("[tool.oxy-pg]\nextensions = ['vector']\n")
    server = oxy_pg.Server(state_dir)
    server.create_database("empty")
    server.create_database("copy", template="empty")
    urls = [oxy_pg.ensure("ensured", state_dir=state_dir), server.url("empty"), server.url("copy")]
    urls.append(cli("url", "--create", "-d", "of_url", OXY_STATE_DIR=state_dir).stdout.strip())
    code = "import os, psycopg; psycopg.connect(os.environ['DATABASE_URL']).execute(%r)"
    ask = code % "CREATE EXTENSION IF NOT EXISTS vector"
    ran = cli("run", "-d", "of_run", "--", sys.executable, "-c", ask, OXY_STATE_DIR=state_dir)
    sqlite3.connect(tmp_path / "app.db").close()
    oxy_pg.migrate_sqlite(
        tmp_path / "app.db",
        state_dir=state_dir,
        database="moved",
        prepare=lambda url: urls.append(url) or extensions_in(url),
    )

    assert 0 == ran.returncode, ran.stderr
    assert 5 == len(urls)
    assert all({"vector", "plpgsql"} == extensions_in(url) for url in urls)


def test_a_database_is_made_with_its_extensions_or_not_at_all(here, state_dir):
    """
    The name of one that lacks them would be taken when it is tried again.
    """
    here("[tool.oxy-pg]\nextensions = ['no_such_extension']\n")
    server = oxy_pg.Server(state_dir)

    with pytest.raises(oxy_pg.ConfigurationError, match="no_such_extension"):
        server.create_database("shop")

    assert "shop" not in server.databases()
    here("")
    server.create_database("shop")
    with pytest.raises(oxy_pg.ConfigurationError, match="exists"):
        server.create_database("shop")
    assert "shop" in server.databases()


def test_two_projects_keep_to_their_own_databases(state_dir, tmp_path, cli, run_python):
    """
    By hand and under `oxy-pg run`, on one machine, with one server for both.
    """
    for name in ("shop", "blog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f"[tool.oxy-pg]\ndatabase = '{name}'\n")
    code = (
        "import oxy_pg, psycopg, sys\n"
        "with psycopg.connect(oxy_pg.ensure()) as connection:\n"
        "    connection.execute('CREATE TABLE IF NOT EXISTS alembic_version (version text)')\n"
        "    print(connection.info.dbname)\n"
    )
    for name in ("shop", "blog"):
        by_hand = run_python(
            f"import os; os.chdir({str(tmp_path / name)!r})\n{code}", OXY_STATE_DIR=state_dir
        )
        under_run = cli(
            "run", "--", sys.executable, "-c", code, cwd=tmp_path / name, OXY_STATE_DIR=state_dir
        )
        assert [name, name] == [by_hand.strip(), under_run.stdout.strip()], under_run.stderr
    assert {"blog", "shop"} <= set(oxy_pg.Server(state_dir).databases())


# --- the same name, the same database ---


def test_a_name_means_the_same_under_run(state_dir, cli):
    """
    ``ensure("shop")`` is shop on the server that `oxy-pg run` has started.
    """
    code = "from oxy_pg import ensure; print(ensure('shop')); print(ensure('oxy')); print(ensure())"
    done = cli("run", "--", sys.executable, "-c", code, OXY_STATE_DIR=state_dir)

    names = [line.rpartition("/")[2] for line in done.stdout.split()]
    assert ["shop", "oxy", "oxy"] == names, done.stderr
    assert 1 == len({line.rpartition("/")[0] for line in done.stdout.split()})


def test_so_it_does_with_an_exported_url(server, state_dir, run_python):
    url = server.ensure_database()

    answer = run_python(
        "import oxy_pg; print(oxy_pg.ensure('shop'))", OXY_STATE_DIR=state_dir, OXY_DATABASE_URL=url
    )
    assert url.replace("/oxy", "/shop").rpartition("/")[2] == answer.strip().rpartition("/")[2]
    assert "shop" in server.databases()


def of_another_role(server, url):
    with psycopg.connect(server.superuser_url()) as connection:
        connection.execute("CREATE ROLE another LOGIN PASSWORD 'secret'")
    return f"postgresql://another:secret@{url.rpartition('@')[2]}"


@pytest.fixture
def external(server, monkeypatch, tmp_path):
    """A URL that looks like another one's server: the role is none of ours."""
    url = server.ensure_database("app")
    server.create_database("shop_db")
    monkeypatch.setenv("OXY_STATE_DIR", str(tmp_path / "nothing"))
    return of_another_role(server, url)


def test_a_second_name_on_another_server_is_refused(external, run_python, tmp_path):
    """
    Not the same database twice; both ways out are named.
    """
    code = (
        "import oxy_pg\n"
        "print(oxy_pg.ensure('first').rpartition('/')[2], oxy_pg.ensure('first')[-3:])\n"
        "try:\n    oxy_pg.ensure('shop-2')\n"
        "except oxy_pg.ConfigurationError as error:\n    print(error)\n"
    )
    answer = run_python(code, OXY_DATABASE_URL=external, OXY_STATE_DIR=tmp_path / "nothing")

    assert "app app" == answer.splitlines()[0]
    assert "OXY_DATABASE_URL_SHOP_2" in answer
    assert "one name" in answer


def test_a_name_has_a_variable_of_its_own(external, run_python, tmp_path):
    answer = run_python(
        "import oxy_pg; print(oxy_pg.ensure('first')); print(oxy_pg.ensure('shop'))",
        OXY_DATABASE_URL=external,
        OXY_DATABASE_URL_SHOP=external.replace("/app", "/shop_db"),
        OXY_STATE_DIR=tmp_path / "nothing",
    )

    assert ["app", "shop_db"] == [line.rpartition("/")[2] for line in answer.split()]


# --- fail closed ---


def test_embedded_never(run_python, cli, tmp_path):
    """
    Neither Python nor the command line starts anything, and both name what is missing.
    """
    code = (
        "import oxy_pg\n"
        "try:\n    oxy_pg.ensure()\n"
        "except oxy_pg.ConfigurationError as error:\n    print(error)\n"
    )
    given = {"OXY_PG_EMBEDDED": "never", "OXY_STATE_DIR": tmp_path / "state"}
    answers = [run_python(code, **given)]
    answers += [
        cli(*words, **given).stderr
        for words in (
            ["url"],
            ["env"],
            ["start"],
            ["restart"],
            ["psql"],
            ["tune"],
            ["tune", "--apply"],
            ["run", "--", "true"],
            ["upgrade"],
            ["binaries", "add", "npm"],
            ["pull", "--from", "postgresql://u@127.0.0.1:1/d", "--dry-run"],
        )
    ]

    for answer in answers:
        assert "OXY_DATABASE_URL is not set" in answer
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "call",
    [
        "oxy_pg.Server().start()",
        "oxy_pg.Server().url()",
        "oxy_pg.Server().restart()",
        "oxy_pg.Server().create_database('new')",
        "oxy_pg.temporary().__enter__()",
        "oxy_pg.upgrade()",
    ],
)
def test_embedded_never_holds_for_every_way_to_start_one(run_python, tmp_path, call):
    """
    Also where no URL is looked for: nothing is started, and nothing is left in TMPDIR.
    """
    code = (
        "import oxy_pg\n"
        f"try:\n    {call}\n"
        "except oxy_pg.ConfigurationError as error:\n    print(error)\n"
    )
    (tmp_path / "temporary").mkdir()
    answer = run_python(
        code,
        OXY_PG_EMBEDDED="never",
        OXY_STATE_DIR=tmp_path / "state",
        TMPDIR=tmp_path / "temporary",
    )

    assert "OXY_PG_EMBEDDED=never forbids" in answer
    assert not (tmp_path / "state").exists()
    assert [] == list((tmp_path / "temporary").rglob("oxy_pg-*"))


def test_embedded_never_lets_a_running_server_run(run_python, server):
    """
    A restart that is forbidden has not stopped it; `status` and `stop` may be used.
    """
    server.start()
    code = (
        "import oxy_pg\n"
        f"server = oxy_pg.Server({str(server.state_dir)!r})\n"
        "try:\n    server.restart()\n"
        "except oxy_pg.ConfigurationError as error:\n    print(error)\n"
        "print(server.status().state)\n"
        "server.stop()\n"
        "print(server.status().state)\n"
    )
    *_, before, after = run_python(code, OXY_PG_EMBEDDED="never").split()

    assert ["running", "stopped"] == [before, after]


def test_embedded_never_names_the_variable_that_is_there_instead(run_python, tmp_path):
    code = (
        "import oxy_pg\n"
        "try:\n    oxy_pg.ensure()\n"
        "except oxy_pg.ConfigurationError as error:\n    print(error)\n"
    )
    answer = run_python(
        code,
        OXY_PG_EMBEDDED="never",
        DATABASE_URL="postgresql://u:secret@h/d",
        OXY_STATE_DIR=tmp_path,
    )

    assert "DATABASE_URL is set, but" in answer
    assert "secret" not in answer


def test_database_url_alone_is_warned_of_once(run_python, server, state_dir):
    code = (
        "import logging, sys, oxy_pg\n"
        "logging.basicConfig(format='%(message)s', stream=sys.stdout)\n"
        "oxy_pg.ensure(); oxy_pg.ensure('again')\n"
    )
    server.start()
    answer = run_python(code, OXY_STATE_DIR=state_dir, DATABASE_URL="postgresql://u:p@h/d")

    assert 1 == answer.count("does not read it")


# --- a port to rely on ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_that_was_asked_for(state_dir):
    port = free_port()
    url = oxy_pg.ensure(state_dir=state_dir, port=port)

    assert f"@127.0.0.1:{port}/" in url
    with psycopg.connect(url) as connection:
        assert (1,) == connection.execute("SELECT 1").fetchone()


def test_a_port_that_is_taken_is_named(state_dir):
    """
    With the process that holds it; nothing is started elsewhere.
    """
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(oxy_pg.PortTaken, match=f"process {os.getpid()}") as caught:
            oxy_pg.ensure(state_dir=state_dir, port=port)

    assert port == caught.value.port
    assert "running" != oxy_pg.Server(state_dir).status().state


def test_a_server_on_another_port_is_not_moved(server, state_dir):
    server.start()
    other = free_port()

    with pytest.raises(oxy_pg.ConfigurationError, match=r"was asked for\. Stop it first"):
        oxy_pg.ensure(state_dir=state_dir, port=other)


def test_status_says_where_each_value_comes_from(here, state_dir, cli, tmp_path):
    here("[tool.oxy-pg]\ndatabase = 'shop'\nport = 15432\n")
    done = cli("status", "--json", cwd=tmp_path, OXY_STATE_DIR=state_dir, OXY_PG_PORT="25432")

    found = {
        one["key"]: (one["value"], one["origin"]) for one in json.loads(done.stdout)["defaults"]
    }
    assert ("shop", str(tmp_path / "pyproject.toml")) == found["database"]
    assert ("25432", "OXY_PG_PORT") == found["port"]
