"""
Run a program under a kernel that refuses some system calls: seccomp(2), as in a container.

``python -m tests.seccomp NAME=ERRNO,… PROGRAM ARGUMENT…``; x86-64 alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

# arch/x86/entry/syscalls/syscall_64.tbl
NUMBERS = {
    "shmget": 29,
    "flock": 73,
    "chmod": 90,
    "fchmod": 91,
    "chown": 92,
    "fchown": 93,
    "fchmodat": 268,
    "syncfs": 306,
    "fchmodat2": 452,
}
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2  # prctl(2)


def refuse(calls: dict[str, int]) -> None:
    """From now on these calls fail with these errors, in this process and its children."""
    program = struct.pack("HBBI", _LOAD, 0, 0, 0)  # the call's number
    for name, error in calls.items():
        program += struct.pack("HBBI", _JUMP_IF_EQUAL, 0, 1, NUMBERS[name])
        program += struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | error)
    program += struct.pack("HBBI", _RETURN, 0, 0, _ALLOW)
    code = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    wanted = dict(one.split("=") for one in sys.argv[1].split(","))
    refuse({name: getattr(errno, error) for name, error in wanted.items()})
    os.execv(sys.argv[2], sys.argv[2:])
