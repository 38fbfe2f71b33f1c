"""A database pushed elsewhere, and pulled back: all of it, or nothing."""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg import errors
from tests.other_servers import postgresql_18_bin
from tests.transfer.contents import RICH, differences, everything


@pytest.fixture
def home(state_dir, monkeypatch):
    """The embedded server of this test."""
    monkeypatch.setenv("OXY_STATE_DIR", str(state_dir))
    with oxy_pg.Server(state_dir, keep_alive=5) as server:
        server.ensure_database()
        yield server


@pytest.fixture(autouse=True)
def with_18(monkeypatch):
    """The fork of pgserver, as if it were installed in this Python."""
    monkeypatch.syspath_prepend(str(postgresql_18_bin().parents[2]))


@pytest.mark.parametrize("where", ["debian_15", "postgresql_18"])
def test_everything_goes_there_and_back(home, request, where):
    """
    Every kind of object and value that an ordinary role can have: push, pull, compare.
    """
    elsewhere = request.getfixturevalue(where)
    target = elsewhere.new_database()
    with psycopg.connect(home.url(), autocommit=True) as connection:
        connection.execute(RICH)
    before = everything(home.superuser_url("oxy"))

    pushed = oxy_pg.push(target)

    assert [] == differences(before, everything(target))
    pulled = oxy_pg.pull(target, if_not_empty="replace")
    assert [] == differences(before, everything(home.superuser_url("oxy")))
    assert pushed.rows == pulled.rows > 1000
