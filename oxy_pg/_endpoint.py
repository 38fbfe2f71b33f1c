"""
Which server is meant: the one place that decides it, for every verb, the CLI and the plugin.

An argument beats the environment, and that the default. On the way of every
``ensure()``: nothing is imported here that it does not need.
"""

from __future__ import annotations

import os

from oxy_pg import paths
from oxy_pg.errors import ConfigurationError
from oxy_pg.facts import ROLE
from oxy_pg.system import cheap, environment, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

VARIABLE = "OXY_DATABASE_URL"


class Endpoint:
    """
    A server: one that a URL names, or the embedded one of a state directory.

    ``url`` is None for the embedded server, and ``state_dir`` None for its
    default directory. ``origin`` is where the choice comes from: ``url``,
    ``state_dir``, OXY_DATABASE_URL, OXY_STATE_DIR or ``default``.
    """

    __slots__ = ("origin", "state_dir", "url")

    def __init__(
        self, origin: str, *, url: str | None = None, state_dir: str | None = None
    ) -> None:
        self.origin = origin
        self.url = url
        self.state_dir = state_dir

    def __repr__(self) -> str:
        from oxy_pg.url import mask

        return f"Endpoint({self.origin!r}, {mask(self.url) if self.url else self.state_dir!r})"

    @property
    def is_embedded(self) -> bool:
        """Whether it is the embedded server of a state directory."""
        return self.url is None


def external_url(database: str | None = None) -> str | None:
    """
    Return OXY_DATABASE_URL as it is; None where the embedded server is meant.

    For a ``database``, OXY_DATABASE_URL_NAME comes first: the server of that
    name alone.
    """
    if database is not None:
        own = environment.get(variable_of(database))
        if own is not None:
            return own
    return environment.get(VARIABLE)


_variables: dict[str, str] = {}


def variable_of(database: str) -> str:
    """Return the variable that names the server of one database: OXY_DATABASE_URL_SHOP."""
    found = _variables.get(database)
    if found is None:
        letters = (letter if letter.isascii() and letter.isalnum() else "_" for letter in database)
        found = _variables[database] = f"{VARIABLE}_{''.join(letters).upper()}"
    return found


def resolve(url: str | None = None, state_dir: str | PathLike[str] | None = None) -> Endpoint:
    """
    Return the server that is meant.

    Raises ConfigurationError where both arguments are given.
    """
    if url is not None and state_dir is not None:
        raise ConfigurationError(
            "Both a URL and state_dir are given, and each of them names a server. Leave one out."
        )
    if url is not None:
        return Endpoint("url", url=url)
    if state_dir is not None:
        return Endpoint("state_dir", state_dir=os.fspath(state_dir))
    external = external_url()
    if external is not None:
        return Endpoint(VARIABLE, url=external)
    return Endpoint("OXY_STATE_DIR" if environment.get("OXY_STATE_DIR") else "default")


# What `oxy-pg run` tells its command beside the URL.
RUN_STATE_DIR = "OXY_PG_RUN_STATE_DIR"


def embedded_state_dir(url: str, used: set[str]) -> str | None:
    """
    Return the state directory of the embedded server that a URL names; None for another server.

    Looked at: the server that `oxy-pg run` has named, those that this process
    has ``used``, the default one, and, for a URL as `oxy-pg url` prints it,
    those that run. The random password tells: no two servers have the same.
    """
    head, at, _ = url.rpartition("@127.0.0.1:")
    if not at:
        return None
    user, _, password = head.rpartition("/")[2].partition(":")
    roots = [environment.get(RUN_STATE_DIR), *used]
    with cheap.suppress(ConfigurationError):  # one that may not be used is not meant
        roots.append(paths.state_dir())
    for root in filter(None, roots):
        if _has_password(root, password):
            return root
    if user != ROLE or not password:
        return None
    found = _found.get(url)
    if found is None:
        from oxy_pg.server.supervisor import order

        running = (root for root in order.at_work() if _has_password(root, password))
        found = _found[url] = next(running, "")
    return found or None


