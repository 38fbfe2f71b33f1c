"""``oxy-pg run``, ``url``, ``env`` and ``psql``: the database as another program wants it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import dotenv
import psycopg
import pytest

import oxy_pg
from tests.conftest import stop_everything_below
from tests.test_project import of_another_role

# A value with everything that a shell or a reader of .env files may take for something else.
ODD = 'it\'s a "$HOME" #1 `x` \\ back {database}'
READ = "shop".join(ODD.split("{database}"))


@pytest.fixture(scope="module")
def state_dir(base_dir):
    """The state directory of one server for all tests here."""
    path = Path(tempfile.mkdtemp(prefix="programs-", dir=base_dir))
    path.chmod(0o711)
    yield path / "state"
    stop_everything_below(path)


@pytest.fixture
def oxy(cli, state_dir):
    """``oxy-pg`` on that state directory."""

    def run(*arguments, code=0, **variables):
        done = cli(*arguments, **{"OXY_STATE_DIR": state_dir, **variables})
        assert code == done.returncode, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


# --- env ---


@pytest.mark.parametrize(
    ("spelled", "shell"), [("export", "sh"), ("export", "bash"), ("fish", "fish")]
)
def test_a_shell_reads_the_variables(oxy, tmp_path, spelled, shell):
    """
    The variables of ``oxy-pg run``, unchanged whatever is in them, and the URL works.
    """
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = oxy("env", "-d", "shop", "--format", spelled, "--set", f"ODD={ODD}")
    script = tmp_path / "variables"
    script.write_text(done.stdout)

    show = "import json, os; print(json.dumps(dict(os.environ)))"
    read = subprocess.run(
        [shell, "-c", f". {script}; {sys.executable} -c '{show}'"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(read.stdout)

    assert READ == found["ODD"]
    assert "shop" == found["PGDATABASE"]
    assert "stays up until `oxy-pg stop`" in done.stderr
    with psycopg.connect(found["DATABASE_URL"]) as connection:
        assert ("shop",) == connection.execute("SELECT current_database()").fetchone()


def test_a_program_reads_the_variables(oxy):
    """
    As JSON, and as python-dotenv reads a .env file; both have what ``oxy-pg run`` sets.
    """
    asked = ("-d", "shop", "--set", f"ODD={ODD}")
    as_json = json.loads(oxy("env", "--format", "json", *asked).stdout)
    text = oxy("env", "--format", "dotenv", *asked).stdout
    as_dotenv = dotenv.dotenv_values(stream=io.StringIO(text), interpolate=False)
    run = oxy("run", *asked, "--", "env", "-0").stdout
    in_run = dict(line.split("=", 1) for line in run.split("\0") if line)

    assert as_json == as_dotenv
    assert as_json.items() <= in_run.items()
    assert READ == as_json["ODD"]
    assert {"OXY_DATABASE_URL", "DATABASE_URL", "PGHOST", "PGPASSWORD"} < as_json.keys()


def test_what_docker_reads_has_no_quotes(oxy):
    """
    ``docker run --env-file`` takes a line as it is.
    """
    lines = oxy("env", "--format", "dotenv").stdout.splitlines()

    assert not [line for line in lines if set(line) & set("'\"\\ ")]


def test_powershell_doubles_what_it_takes_for_a_quote(oxy):
    """
    In single quotes nothing else means anything; it takes typographic quotes for plain ones.
    """
    found = oxy("env", "--format", "powershell", "--set", "ODD=it's $x \u2019").stdout

    assert "$env:ODD = 'it''s $x \u2019\u2019'\n" in found


def test_jdbc_is_one_url(oxy):
    found = oxy("env", "--format", "jdbc", "-d", "shop").stdout

    assert found == oxy("url", "--driver", "jdbc", "-d", "shop").stdout
    assert found.startswith("jdbc:postgresql://127.0.0.1:")
    assert "/shop?user=oxy&password=" in found
    oxy("env", "--format", "jdbc", "--set", "A=b", code=2)


def test_a_name_means_the_same_with_the_variables(oxy, run_python, tmp_path):
    """
    They say which embedded server it is, also where its state directory is not the default one.
    """
    variables = json.loads(oxy("env", "--format", "json").stdout)
    found = run_python("import oxy_pg; print(oxy_pg.ensure('other'))", **variables)

    assert found.endswith("/other")
    assert found.rpartition("/")[0] == variables["OXY_DATABASE_URL"].rpartition("/")[0]


# --- url, run ---


@pytest.mark.parametrize("driver", ["asyncpg", "pg8000", "psycopg", "psycopg2", "psycopg_async"])
def test_url_for_a_driver(oxy, driver):
    plain = oxy("url").stdout

    assert (
        f"postgresql+{driver}{plain.removeprefix('postgresql')}"
        == oxy("url", "--driver", driver).stdout
    )


def test_url_for_an_unknown_driver_is_wrong_usage(oxy):
    assert "'psycopg3' is not one of" in oxy("url", "--driver", "psycopg3", code=2).stderr


def test_run_sets_variables_of_other_names(oxy):
    """
    For a program with names of its own, such as Airflow; braces that are none of ours stay.
    """
    found = oxy(
        "run", "-d", "shop",
        "--set", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN={url:psycopg2}",
        "--set", 'CONFIG={"host": "{host}", "port": {port}, "name": "{database}"}',
        "--set", "DATABASE_URL={url:asyncpg}",
        "--", sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))",
    ).stdout  # fmt: skip
    environment = json.loads(found)
    plain = environment["OXY_DATABASE_URL"].removeprefix("postgresql")

    assert f"postgresql+psycopg2{plain}" == environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert f"postgresql+asyncpg{plain}" == environment["DATABASE_URL"]
    assert {"host": "127.0.0.1", "port": int(environment["PGPORT"]), "name": "shop"} == json.loads(
        environment["CONFIG"]
    )


@pytest.mark.parametrize("given", ["AIRFLOW", "=x", "1A=x", "A B=x"])
def test_run_says_how_set_is_written(oxy, given):
    assert "is not NAME=VALUE" in oxy("run", "--set", given, "--", "true", code=2).stderr


def test_run_names_a_driver_that_it_does_not_know(oxy):
    done = oxy("run", "--set", "A={url:psycopg3}", "--", "true", code=1)

    assert "'psycopg3' is not one of asyncpg" in done.stderr


@pytest.fixture
def old_programs(tmp_path):
    """A directory for PATH whose pg_dump refuses a server 16, as that of PostgreSQL 15 does."""
    for name in ("pg_dump", "psql"):
        program = tmp_path / "old" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\necho 'server version: 16; too old' >&2\nexit 1\n")
        program.chmod(0o755)
    return f"{tmp_path / 'old'}{os.pathsep}{os.environ['PATH']}"


def test_run_puts_the_servers_own_programs_first_on_path(oxy, old_programs):
    """
    For the command, and for what the command runs.
    """
    inside = oxy("run", "--", "sh", "-c", "pg_dump && psql --version", PATH=old_programs)
    itself = oxy("run", "--", "pg_dump", PATH=old_programs)

    assert "PostgreSQL database dump complete" in inside.stdout
    assert "psql (PostgreSQL) 16." in inside.stdout
    assert "PostgreSQL database dump complete" in itself.stdout


def test_so_it_does_with_the_url_of_an_embedded_server(oxy, old_programs, state_dir):
    url = oxy("url").stdout.strip()

    done = oxy("run", "--", "pg_dump", "--version", PATH=old_programs, OXY_DATABASE_URL=url)

    assert "(PostgreSQL) 16." in done.stdout


def test_path_stays_as_it_is_for_another_server(oxy, old_programs, tmp_path, state_dir):
    """
    The bundled programs have no TLS, and the server is of a version of its own.
    """
    url = of_another_role(oxy_pg.Server(state_dir), oxy("url").stdout.strip())
    other = {"OXY_DATABASE_URL": url, "OXY_STATE_DIR": tmp_path / "none"}

    done = oxy("run", "--", "sh", "-c", "echo $PATH", PATH=old_programs, **other)

    assert old_programs == done.stdout.strip()


# --- which database ---


@pytest.mark.parametrize("command", ["run", "psql", "url", "env"])
def test_a_database_that_is_asked_for_is_not_another_one(oxy, state_dir, command):
    """
    Also where OXY_DATABASE_URL is that of an embedded server, with another database in it.
    """
    url = oxy("url").stdout.strip()

    assert "shop" == database_of(oxy, command, "-d", "shop", OXY_DATABASE_URL=url)
    assert "oxy" == database_of(oxy, command, OXY_DATABASE_URL=url)


@pytest.mark.parametrize("command", ["run", "psql", "url", "env"])
def test_a_database_with_a_variable_of_its_own(oxy, tmp_path, command):
    """
    OXY_DATABASE_URL_SHOP is the server of ``shop``, for the command line as for ``ensure()``.
    """
    url = oxy("url", "--create", "-d", "shop_db").stdout.strip()
    variables = {"OXY_DATABASE_URL_SHOP": url, "OXY_STATE_DIR": tmp_path / "none"}

    assert "shop_db" == database_of(oxy, command, "-d", "shop", **variables)
    assert not (tmp_path / "none").exists()


def database_of(oxy, command, *arguments, **variables) -> str:
    """Return the database that a command's program connects to."""
    query = ("psql", "-XAtc", "SELECT current_database()")
    if command == "url":
        with psycopg.connect(oxy("url", *arguments, **variables).stdout.strip()) as connection:
            return connection.info.dbname
    if command == "env":
        found = json.loads(oxy("env", "--format", "json", *arguments, **variables).stdout)
        return found["PGDATABASE"]
    program = ("--", *query) if command == "run" else ("--", *query[1:])
    return oxy(command, *arguments, *program, **variables).stdout.strip()


