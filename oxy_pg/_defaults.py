"""
What applies where an argument is not given: the environment, the project, the default.

``ours`` is the project of the working directory. On the way of every
``ensure()``: nothing is imported here that it does not need.
"""

from __future__ import annotations

from oxy_pg import project
from oxy_pg.errors import ConfigurationError
from oxy_pg.facts import DATABASE
from oxy_pg.system import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oxy_pg.project import Project

    Settings = Mapping[str, str | int | float | bool]

# The environment variable of each key of [tool.oxy-pg].
VARIABLES = {
    "database": "OXY_PG_DATABASE",
    "extensions": "OXY_PG_EXTENSIONS",
    "settings": "OXY_PG_SETTINGS",
    "port": "OXY_PG_PORT",
    "keep-alive": "OXY_PG_KEEP_ALIVE",
    "state-dir": "OXY_STATE_DIR",
}


def database(given: str | None, ours: Project | None) -> str:
    """Return the database's name."""
    if given is not None:
        return given
    found = environment.get("OXY_PG_DATABASE")
    if not found and ours is not None:
        found = ours.database
    return found or DATABASE


def extensions(given: Iterable[str], ours: Project | None) -> tuple[str, ...]:
    """Return the extensions of a database: those given, and the environment's or the project's."""
    names = (given,) if isinstance(given, str) else tuple(given)
    text = environment.get("OXY_PG_EXTENSIONS")
    if text:
        return (*names, *(name for name in text.replace(",", " ").split() if name not in names))
    if ours is None or not ours.extensions:
        return names
    return (*names, *(name for name in ours.extensions if name not in names))


def settings(given: Settings | None, ours: Project | None) -> Settings | None:
    """Return the settings: the project's, over them the environment's, over them those given."""
    text = environment.get("OXY_PG_SETTINGS")
    if not text and (ours is None or ours.settings is None):
        return given
    below = {} if ours is None or ours.settings is None else ours.settings
    return {**below, **_parsed_settings(text or ""), **(given or {})}


def _parsed_settings(text: str) -> dict[str, str]:
    """Read OXY_PG_SETTINGS: "work_mem=64MB, max_connections=50"."""
    found = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals and part.strip():
            raise ConfigurationError(
                f"OXY_PG_SETTINGS is {text!r}; write work_mem=64MB, with commas between settings."
            )
        if equals:
            found[name.strip()] = value.strip().strip("'")
    return found


def port(given: int | None, ours: Project | None) -> int | None:
    """Return the port that was asked for; None: any."""
    if given is not None:
        return given
    text = environment.get("OXY_PG_PORT")
    if text:
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise ConfigurationError(f"OXY_PG_PORT is {text!r}; write a number from 1 to 65535.")
        return int(text)
    return None if ours is None else ours.port


def keep_alive(given: float | None, ours: Project | None) -> float | None:
    """Return the seconds that the server stays up; None: the environment's, or the default."""
    if given is not None or environment.get("OXY_PG_KEEP_ALIVE"):
        return given
    return None if ours is None else ours.keep_alive


def origins() -> list[tuple[str, str, str]]:
    """
    Return every key of [tool.oxy-pg] that is set: its name, its value, and where that is from.

    For people: `oxy-pg status` shows it.
    """
    ours = project.of_working_directory()
    found = []
    for key, variable in VARIABLES.items():
        value = environment.get(variable)
        if value:
            found.append((key, value, variable))
        elif ours is not None:
            value = getattr(ours, key.replace("-", "_"))
            if value is not None and value != ():
                found.append((key, _shown(value), ours.path))
    return found


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name}={setting}" for name, setting in value.items())
    return str(value)
