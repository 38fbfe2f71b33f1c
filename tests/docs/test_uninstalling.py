"""docs/uninstalling.md: after its commands nothing of oxy_pg is left."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

DOC = (Path(__file__).parents[2] / "docs/uninstalling.md").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="the page's commands are those of Linux")
def test_nothing_is_left(base_dir):
    """
    In a home directory with a server, a template of clusters, and what they keep elsewhere.
    """
    home = Path(tempfile.mkdtemp(prefix="home-", dir=base_dir))
    home.chmod(0o711)
    ours = ("OXY_", "XDG_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    programs = home.parent / f"{home.name}-bin"
    programs.mkdir(mode=0o755)
    (programs / "oxy-pg").write_text(f'#!/bin/sh\nexec {sys.executable} -m oxy_pg "$@"\n')
    (programs / "oxy-pg").chmod(0o755)
    environment |= {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}
    # Root's would be those of the whole machine.
    added = ".local/share/oxy_pg"
    environment["OXY_PG_BINARIES_DIR"] = str(home / added)

    def run(*words):
        subprocess.run(words, env=environment, check=True, capture_output=True, cwd=home)

    # A temporary server leaves its template in the cache directory.
    run(sys.executable, "-c", "import oxy_pg\nwith oxy_pg.temporary(): pass")
    run("oxy-pg", "url")
    places = re.findall(r"^\| `~/(\S+)` \|", DOC, re.MULTILINE)
    assert len(places) == 4
    for place in set(places) - {added}:
        assert (home / place).exists(), place
    (commands,) = re.findall(r"^```sh run\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
    run("sh", "-ec", commands)

    left = [path for path in home.rglob("*") if not path.is_dir()]
    shutil.rmtree(home)
    shutil.rmtree(programs)
    assert [] == left
