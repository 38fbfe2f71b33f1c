"""The options, on the command line and in pyproject.toml or pytest.ini."""

from __future__ import annotations

import pytest

# Every statement and how long it took, for --oxy-pg-log.
_VERBOSE = {"log_min_duration_statement": "0"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; each can be set in pyproject.toml or pytest.ini too."""
    group = parser.getgroup("oxy_pg", "a PostgreSQL database for each test")
    group.addoption(
        "--oxy-pg-setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a PostgreSQL setting of the test server, such as work_mem=64MB; may be repeated",
    )
    group.addoption(
        "--oxy-pg-extension",
        action="append",
        default=[],
        metavar="NAME",
        help="an extension to create in every test database; may be repeated",
    )
    group.addoption(
        "--oxy-pg-keep",
        action="store_true",
        help="keep the database of a failing test, and print how to connect to it",
    )
    group.addoption(
        "--oxy-pg-log",
        action="store_true",
        help="log every statement, and show those of a failing test in its report",
    )
    parser.addini("oxy_pg_settings", "lines of NAME=VALUE: see --oxy-pg-setting", "linelist", [])
    parser.addini("oxy_pg_extensions", "names, one a line: see --oxy-pg-extension", "linelist", [])
    parser.addini("oxy_pg_keep", "see --oxy-pg-keep", "bool", default=False)
    parser.addini("oxy_pg_log", "see --oxy-pg-log", "bool", default=False)


def settings(config: pytest.Config) -> dict[str, str]:
    """Return the settings of the test server; the command line beats the file."""
    found = dict(_VERBOSE) if is_on(config, "log") else {}
    for line in (*config.getini("oxy_pg_settings"), *config.getoption("oxy_pg_setting")):
        name, equals, value = line.partition("=")
        if not equals:
            raise pytest.UsageError(
                f"oxy_pg: {line!r} is not a setting; write NAME=VALUE, such as work_mem=64MB"
            )
        found[name.strip()] = value.strip().strip("'")
    return found


def extensions(config: pytest.Config) -> tuple[str, ...]:
    """Return the extensions that every test database gets."""
    names = (*config.getini("oxy_pg_extensions"), *config.getoption("oxy_pg_extension"))
    return tuple(dict.fromkeys(names))


def is_on(config: pytest.Config, option: str) -> bool:
    """Whether one of the switches is on: ``keep`` or ``log``."""
    return bool(config.getoption(f"oxy_pg_{option}") or config.getini(f"oxy_pg_{option}"))
