"""
The initialised cluster that new ones are unpacked from.

``initdb`` takes a third of a second and its result is always the same, so it
is kept in the cache directory: one archive for each PostgreSQL version and
locale. It is put in place by a rename, checked before and while it is
unpacked, and made again when it is damaged.

What starts from a template obeys it: its roles, its settings, its libraries.
So one that another user could have written is not used. Directory and file
have to be ours and closed to others; and the SHA-256 of each template stands
in another directory, with the user's state, so that a cache that came from
elsewhere (a shared directory, a build server's cache) is not trusted either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading

from oxy_pg import paths
from oxy_pg.errors import InitdbFailed
from oxy_pg.server.cluster import archive, postmaster, program, roles
from oxy_pg.system import files, private, process
from oxy_pg.system.deadline import wall_clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.installations import Installation
    from oxy_pg.server.cluster.account import Account
    from oxy_pg.system.deadline import Deadline

# Bytes compare the same on every machine (C), letters are letters (C.UTF-8). A WAL segment of
# 4 MB instead of 16 makes a new cluster a third smaller.
_LOCALES = (("--locale=C", "--lc-ctype=C.UTF-8"), ("--locale=C",))
_OPTIONS = (
    "--username=postgres",
    "--encoding=UTF8",
    "--auth-local=peer",
    "--auth-host=reject",  # until cluster.configure() has written pg_hba.conf
    "--wal-segsize=4",
    "--no-instructions",
    "--no-sync",  # the caller does that for a cluster that is kept
    # For initdb itself: quicker than 128 MB, and no segments for later that would be copied.
    "--set=shared_buffers=4MB",
    "--set=wal_recycle=off",
    # Those may be forbidden in a container, and are found missing when they are used.
    "--set=huge_pages=off",
    # In the cluster's directory, with which it goes when initdb is killed; /dev/shm may be small.
    "--set=dynamic_shared_memory_type=mmap",
    "--no-clean",  # its pid file names a segment that has to be removed
)
# What every cluster of ours has. Here it costs a copy of some files; in a running server that
# syncs, creating a database takes as long as starting it.
_STATEMENTS = (
    "CREATE ROLE oxy LOGIN CREATEDB",
    *roles.STATEMENTS,
    "CREATE DATABASE oxy OWNER oxy STRATEGY file_copy",
)
# The maps of free space and of visible pages, a quarter of all files: each database that is
# copied for a test would have them. They may be missing (pg_upgrade, too, has left them out), and
# PostgreSQL makes them again where it needs them.
_NOT_NEEDED = ("_fsm", "_vm")
_WAITING = ".template-"  # a prefix: made, but not yet in its place
_ABANDONED_AFTER = 3600.0  # seconds
# What stands at the top of a new cluster of PostgreSQL 16 (manual, 73.1).
_FILES = frozenset(
    ["PG_VERSION", "postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"]
)
_DIRECTORIES = frozenset(
    [
        *("base", "global", "pg_commit_ts", "pg_dynshmem", "pg_logical", "pg_multixact"),
        *("pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp"),
        *("pg_subtrans", "pg_tblspc", "pg_twophase", "pg_wal", "pg_xact"),
    ]
)


def make_cluster(
    target: str, binaries: Installation, account: Account, deadline: Deadline, *, durable: bool
) -> str:
    """
    Make ``target``, which must not exist, a new cluster that nobody has started yet.

    It belongs to ``account``, has the role ``oxy`` without a password and the
    database of that name, and has not been synced to disk. If there was no
    template, this one becomes it: if it is not ``durable``, or one was missed before.
    Returns the path of one that waits for ``publish()``, or "". Raises
    InitdbFailed, or OSError when the disk is full; ``target`` may then be
    there in part.
    """
    template = _path(paths.cache_dir(), binaries)
    if _unpack(template, target, account, () if durable else _NOT_NEEDED):
        return ""
    initdb(target, binaries, account, deadline)
    _run_sql(target, binaries, account, deadline)
    try:
        return _keep(target, template) if not durable or _was_missed(template) else ""
    except (OSError, private.NotPrivate):
        # The cache is a convenience: a full or read-only one must not stop a server.
        import logging

        logging.getLogger("oxy_pg").info("no template could be kept in %s", template, exc_info=True)
        return ""


def _unpack(template: str, target: str, account: Account, without: tuple[str, ...]) -> bool:
    """Make ``target`` from the template; False, and nothing there, if there is none to be used."""
    try:
        descriptor = _open(template)
        try:
            _compare(descriptor, _record_of(template))
            archive.unpack(descriptor, target, account, _is_expected, without)
            _check_settings(target)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return False
    except (private.NotPrivate, archive.Damaged, OSError) as error:
        files.remove_tree(target)
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        import logging

        # One that another machine or home directory has made is nothing to warn of.
        level = logging.INFO if isinstance(error, _Unknown) else logging.WARNING
        logging.getLogger("oxy_pg").log(
            level,
            "the template %s is not used, and a new cluster is made without it: %s",
            template,
            error,
        )
        return False
    return True


class _Unknown(archive.Damaged):
    """A template that was made on another machine, or under another home directory."""


def _open(template: str) -> int:
    """Open a template that is ours; raises NotPrivate or OSError."""
    cache_dir, name = os.path.split(template)
    directory = private.open_directory(cache_dir)
    try:
        return private.open_file(name, directory)
    finally:
        os.close(directory)


def _is_expected(name: str, is_directory: bool) -> bool:  # noqa: FBT001 - archive.py calls it
    """Whether a new cluster has something of that name."""
    top, below, _ = name.partition("/")
    if not below:
        return top in (_DIRECTORIES if is_directory else _FILES)
    return top in _DIRECTORIES - {"pg_tblspc", "pg_replslot"}


def _check_settings(cluster: str) -> None:
    """Refuse settings that stand where only ALTER SYSTEM writes; the other files we write anew."""
    text = files.read_text(f"{cluster}/postgresql.auto.conf") or ""
    if any(line.strip() and not line.startswith("#") for line in text.splitlines()):
        raise archive.Damaged("its postgresql.auto.conf has settings")


# --- its checksum, elsewhere ---


def _record_dirs() -> tuple[str, str]:
    """Return the directories for checksums: with the user's state, or else temporary."""
    temp_dir = os.path.realpath(tempfile.gettempdir())
    return paths.records_dir(), f"{paths.private_temp_dir(temp_dir)}/templates"


