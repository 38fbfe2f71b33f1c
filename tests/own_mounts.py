"""A mount namespace of one's own, with another /dev/shm and /tmp."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import oxy_pg

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only root can mount a file system"
)

# /tmp is a disk of its own, too, so that nothing is left on this machine's.
MOUNTED = """
    set -e
    mount -t tmpfs -o size=2g,mode=1777 tmpfs /tmp
    eval "$MOUNT"
    unset TMPDIR
    cd /tmp
    exec "$@"
"""


def on_own_mounts(mount, *command, **variables):
    """Run a command in a mount namespace of its own; return what it prints."""
    done = subprocess.run(
        ["unshare", "--mount", "--ipc", "--propagation", "private", "sh", "-c", MOUNTED, "sh",
         *command],
        env={
            **os.environ,
            "MOUNT": mount,
            "OXY_PG_CACHE_DIR": "/tmp/cache",
            "XDG_STATE_HOME": "/tmp/state",
            "PYTHONPATH": str(Path(oxy_pg.__file__).parents[1]),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def with_python(mount, code, **variables):
    return on_own_mounts(mount, sys.executable, "-c", code, **variables)
