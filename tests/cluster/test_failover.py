"""
Commands in a cluster of several machines, whose primary is killed, switched over and cut off.

``nox -s cluster -- 50 7`` sets the number of failovers, and the seed.
"""

from __future__ import annotations

import collections
import itertools
import os
import random
import subprocess
import threading
import time

import psycopg
import pytest

from tests.cluster.commands import Commands
from tests.cluster.patroni import Cluster, missing

FAILOVERS = int(os.environ.get("OXY_PG_FAILOVERS", "6"))
SEED = int(os.environ.get("OXY_PG_SEED", "1"))
KINDS = ("killed", "switched", "cut off")
# What a message says where the server had the commit and nobody can know whether it took it.
UNKNOWN = "not known whether"

pytestmark = pytest.mark.long
# Loopback addresses 127.0.n.x, others for each run on this machine.
_nets = itertools.count(72 + os.getpid() % 150)


@pytest.fixture(params=[True], ids=["synchronous"])
def cluster(request, base_dir):
    if found := missing():
        pytest.skip(f"not installed: {', '.join(found)}")
    one = Cluster(
        base_dir / f"cluster-{time.time_ns()}", net=next(_nets), synchronous=request.param
    )
    yield one
    one.stop()


def disturb(cluster: Cluster, kind: str):
    """Take the primary away; return what brings it back."""
    primary = cluster.primary()
    assert primary is not None
    if kind == "killed":
        primary.kill()
        return primary, primary.start
    if kind == "switched":
        cluster.switch_over()
        return primary, lambda: None
    primary.cut_off()
    return primary, primary.connect_again


def wait_for_another(cluster: Cluster, primary) -> None:
    ends = time.monotonic() + 60
    while (found := cluster.primary()) is None or found is primary:
        assert time.monotonic() < ends, (cluster.state(), cluster.logs())
        time.sleep(0.2)


@pytest.mark.timeout(300 + 90 * FAILOVERS)
def test_every_command_finishes_or_leaves_the_old_state(cluster, state_dir, tmp_path, monkeypatch):
    """
    Never a traceback, never a part; and what was acknowledged is there after the failover.
    """
    monkeypatch.setenv("OXY_PG_KEEP_ALIVE", "600")
    chosen = random.Random(SEED)
    commands = Commands(cluster, tmp_path, state_dir)
    # So that a number of failovers meets each pair once before any a second time.
    pairs = list(itertools.product(commands.all, KINDS))
    order = [*chosen.sample(pairs, len(pairs)), *chosen.choices(pairs, k=FAILOVERS)][:FAILOVERS]
    table: collections.Counter[tuple[str, str, str]] = collections.Counter()
    try:
        for run, (command, kind) in enumerate(order, 1):
            outcome = one_failover(cluster, commands, command, kind, run, chosen)
            table[command.name, kind, outcome] += 1
            print(f"{run}: {command.name}, {kind}: {outcome}", flush=True)
    finally:
        print(shown(table))
        commands.close()


def one_failover(cluster, commands, command, kind, run, chosen) -> str:
    command.prepare(run)
    before = command.state() if command.state else None
    process = commands.start(command, run)
    time.sleep(chosen.uniform(0.2, 3.0))
    primary, bring_back = disturb(cluster, kind)
    try:
        wait_for_another(cluster, primary)
        if kind == "cut off":
            time.sleep(chosen.uniform(0, 5))
        bring_back()
        out, said = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        process.kill()
        out, said = process.communicate()
        raise AssertionError(
            f"{command.name}, {kind}: it hangs\n{said}\n{cluster.logs()}"
        ) from None
    finally:
        process.kill()
    cluster.wait_until_complete(90)
    told = f"{command.name}, {kind}: exit code {process.returncode}\n{out[-2000:]}\n{said[-3000:]}"
    if command.name != "pytest plugin":  # whose tests show what the server said
        assert "Traceback" not in said, told
    finished = process.returncode == 0
    assert finished or process.returncode == 1, told
    if command.state is not None:
        after = command.state()
        if command.name.startswith("backup"):
            assert after == ([True] if finished else []), told
        elif finished:
            assert after == run, (before, after, told)
        elif after == run and before != run:
            assert UNKNOWN in said, (before, after, told)
        else:
            assert after == before, (before, after, told)
    if finished:
        return "finished"
    print(said.strip().splitlines()[-2:], flush=True)
    return "outcome unknown, and said so" if UNKNOWN in said else "typed error, old state"


def shown(table) -> str:
    """The table of commands and outcomes, in Markdown."""
    names = dict.fromkeys(name for name, _, _ in table)
    lines = ["", "| command | " + " | ".join(KINDS) + " |", "|---|" + "---|" * len(KINDS)]
    for name in names:
        cells = []
        for kind in KINDS:
            found = {what: n for (one, how, what), n in table.items() if (one, how) == (name, kind)}
            cells.append("; ".join(f"{n} × {what}" for what, n in sorted(found.items())) or "–")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "cluster", [True, False], ids=["synchronous", "asynchronous"], indirect=True
)
def test_what_was_acknowledged(cluster):
    """
    Rows that a client was told to be committed, one by one, while the primary is killed.

    None is lost where the cluster is synchronous; how many where it is not is printed.
    """
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE told (id bigint PRIMARY KEY)")
    acknowledged: list[int] = []
    over = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            try:
                with psycopg.connect(cluster.url(), autocommit=True) as connection:
                    for one in itertools.count(number * 1_000_000):
                        connection.execute("INSERT INTO told VALUES (%s)", (one,))
                        acknowledged.append(one)
                        if over.is_set():
                            return
            except psycopg.Error:
                time.sleep(0.1)

    writers = [threading.Thread(target=write)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(3):
            time.sleep(3)
            primary, bring_back = disturb(cluster, "killed")
            wait_for_another(cluster, primary)
            bring_back()
            cluster.wait_until_complete(90)
    finally:
        over.set()
        for writer in writers:
            writer.join(60)
    with psycopg.connect(cluster.url()) as connection:
        there = {row[0] for row in connection.execute("SELECT id FROM told")}
    lost = set(acknowledged) - there
    print(f"{len(acknowledged)} rows acknowledged, {len(lost)} lost", flush=True)
    assert len(acknowledged) > 100
    assert not (lost and cluster.synchronous)
