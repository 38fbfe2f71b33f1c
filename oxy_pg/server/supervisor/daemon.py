"""
The supervisor's process, from its first line on; ``spawn.py`` has started it.

What it imports before PostgreSQL runs, a start waits for: no contextlib here,
in ``order.py``, nor in what that imports.
"""

from __future__ import annotations

import gc
import os

# What it inherits.
LOCK_FD = 3
CONTROL_FD = 4
ORDER_FD = 5


def become_supervisor() -> None:
    """Wait for the order; become a daemon, and supervise."""
    for name in os.listdir("/dev/fd"):
        if int(name) > ORDER_FD:
            try:
                os.close(int(name))  # a pipe of the caller's that it had not closed on exec
            except OSError:
                continue  # the one that listed them
    os.umask(0o077)
    os.chdir("/")
    gc.disable()  # nothing of what is imported is garbage

    from oxy_pg.server.supervisor.order import Order, start_postmaster

    order = Order.decode(_read(ORDER_FD))
    if order is None:
        return  # we are not needed, or the process that spawned us was killed
    os.close(ORDER_FD)
    if os.fork():
        os._exit(0)  # so that no process has to wait for us
    os.set_inheritable(LOCK_FD, False)
    os.set_inheritable(CONTROL_FD, False)
    _sign_the_lock()
    # PostgreSQL starts while we import what supervising takes.
    started = None if order.adopt else start_postmaster(order, order.ports[0])
    _allow_many_files()

    import _socket

    from oxy_pg.server.supervisor.loop import Supervisor

    gc.enable()
    control = _socket.socket(fileno=CONTROL_FD)
    control.listen(1024)  # again: the peer that clients see is now this process
    Supervisor(order, control).run(started)
    # Before our clients' connections are closed: they would find the lock held. Python's own end
    # closes them first, and the kernel's in any order.
    os.close(LOCK_FD)
    os._exit(0)


def _read(descriptor: int) -> bytes:
    """Read one message with its size before it; as much as there is when the writer is gone."""
    size = int.from_bytes(os.read(descriptor, 4))
    message = b""
    while len(message) < size and (part := os.read(descriptor, size - len(message))):
        message += part
    return message


def _sign_the_lock() -> None:
    try:
        os.ftruncate(LOCK_FD, 0)
        os.pwrite(LOCK_FD, f"{os.getpid()} supervisor\n".encode(), 0)
    except OSError:
        return  # a full disk: only a message would have named us


def _allow_many_files() -> None:
    """Every lease takes one."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):
        return  # macOS: "unlimited" is more than it grants
