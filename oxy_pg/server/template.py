"""
The initialised directory that new clusters are copied from.

``initdb`` takes a third of a second and its result is always the same, so it
is kept in the cache directory: one for each PostgreSQL version and locale. It
is put in place by a rename, checked while it is copied, and made again when
it is damaged.
"""

from __future__ import annotations

import contextlib
import errno
import os

from oxy_pg import files, paths
from oxy_pg.errors import InitdbFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oxy_pg.deadline import Deadline
    from oxy_pg.server.account import Account
    from oxy_pg.server.binaries import Binaries

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
    "--no-sync",  # whoever copies it for keeps does that
)
_LIST = "files"


class DamagedTemplate(Exception):
    """The cached template is not what was put there."""


def copy_to(target: str, binaries: Binaries, account: Account, deadline: Deadline) -> None:
    """
    Make ``target``, which must not exist, a new cluster that nobody has started yet.

    It belongs to ``account`` and has not been synced to disk. Raises
    InitdbFailed, or OSError when the disk is full; ``target`` may then be
    there in part.
    """
    template = _path(paths.cache_dir(), binaries)
    try:
        _copy(template, target, account)
    except DamagedTemplate:
        files.remove_tree(target)
    else:
        return
    _initdb(target, binaries, account, deadline)
    try:
        _keep(target, template)
    except OSError:
        # The cache is a convenience: a full or read-only one must not stop a server.
        import logging

        logging.getLogger("oxy_pg").info("no template could be kept in %s", template, exc_info=True)


def _path(cache_dir: str, binaries: Binaries) -> str:
    options = paths.digest(repr((_OPTIONS, _LOCALES, os.uname().machine, binaries.bin_dir)))
    return f"{cache_dir}/template-{binaries.version}-{options}"


def _copy(template: str, target: str, account: Account) -> None:
    """Copy the template; raises DamagedTemplate as soon as something differs from its list."""
    listed = files.read_text(f"{template}/{_LIST}", limit=1 << 20)
    if listed is None:
        raise DamagedTemplate(template)
    os.mkdir(target, 0o700)
    account.own(target)
    for line in listed.splitlines():
        size, _, name = line.partition(" ")
        try:
            if size == "/":
                os.mkdir(f"{target}/{name}", 0o700)
            elif files.copy_file(f"{template}/data/{name}", f"{target}/{name}") != int(size):
                raise DamagedTemplate(name)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise DamagedTemplate(name) from error
        account.own(f"{target}/{name}")
    if not listed.endswith("PG_VERSION\n"):
        raise DamagedTemplate(_LIST)


def _keep(cluster: str, template: str) -> None:
    """Put a copy of a new cluster in the cache, for the next one."""
    import tempfile

    os.makedirs(os.path.dirname(template), mode=0o700, exist_ok=True)
    aside = tempfile.mkdtemp(prefix=".template-", dir=os.path.dirname(template))
    try:
        os.mkdir(f"{aside}/data", 0o700)
        lines = []
        for entry in files.walk(cluster):
            name = os.path.relpath(entry.path, cluster)
            if entry.is_dir(follow_symlinks=False):
                os.mkdir(f"{aside}/data/{name}", 0o700)
                lines.append(f"/ {name}\n")
            else:
                size = files.copy_file(entry.path, f"{aside}/data/{name}")
                lines.append(f"{size} {name}\n")
        # PG_VERSION comes last: a list that does not end with it is half a list.
        lines.sort(key=lambda line: line.endswith(" PG_VERSION\n"))
        files.sync_tree(f"{aside}/data")  # or a power failure could leave sizes without contents
        files.write_text(f"{aside}/{_LIST}", "".join(lines))
        with contextlib.suppress(FileNotFoundError):
            os.rename(template, f"{aside}/damaged")
        os.rename(aside, template)
        files.remove_tree(f"{template}/damaged")
    except BaseException:
        files.remove_tree(aside)
        raise


def _initdb(target: str, binaries: Binaries, account: Account, deadline: Deadline) -> None:
    os.mkdir(target, 0o700)
    account.own(target)
    output: str | None = ""
    for locale in _LOCALES:
        options = (*locale, *_OPTIONS, f"--pgdata={target}")
        output = _run_initdb(options, binaries, account, deadline)
        if output is None:
            return
        files.remove_tree(target)
        if "invalid locale" not in output:
            break
        os.mkdir(target, 0o700)
        account.own(target)
    raise InitdbFailed(target, (output or "").strip() or "(nothing)")


def _shared_memory_option() -> tuple[str, ...]:
    """Where /dev/shm is too small for a server, it may be too small for initdb."""
    from oxy_pg.server import config

    kind = config.defaults()["dynamic_shared_memory_type"]
    return (f"--set=dynamic_shared_memory_type={kind}",) if kind == "mmap" else ()


def _run_initdb(
    options: tuple[str, ...], binaries: Binaries, account: Account, deadline: Deadline
) -> str | None:
    """Run initdb; return None when it has worked, or else what it said."""
    import subprocess

    from oxy_pg.server.postmaster import environment

    try:
        result = subprocess.run(
            [binaries.program("initdb"), *options, *_shared_memory_option()],
            # TZ: initdb would otherwise try every time zone to find the machine's.
            env={**environment(), "TZ": "UTC"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            umask=0o077,
            check=False,
            timeout=deadline.remaining(),
            **account.popen_arguments(),
        )
    except subprocess.TimeoutExpired:
        return f"initdb had not finished when the {deadline.timeout:g} s of `timeout` were over"
    return None if result.returncode == 0 else result.stdout.decode(errors="replace")