def _record_of(template: str) -> str:
    """Return the name of the file with its checksum: a user may have several caches."""
    cache_dir, name = os.path.split(template)
    return f"{name}-{paths.digest(os.path.realpath(cache_dir))}"


def _compare(descriptor: int, name: str) -> None:
    """Raise Damaged unless this template is the one whose checksum was kept."""
    known = []
    for path in _record_dirs():
        with contextlib.suppress(OSError, private.NotPrivate):
            directory = private.open_directory(path)
            try:
                with open(private.open_file(name, directory), "rb") as file:
                    known.append(file.read(100).decode(errors="replace").strip())
            finally:
                os.close(directory)
    if not known:
        raise _Unknown("its checksum is not known to this user")
    if _checksum(descriptor) not in known:
        raise archive.Damaged("its checksum is not the one that was kept")


def _checksum(descriptor: int) -> str:
    import hashlib

    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(name: str, checksum: str) -> None:
    """Keep a template's checksum; raises OSError or NotPrivate where there is no place for it."""
    failure: Exception | None = None
    for path in _record_dirs():
        try:
            directory = private.make_directory(path)
        except (OSError, private.NotPrivate) as error:
            failure = failure or error
            continue
        try:
            aside = f"{name}.{os.getpid()}.{threading.get_ident()}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(private.open_file(aside, directory, flags), "wb") as file:
                file.write(f"{checksum}\n".encode())
            os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            os.close(directory)
        return
    assert failure is not None
    raise failure


# --- kept and put in its place ---


def _path(cache_dir: str, binaries: Installation) -> str:
    machine = os.uname().machine
    how = paths.digest(repr((_OPTIONS, _LOCALES, _STATEMENTS, machine, binaries.bin_dir)))
    return f"{cache_dir}/template-{binaries.version}-{how}"


