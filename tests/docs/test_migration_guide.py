"""
docs/migrating-from-sqlite.md: its commands are run in their order, and its output is compared.

The info string of each block says what is done with it:

    sh run=embedded     on the embedded server       sh run=external   on Debian's PostgreSQL 15
    sql run=embedded    and so on, by ``oxy-pg psql``; sql run=admin, admin-oxy: as administrator
    sql run=sqlite      by SQLite, on db.sqlite      sql … same        and returns the same rows
    … file=NAME         is written to that file      … exit=1          ends with that exit code
    text prints         the output of the block before; … stands for any text
    … check, check=…    cannot run here: the syntax is checked
"""

from __future__ import annotations

import configparser
import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest
import yaml

import oxy_pg
from oxy_pg import url as urls
from oxy_pg.migrate.source.database import path_of
from oxy_pg.paths import StateDir
from oxy_pg.server.cluster import account
from tests import oxy_database
from tests.conftest import wait_until
from tests.other_servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.other_servers import OtherServer

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "migrating-from-sqlite.md").read_text()
PASSWORD = "change-me"
PLACE = "db.example.com:5432"  # the guide's server, replaced by the test's


class Block(NamedTuple):
    """One fenced block, and what its info string says."""

    line: int
    language: str
    meaning: dict[str, str]
    text: str

    @property
    def where(self) -> str:
        return f"docs/migrating-from-sqlite.md, line {self.line}"


def blocks() -> list[Block]:
    found = []
    for match in re.finditer(r"^```(\w+) ?(.*)\n((?s:.*?))^```$", GUIDE, re.MULTILINE):
        words = (word.partition("=") for word in match[2].split())
        meaning = {name: value for name, _, value in words}
        line = GUIDE.count("\n", 0, match.start()) + 1
        found.append(Block(line, match[1], meaning, match[3]))
    return found


BLOCKS = blocks()
CHECKED = [block for block in BLOCKS if "check" in block.meaning]
RUN = {"embedded", "external", "admin", "admin-oxy", "sqlite"}


def test_every_block_runs_or_is_checked():
    """
    No block is skipped because its first line is spelled differently.
    """
    assert GUIDE.count("```") == 2 * len(BLOCKS)
    for block in BLOCKS:
        kinds = [kind for kind in ("run", "check", "prints", "file") if kind in block.meaning]
        assert len(kinds) == 1, block.where
        assert set(block.meaning) <= {"run", "check", "prints", "file", "exit", "same"}, block.where
        if "run" in block.meaning:
            assert block.language in {"sh", "sql"}, block.where
            assert block.meaning["run"] in RUN, block.where
    for before, block in itertools.pairwise(BLOCKS):
        if "prints" in block.meaning:
            assert before.language == "sh", block.where


def test_every_link_leads_somewhere():
    """
    Each heading and each file that the text refers to exists.
    """
    for target in re.findall(r"\]\(([^)]+)\)", GUIDE):
        name, _, anchor = target.partition("#")
        text = (DOCS / name).read_text() if name else GUIDE
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
        assert not anchor or anchor in anchors, target


