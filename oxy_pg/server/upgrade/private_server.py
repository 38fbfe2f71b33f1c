"""
A postmaster of our own for the length of a ``with`` block: the private socket is the only way in.

It runs below a keeper: a small process that stops it when we are done, and also
when our process has ended, for any reason. The keeper holds the lock of the
state directory as long as the postmaster runs, so that no other process starts one.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from oxy_pg.errors import StartFailed, StartTimeout
from oxy_pg.paths import DataDir
from oxy_pg.server.cluster import directory, postmaster
from oxy_pg.server.cluster.socket_connection import Connection, QueryError
from oxy_pg.system import files, process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oxy_pg.server.cluster.account import Account
    from oxy_pg.system.deadline import Deadline

LOG = "upgrade.log"
_PATIENCE = 20.0  # seconds for a fast shutdown that is not waited for

# Against the cluster's own configuration.
_SETTINGS = {
    "listen_addresses": "",
    "ssl": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "lc_messages": "C",
    "autovacuum": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


class Sockets:
    """Where a private postmaster has its sockets, its port that names them, and its account."""

    __slots__ = ("account", "port", "socket_dir")

    def __init__(self, socket_dir: str, port: int, account: Account) -> None:
        self.socket_dir = socket_dir
        self.port = port  # not listened on; it is part of the socket's name
        self.account = account


@contextlib.contextmanager
def running(
    postgres: str,
    data_dir: str,
    sockets: Sockets,
    settings: Mapping[str, str],
    lock_fd: int,
    deadline: Deadline,
) -> Iterator[None]:
    """
    Run the cluster in ``data_dir`` until the end of the block, and then shut it down cleanly.

    After an exception it is stopped without a checkpoint. Raises StartFailed
    or StartTimeout, and nothing is running then. ``postgres`` is a full path;
    ``settings`` win over the cluster's own.
    """
    log = f"{directory.make_log_dir(data_dir, sockets.account)}/{LOG}"
    argv = postmaster.command(postgres, data_dir, sockets.socket_dir, sockets.port)
    for name, value in {**_SETTINGS, **settings}.items():
        argv += ["-c", f"{name}={value}"]
    keeper = _start_keeper(argv, log, sockets.account, lock_fd)
    try:
        _wait_until_ready(keeper, data_dir, sockets, deadline)
        yield
    except BaseException:
        _end(keeper, "immediate")
        raise
    if _end(keeper, "fast") != 0:
        raise StartFailed(data_dir, f"It did not shut down cleanly.\n{_last_words(data_dir)}")


def _start_keeper(
    argv: list[str], log: str, account: Account, lock_fd: int
) -> subprocess.Popen[bytes]:
    facts = [str(lock_fd), log, str(account.uid), str(account.gid)]
    return subprocess.Popen(
        process.command(
            "oxy_pg.server.upgrade.private_server", "keep(sys.argv[2:])", *facts, *argv
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=process.environment(),
        cwd="/",
        pass_fds=(lock_fd,),
        start_new_session=True,  # Ctrl-C in a terminal is for us, and we tell it
    )


def keep(arguments: list[str]) -> None:
    """Be the keeper: start the postmaster, and stop it when told to or when our parent has gone."""
    lock_fd, log, uid, gid, *argv = arguments
    os.set_inheritable(int(lock_fd), False)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing)
    pid = postmaster.spawn(argv, log, int(uid), int(gid))
    if 0 in select.select([0, reading], [], [])[0]:
        mode = os.read(0, 16).decode().strip()  # nothing: our parent was killed
        postmaster.signal_stop(pid, mode or "fast")
        if not select.select([reading], [], [], None if mode else _PATIENCE)[0]:
            postmaster.signal_stop(pid, "immediate")
    _, status = os.waitpid(pid, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _end(keeper: subprocess.Popen[bytes], mode: str) -> int:
    """Have the postmaster stopped, and return its exit code."""
    assert keeper.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        keeper.stdin.write(f"{mode}\n".encode())
        keeper.stdin.close()
    return keeper.wait()


def _wait_until_ready(
    keeper: subprocess.Popen[bytes], data_dir: str, sockets: Sockets, deadline: Deadline
) -> None:
    """Return when it answers, and is the one that serves this directory."""
    for remaining in deadline.attempts(0.01, 0.1):
        if keeper.poll() is not None:
            raise StartFailed(data_dir, _last_words(data_dir))
        try:
            with Connection(
                sockets.socket_dir, sockets.port, deadline, any_version=True
            ) as connection:
                served = connection.query("SHOW data_directory")[0][0]
        except QueryError as error:
            if not error.sqlstate.startswith("57P"):  # it is starting, or recovers
                raise StartFailed(data_dir, f"{error}\n{_last_words(data_dir)}") from error
        except OSError:
            pass  # it does not listen yet
        else:
            if os.path.samefile(str(served), data_dir):
                return
        if not remaining:
            raise StartTimeout(data_dir, deadline.timeout, _last_words(data_dir))


def _last_words(data_dir: str) -> str:
    text = files.read_text(f"{DataDir(data_dir).log_dir}/{LOG}") or ""
    return "\n".join(text.splitlines()[-12:])


def hba_settings(sockets: Sockets, hba: str, ident: str) -> dict[str, Any]:
    """Write who may connect, beside the socket; return the settings that name these files."""
    owner = (sockets.account.uid, sockets.account.gid)
    paths = {"hba_file": f"{sockets.socket_dir}/hba", "ident_file": f"{sockets.socket_dir}/ident"}
    for path, text in zip(paths.values(), (hba, ident), strict=True):
        files.write_text(path, text, owner=owner)
    return paths
