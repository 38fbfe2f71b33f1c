"""docs/push-and-pull.md and docs/upgrading.md: every command in them runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

import oxy_pg

DOCS = Path(__file__).parents[3] / "docs"


def commands(name: str) -> str:
    """The shell blocks of a page."""
    text = (DOCS / name).read_text()
    return "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", ["push-and-pull.md", "upgrading.md"])
def test_the_commands_run(page, state_dir, postgresql_18, monkeypatch):
    """
    One after the other, on a machine where the fork of pgserver is installed.
    """
    oxy_pg.Server(state_dir, keep_alive=0).ensure_database()
    script = commands(page)
    assert script.count("oxy-pg") >= 2
    packages = str(postgresql_18.bin_dir.parents[2])

    done = subprocess.run(
        ["sh", "-eux", "-c", script.replace("oxy-pg ", f"{sys.executable} -m oxy_pg ")],
        env={
            **os.environ,
            "OXY_STATE_DIR": str(state_dir),
            "PRODUCTION": postgresql_18.new_database(),
            "PYTHONPATH": packages,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_way_back(state_dir, postgresql_18):
    """
    What docs/upgrading.md says on how to undo an upgrade: two renames.
    """
    from tests.transfer.copy.old_clusters import OldCluster

    old = OldCluster(state_dir, postgresql_18.bin_dir)
    oxy_pg.upgrade(state_dir, old_bin_dir=old.bin_dir)

    (state_dir / "postgres_data").rename(state_dir / "away")
    (state_dir / "postgres_data.old-18").rename(state_dir / "postgres_data")

    with old.running() as url, psycopg.connect(url()) as connection:
        assert connection.info.server_version // 10000 == 18