# --- what can run ---


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The reader's directory: db.sqlite, and an application with schema migrations."""
    place = tmp_path / "an application"
    place.mkdir()
    monkeypatch.chdir(place)
    oxy_database.generate(place / "db.sqlite", 5_000)
    versions = place / "migrations/versions"
    versions.mkdir(parents=True)
    (place / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (place / "migrations/env.py").write_text(ALEMBIC_ENVIRONMENT)
    (versions / "0001_oxy.py").write_text(ALEMBIC_VERSION)
    return place


ALEMBIC_ENVIRONMENT = """
import os
import sqlalchemy
from alembic import context

engine = sqlalchemy.create_engine(os.environ["OXY_DATABASE_URL"])
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""

ALEMBIC_VERSION = f"""
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    # A cursor, because the driver is psycopg2 with SQLAlchemy 2.0.
    cursor = op.get_bind().connection.driver_connection.cursor()
    cursor.execute({oxy_database.POSTGRES_SCHEMA!r})
    for version in {oxy_database.MIGRATIONS!r}:
        cursor.execute("INSERT INTO seaql_migrations VALUES (%s, 1760000000)", [version])
"""


class Reader:
    """A reader who follows the guide, with one shell and one directory."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        programs = folder / "programs"
        programs.mkdir()
        self.environment = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "OXY_STATE_DIR": str(home / "state"),
            "OXY_PG_CACHE_DIR": os.environ["OXY_PG_CACHE_DIR"],
            "TMPDIR": os.environ["TMPDIR"],
        }
        self.printed = ""
        self.rows: list[tuple[object, ...]] = []
        self.administrator: Callable[[str, str], None] | None = None

    def follow(self, kinds: set[str], place: str = PLACE) -> int:
        """Run all blocks of these kinds in order; return how many."""
        done = 0
        mine = False
        for block in BLOCKS:
            if "prints" in block.meaning:
                if mine:
                    self.compare(block, place)
                continue
            mine = block.meaning.get("run", "file" if "file" in block.meaning else "") in kinds
            if mine:
                self.do(block, place)
                done += 1
        return done

    def do(self, block: Block, place: str) -> None:
        text = block.text.replace(PLACE, place)
        if "file" in block.meaning:
            name = block.meaning["file"]
            path = self.folder / ("programs" if block.language == "sh" else "") / name
            path.write_text(text)
            path.chmod(0o755)
        elif block.language == "sh":
            self.shell(text, block)
        elif block.meaning["run"] == "sqlite":
            with contextlib.closing(sqlite3.connect(self.folder / "db.sqlite")) as lite:
                self.rows = lite.execute(text).fetchall()
        elif block.meaning["run"].startswith("admin"):
            assert self.administrator is not None
            self.administrator(text, block.meaning["run"])
        else:
            (self.folder / "query.sql").write_text(text)
            self.shell("oxy-pg psql -- -X -v ON_ERROR_STOP=1 -f query.sql", block)
            if "same" in block.meaning:
                with psycopg.connect(self.url()) as connection:
                    assert self.rows == connection.execute(text).fetchall(), block.where

    def url(self) -> str:
        return self.environment["OXY_DATABASE_URL"]

    def shell(self, text: str, block: Block | None = None) -> None:
        """Run commands; what they export is set for those that follow."""
        kept = self.folder.parent / "environment"
        done = subprocess.run(
            ["sh", "-e", "-c", f"{text}\nenv -0 > {shlex.quote(str(kept))}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        self.printed = done.stdout
        expected = int(block.meaning.get("exit", 0)) if block else 0
        assert done.returncode == expected, f"{block and block.where}\n{text}\n{done.stdout}"
        if not expected:
            pairs = (pair.partition("=") for pair in kept.read_text().split("\0") if pair)
            self.environment = {name: value for name, _, value in pairs}

    def compare(self, block: Block, place: str) -> None:
        printed = self.printed.replace(place, PLACE)
        lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        if not re.fullmatch(pattern(block.text), lines):
            pytest.fail(f"{block.where} shows\n{block.text}\nThis was printed:\n{lines}")


def pattern(shown: str) -> str:
    """Let … stand for any text, on a line of its own for any lines; times may differ."""
    lines = []
    for line in shown.splitlines():
        if line == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        parts = re.split(r"(…|\d+\.\d s)", line.rstrip())
        known = {"…": ".*?"}
        lines.append(
            "".join(
                re.escape(part) if number % 2 == 0 else known.get(part, r"\d+\.\d s")
                for number, part in enumerate(parts)
            )
            + r"\n"
        )
    return "".join(lines)


def test_pattern_tells_a_difference():
    """
    … matches any text, and everything else only itself.
    """
    assert re.fullmatch(pattern("a … c\n…\nin 0.9 s.\n"), "a b b c\nx\ny\nin 12.3 s.\n")
    assert not re.fullmatch(pattern("a … c\n"), "a b\n")
    assert not re.fullmatch(pattern("rows: 20\n"), "rows: 21\n")
    assert not re.fullmatch(pattern("a\n"), "a\nb\n")


def test_guide_on_the_embedded_server(folder, state_dir):
    """
    As a developer: start without data, dry run, migrate, check, reset, migrate again.
    """
    home = state_dir.parent
    reader = Reader(folder, home)

    assert reader.follow({"embedded", "sqlite", "file"}) > 10


@pytest.fixture
def oxy_15(debian_15):
    """Debian's PostgreSQL 15; what the guide creates on it is removed afterwards."""
    yield debian_15
    with debian_15.superuser() as connection:
        for database in ("oxy_restored", "oxy"):
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        connection.execute("DROP ROLE IF EXISTS oxy")


def as_administrator(server: OtherServer, text: str, run: str) -> None:
    database = "oxy" if run == "admin-oxy" else "postgres"
    words = ["-X", "-v", "ON_ERROR_STOP=1", "-h", server.home, "-p", server.port, "-U", "postgres"]
    psql = [server.bin_dir / "psql", *words, "-d", database]
    done = subprocess.run(
        list(map(str, psql)), input=text, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr


def test_guide_on_postgresql_15(folder, state_dir, oxy_15):
    """
    As an operator: on Debian's PostgreSQL 15 with TLS, as an ordinary role.
    """
    reader = Reader(folder, state_dir.parent)
    reader.administrator = lambda text, run: as_administrator(oxy_15, text, run)
    shutil.copy(oxy_15.certificate, folder / "root.crt")
    kinds = {"external", "admin", "admin-oxy", "sqlite", "file"}

    assert reader.follow(kinds, f"127.0.0.1:{oxy_15.port}") > 30

    with psycopg.connect(reader.url()) as connection:
        assert connection.pgconn.ssl_in_use
        row = connection.execute("SELECT usesuper FROM pg_user WHERE usename = current_user")
        assert (False,) == row.fetchone()
        assert (5_000,) == connection.execute("SELECT count(*) FROM messages").fetchone()


def test_pgbouncer_as_the_guide_has_it(oxy_15, base_dir, state_dir):
    """
    With the guide's two files PgBouncer accepts the role, and connects with TLS.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("Debian's package pgbouncer is not installed; .ci/run installs it")
    creation = next(block for block in BLOCKS if block.meaning.get("run") == "admin")
    as_administrator(oxy_15, creation.text, "admin")
    home = state_dir.parent / "pgbouncer"
    home.mkdir()
    port = free_port()
    for kind, name in (("pgbouncer", "pgbouncer.ini"), ("userlist", "userlist.txt")):
        [text] = [block.text for block in CHECKED if block.meaning["check"] == kind]
        text = text.replace("/etc/pgbouncer", str(home)).replace("6432", str(port))
        elsewhere = PLACE.replace(":", " port=")
        (home / name).write_text(text.replace(elsewhere, f"127.0.0.1 port={oxy_15.port}"))
    shutil.copy(oxy_15.certificate, home / "root.crt")
    user = account.account_for(StateDir(str(home / "none")))
    for path in (home, *home.iterdir()):
        user.own(str(path))
    process = subprocess.Popen(
        [program, "-q", str(home / "pgbouncer.ini")], cwd="/", **user.popen_arguments()
    )
    try:
        url = f"postgresql://oxy:{PASSWORD}@127.0.0.1:{port}/oxy"
        assert wait_until(lambda: answers(url))
        with psycopg.connect(url) as connection:
            query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert (True,) == connection.execute(query).fetchone()
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


# --- what goes wrong ---

TROUBLES = re.findall(
    r"^\| `([^`]+)` \| [^|]+ \| [^|]+ \|$",
    GUIDE.partition("## Troubleshooting")[2].partition("\n## ")[0],
    re.MULTILINE,
)


class Trouble:
    """A user who makes every mistake; each method makes one, and returns the message."""

    def __init__(self, server: OtherServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.url = server.new_database()
        self.bare, _, self.query = self.url.partition("?")
        self.environment = {**os.environ, "HOME": str(folder)}
        self.lite("good.db", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")

    def lite(self, name: str, script: str) -> str:
        with contextlib.closing(sqlite3.connect(self.folder / name)) as lite:
            lite.executescript(script)
        return name

    def move(self, *words: str, to: str | None = "", source: str = "good.db") -> str:
        """Run the command, which fails; return its message."""
        target = [] if to is None else ["--to", to or self.url]
        return self.failed("--from", source, *target, *words)

    def failed(self, *words: str, before: tuple[str, ...] = ()) -> str:
        done = subprocess.run(
            [*before, sys.executable, "-m", "oxy_pg", "migrate-sqlite", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert 1 == done.returncode, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    # Each makes one mistake.

    def no_file(self) -> str:
        return self.move(source="nope.db")

    def directory(self) -> str:
        return self.move(source=".")

    def other_file(self) -> str:
        (self.folder / "notes.txt").write_text("This is no database at all.")
        return self.move(source="notes.txt")

    def damaged(self) -> str:
        path = self.folder / self.lite("damaged.db", "CREATE TABLE t (v); " + FILL)
        path.write_bytes(path.read_bytes()[:6000] + b"\xff" * 3000 + path.read_bytes()[9000:])
        return self.move(source="damaged.db")

    def unreadable(self) -> str:
        (self.folder / self.lite("closed.db", "CREATE TABLE t (v)")).chmod(0)
        drop = "-dac_override,-dac_read_search"
        powerless = ("setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}")
        before = powerless if os.geteuid() == 0 else ()
        return self.failed("--from", "closed.db", "--to", self.url, before=before)

    def locked(self) -> str:
        self.lite("locked.db", "CREATE TABLE t (v)")
        with contextlib.closing(sqlite3.connect(self.folder / "locked.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            return self.move("--timeout", "0.2", source="locked.db")

    def no_table(self) -> str:
        return self.move("--tables", "nope")

    def nobody_there(self) -> str:
        url = self.bare.replace(f":{self.server.port}/", f":{free_port()}/")
        return self.move("--timeout", "1", to=url)

    def no_host(self) -> str:
        return self.move("--timeout", "1", to=self.bare.replace("127.0.0.1", "nohost.invalid"))

    def password(self) -> str:
        return self.move(to=self.server.url(self.role(), "wrong", self.role()))

    def role(self) -> str:
        return str(psycopg.conninfo.conninfo_to_dict(self.url)["user"])

    def at(self) -> str:
        said = self.move(to=f"postgresql://me:se@cret@127.0.0.1:{self.server.port}/me")
        assert "cret" not in said
        return said

    def sqlite_target(self) -> str:
        return self.move(to="sqlite:///good.db")

    def empty_variable(self) -> str:
        self.environment["OXY_DATABASE_URL"] = ""
        return self.move(to=None)

    def no_database(self) -> str:
        return self.move(to=self.url.replace(f"/{self.role()}?", "/nope?"))

    def no_tls(self) -> str:
        return self.move(to=f"{self.bare}?sslmode=disable")

    def no_certificate(self) -> str:
        return self.move(to=f"{self.bare}?sslmode=verify-full")

    def other_certificate(self) -> str:
        request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x")
        files = ("-keyout", "other.key", "-out", "other.crt")
        subprocess.run([*request, *files], check=True, capture_output=True, cwd=self.folder)
        return self.move(to=f"{self.bare}?sslmode=verify-full&sslrootcert=other.crt")

    def sslmode(self) -> str:
        return self.move(to=f"{self.bare}?sslmode=required")

    def no_grant(self) -> str:
        return self.move(to=self.server.new_database(owner=False))

    def others_table(self) -> str:
        with self.server.superuser(self.role()) as connection:
            connection.execute("CREATE TABLE t (id int)")
        return self.move()

    def prepare(self) -> str:
        return self.move("--prepare", "echo no such revision >&2; exit 3")

    def bad_values(self) -> str:
        self.lite("bad.db", "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES ('x')")
        return self.move("--cast", "t.n=integer", source="bad.db")

    def orphans(self) -> str:
        script = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p_id REFERENCES p);"
        return self.move(source=self.lite("c.db", script + "INSERT INTO c VALUES (7)"))

    def no_place(self) -> str:
        return self.move("--schema", "existing")

    def twice(self) -> str:
        with psycopg.connect(self.url) as connection:
            connection.execute("CREATE TABLE t (id bigint); INSERT INTO t VALUES (1)")
        return self.move()

    def backup_again(self) -> str:
        return self.move("--backup", "good.db")

    def interrupted(self) -> str:
        self.lite("big.db", "CREATE TABLE t (v); " + FILL)
        words = ("migrate-sqlite", "--from", "big.db", "--to", self.url, "--verify", "full")
        process = subprocess.Popen(
            [sys.executable, "-m", "oxy_pg", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        # It has started as soon as it has a session.
        query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'oxy_pg' AND datname = %s"
        with self.server.superuser() as connection:
            assert wait_until(lambda: connection.execute(query, [self.role()]).fetchone())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert 130 == process.returncode
        return said


FILL = (
    "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
    "WHERE i < 300000) SELECT 'row ' || i FROM n"
)
# In the order of the guide's table.
CAUSES = (
    *(Trouble.no_file, Trouble.directory, Trouble.other_file, Trouble.damaged, Trouble.unreadable),
    *(Trouble.locked, Trouble.no_table, Trouble.nobody_there, Trouble.no_host, Trouble.password),
    *(Trouble.at, Trouble.sqlite_target, Trouble.empty_variable, Trouble.no_database),
    *(Trouble.no_tls, Trouble.no_certificate, Trouble.other_certificate, Trouble.sslmode),
    *(Trouble.no_grant, Trouble.others_table, Trouble.prepare, Trouble.bad_values),
    *(Trouble.orphans, Trouble.no_place, Trouble.twice, Trouble.backup_again, Trouble.interrupted),
)


def test_every_message_has_its_cause():
    """
    The two lists have the same length.
    """
    assert len(CAUSES) == len(TROUBLES) == len(set(TROUBLES))


def test_what_step_1_grants_is_what_was_missing(oxy_15, tmp_path):
    """
    Another role's database and tables: refused, granted as the guide says, and migrated.
    """
    made, granted, owned = [block.text for block in BLOCKS if "admin" in str(block.meaning)][:3]
    as_administrator(oxy_15, made.replace("oxy OWNER oxy", "oxy"), "admin")
    trouble = Trouble(oxy_15, tmp_path)
    trouble.url = oxy_15.url("oxy", PASSWORD, "oxy")
    assert "permission denied for schema public" in trouble.move()

    as_administrator(oxy_15, granted, "admin-oxy")
    as_administrator(oxy_15, "CREATE TABLE t (id bigint PRIMARY KEY)", "admin-oxy")
    assert "permission denied for table t" in trouble.move()

    as_administrator(oxy_15, owned, "admin-oxy")
    report = oxy_pg.migrate_sqlite(tmp_path / "good.db", trouble.url, schema="existing")
    assert 1 == report.rows

    # An owner may drop indexes, but not create them again without the right to create.
    as_administrator(oxy_15, "REVOKE ALL ON SCHEMA public FROM oxy", "admin-oxy")
    as_administrator(oxy_15, "GRANT USAGE ON SCHEMA public TO oxy", "admin-oxy")
    assert "permission denied for schema public" in trouble.move("--if-not-empty", "truncate")


@pytest.mark.parametrize("number", range(len(CAUSES)), ids=lambda n: CAUSES[n].__name__)
def test_message_is_what_the_guide_says(number, debian_15, tmp_path):
    """
    Each mistake leads to the message in the table, word for word.
    """
    said = CAUSES[number](Trouble(debian_15, tmp_path))

    words = [re.escape(part) for part in TROUBLES[number].split("…")]
    assert re.search(".*?".join(words), said), f"{TROUBLES[number]}\n{said}"
    assert "pässword" not in said
    assert "p%C3%A4ssword" not in said


# --- what cannot ---


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: f"line {block.line}")
def test_syntax(block, tmp_path):
    """
    What needs a cloud, a cluster or root at least has the right syntax.
    """
    kind = block.meaning["check"] or block.language
    CHECKS[kind](block.text, tmp_path)


def check_shell(text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-n"], input=text, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (0, "") == (done.returncode, done.stderr)
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        known = {"pip", "docker", "export", "sudo", "kubectl", "oxy-pg", "systemctl"}
        assert words[0] in known, line


def check_sqlite_urls(text: str, tmp_path: Path) -> None:
    for line in text.splitlines():
        assert path_of(line).endswith("db.sqlite")


def check_url(url: str) -> None:
    assert url == urls.plain(url)
    urls.check(url)
    parts = psycopg.conninfo.conninfo_to_dict(url)
    assert parts.get("password") in {None, PASSWORD}
    assert parts["dbname"]


def check_urls(text: str, tmp_path: Path) -> None:
    for line in text.splitlines():
        check_url(line[20:])
    assert len(text.splitlines()) >= 5


def check_env(text: str, tmp_path: Path) -> None:
    for line in text.splitlines():
        name, _, value = line.partition("=")
        assert name in {"OXY_DATABASE_URL", "OXY_DB_PASSWORD"}
        if name == "OXY_DATABASE_URL":
            check_url(value)


def check_compose(text: str, tmp_path: Path) -> None:
    document = yaml.safe_load(text)
    assert {"services", "volumes"} == set(document)
    services = document["services"]
    url = services["app"]["environment"]["OXY_DATABASE_URL"]
    check_url(url.replace("${OXY_DB_PASSWORD}", PASSWORD))
    assert "@db:5432/" in url
    assert set(services["app"]["depends_on"]) < set(services)
    assert "healthcheck" in services["db"]


def check_kubernetes(text: str, tmp_path: Path) -> None:
    documents = {one["kind"]: one for one in yaml.safe_load_all(text)}
    for document in documents.values():
        assert document["apiVersion"] in {"v1", "apps/v1", "batch/v1"}
        assert document["metadata"]["name"]
    if "Secret" in documents:
        check_url(documents["Secret"]["stringData"]["OXY_DATABASE_URL"])
        labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
        assert labels == documents["Deployment"]["spec"]["selector"]["matchLabels"]
    pod = documents.get("Job", documents.get("Deployment"))["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert [{"secretRef": {"name": "oxy-database"}}] == container["envFrom"]
    names = {volume["name"] for volume in pod.get("volumes", ())}
    assert names == {mount["name"] for mount in container.get("volumeMounts", ())}


def check_systemd(text: str, tmp_path: Path) -> None:
    kind = "timer" if "[Timer]" in text else "service"
    (tmp_path / f"oxy-backup.{kind}").write_text(text)
    if kind == "timer":
        service = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
        (tmp_path / "oxy-backup.service").write_text(service)
    verify_unit(tmp_path / f"oxy-backup.{kind}", text)


def check_dropin(text: str, tmp_path: Path) -> None:
    (tmp_path / "oxy.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "oxy.service.d").mkdir()
    (tmp_path / "oxy.service.d/database.conf").write_text(text)
    verify_unit(tmp_path / "oxy.service", text)


def verify_unit(path: Path, text: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    assert set(parser.sections()) <= {"Unit", "Service", "Timer", "Install"}
    if shutil.which("systemd-analyze") is None:
        return
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{path.parent}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    missing = ("is not executable", "Failed to connect", "not found")
    lines = [line for line in done.stderr.splitlines() if str(path.parent) in line]
    assert [] == [line for line in lines if not any(words in line for words in missing)]


def check_cron(text: str, tmp_path: Path) -> None:
    times = re.fullmatch(r"([\d*]+) ([\d*]+) ([\d*]+) ([\d*]+) ([\d*]+) (\w+) (.+)\n", text)
    assert times
    check = subprocess.run(["sh", "-n"], input=times[7], text=True, check=False)
    assert 0 == check.returncode
    # cron ends the command at a %.
    assert "%" not in times[7]


def check_settings(text: str, tmp_path: Path) -> None:
    """PostgreSQL itself parses them, without starting a server."""
    from oxy_pg.server.cluster import binaries

    (tmp_path / "postgresql.conf").write_text(text)
    program = binaries.find().program("postgres")
    names = re.findall(r"^(\w+) =", text, re.MULTILINE)
    assert len(names) == len(text.splitlines())
    for name in names:
        done = subprocess.run(
            [program, "-C", name, "-D", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stderr


def check_userlist(text: str, tmp_path: Path) -> None:
    assert re.fullmatch(r'("\w+" "[^"]+"\n)+', text)


def check_pgbouncer(text: str, tmp_path: Path) -> None:
    """Its lines are read here; ``test_pgbouncer_as_the_guide_has_it`` starts it."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    assert {"databases", "pgbouncer"} == set(parser.sections())


CHECKS = {
    "sh": check_shell,
    "sqlite-urls": check_sqlite_urls,
    "urls": check_urls,
    "env": check_env,
    "compose": check_compose,
    "kubernetes": check_kubernetes,
    "systemd": check_systemd,
    "systemd-dropin": check_dropin,
    "cron": check_cron,
    "settings": check_settings,
    "pgbouncer": check_pgbouncer,
    "userlist": check_userlist,
}
