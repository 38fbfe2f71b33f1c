"""
What the words of a program mean that has failed, and what to do about it.

PostgreSQL, the C library and the kernel say what they could not do, and seldom
why. One table for errors, warnings and `oxy-pg doctor`.
"""

from __future__ import annotations

import re

_REMEDIES = (
    (
        r"[Ss]ignal 7\b|Bus error",
        (
            "Signal 7 (SIGBUS) is memory that was promised and is not there. Most often huge pages "
            "that this container may not have: set huge_pages to off (settings={'huge_pages': "
            "'off'} or OXY_PG_SETTINGS=huge_pages=off). Or a full /dev/shm or disk: make room."
        ),
    ),
    (
        r"[Ss]ignal 9\b|with -9\b",
        (
            "Signal 9 (SIGKILL) without a person who sent it is the system that has run out of "
            "memory, or the memory limit of the container: raise the limit, or lower work_mem, "
            "shared_buffers and max_connections (`oxy-pg tune` proposes values)."
        ),
    ),
    (
        r"[Ss]ignal 31\b|Bad system call|shm(?:get|at)\(",
        (
            "PostgreSQL needs System V shared memory (shmget, shmat), if only 56 bytes. Where a "
            "security profile forbids it (seccomp in a container), allow these calls: docker run "
            "--security-opt seccomp=…; where the table of segments is full, see `ipcs -m` and "
            "kernel.shmmni."
        ),
    ),
    (
        r'No space left on|shared memory segment "pg_dynshmem/',
        (
            "The disk is full: make room, or choose another directory; for a temporary server "
            "that is OXY_PG_TEMP_DIR (in pytest also --oxy-pg-dir), for any other OXY_STATE_DIR."
        ),
    ),
    (
        r"could not open shared memory segment|could not resize shared memory segment",
        (
            "Something removes or fills /dev/shm. systemd does when a user logs out: RemoveIPC=no "
            "in /etc/systemd/logind.conf, or `loginctl enable-linger`; in a container: "
            "--shm-size=1g."
        ),
    ),
    (
        r"error while loading shared libraries|Library not loaded",
        (
            "The programs of PostgreSQL lack a library: install the package again, or name another "
            "PostgreSQL 16 with OXY_PG_BIN_DIR."
        ),
    ),
    (
        r"Exec format error|cannot execute binary file",
        (
            "The programs are for another kind of processor: install the package for this one, or "
            "name another PostgreSQL 16 with OXY_PG_BIN_DIR."
        ),
    ),
    (
        r"its interpreter\b|could not start [^\n]*\[Errno 2\]",
        (
            "The programs were built for another kind of Linux (on NixOS and Alpine the loader of "
            "glibc is missing): install PostgreSQL 16 with the system's package manager, and name "
            "its bin directory with OXY_PG_BIN_DIR (NixOS: also programs.nix-ld.enable)."
        ),
    ),
    (
        r"could not change permissions|chmod",
        (
            "The file system refuses to change a file's mode, which PostgreSQL needs: choose a "
            "directory on a local disk with OXY_STATE_DIR."
        ),
    ),
    (
        r"flock",
        (
            "The file system has no locks (flock), by which one process of many starts the server: "
            "choose a directory on a local disk with OXY_STATE_DIR."
        ),
    ),
)


def remedy(words: str) -> str:
    """Return what to do about these words; "" where that is not known."""
    return next((what for pattern, what in _REMEDIES if re.search(pattern, words)), "")