def test_a_name_under_run_is_not_warned_of(oxy):
    """
    ``oxy-pg run`` sets DATABASE_URL too, and it is the URL that is used.
    """
    code = "import oxy_pg; print(oxy_pg.ensure('another'))"
    done = oxy("run", "--", sys.executable, "-c", code)

    assert done.stdout.strip().endswith("/another")
    assert "" == done.stderr


def test_the_server_that_env_started_stays(oxy, state_dir):
    oxy("env", OXY_PG_KEEP_ALIVE=0)

    assert "running" == oxy_pg.Server(state_dir).status().state


@pytest.mark.parametrize(
    ("plain", "same"),
    [
        (["url"], ["url", "--timeout", "60"]),
        (["env"], ["env", "--format", "export"]),
    ],
)
def test_plain_forms_are_answered_without_click(oxy, run_python, state_dir, plain, same):
    """
    What scripts call again and again prints what the command itself prints, and loads no click.
    """
    expected = oxy(*same).stdout
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('loaded:', *sorted({'click', 'rich', 'psycopg', 're'} "
        "& set(sys.modules))))\n"
        f"sys.argv = ['oxy-pg', *{plain!r}]\n"
        "from oxy_pg.__main__ import main\n"
        "main()"
    )

    printed = run_python(code, OXY_STATE_DIR=state_dir)

    assert f"{expected}loaded:" == printed
    assert expected == oxy(*plain).stdout
    assert expected == oxy(*plain, "--state-dir", str(state_dir), OXY_STATE_DIR="/no").stdout
    assert 2 == oxy(*plain, "--no-such-option", code=2).returncode


def test_a_plain_form_means_the_server_of_the_variable(oxy):
    """
    OXY_DATABASE_URL names the server for the plain forms too: no other one is given for it.
    """
    oxy("url")

    done = oxy("url", code=1, OXY_DATABASE_URL="mysql://root@localhost/shop")

    assert "" == done.stdout
    assert "OXY_DATABASE_URL" in done.stderr


def test_a_directory_with_a_space_is_quoted_for_the_shell(oxy, base_dir):
    """
    A value that a shell would split is quoted, in the plain form as in the other.
    """
    place = base_dir / "with a space"
    try:
        expected = oxy("env", "--format", "export", OXY_STATE_DIR=place).stdout
        assert f"'{place}'" in expected
        assert expected == oxy("env", OXY_STATE_DIR=place).stdout
    finally:
        stop_everything_below(place)
