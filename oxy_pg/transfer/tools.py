"""PostgreSQL's client programs, pg_dump, pg_restore and psql: found for a server."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from psycopg import conninfo

from oxy_pg import installations
from oxy_pg.errors import ToolsNotFound
from oxy_pg.installations import Installation
from oxy_pg.system import libpq
from oxy_pg.url import is_embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("pg_dump", "pg_restore", "psql")

# More places than the server's: a machine may have only the client programs.
_CLIENT_DIRS = (
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/{}/bin",
)
_NO_SSL = "SSL support is not compiled in"  # libpq, src/interfaces/libpq/fe-connect.c


def find(needed: int, *, ssl: bool = False) -> Installation:
    """
    Return the client programs that can serve a server, or an archive, of major version ``needed``.

    pg_dump refuses a server that is newer than itself, and pg_restore an
    archive that a newer one wrote. Of all suitable ones, those nearest to
    ``needed`` are taken, and of these the newest: what a newer major version
    writes contains settings that an older server does not know. OXY_PG_BIN_DIR
    is preferred if it is suitable; then the provider packages of this Python,
    the system's own, and PATH.

    With ``ssl`` they have to be built with SSL: for a connection that is
    encrypted, or has to be (``needs_ssl()``). Raises ToolsNotFound, which
    lists what was found, and why it is not suitable.
    """
    refused = []
    suitable = []
    for tools in installed():
        reason = _why_not(tools, needed, ssl=ssl)
        if reason is None:
            suitable.append(tools)
        else:
            refused.append(f"{tools.bin_dir} ({tools.provider}): {tools.version}, {reason}")
    if not suitable:
        raise ToolsNotFound(needed, (*refused, *_places()), ssl=ssl)
    return min(suitable, key=_preference)


def has_ssl(tools: Installation) -> bool:
    """
    Whether their libpq was built with TLS; the provider packages' was not.

    The program itself is asked, which answers before it connects anywhere:
    libpq checks sslmode first, and the host does not exist.
    """
    try:
        answer = subprocess.run(
            [tools.program("psql"), "--no-password", "host=/nonexistent sslmode=require"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=20,
            env={**environment(None), "LC_ALL": "C"},
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return False
    return _NO_SSL not in answer


def installed() -> list[Installation]:
    """Return all client programs on this machine, each directory once."""
    found = {}
    for provider, bin_dir in _candidates():
        real = os.path.realpath(bin_dir)
        if real in found or not all(_is_program(f"{bin_dir}/{name}") for name in PROGRAMS):
            continue
        # Not what a header says: /usr/include may belong to another version than /usr/bin.
        version = installations.told_version(f"{bin_dir}/pg_dump")
        if version:
            found[real] = Installation(provider, version, bin_dir)
    return list(found.values())


def at(bin_dir: str, version: str) -> Installation | None:
    """Return the client programs in a server's directory; None where one is missing."""
    if not all(_is_program(f"{bin_dir}/{name}") for name in (*PROGRAMS, "pg_dumpall")):
        return None
    return Installation("server", version, bin_dir)


def _candidates() -> Iterator[tuple[str, str]]:
    given = os.environ.get("OXY_PG_BIN_DIR")
    if given:
        yield "OXY_PG_BIN_DIR", os.path.abspath(os.path.expanduser(given))
    packages = (*installations.PACKAGES, *installations.OTHER_PACKAGES)
    yield from installations.packaged(packages, "pg_dump")
    for place in (*installations.SYSTEM_DIRS, *_CLIENT_DIRS):
        for bin_dir in sorted(glob.glob(place.format("*"))):
            yield "system", bin_dir
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(entry):
            yield "PATH", entry


def _is_program(path: str) -> bool:
    # Debian's /usr/bin/pg_dump is a script that chooses the version by itself.
    is_wrapper = os.path.basename(os.path.realpath(path)) == "pg_wrapper"
    return os.access(path, os.X_OK) and not is_wrapper


def _why_not(tools: Installation, needed: int, *, ssl: bool) -> str | None:
    if tools.major < needed:
        return f"older than {needed}"
    if ssl and not has_ssl(tools):
        return "built without SSL, which this connection needs"
    return None


def _preference(tools: Installation) -> tuple[bool, int, int]:
    given = tools.provider == "OXY_PG_BIN_DIR"
    return not given, tools.major, -tools.minor


def _places() -> Iterator[str]:
    if not os.environ.get("OXY_PG_BIN_DIR"):
        yield "OXY_PG_BIN_DIR: not set"
    yield f"nothing more in the Python packages of {sys.prefix} ({_package_names()})"
    yield "nothing more in " + ", ".join(place.format("*") for place in installations.SYSTEM_DIRS)
    yield "nothing more in PATH"


def _package_names() -> str:
    return ", ".join(name for name, _ in installations.PACKAGES)


def environment(url: str | None) -> dict[str, str]:
    """Return the environment for a program that connects to this URL, or to no server."""
    is_external = url is not None and not is_embedded(url)
    return dict(os.environ) if is_external else libpq.without(os.environ)


def needs_ssl(url: str) -> bool:
    """Whether a URL, or PGSSLMODE, demands an encrypted connection."""
    of_environment = environment(url).get("PGSSLMODE", "")
    mode = conninfo.conninfo_to_dict(url).get("sslmode") or of_environment
    return str(mode) == "require" or str(mode).startswith("verify")
