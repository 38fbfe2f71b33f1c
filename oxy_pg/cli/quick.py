"""
``url``, ``env`` and ``status --json`` of a running embedded server, before click is loaded.

Scripts and prompts call these again and again, and to import click takes four
times as long as to start Python. Only the plain forms are answered here, with
no option but ``--state-dir``. Everything else, every error, and a server that
does not run yet, is for the commands, which then begin anew.
"""

from __future__ import annotations

import os
import sys

from oxy_pg import _defaults, _endpoint, paths, project
from oxy_pg.errors import OxyPgError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oxy_pg.server.server import Server

_STATE_DIR = "--state-dir"
STAYS_UP = "The server stays up until `oxy-pg stop`."
# What no shell reads as anything else, and no terminal obeys.
_PLAIN = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_-+=:,./"  # as shlex.quote()
)


def answer(arguments: list[str]) -> bool:
    """Answer a plain form; False, with nothing printed, for all that is not one."""
    words, state_dir = _read(arguments)
    if words not in (["url"], ["env"], ["status", "--json"]) or "_OXY_PG_COMPLETE" in os.environ:
        return False
    if sys.stdout is None or sys.stderr is None:
        return False
    try:
        if state_dir is None and _is_external():
            return False
        state = paths.StateDir(paths.state_dir(state_dir))
        if not os.path.lexists(state.control):
            return False
        text = _status(state) if words[0] == "status" else _address(words[0], state_dir)
    except (OxyPgError, OSError):
        return False
    if text is None:
        return False
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError:
        return False  # the commands know what to do
    if words[0] != "status":
        sys.stderr.write(f"{STAYS_UP}\n")
    return True


def _read(arguments: list[str]) -> tuple[list[str], str | None]:
    """Return the words of a command line, and the value of its --state-dir."""
    words = [*arguments]
    if _STATE_DIR not in words[:-1]:
        return words, None
    at = words.index(_STATE_DIR)
    state_dir = words[at + 1]
    del words[at : at + 2]
    # Twice, or what looks like an option: click says what it makes of that.
    is_plain = bool(state_dir) and not state_dir.startswith("-")
    return (words if is_plain else []), state_dir


def _is_external() -> bool:
    name = _defaults.database(None, project.of_working_directory())
    return any(_endpoint.external_url(one) is not None for one in (None, name))


def server_of(state_dir: str | None, keep_alive: float | None) -> Server:
    """Return the handle on the embedded server that is meant, with the project's defaults."""
    from oxy_pg.server.server import Server

    project.refuse_embedded()
    ours = project.of_working_directory()
    return Server(
        state_dir,
        settings=_defaults.settings(None, ours),
        keep_alive=_defaults.keep_alive(keep_alive, ours),
        port=_defaults.port(None, ours),
    )


def ensured(server: Server, database: str | None, timeout: float) -> str:
    """Return the URL of a database, which is created with the project's extensions."""
    ours = project.of_working_directory()
    return server.ensure_database(
        _defaults.database(database, ours),
        extensions=_defaults.extensions((), ours),
        timeout=timeout,
    )


def _address(command: str, state_dir: str | None) -> str | None:
    server = server_of(state_dir, float("inf"))
    url = ensured(server, None, 60.0)
    if not _PLAIN.issuperset(url):
        return None
    return url if command == "url" else _exports(url, server.state_dir)


def _exports(url: str, state_dir: str) -> str | None:
    """Return what ``eval`` gives a shell; None where something would have to be quoted."""
    from oxy_pg.url import libpq_of_embedded

    variables = libpq_of_embedded(url) | {
        "OXY_DATABASE_URL": url,
        "DATABASE_URL": url,
        _endpoint.RUN_STATE_DIR: state_dir,
    }
    if not all(_PLAIN.issuperset(value) and "%" not in value for value in variables.values()):
        return None
    return "\n".join(f"export {name}={value}" for name, value in variables.items())


def _status(state: paths.StateDir) -> str | None:
    from oxy_pg.server.monitor import plain
    from oxy_pg.server.monitor.embedded import EmbeddedObserver

    with EmbeddedObserver(state) as observer:
        known, activity = observer.look_plainly()
    if known["state"] != "running":
        return None
    text = status_document(plain.document(known, activity))
    return text if text.isascii() and text.replace("\n", "").isprintable() else None


def status_document(found: dict[str, Any]) -> str:
    """Return what ``status --json`` prints."""
    from oxy_pg.server.monitor import values

    names = ("key", "value", "origin")
    defaults = [dict(zip(names, one, strict=True)) for one in _defaults.origins()]
    return values.to_json({**found, "defaults": defaults})
