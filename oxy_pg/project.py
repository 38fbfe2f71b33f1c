"""
A project's own defaults: ``[tool.oxy-pg]`` in the nearest ``pyproject.toml`` that has it.

On the way of every ``ensure()``: nothing but ``os`` is imported unless such a
table is found, and where it was found is remembered for each working directory.
"""

from __future__ import annotations

import os

from oxy_pg.errors import ConfigurationError
from oxy_pg.system import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Setting = str | int | float | bool

KEYS = ("database", "extensions", "keep-alive", "port", "settings", "state-dir")

# Only a file with these bytes, without spaces and quotes, can have the table and is worth the
# import of a TOML parser, which takes longer than attaching to a server.
_MARKS = (b"tool.oxy-pg", b"tool.oxy_pg", b"[tool]")
_LARGEST = 1 << 20

# PostgreSQL's settings that run a command, load a library or name a file, by the ends of their
# names; `include` takes more settings from a file, and languages have code that they run first. A
# project that was downloaded a minute ago may ask for memory, but not for these: they are for
# `settings=`.
_EXECUTES = (
    "_command",
    ".command",
    "include",
    "include_dir",
    "include_if_exists",
    "on_init",
    "_init",
    "start_proc",
    "_library",
    "_libraries",
    "_library_path",
    "_provider",
    "_directory",
    "_directories",
    "_file",
    "_keyfile",
    "_control_path",
    "_filename",
    "_dir",
    "_conninfo",
    "_addresses",
    "bonjour",
    "bonjour_name",
)

_known: dict[str, Project | None] = {}


class Project:
    """
    What one ``[tool.oxy-pg]`` says; None, or nothing in it, where it says nothing.

    ``path`` is the file; ``state_dir`` is absolute, as it is meant relative to that file.
    """

    __slots__ = ("database", "extensions", "keep_alive", "path", "port", "settings", "state_dir")

    def __init__(self, path: str, table: Mapping[str, Any]) -> None:
        """Check what was read; raises ConfigurationError."""
        self.path = path
        for key in table:
            if key not in KEYS:
                raise _wrong(path, f"{key!r} is not known{_nearest(key)}")
        self.database: str | None = _text(path, table, "database")
        self.extensions = _extensions(path, table)
        self.keep_alive = _keep_alive(path, table)
        self.port = _port(path, table)
        self.settings = _settings(path, table)
        given = _text(path, table, "state-dir")
        self.state_dir = (
            None
            if given is None
            else os.path.normpath(os.path.join(os.path.dirname(path), os.path.expanduser(given)))
        )

    def __repr__(self) -> str:
        return f"Project({self.path!r})"


def of_working_directory() -> Project | None:
    """
    Return the project that the working directory belongs to; None where there is none.

    The file is the nearest ``pyproject.toml`` with a ``[tool.oxy-pg]``, in the
    working directory or above it. It is read once in each process and
    directory. Raises ConfigurationError for one that cannot be meant.
    """
    try:
        directory = os.getcwd()
    except OSError:  # it was removed
        return None
    if directory not in _known:
        _known[directory] = find(directory)
    return _known[directory]


def find(directory: str) -> Project | None:
    """Return the project of ``directory``, an absolute path; see ``of_working_directory()``."""
    while True:
        path = os.path.join(directory, "pyproject.toml")
        table = _table(path)
        if table is not None:
            return Project(path, table)
        parent = os.path.dirname(directory)
        if parent == directory:
            return None
        directory = parent


def _table(path: str) -> Mapping[str, Any] | None:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST)
    except OSError:
        return None
    packed = content.translate(None, b" \t\"'")
    if not any(mark in packed for mark in _MARKS):
        return None
    import tomllib

    try:
        tool = tomllib.loads(content.decode()).get("tool", {})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}. Correct the file.") from error
    if not isinstance(tool, dict):
        return None
    if "oxy_pg" in tool:
        raise _wrong(path, "the table is called [tool.oxy_pg]; it is written [tool.oxy-pg]")
    table = tool.get("oxy-pg")
    if table is not None and not isinstance(table, dict):
        raise _wrong(path, "it is not a table")
    return table


