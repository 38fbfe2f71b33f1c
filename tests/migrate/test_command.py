"""The command, from outside: what it prints, what it returns, what it never shows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import click
import psycopg
import pytest

import oxy_pg
from oxy_pg.cli.data.migrate import migrate_sqlite as command
from oxy_pg.errors import (
    BadValues,
    ConfigurationError,
    OrphanRows,
    PreparationFailed,
    SchemaMismatch,
    SourceUnreadable,
    TargetNotEmpty,
    TargetRefused,
    TargetUnreachable,
    VerificationFailed,
)
from oxy_pg.migrate.source.database import path_of
from oxy_pg.report import BadValue, Orphans

THREADS = "CREATE TABLE threads (id INTEGER PRIMARY KEY, title TEXT NOT NULL)"
ROWS = {"threads": [(1, "a"), (2, "<script>alert(1)</script>")]}


def oxy(*arguments):
    """Run ``oxy-pg migrate-sqlite`` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "oxy_pg", "migrate-sqlite", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def run(lite, pg_url):
    """Run the command on a database with two threads."""

    def invoke(*arguments, script=THREADS, rows=ROWS):
        path = lite(script, rows)
        return oxy("--from", path, "--to", pg_url, *arguments)

    return invoke


def test_a_line_for_each_table_in_a_pipe(run):
    """
    Results go to stdout, a line for each table to stderr.
    """
    done = run()
    assert 0 == done.returncode
    assert "[1/1] threads: 2 rows → 2 ✓" in done.stderr
    assert "Moved 2 rows of 1 table in" in done.stdout


CHILDREN = """
CREATE TABLE p (id INTEGER PRIMARY KEY);
CREATE TABLE 売上_children (id INTEGER PRIMARY KEY, p_id INTEGER NOT NULL REFERENCES p);
"""
FAMILY = {"p": [(1,)], "売上_children": [(1, 1), (2, 1), (3, 7)]}


def test_both_sides_stand_side_by_side(run):
    """
    What was counted on either side, in columns; where they differ it says why.
    """
    done = run("--on-orphan", "skip", "--verify", "--quiet", script=CHILDREN, rows=FAMILY)
    assert [
        "table          rows in SQLite  rows in PostgreSQL",
        "p                           1                   1  ✓",
        "売上_children               3                   2  ✓  1 skipped",
        "all 2 tables                4                   3  ✓",
    ] == done.stdout.splitlines()[:4]


def test_rows_that_were_there_before_are_told(run, pg):
    """
    With --if-not-empty append the target has more than what came.
    """
    pg("CREATE TABLE threads (id bigint PRIMARY KEY, title text NOT NULL)")
    pg("INSERT INTO threads VALUES (8, 'a'), (9, 'b')")
    done = run("--if-not-empty", "append", "--verify", "full")
    assert "threads                   2                   4  ✓  2 existing" in done.stdout


def test_without_verification_nothing_is_ticked(run):
    """
    --verify none shows the rows that were written, which nobody has counted again.
    """
    done = run("--verify", "none", "--quiet")
    assert "rows written" in done.stdout
    assert "✓" not in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"], ["--dry-run"]])
def test_a_terminal_of_another_encoding_gets_question_marks(lite, pg_url, options):
    """
    What cannot be printed ends nothing; JSON is UTF-8 everywhere.
    """
    path = lite('CREATE TABLE "売上" (id INTEGER PRIMARY KEY)', {"売上": [(1,)]})
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "oxy_pg",
            "migrate-sqlite",
            "--from",
            path,
            "--to",
            pg_url,
            *options,
        ],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert b"Traceback" not in done.stderr
    if options == ["--json"]:
        assert "売上" == json.loads(done.stdout)["tables"][0]["name"]


