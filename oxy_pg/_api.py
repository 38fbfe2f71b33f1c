"""The public verbs; each hands over to the wing that does the work."""

from __future__ import annotations

import contextlib
import os

from oxy_pg.errors import ConfigurationError
from oxy_pg.server.handle import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from oxy_pg.server.config import Settings
    from oxy_pg.server.status import Status

if os.name != "posix":
    raise ConfigurationError(
        "oxy_pg runs PostgreSQL on Linux and macOS. On Windows use it inside WSL 2."
    )

__all__ = ["Server", "Status", "ensure", "temporary"]

# One handle for each way of asking, so that asking again finds its lease.
_servers: dict[object, Server] = {}


def __getattr__(name: str) -> object:
    """Load Status when it is used: nobody needs it to get a URL."""
    if name != "Status":
        raise AttributeError(name)
    from oxy_pg.server.status import Status

    return Status


def ensure(
    database: str = "oxy",
    *,
    state_dir: str | PathLike[str] | None = None,
    settings: Settings | None = None,
    extensions: Iterable[str] = (),
    keep_alive: float | None = None,
    timeout: float = 60.0,
) -> str:
    """
    Return the URL of a running PostgreSQL with this database in it.

    With OXY_DATABASE_URL set it is that server's, waited for and checked, and
    ``database``, ``state_dir``, ``settings`` and ``keep_alive`` mean nothing.
    Otherwise a PostgreSQL 16 is started under the state directory if none
    runs there; this process holds it until it exits. Called again it costs
    microseconds, and brings back a server that has gone. From threads, forked
    children and any number of processes at once it gives the same server.

    ``database`` is made if it is not there. ``settings`` are PostgreSQL
    settings (``{"work_mem": "64MB"}``); a running server takes over those that
    a reload can apply, and a warning names the rest. ``extensions`` are made
    in the database. ``keep_alive`` is how many seconds the server stays up
    after its last user has gone (default OXY_PG_KEEP_ALIVE or 5; ``math.inf``:
    until stopped). ``timeout`` is in seconds, for everything together.

    Raises ServerError (StartFailed, StartTimeout, LockTimeout, InitdbFailed,
    BinariesNotFound, VersionMismatch, ForeignDataDirectory,
    ExternalServerUnavailable, UnsupportedServer) or ConfigurationError.
    """
    external_url = os.environ.get("OXY_DATABASE_URL")
    names = (extensions,) if isinstance(extensions, str) else tuple(extensions)
    if external_url is not None:
        return _ensure_external(external_url, settings, names, timeout)
    server = _server(state_dir, settings, keep_alive)
    return server.ensure_database(database, extensions=names, timeout=timeout)


def _ensure_external(
    url: str, settings: Settings | None, extensions: tuple[str, ...], timeout: float
) -> str:
    from oxy_pg.server import external

    if settings:
        import logging

        logging.getLogger("oxy_pg").warning(
            "settings mean nothing to the external server that OXY_DATABASE_URL names"
        )
    return external.ensure(url, extensions, timeout)


def _server(
    state_dir: str | PathLike[str] | None, settings: Settings | None, keep_alive: float | None
) -> Server:
    place = state_dir if state_dir is not None else os.environ.get("OXY_STATE_DIR")
    if place is not None and not os.path.isabs(place):
        place = os.path.abspath(os.path.expanduser(place))
    key = (
        place if place is not None else os.environ.get("HOME"),
        None if settings is None else tuple(sorted(settings.items())),
        keep_alive if keep_alive is not None else os.environ.get("OXY_PG_KEEP_ALIVE"),
    )
    server = _servers.get(key)
    if server is None:
        made = Server(state_dir, settings=settings, keep_alive=keep_alive)
        server = _servers.setdefault(key, made)
    return server


@contextlib.contextmanager
def temporary(
    *,
    settings: Settings | None = None,
    extensions: Iterable[str] = (),
    timeout: float = 60.0,
) -> Iterator[Server]:
    """
    Give a server of one's own for the length of a ``with`` block; nothing of it remains.

    It is fast because nothing on it would survive a crash (fsync is off), and
    a cached template makes it. A process that is killed leaves nothing either.
    ``settings``, ``extensions`` and ``timeout`` (seconds) are as for ``ensure()``.

    Raises what ``ensure()`` raises for an embedded server.
    """
    from oxy_pg.server import temporary as temporaries

    yield from temporaries.running(settings, extensions, timeout)
