"""
The initialised cluster that new ones are unpacked from.

``initdb`` takes a third of a second and its result is always the same, so it
is kept in the cache directory: one archive for each PostgreSQL version and
locale. It is put in place by a rename, checked while it is unpacked, and made
again when it is damaged.
"""

from __future__ import annotations

import contextlib
import os
import threading

from oxy_pg import paths
from oxy_pg.errors import InitdbFailed
from oxy_pg.server.cluster import archive, program
from oxy_pg.system import files, process
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
    "--no-sync",  # whoever has it made for keeps does that
    # For initdb itself: quicker than 128 MB, and no segments for later that would be copied.
    "--set=shared_buffers=4MB",
    "--set=wal_recycle=off",
)
# What every cluster of ours has. Here it costs a copy of some files; in a running server that
# syncs, creating a database takes as long as starting it.
_STATEMENTS = (
    "CREATE ROLE oxy LOGIN CREATEDB",
    "CREATE DATABASE oxy OWNER oxy STRATEGY file_copy",
)
_WAITING = ".template-"  # a prefix: made, but not yet in its place
_ABANDONED_AFTER = 3600.0  # seconds


def make_cluster(
    target: str, binaries: Installation, account: Account, deadline: Deadline, *, keep: bool
) -> str:
    """
    Make ``target``, which must not exist, a new cluster that nobody has started yet.

    It belongs to ``account``, has the role ``oxy`` without a password and the
    database of that name, and has not been synced to disk. If there was no
    template, this one becomes it: with ``keep``, or if one was missed before.
    Returns the path of one that waits for ``publish()``, or "". Raises
    InitdbFailed, or OSError when the disk is full; ``target`` may then be
    there in part.
    """
    template = _path(paths.cache_dir(), binaries)
    try:
        archive.unpack(template, target, account)
    except archive.Damaged:
        files.remove_tree(target)
    else:
        return ""
    initdb(target, binaries, account, deadline)
    _run_sql(target, binaries, account, deadline)
    try:
        return _keep(target, template) if keep or _was_missed(template) else ""
    except OSError:
        # The cache is a convenience: a full or read-only one must not stop a server.
        import logging

        logging.getLogger("oxy_pg").info("no template could be kept in %s", template, exc_info=True)
        return ""


def _path(cache_dir: str, binaries: Installation) -> str:
    machine = os.uname().machine
    how = paths.digest(repr((_OPTIONS, _LOCALES, _STATEMENTS, machine, binaries.bin_dir)))
    return f"{cache_dir}/template-{binaries.version}-{how}"


def _was_missed(template: str) -> bool:
    """Whether this is not the first time; most machines need one cluster, once, and no template."""
    mark = f"{os.path.dirname(template)}/.missed-{os.path.basename(template)}"
    if os.path.exists(mark):
        return True
    os.makedirs(os.path.dirname(mark), mode=0o700, exist_ok=True)
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    return False


def _keep(cluster: str, template: str) -> str:
    """Put a new cluster in the cache, for the next one; return where it waits."""
    cache_dir, name = os.path.split(template)
    os.makedirs(cache_dir, mode=0o700, exist_ok=True)
    for other in os.listdir(cache_dir):
        if other.startswith(_WAITING):
            path = f"{cache_dir}/{other}"
            with contextlib.suppress(OSError):  # somebody else removes it too
                if os.stat(path).st_mtime < wall_clock() - _ABANDONED_AFTER:
                    os.unlink(path)
    waiting = f"{cache_dir}/{_WAITING}{name}-{os.getpid()}.{threading.get_ident()}"
    try:
        archive.write(cluster, waiting)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(waiting)
        raise
    return waiting


def publish(waiting: str) -> None:
    """Put a template in its place, now that there is time to sync it; never raises OSError."""
    if not waiting:
        return
    cache_dir, name = os.path.split(waiting)
    template = f"{cache_dir}/{name.removeprefix(_WAITING).rpartition('-')[0]}"
    with contextlib.suppress(OSError):
        try:
            files.sync_file(waiting)  # or a power failure could leave its size without its contents
            if os.path.isdir(template):
                files.remove_tree(template)  # nothing of ours
            os.rename(waiting, template)
        except BaseException:
            os.unlink(waiting)
            raise


def initdb(target: str, binaries: Installation, account: Account, deadline: Deadline) -> None:
    """Make ``target`` what initdb makes of it; raises InitdbFailed or OSError."""
    os.mkdir(target, 0o700)
    account.own(target)
    output: str | None = ""
    for locale in _LOCALES:
        options = (*locale, *_OPTIONS, *_shared_memory_option(), f"--pgdata={target}")
        output = program.run(
            [binaries.program("initdb"), *options], account, deadline, _environment()
        )
        if output is None:
            return
        files.remove_tree(target)
        if "invalid locale" not in output:
            break
        os.mkdir(target, 0o700)
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
        raise InitdbFailed(target, output.strip() or "(nothing)")


def _shared_memory_option() -> tuple[str, ...]:
    """Where /dev/shm is too small for a server, it may be too small for initdb."""
    from oxy_pg.server.cluster import config

    kind = config.defaults()["dynamic_shared_memory_type"]
    return (f"--set=dynamic_shared_memory_type={kind}",) if kind == "mmap" else ()


def _environment() -> dict[str, str]:
    # TZ: initdb would otherwise try every time zone to find the machine's.
    return {**process.environment(), "TZ": "UTC"}