# As from a terminal, also where the tests run in the background and ignore SIGINT.
HEEDED = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("oxy_pg", run_name="__main__")
"""


@pytest.mark.parametrize("kind", ["json", "html"])
def test_a_file_whose_name_is_not_utf8(lite, pg_url, tmp_path, kind):
    """
    As on an old disk, whose names are in Latin-1; the JSON gives the same bytes back.
    """
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    path = place / "app.db"
    os.rename(lite(THREADS, ROWS), path)
    report = place / f"report.{kind}"

    done = oxy("--from", path, "--to", pg_url, "--report", report, "--json")

    assert done.returncode == 0, done.stderr
    assert os.fsencode(json.loads(done.stdout)["source"]) == os.fsencode(path)
    if kind == "json":
        assert json.loads(report.read_text())["source"] == str(path)
    back = oxy_pg.export_sqlite(place / "back.db", pg_url)
    assert back.rows == 2
    with contextlib.closing(sqlite3.connect(place / "back.db")) as connection:
        assert connection.execute("SELECT * FROM threads").fetchall() == ROWS["threads"]


def test_interrupted_it_says_that_nothing_was_written(lite, pg_url, pg):
    """
    Ctrl-C ends with 130 and one clear message; the drivers' talk stays out of it.
    """
    script = "CREATE TABLE t (v); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
    path = lite(script + "SELECT i + 1 FROM n WHERE i < 3000000) SELECT 'text ' || i FROM n")
    for after in (0.3, 0.5, 0.8):
        pg("DROP TABLE IF EXISTS t")
        process = subprocess.Popen(
            [sys.executable, "-c", HEEDED, "migrate-sqlite", "--from", path, "--to", pg_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        if process.returncode == 130 and "the target is as it was" in said:
            break
    assert 130 == process.returncode, said
    assert "Stopped before the commit: the target is as it was." in said
    assert "error ignored" not in said
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 't'")


def test_a_dry_run_finds_missing_rights(lite, pg_url, pg, server_url):
    """
    What the real run would be refused is a problem of the dry run already.
    """
    path = lite(THREADS, ROWS)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'sesame'")
    guest = pg_url.replace("oxy:", "guest:")
    try:
        done = oxy("--from", path, "--to", guest, "--dry-run")
        assert 1 == done.returncode
        assert "problem: rights: permission denied for schema public" in done.stdout
        assert "GRANT ALL ON SCHEMA public TO guest;" in done.stdout

        pg("CREATE TABLE threads (id bigint PRIMARY KEY, title text NOT NULL)")
        pg("GRANT SELECT ON threads TO guest")
        done = oxy("--from", path, "--to", guest)
        assert 1 == done.returncode
        assert "permission denied for table threads" in done.stderr
        assert "no INSERT on it" in done.stderr
        pg("DROP TABLE threads")
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute("DROP ROLE guest")


def test_every_option_is_explained():
    """
    --help leaves none without a text, and its examples are commands that exist.
    """
    for parameter in command.params:
        assert isinstance(parameter, click.Option)
        assert parameter.help, parameter.name
    shown = re.sub(r"\\\n *", "", oxy("--help").stdout)
    examples = re.findall(r"^ +oxy-pg migrate-sqlite (.*)$", shown, re.MULTILINE)
    assert len(examples) == 6
    for example in examples:
        command.make_context("migrate-sqlite", shlex.split(example))


def test_json_is_all_that_stdout_holds(run):
    """
    --json prints a document, and no password is in it.
    """
    done = run("--json", "--quiet", "--verify", "full")
    report = json.loads(done.stdout)
    assert [2] == [table["rows_written"] for table in report["tables"]]
    counts = [{"table": "threads", "source": 2, "target": 2, "before": 0, "left": 0}]
    verified = {"mode": "full", "tables": 1, "rows": 2, "values": 4, "counts": counts}
    verified["compared"] = [
        {"table": "threads", "bytes": [], "values": ["id", "title"], "sampled": 0}
    ]
    assert verified == report["verification"]
    assert "" == done.stderr
    assert "sesame" not in done.stdout + done.stderr


def test_a_dry_run_shows_the_plan(run, pg):
    """
    --dry-run prints types and problems, exits 1 when there are any, and writes nothing.
    """
    done = run(
        "--dry-run", script=THREADS + "; CREATE TABLE n (v INT); INSERT INTO n VALUES (1), ('x')"
    )
    assert 1 == done.returncode
    assert "id: INTEGER → bigint" in done.stdout
    assert "problem: bad value: n.v, rowid 2: 'x'" in done.stdout
    assert [] == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")


def test_changed_values_stop_unless_they_are_accepted(run, pg):
    """
    --on-change accept lets them through, and the summary counts them with an example.
    """
    pg("CREATE TABLE m (c money)")
    script = "DROP TABLE IF EXISTS m; CREATE TABLE m (c REAL); INSERT INTO m VALUES (1.239)"
    stopped = run(script=script, rows={})
    assert 1 == stopped.returncode
    assert "m.c: 1 value read by PostgreSQL as something else" in stopped.stderr
    assert "--on-change accept" in stopped.stderr

    done = run("--on-change", "accept", script=script, rows={})

    assert 0 == done.returncode
    assert "changed: m.c: 1 read by PostgreSQL as something else (rowid 1: 1.239 →" in done.stdout
    assert [("$1.24",)] == pg("SELECT c::text FROM m")


class Page(HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else(run, tmp_path):
    """
    The HTML report is one file, escaped, without scripts and links elsewhere.
    """
    file = str(tmp_path / "report.html")
    script = 'CREATE TABLE "<b>&" (id INTEGER PRIMARY KEY, v TEXT)'
    assert 0 == run("--report", file, script=script, rows={"<b>&": [(1, "x")]}).returncode
    text = Path(file).read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "img", "iframe", "b&"}]
    assert not [attrs for _, attrs in page.tags if {"src", "href"} & set(attrs)]
    assert "&lt;b&gt;&amp;" in text
    assert "<svg" in text
    assert "sesame" not in text


def test_all_bad_values_are_in_the_report(run, tmp_path):
    """
    The message shows the first five and their number, the JSON report all of them.
    """
    file = str(tmp_path / "report.json")
    rows = {"t": [(1,), *((f"x{i}",) for i in range(30))]}
    done = run("--report", file, script="CREATE TABLE t (n INTEGER)", rows=rows)
    assert 1 == done.returncode
    assert "Failed to insert t into PostgreSQL: 30 values do not fit" in done.stderr
    assert 5 == done.stderr.count("'x")
    assert "t.n: 25 more, 30 in all: not a whole number" in done.stderr
    assert 30 == len(json.loads(Path(file).read_text(encoding="utf-8"))["problems"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cast", "nonsense"],
        ["--report", "file.txt"],
        ["--verify", "some"],
        ["--jobs", "0"],
        ["--no-such-option"],
    ],
)
def test_wrong_usage_is_exit_code_two(run, arguments):
    """
    Wrong usage exits with 2 before anything is opened.
    """
    assert 2 == run(*arguments).returncode


def test_a_missing_file_is_never_created(pg_url, tmp_path):
    """
    The guide's message, exit code 1, and still no file.
    """
    path = str(tmp_path / "none.db")
    done = oxy("--from", path, "--to", pg_url)
    assert 1 == done.returncode
    assert f"Failed to connect to SQLite database {path}: there is no such file" in done.stderr
    assert not os.path.exists(path)


def test_an_unreachable_server_is_named_without_its_password(lite):
    """
    The guide's message after the time is up; the password is masked.
    """
    path = lite(THREADS, ROWS)
    url = "postgresql://oxy:sesame@127.0.0.1:1/oxy"
    done = oxy("--from", path, "--to", url, "--timeout", "0.3")
    assert 1 == done.returncode
    assert "Failed to connect to PostgreSQL database postgresql://oxy:***@127.0.0.1:1/oxy" in (
        done.stderr
    )
    assert "sesame" not in done.stdout + done.stderr


def test_prepare_runs_first_and_its_failure_ends_it(run, pg):
    """
    --prepare brings the schema up; when it fails, its words come with the guide's message.
    """
    done = run("--prepare", "echo no such revision >&2; exit 3")
    assert 1 == done.returncode
    assert "Failed to run migrations on PostgreSQL" in done.stderr
    assert "no such revision" in done.stderr
    # Nobody knows what the command did before.
    assert "as it was" not in done.stderr
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 'threads'")


def test_backup_copies_the_source_and_leaves_it_alone(lite, pg_url, tmp_path):
    """
    --backup makes a copy and overwrites nothing; the source's bytes stay the same.
    """
    path, copy = lite(THREADS, ROWS), str(tmp_path / "copy.db")
    arguments = ["--from", path, "--to", pg_url, "--backup", copy, "--if-not-empty", "truncate"]
    before = hashlib.sha256(Path(path).read_bytes()).digest()
    assert 0 == oxy(*arguments).returncode
    assert before == hashlib.sha256(Path(path).read_bytes()).digest()
    with contextlib.closing(sqlite3.connect(copy)) as copied:
        assert ROWS["threads"] == copied.execute("SELECT * FROM threads").fetchall()
    again = oxy(*arguments)
    assert 1 == again.returncode
    assert "exists already" in again.stderr
    # A log of another database, which SQLite would write into the copy.
    arguments[5] = other = str(tmp_path / "other.db")
    Path(f"{other}-wal").touch()
    refused = oxy(*arguments)
    assert 1 == refused.returncode
    assert "other.db-wal exists already" in refused.stderr
    assert ["copy.db", "other.db-wal"] == sorted(
        name for name in os.listdir(tmp_path) if name.startswith(("copy", "other", "."))
    )


def test_tables_and_exclude_choose(run, pg):
    """
    --tables and --exclude take names and patterns; unknown ones are an error.
    """
    script = "CREATE TABLE a (v); CREATE TABLE b1 (v); CREATE TABLE b2 (v)"
    assert 0 == run("--tables", "a,b*", "--exclude", "b2", script=script, rows=None).returncode
    names = pg("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = "
               "'public'::regnamespace ORDER BY 1")  # fmt: skip
    assert [("a",), ("b1",)] == names
    assert "nope" in run("--tables", "nope", script="", rows=None).stderr


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("app.db", "app.db"),
        ("sqlite:////abs/app.db", "/abs/app.db"),
        ("sqlite:///abs/app.db", "/abs/app.db"),
        ("sqlite://app.db", "app.db"),
        ("sqlite:app.db", "app.db"),
        ("sqlite+aiosqlite:////abs/a%20b.db?mode=rwc", "/abs/a b.db"),
        ("sqlite://~/x.db", "{home}/x.db"),
        ("sqlite:///~/x.db", "{home}/x.db"),
        ("sqlite://$HOME/x.db", "{home}/x.db"),
        ("~/x.db", "{home}/x.db"),
    ],
)
def test_sqlite_urls_are_read(monkeypatch, given, path):
    """
    Every spelling of a SQLite URL that is in use means a path.
    """
    monkeypatch.setenv("HOME", "/home/me")
    assert path.format(home="/home/me") == path_of(given)


def test_another_database_is_no_source():
    """
    A URL of another kind is refused without its password.
    """
    with pytest.raises(ConfigurationError, match=r"mysql://me:\*\*\*@host"):
        path_of("mysql://me:secret@host/db")


def test_an_unused_cast_is_told(run, pg):
    """
    A column that is there keeps its type, and the user learns that the cast did nothing.
    """
    pg("CREATE TABLE threads (id bigint, title text NOT NULL)")

    done = run("--cast", "threads.title=integer")

    assert "threads.title stays text" in done.stdout


def test_a_report_without_a_place_is_wrong_usage(run, pg):
    """
    It is noticed before the rows are moved, not after.
    """
    done = run("--report", "/no/such/place/report.json")

    assert 2 == done.returncode
    assert "/no/such/place" in done.stderr
    assert [] == pg("SELECT relname FROM pg_class WHERE relname = 'threads'")


def test_an_unquoted_at_sign_is_said_to_be_one(run):
    """
    What stands behind it would be taken for the host, and be shown.
    """
    done = run("--to", "postgresql://oxy:hunter@two@127.0.0.1/app")

    assert 1 == done.returncode
    assert "%40" in done.stderr
    assert "hunter" not in done.stderr
    assert "two" not in done.stderr


ERRORS = [
    SourceUnreadable("/a.db", "why", "what next"),
    TargetUnreachable("postgresql://h/d", "why", "what next"),
    TargetRefused("insert t into", "why", "what next"),
    PreparationFailed("`make`", "why"),
    TargetNotEmpty((("t", 3),)),
    SchemaMismatch(("a", "b")),
    BadValues((BadValue("t", "c", "rowid 1", "'x'", "no"),), 7),
    OrphanRows((Orphans("t", ("c",), "p", 2, ("rowid 1",)),)),
    VerificationFailed(("t: 1 row",)),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_pickle(error):
    """
    Every error survives the way to another process with its message.
    """
    assert str(error) == str(pickle.loads(pickle.dumps(error)))


def test_import_loads_neither_driver():
    """
    Importing oxy_pg loads neither psycopg nor sqlite3.
    """
    code = "import oxy_pg, oxy_pg.errors, sys; print({'psycopg', 'sqlite3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set()\n" == done.stdout


def test_a_rehearsal_says_so_and_keeps_nothing(run, pg, tmp_path):
    """
    The table of counts, the last line and both reports are the move's, marked as a rehearsal.
    """
    page = str(tmp_path / "report.html")
    done = run("--rehearse", "--quiet", "--report", page)
    assert 0 == done.returncode
    assert "threads                   2                   2  ✓" in done.stdout
    assert re.search(
        r"^Rehearsed: moved 2 rows of 1 table in .* s; 4 values compared, and rolled back\. "
        r"The target is as it was\.$",
        done.stdout,
        re.MULTILINE,
    )
    assert [] == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    text = Path(page).read_text(encoding="utf-8")
    assert "Rehearsal: migrated and rolled back" in text
    assert "How values were compared" in text


def test_the_document_says_that_it_was_a_rehearsal(run):
    """
    For programs.
    """
    document = json.loads(run("--rehearse", "--quiet", "--json").stdout)
    assert (True, False) == (document["rehearsal"], document["dry_run"])


def test_a_dry_run_lists_what_it_has_not_examined(run, pg, tmp_path):
    """
    With the definition, and the option that examines it; on the page too.
    """
    pg("CREATE TABLE threads (id bigint PRIMARY KEY, title text CHECK (title <> 'x'))")
    page = str(tmp_path / "report.html")
    done = run("--dry-run", "--report", page)
    assert 0 == done.returncode
    assert (
        "not examined: check threads_title_check on threads: CHECK ((title <> 'x'::text))"
        in done.stdout
    )
    assert "1 thing that only PostgreSQL can examine: --rehearse does it." in done.stdout
    assert "threads_title_check" in Path(page).read_text(encoding="utf-8")


def test_a_dry_run_says_how_many_rows_are_skipped(run):
    """
    It applies the same options as the move.
    """
    done = run("--on-orphan", "skip", "--dry-run", script=CHILDREN, rows=FAMILY)
    assert re.search(r"create 売上_children +3 rows, 1 of them skipped", done.stdout)
    assert "no problems found" in done.stdout


def test_bad_values_of_a_dry_run_are_grouped(run):
    """
    The first five of each column and reason, and how many there are.
    """
    rows = {"t": [(f"x{i}", "" if i % 2 else "y") for i in range(30)] + [(1, None)]}
    done = run("--dry-run", script="CREATE TABLE t (n INTEGER, d DATE)", rows=rows)
    assert 1 == done.returncode
    assert 5 == done.stdout.count("problem: bad value: t.n, rowid")
    assert "problem: bad value: t.n: 25 more, 30 in all: not a whole number" in done.stdout
    assert 2 == len(re.findall(r"problem: bad value: t\.d: 10 more, 15 in all", done.stdout))


def test_dry_run_and_rehearsal_exclude_each_other(run):
    """
    With a message that says what each of them does.
    """
    done = run("--dry-run", "--rehearse")
    assert 1 == done.returncode
    assert "exclude each other" in done.stderr