# Which of the servers that run a URL names: what asks every process, is asked once.
_found: dict[str, str] = {}


def _has_password(root: str, password: str) -> bool:
    return (
        bool(password)
        and password == (files.read_text(paths.StateDir(root).password) or "").strip()
    )


def resolve_for(
    verb: str,
    url: str | None,
    state_dir: str | PathLike[str] | None,
    used: Used,
    database: str | None = None,
) -> Endpoint:
    """
    Return the server whose data ``verb`` reads or replaces; never one that was not meant.

    Raises ConfigurationError where that cannot be known (``Used.refuse_a_guess``),
    and for a ``database`` that is not the one of the URL.
    """
    found = resolve(url, state_dir)
    if found.url is not None and database is not None:
        found = _of_database(found, found.url, database, used.handles)
    if found.origin == VARIABLE and found.url is not None:
        from oxy_pg.url import plain

        found.url = plain(found.url)
    elif found.origin not in {"url", "state_dir"}:
        used.refuse_a_guess(verb, found)
    return found


def _of_database(found: Endpoint, url: str, database: str, used: set[str]) -> Endpoint:
    """Return where a database of this name is; a name means what it means to ``ensure()``."""
    if found.origin == VARIABLE:
        own = environment.get(variable_of(database))
        if own is not None:
            return Endpoint(VARIABLE, url=own)
        state_dir = embedded_state_dir(url, used)
        if state_dir is not None:
            return Endpoint("state_dir", state_dir=state_dir)
    from oxy_pg.server.external import database_of
    from oxy_pg.url import check

    check(url)
    there = database_of(url)
    if there == database:
        return found
    name, remedy = "The URL", ""
    if found.origin == VARIABLE:
        name, remedy = VARIABLE, f", or set {variable_of(database)} to the URL of {database!r}"
    raise ConfigurationError(
        f"{name} names the database {there!r}, and {database!r} was asked for. Leave out the name, "
        f"put it into the URL{remedy}."
    )


def embedded_for(verb: str, state_dir: str | PathLike[str] | None, used: Used) -> Endpoint:
    """Return the embedded server that ``verb`` works on; otherwise as ``resolve_for()``."""
    if state_dir is not None:
        return resolve(state_dir=state_dir)
    found = Endpoint("OXY_STATE_DIR" if environment.get("OXY_STATE_DIR") else "default")
    used.refuse_a_guess(verb, found)
    return found


class Used:
    """
    The embedded servers that this process has used, by their state directories.

    ``handles`` are those that a ``Server`` has held, ``ensured`` those that
    ``ensure(state_dir=…)`` has named.
    """

    __slots__ = ("ensured", "handles")

    def __init__(self, handles: set[str]) -> None:
        self.handles = handles
        self.ensured: set[str] = set()

    def refuse_a_guess(self, verb: str, found: Endpoint) -> None:
        """
        Raise ConfigurationError where the server at work is another than the default one.

        To save an empty default server instead of the one at work would look
        like a success. A ``Server`` has the verb as its method, and
        OXY_STATE_DIR names a server too, but not against ``ensure()``.
        """
        default = paths.state_dir()
        candidates = self.handles if found.origin == "default" else self.ensured
        others = sorted(root for root in candidates if root != default and _is_running(root))
        if not others or (default in self.handles and _is_running(default)):
            return
        raise ConfigurationError(
            f"{verb}() does not say which server it means: by default it would be the one in "
            f"{default}, but this process is using the one in {others[0]}. Write "
            f"{verb}(…, state_dir={others[0]!r}), or call {verb}() as a method of its Server."
        )


def _is_running(root: str) -> bool:
    from oxy_pg.server.supervisor import lock

    return lock.is_held(paths.StateDir(root))
