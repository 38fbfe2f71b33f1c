"""The options: declared once, checked once, offered by Python and the command line."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

import oxy_pg
from oxy_pg.cli.data.migrate import migrate_sqlite
from oxy_pg.errors import ConfigurationError
from oxy_pg.migrate.migration import migrate
from oxy_pg.migrate.options import Options

NAMES = {field.name for field in fields(Options)}


@pytest.mark.parametrize("name", ["schema", "on_bad_value", "on_orphan", "if_not_empty", "verify"])
def test_another_word_is_refused_with_those_that_there_are(name):
    """
    For callers without a type checker.
    """
    with pytest.raises(ConfigurationError, match=f"{name} is 'maybe'; choose one of"):
        Options(**{name: "maybe"})


def test_every_option_is_offered_with_the_same_default():
    """
    By oxy_pg.migrate_sqlite(), and by ``oxy-pg migrate-sqlite``.
    """
    parameters = inspect.signature(oxy_pg.migrate_sqlite).parameters
    assert parameters.keys() >= NAMES
    assert {parameter.name for parameter in migrate_sqlite.params} >= NAMES
    given = Options()
    for name in NAMES:
        assert getattr(given, name) == parameters[name].default, name


@pytest.mark.parametrize("given", [{"seeds": "keep"}, {"prepare_env": {"APP_DB": "{url}"}}])
def test_what_is_said_about_prepare_needs_it(tmp_path, given):
    """
    Accepted without it, the option would do nothing.
    """
    (tmp_path / "a.db").touch()
    with pytest.raises(ConfigurationError, match="means nothing without prepare"):
        migrate(str(tmp_path / "a.db"), "postgresql://127.0.0.1:1/none", **given)