def _wrong(path: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"[tool.oxy-pg] in {path}: {what}. The keys are {', '.join(KEYS)}.")


def _nearest(key: str) -> str:
    import difflib

    found = difflib.get_close_matches(key.replace("_", "-").lower(), KEYS, 1, 0.5)
    return f"; the nearest key is {found[0]!r}" if found else ""


def _text(path: str, table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise _wrong(path, f"{key} is {value!r}, and a text that is not empty is needed")
    return value


def _extensions(path: str, table: Mapping[str, Any]) -> tuple[str, ...]:
    value = table.get("extensions", [])
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise _wrong(path, f'extensions is {value!r}; write a list of names: ["vector"]')
    return tuple(value)


def _keep_alive(path: str, table: Mapping[str, Any]) -> float | None:
    value = table.get("keep-alive")
    if value is None:
        return None
    seconds = float("inf") if value == "inf" else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise _wrong(path, f'keep-alive is {value!r}; write seconds, 0 or more, or "inf"')
    return float(seconds)


def _port(path: str, table: Mapping[str, Any]) -> int | None:
    value = table.get("port")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise _wrong(path, f"port is {value!r}; write a number from 1 to 65535")
    return value


def _settings(path: str, table: Mapping[str, Any]) -> dict[str, Setting] | None:
    value = table.get("settings")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _wrong(path, 'settings is not a table; write settings = { work_mem = "64MB" }')
    for name, setting in value.items():
        if not isinstance(setting, str | int | float | bool):
            raise _wrong(path, f"the setting {name!r} is {setting!r}; write a text or a number")
        if name.strip().lower().endswith(_EXECUTES):  # as config.checked() will read it
            raise _wrong(
                path,
                f"the setting {name!r} runs a command, loads a library, or names a file or an "
                "address, which a project's file may not ask for. Give it in your program: "
                f"ensure(settings={{{name!r}: …}})",
            )
    return dict(value)


# --- whether an embedded server may be started ---

_URL = "OXY_DATABASE_URL"


def embedded_is_forbidden() -> bool:
    """Whether OXY_PG_EMBEDDED is ``never``; ConfigurationError for what it cannot be."""
    said = (environment.get("OXY_PG_EMBEDDED") or "").strip().lower()
    if said in {"", "allow"}:
        return False
    if said != "never":
        raise ConfigurationError(
            f"OXY_PG_EMBEDDED is {said!r}. Write never, which forbids an embedded server, or unset "
            "it."
        )
    return True


def refuse_embedded() -> None:
    """Raise ConfigurationError where OXY_PG_EMBEDDED forbids to start an embedded server."""
    if not embedded_is_forbidden():
        return
    missing = "names one" if environment.get(_URL) else "is not set"
    seen = " DATABASE_URL is set, but oxy_pg does not read it." if _database_url_alone() else ""
    raise ConfigurationError(
        f"OXY_PG_EMBEDDED=never forbids an embedded server, and {_URL} {missing}.{seen} Set "
        f"{_URL} to the URL of the server to use: postgresql://user:password@host/database."
    )


def _database_url_alone() -> bool:
    return bool(environment.get("DATABASE_URL")) and not environment.get(_URL)


_warned = False


def warn_of_database_url() -> None:
    """Warn once where DATABASE_URL is set alone: an embedded server may not be what is meant."""
    global _warned  # noqa: PLW0603 - once in a process
    if _warned or not _database_url_alone():
        return
    _warned = True
    import logging

    logging.getLogger("oxy_pg").warning(
        "DATABASE_URL is set, but oxy_pg does not read it: the embedded server is used. Set "
        "%s to use that server, or OXY_PG_EMBEDDED=never to forbid the embedded one.",
        _URL,
    )
