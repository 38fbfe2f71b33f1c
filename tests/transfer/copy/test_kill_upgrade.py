"""
However an upgrade ends, the state directory holds the old cluster or the new one.

OXY_PG_KILLS sets how often it is killed (default 2).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

import oxy_pg
from tests.conftest import processes_below, wait_until
from tests.other_servers import postgresql_18_bin
from tests.transfer.contents import RICH, differences, everything
from tests.transfer.copy.old_clusters import OldCluster

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("OXY_PG_KILLS", "2"))

PROGRAM = """
import sys, oxy_pg
from oxy_pg.server.upgrade import clusters as upgrade
from oxy_pg.transfer.copy import clusters
print("ready", flush=True)
oxy_pg.upgrade(sys.argv[1], old_bin_dir=sys.argv[2])
"""


def started(old: OldCluster) -> subprocess.Popen[str]:
    """An upgrade in a process of its own, past its imports."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, old.state.root, str(old.bin_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert "ready\n" == process.stdout.readline()
    return process


def kill(process: subprocess.Popen[str], *, all_of_them: bool) -> None:
    """Kill it, or at once everything that it has started."""
    doomed = [psutil.Process(process.pid)]
    if all_of_them:
        doomed += doomed[0].children(recursive=True)
    for one in doomed:
        with contextlib.suppress(psutil.Error):
            one.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.mark.timeout(120 + 15 * KILLS)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed keeper leaves its server")
def test_killed_upgrade_leaves_the_old_or_the_new(state_dir, monkeypatch):
    """
    kill -9 at random moments: the cluster is whole, of 18 or of 16, and the next call finishes.
    """
    chosen = random.Random(11)
    old = OldCluster(state_dir, postgresql_18_bin())
    with old.running() as url:
        with psycopg.connect(url(user="oxy"), autocommit=True) as connection:
            connection.execute(RICH)
        before = everything(url())
    spare = state_dir.parent / "spare"
    copy(state_dir, spare)
    process = started(old)
    began = time.monotonic()
    _, said = process.communicate(timeout=100)
    assert 0 == process.returncode, said
    took = time.monotonic() - began
    outcomes = []
    for number in range(KILLS):
        copy(spare, state_dir)
        process = started(old)
        time.sleep(took * (number + chosen.random()) / KILLS)
        kill(process, all_of_them=bool(number % 2))

        outcomes.append((old.data_dir / "PG_VERSION").read_text().strip())
        assert outcomes[-1] in {"16", "18"}
        # What still runs is about to stop, and is not used by anything that starts now.
        oxy_pg.upgrade(state_dir, old_bin_dir=old.bin_dir)
        server = oxy_pg.Server(state_dir)
        after = everything(server.superuser_url("oxy"))
        if number % 2:  # a crash empties UNLOGGED tables
            after["r public.scratch"] = before["r public.scratch"]
        assert [] == differences(before, after), number
        assert old.password in server.url()
        server.stop()
        names = {name for name in os.listdir(state_dir) if name.startswith("postgres_data")}
        assert {"postgres_data", "postgres_data.old-18"} == names
        assert wait_until(lambda: not processes_below(state_dir), 20)

    assert "18" in outcomes  # a test in which every kill came too late would show nothing
    shutil.rmtree(spare)


def copy(source: Path, target: Path) -> None:
    """Make a directory what another one is, owners included."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", source, target], check=True)
