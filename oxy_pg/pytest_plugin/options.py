"""The options, on the command line and in pyproject.toml or pytest.ini."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from oxy_pg.project import Project
    from oxy_pg.server.place import Place

VARIABLE = "OXY_DATABASE_URL"
LEAKS = ("name", "fail", "off")  # what to do about sessions that a test leaves
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
    group.addoption(
        "--oxy-pg-template-key",
        action="append",
        default=[],
        metavar="PATH",
        help="a file or directory that the template is made from: unchanged, it is used again in "
        "the next session; may be repeated",
    )
    group.addoption(
        "--oxy-pg-leaks",
        choices=LEAKS,
        default=None,
        help="sessions that a test leaves: name them in the summary (the default), fail the test, "
        "or do not look (off)",
    )
    group.addoption(
        "--oxy-pg-dir",
        default=None,
        metavar="DIR",
        help="the directory for the test server's files, whatever room it has: by default in "
        "memory where there is room, else the temporary directory (with =: a directory that stands "
        "alone is taken by pytest for its rootdir)",
    )
    group.addoption(
        "--oxy-pg-embedded",
        action="store_true",
        help=f"use the embedded server, also where {VARIABLE} is set: the whole session ignores it",
    )
    parser.addini(
        "oxy_pg_template_key", "paths, one a line: see --oxy-pg-template-key", "linelist", []
    )
    parser.addini("oxy_pg_dir", "see --oxy-pg-dir; relative to pytest's root directory", default="")
    parser.addini("oxy_pg_leaks", "see --oxy-pg-leaks", default="name")
    parser.addini("oxy_pg_settings", "lines of NAME=VALUE: see --oxy-pg-setting", "linelist", [])
    parser.addini("oxy_pg_extensions", "names, one a line: see --oxy-pg-extension", "linelist", [])
    parser.addini("oxy_pg_keep", "see --oxy-pg-keep", "bool", default=False)
    parser.addini("oxy_pg_log", "see --oxy-pg-log", "bool", default=False)


def settings(config: pytest.Config) -> dict[str, str]:
    """Return the settings of the test server; the command line beats the files."""
    from oxy_pg import _defaults

    found = dict(_VERBOSE) if is_on(config, "log") else {}
    own = {}
    for line in (*config.getini("oxy_pg_settings"), *config.getoption("oxy_pg_setting")):
        name, equals, value = line.partition("=")
        if not equals:
            raise pytest.UsageError(
                f"oxy_pg: {line!r} is not a setting; write NAME=VALUE, such as work_mem=64MB"
            )
        own[name.strip()] = value.strip().strip("'")
    ours = _defaults.settings(own, _project(config)) or {}
    return {**found, **{name: str(value) for name, value in ours.items()}}


def extensions(config: pytest.Config) -> tuple[str, ...]:
    """Return the extensions that every test database gets: the plugin's and the project's."""
    from oxy_pg import _defaults

    names = (*config.getini("oxy_pg_extensions"), *config.getoption("oxy_pg_extension"))
    return _defaults.extensions(tuple(dict.fromkeys(names)), _project(config))


def _project(config: pytest.Config) -> Project | None:
    """Return ``[tool.oxy-pg]`` of the directory that pytest was called in."""
    from oxy_pg import project

    return project.find(str(config.invocation_params.dir))


def template_key(config: pytest.Config) -> list[str] | None:
    """Return what the template is made from; None where it is not to be kept."""
    given = config.getoption("oxy_pg_template_key") or config.getini("oxy_pg_template_key")
    return list(given) or None


def leaks(config: pytest.Config) -> str:
    """Return what to do about sessions that a test leaves: ``name``, ``fail`` or ``off``."""
    found = str(config.getoption("oxy_pg_leaks") or config.getini("oxy_pg_leaks"))
    if found not in LEAKS:
        raise pytest.UsageError(f"oxy_pg_leaks is {found!r}; write one of {', '.join(LEAKS)}")
    return found


def place(config: pytest.Config) -> Place:
    """Return where a temporary server is to live: what the options name, or else by itself."""
    from oxy_pg.server import place

    given = config.getoption("oxy_pg_dir")
    if given:
        return place.choose(os.path.join(config.invocation_params.dir, given), "--oxy-pg-dir")
    given = config.getini("oxy_pg_dir")
    return place.choose(given and os.path.join(config.rootpath, given), "oxy_pg_dir")


def is_on(config: pytest.Config, option: str) -> bool:
    """Whether one of the switches is on: ``keep`` or ``log``."""
    return bool(config.getoption(f"oxy_pg_{option}") or config.getini(f"oxy_pg_{option}"))


# --- which server ---

_HIDDEN = pytest.StashKey[str]()  # OXY_DATABASE_URL, while --oxy-pg-embedded ignores it


def hide_external(config: pytest.Config) -> None:
    """
    With --oxy-pg-embedded, take OXY_DATABASE_URL out of the environment.

    So the application under test does not find it either: it would write to
    another server than the one that the header line names.
    """
    if config.getoption("oxy_pg_embedded") and VARIABLE in os.environ:
        config.stash[_HIDDEN] = os.environ.pop(VARIABLE)


def show_external(config: pytest.Config) -> None:
    """Put it back, when the session is over."""
    if _HIDDEN in config.stash:
        os.environ.update({VARIABLE: config.stash[_HIDDEN]})


def given_url() -> str | None:
    """Return OXY_DATABASE_URL as it is; _endpoint.py would import more than a line is worth."""
    return os.environ.get(VARIABLE)


def external_url(config: pytest.Config) -> str | None:
    """
    Return the URL of the server that tests run on; None for the embedded one.

    Raises ConfigurationError where OXY_PG_EMBEDDED forbids that.
    """
    from oxy_pg import _endpoint, project
    from oxy_pg.errors import ConfigurationError

    found = _endpoint.external_url()
    if found is not None and not config.getoption("oxy_pg_embedded"):
        return found
    try:
        project.refuse_embedded()
    except ConfigurationError as error:
        if config.getoption("oxy_pg_embedded"):
            raise ConfigurationError(
                "--oxy-pg-embedded asks for an embedded server, and OXY_PG_EMBEDDED forbids it: "
                "leave one of them out."
            ) from error
        raise
    return None


def server_line(config: pytest.Config, place: Callable[[], Place]) -> str:
    """Return the header line: which server the tests run on, without asking it anything."""
    url = given_url()
    if url and not config.getoption("oxy_pg_embedded"):
        from oxy_pg.url import mask

        return f"oxy_pg: the server of {VARIABLE}, {mask(url)}"
    if (os.environ.get("OXY_PG_EMBEDDED") or "").strip().lower() == "never":
        return f"oxy_pg: no server (OXY_PG_EMBEDDED=never, and {VARIABLE} is not used)"
    line = "oxy_pg: an embedded PostgreSQL"
    if _HIDDEN in config.stash:
        line += f" ({VARIABLE} is set, and ignored)"
    if template_key(config):
        return f"{line}; kept in the cache directory"
    return f"{line}; if temporary: {place()}"