def _was_missed(template: str) -> bool:
    """Whether this is not the first time; most machines need one cluster, once, and no template."""
    cache_dir, name = os.path.split(template)
    mark = f".missed-{name}"
    directory = private.make_directory(cache_dir)
    try:
        os.close(private.open_file(mark, directory, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return True
    finally:
        os.close(directory)
    return False


def _keep(cluster: str, template: str) -> str:
    """Put a new cluster in the cache, for the next one; return where it waits."""
    cache_dir, name = os.path.split(template)
    directory = private.make_directory(cache_dir)
    waiting = f"{_WAITING}{name}-{os.getpid()}.{threading.get_ident()}"
    try:
        for other in os.listdir(directory):
            if other.startswith(_WAITING):
                with contextlib.suppress(OSError):  # another process removes it too
                    found = os.stat(other, dir_fd=directory, follow_symlinks=False)
                    if found.st_mtime < wall_clock() - _ABANDONED_AFTER:
                        os.unlink(other, dir_fd=directory)
        with contextlib.suppress(FileNotFoundError):  # of a killed process with our pid
            os.unlink(waiting, dir_fd=directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        descriptor = private.open_file(waiting, directory, flags)
        try:
            archive.write(cluster, descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(waiting, dir_fd=directory)
            raise
        finally:
            os.close(descriptor)
    finally:
        os.close(directory)
    return f"{cache_dir}/{waiting}"


def publish(waiting: str) -> None:
    """Put a template in its place, now that there is time to sync it; never raises OSError."""
    if not waiting:
        return
    cache_dir, name = os.path.split(waiting)
    template = name.removeprefix(_WAITING).rpartition("-")[0]
    with contextlib.suppress(OSError, private.NotPrivate):
        directory = private.open_directory(cache_dir)
        try:
            _publish(directory, name, f"{cache_dir}/{template}")
        except BaseException:
            os.unlink(name, dir_fd=directory)
            raise
        finally:
            os.close(directory)


def _publish(directory: int, waiting: str, path: str) -> None:
    template = os.path.basename(path)
    descriptor = private.open_file(waiting, directory)
    try:
        os.fsync(descriptor)  # or a power failure could leave its size without its contents
        _record(_record_of(path), _checksum(descriptor))
    finally:
        os.close(descriptor)
    try:
        os.rename(waiting, template, src_dir_fd=directory, dst_dir_fd=directory)
    except IsADirectoryError:
        shutil.rmtree(template, dir_fd=directory)  # nothing of ours
        os.rename(waiting, template, src_dir_fd=directory, dst_dir_fd=directory)


def initdb(
    target: str,
    binaries: Installation,
    account: Account,
    deadline: Deadline,
    options: tuple[str, ...] = (),
) -> None:
    """
    Make ``target`` what initdb makes of it, with ``options`` besides ours.

    Raises InitdbFailed or OSError.
    """
    files.make_directory(target, 0o700)
    account.own(target)
    output: str | None = ""
    for locale in _LOCALES:
        words = (*locale, *_OPTIONS, *options, f"--pgdata={target}")
        output = program.run(
            [binaries.program("initdb"), *words], account, deadline, _environment()
        )
        if output is None:
            return
        postmaster.remove_segment(target)
        files.remove_tree(target)
        if "invalid locale" not in output:
            break
        files.make_directory(target, 0o700)
        account.own(target)
    raise InitdbFailed(target, (output or "").strip() or "(nothing)")


def _run_sql(target: str, binaries: Installation, account: Account, deadline: Deadline) -> None:
    """Run the statements in a server without clients (PostgreSQL 16 manual, postgres, --single)."""
    command = [
        *(binaries.postgres, "--single", "-F", "-j", "-D", target),
        *("-c", "exit_on_error=on", "-c", "log_checkpoints=off", "postgres"),
    ]
    sql = "".join(f"{statement};\n\n" for statement in _STATEMENTS)
    output = program.run(command, account, deadline, _environment(), sql)
    if output is not None:
        postmaster.remove_segment(target)
        raise InitdbFailed(target, output.strip() or "(nothing)")


def _environment() -> dict[str, str]:
    # TZ: initdb would otherwise try every time zone to find the machine's.
    return {**process.environment(), "TZ": "UTC"}
