"""A PostgreSQL that has just been unpacked, started once as ``ensure()`` would start it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from oxy_pg.errors import OxyPgError
from oxy_pg.server import temporary
from oxy_pg.server.binaries.unpacking import NotUsable
from oxy_pg.system import process

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATIENCE = 60.0  # seconds for the server


def start(bin_dir: str, extensions: Iterable[str]) -> None:
    """
    Start a temporary server of this PostgreSQL with these extensions, and stop it.

    In a process of its own, whose environment has nothing that a caller has set
    for another server. Raises NotUsable, with what the server or the loader said.
    """
    with tempfile.TemporaryDirectory(prefix="oxy_pg-cache-") as cache:
        command = process.command(__name__, "be_tried(sys.argv[2:])", *extensions)
        environment = {**process.environment(), "OXY_PG_BIN_DIR": bin_dir}
        try:
            done = subprocess.run(
                command,
                env={**environment, "OXY_PG_CACHE_DIR": cache, "LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=2 * _PATIENCE,
            )
        except subprocess.TimeoutExpired as error:
            raise NotUsable("it did not start in time") from error
    if done.returncode:
        raise NotUsable(f"it does not start: {done.stderr.strip()}")


def be_tried(extensions: list[str]) -> None:
    """Be that process."""
    server = temporary.TemporaryServer()
    try:
        for _ in temporary.running(server, extensions, _PATIENCE):
            os.write(1, b"started\n")
    except OxyPgError as error:
        sys.exit(str(error))
