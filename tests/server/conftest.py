"""What the tests of the server share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from oxy_pg.paths import StateDir
from oxy_pg.server.cluster import account, binaries


@pytest.fixture
def replace_initdb(monkeypatch, state_dir):
    """
    Use the installed PostgreSQL with a shell script as its initdb, and a cache of its own.

    In the script, ``$INITDB`` is the real one. The copy is where, as root, the
    user that PostgreSQL runs as can reach it, which tmp_path is not.
    """

    def replace(script: str) -> None:
        place = state_dir.parent
        user = account.account_for(StateDir(str(state_dir)))
        found = binaries.reachable(binaries.find(), user)
        copy = place / "bin"
        shutil.copytree(found.bin_dir, copy, symlinks=True)
        (copy / "initdb").unlink()
        (copy / "initdb").write_text(f"#!/bin/sh\nINITDB={found.bin_dir}/initdb\n{script}\n")
        (copy / "initdb").chmod(0o755)
        copy.chmod(0o755)
        for beside in ("lib", "share"):
            (place / beside).symlink_to(Path(found.bin_dir).parent / beside)
        monkeypatch.setenv("OXY_PG_BIN_DIR", str(copy))
        # Those that a wheel keeps next to its package.
        libraries = Path(found.bin_dir).parents[2].glob("*.libs")
        monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(map(str, libraries)))
        monkeypatch.setenv("OXY_PG_CACHE_DIR", str(place / "cache"))

    return replace
