"""
The environment variables that libpq reads: kept from what concerns the embedded server.

PGSSLMODE, PGSERVICE or PGOPTIONS of a user's shell are meant for another
server. The URL of the embedded one says all that there is to say, but what a
URL leaves out libpq takes from the environment, and some of it (PGSERVICE,
PGTZ) no URL can override. With the URL of another server they apply, as libpq
documents it (PostgreSQL manual, 34.15).
"""

from __future__ import annotations

import contextlib
import os
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLES = frozenset(
    [
        *("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE"),
        *("PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGOPTIONS", "PGAPPNAME"),
        *("PGCONNECT_TIMEOUT", "PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PGGEQO"),
        *("PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGREPLICATION", "PGTTY"),
        *("PGSSLMODE", "PGREQUIRESSL", "PGSSLCOMPRESSION", "PGSSLCERT", "PGSSLKEY"),
        *("PGSSLCERTMODE", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI"),
        *("PGSSLNEGOTIATION", "PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION"),
        *("PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION", "PGSSLKEYLOGFILE"),
        *("PGGSSENCMODE", "PGGSSLIB", "PGGSSDELEGATION", "PGKRBSRVNAME"),
        *("PGREQUIREPEER", "PGREQUIREAUTH", "PGCHANNELBINDING"),
        "PGOAUTHDEBUG",
    ]
)


def without(outer: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without libpq's variables."""
    return {name: value for name, value in outer.items() if name not in VARIABLES}


def applying() -> list[str]:
    """Return the names of libpq's variables that are set, in order."""
    return sorted(VARIABLES.intersection(os.environ))


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """
    Take the variables out of this process's environment, if any is set, and put them back.

    libpq looks there until a connection is made, so it is for so long, and for
    all threads: one that connects elsewhere at this moment, by variables alone,
    does not find them.
    """
    _hiding.begin()
    try:
        yield
    finally:
        _hiding.end()


class _Hiding:
    """What was taken out of the environment, until the last connection that asked is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections = 0
        self._taken: dict[str, str] = {}

    def begin(self) -> None:
        with self._lock:
            self._connections += 1
            for name in applying():
                self._taken[name] = os.environ.pop(name)

    def end(self) -> None:
        with self._lock:
            self._connections -= 1
            if not self._connections:
                self._put_back()

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self._connections = 0
        self._put_back()

    def _put_back(self) -> None:
        for name, value in self._taken.items():
            os.environ.setdefault(name, value)  # a program may have set another one meanwhile
        self._taken.clear()


_hiding = _Hiding()
os.register_at_fork(after_in_child=_hiding.after_fork_in_child)
