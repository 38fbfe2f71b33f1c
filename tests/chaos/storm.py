"""The storm: writers that commit, random kills, and the account of what survived."""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg

import oxy_pg

from .machine import (
    Process,
    Watch,
    is_there,
    postmasters,
    processes,
    supervisors,
)

WRITERS = 3
PATIENCE = 120.0


class Storm:
    """Kills one thing after another under a load, and lets somebody ask for the server at once."""

    def __init__(self, state_dir: Path, journal_dir: Path, seed: int, count: int) -> None:
        self.state_dir = str(state_dir)
        self.journal_dir = journal_dir
        self.seed = seed
        self.count = count
        self.random = random.Random(seed)
        self.kills: collections.Counter[str] = collections.Counter()
        self.stops: collections.Counter[str] = collections.Counter()
        self.recoveries: list[tuple[float, str]] = []
        self.typed: collections.Counter[str] = collections.Counter()
        self.untyped: list[str] = []
        self.writers: dict[int, int] = {}  # number -> pid
        self.runs = 0
        self.probes = 0
        self._probe_pids: dict[int, int] = {}
        self._recovered: set[int] = set()
        self._changed = threading.Condition()
        self._stopped: list[int] = []
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.data_dir = ""
        self.lost: set[tuple[int, int, int]] = set()
        self.acknowledged = 0
        self.left: list[str] = []
        self.seconds = 0.0

    # --- the actors ---

    def _read(self, stream) -> None:
        for line in stream:
            kind, _, rest = line.strip().partition(" ")
            with self._changed:
                if kind == "began":
                    what, number, pid = rest.split()
                    (self.writers if what == "writer" else self._probe_pids)[int(number)] = int(pid)
                elif kind == "recovered":
                    self._recovered.add(int(rest))
                elif kind == "typed":
                    _, name, *words = rest.split()
                    self.typed[f"{name}: {' '.join(words)[:300]}"] += 1
                elif kind in {"untyped", "hopeless"}:
                    self.untyped.append(line.strip())
                self._changed.notify_all()

    def _order(self, *words: object) -> None:
        self._actors.stdin.write(" ".join(map(str, words)) + "\n")
        self._actors.stdin.flush()

    def _start_writer(self, number: int) -> None:
        self.runs += 1
        self.writers.pop(number, None)
        self._order("writer", number, self.runs)
        self._wait(lambda: number in self.writers, "a writer to begin")

    def _start_probe(self) -> int:
        self.probes += 1
        self._order("probe", self.probes)
        return self.probes

    def _wait(self, condition, what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), (
                f"waited in vain for {what}; seed {self.seed}, after {self.kills.total()} kills; "
                f"{self.typed} {self.untyped}\n{self._evidence()}"
            )

    def _evidence(self) -> str:
        """What there is to see while nobody gets a server."""
        place = Path(self.state_dir)
        files = ("lock", "supervisor.log", "postgres_data/postmaster.pid")
        logs = (place / "postgres_data/log").glob("*")
        parts = [
            f"{path}:\n{path.read_text(errors='replace')[-1500:]}"
            for path in (*(place / name for name in files), *sorted(logs)[-3:])
            if path.exists()
        ]
        parts += [f"supervisors: {supervisors(self.state_dir)}"]
        parts += [str(one) for one in self._serving()]
        return "\n".join(parts)

    # --- what can be killed ---

    def _serving(self) -> list[Process]:
        return list(processes(self.data_dir).values())

    def _supervisor(self) -> list[int]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid, role = Path(self.state_dir, "lock").read_text().split()
            command = Path(f"/proc/{pid}/cmdline")
            if role == "supervisor" and (
                not command.parent.parent.exists() or b"supervisor" in command.read_bytes()
            ):
                return [int(pid)]
        return []

    def _victims(self, kind: str) -> list[int]:
        found = self._serving()
        if kind == "client":
            return [self.random.choice(list(self.writers.values()))]
        if kind == "supervisor":
            return self._supervisor()
        if kind == "postmaster":
            return postmasters(self.data_dir)
        if kind in {"backend", "auxiliary process"}:
            wanted = kind == "backend"
            candidates = [
                one.pid
                for one in found
                if not one.is_postmaster and one.is_client_backend == wanted
            ]
            return [self.random.choice(candidates)] if candidates else []
        assert kind == "everything"
        return [*self._supervisor(), *(one.pid for one in found), *self.writers.values()]

    def _kill(self, kind: str) -> bool:
        """Kill what ``kind`` names; False when there is none of it just now."""
        if kind.endswith("'s process group"):
            return self._kill_group(self._victims(kind.removesuffix("'s process group")))
        if kind == "client that asks":
            # It may hold the lock, be copying a template, or wait: whatever it is, it never ends it
            for pid in self._supervisor():
                _send(pid, signal.SIGKILL)
            number = self._start_probe()
            self._wait(lambda: number in self._probe_pids, "a probe to begin")
            time.sleep(self.random.random() * 0.08)
            return _send(self._probe_pids[number], signal.SIGKILL)
        victims = self._victims(kind)
        return 0 < sum(_send(pid, signal.SIGKILL) for pid in victims)

    def _kill_group(self, victims: list[int]) -> bool:
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                group = os.getpgid(pid)
                assert group != os.getpgrp(), "that would be ourselves"
                os.killpg(group, signal.SIGKILL)
                return True
        return False

    def _pause_somebody(self) -> float:
        """Stop one process for a while (SIGSTOP); returns the seconds."""
        kind = self.random.choice(("client", "supervisor", "postmaster", "backend"))
        victims = self._victims(kind)
        seconds = self.random.uniform(0.1, 2.0)
        for pid in victims:
            if _send(pid, signal.SIGSTOP):
                self.stops[kind] += 1
                timer = threading.Timer(seconds, _send, (pid, signal.SIGCONT))
                timer.daemon = True
                timer.start()
                self._stopped.append(pid)
        return seconds if victims else 0.0

    # --- the storm itself ---

    KINDS = (
        "client",
        "client's process group",
        "client that asks",
        "supervisor",
        "supervisor",
        "postmaster",
        "postmaster",
        "backend",
        "auxiliary process",
        "supervisor's process group",
        "everything",
    )

    def run(self) -> Storm:
        """Let it blow; afterwards the account is in the attributes."""
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            self._begin(stack)
            watch = stack.enter_context(Watch(self.data_dir))
            while self.kills.total() < self.count:
                self._strike()
            self._end(watch)
        self.two_at_once = watch.two_at_once
        self.postmasters = len(watch.seen)
        self.looks = watch.looks
        self.seconds = time.monotonic() - began
        return self

    def _begin(self, stack: contextlib.ExitStack) -> None:
        url = oxy_pg.ensure(state_dir=self.state_dir, keep_alive=1)
        with psycopg.connect(url) as connection:
            connection.execute(
                "CREATE TABLE written (writer int, run int, row int,"
                " PRIMARY KEY (writer, run, row))"
            )
        self.data_dir = os.path.realpath(f"{self.state_dir}/postgres_data")
        self._actors = stack.enter_context(
            subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("actors.py")),
                    self.state_dir,
                    str(self.journal_dir),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        stack.callback(self._kill_actors)
        threading.Thread(target=self._read, args=(self._actors.stdout,), daemon=True).start()
        for number in range(WRITERS):
            self._start_writer(number)
        probe = self._start_probe()
        self._wait(lambda: probe in self._recovered, "the first probe")

    def _strike(self) -> None:
        """Kill something at a random moment, and have somebody ask for the server at once."""
        time.sleep(self.random.random() ** 2 * 0.5)
        if self.random.random() < 0.12:
            self._pause_somebody()
            time.sleep(self.random.random() * 0.2)
        kind = self.random.choice(self.KINDS)
        killed_at = time.monotonic()
        if not self._kill(kind):
            return
        self.kills[kind] += 1
        probe = self._start_probe()
        if self.random.random() < 0.2 and self.kills.total() < self.count:
            # Once more, while it is being brought back.
            time.sleep(self.random.random() * 0.15)
            second = self.random.choice(self.KINDS[3:7])
            if self._kill(second):
                self.kills[second] += 1
                kind += f", then {second}"
        self._wait(lambda: probe in self._recovered, f"recovery after {kind}")
        was_paused = bool(self._stopped)
        self._stopped = [pid for pid in self._stopped if _is_stopped(pid)]
        if not was_paused:  # else it was waited for whoever had been stopped
            self.recoveries.append((time.monotonic() - killed_at, kind))
        for number, pid in list(self.writers.items()):
            if not _is_running(pid):
                self._start_writer(number)

    def _kill_actors(self) -> None:
        for pid in (*self.writers.values(), *self._probe_pids.values()):
            _send(pid, signal.SIGKILL)
        self._actors.kill()

    # --- the account ---

    def _end(self, watch: Watch) -> None:
        for pid in self.writers.values():
            _send(pid, signal.SIGKILL)
        url = oxy_pg.ensure(state_dir=self.state_dir, keep_alive=1)
        with psycopg.connect(url) as connection:
            rows = {
                (int(writer), int(run), int(row))
                for writer, run, row in connection.execute("SELECT * FROM written")
            }
            # An index that lies would show only one of these.
            connection.execute(
                "SET enable_indexscan = off; SET enable_bitmapscan = off;"
                " SET enable_indexonlyscan = off"
            )
            counts = connection.execute("SELECT count(*) FROM written").fetchone()
        assert counts == (len(rows),)
        acknowledged = set()
        for journal in self.journal_dir.iterdir():
            for line in journal.read_text().splitlines(keepends=True):
                if line.endswith("\n"):  # else its writer was killed before it was written
                    run, row = line.split()
                    acknowledged.add((int(journal.name), int(run), int(row)))
        self.acknowledged = len(acknowledged)
        self.lost = acknowledged - rows
        oxy_pg.Server(self.state_dir).stop()
        self._look_what_is_left(watch)

    def _look_what_is_left(self, watch: Watch) -> None:
        end = time.monotonic() + 15
        while True:
            self.left = [
                *(f"process {one}" for one in self._serving()),
                *(f"supervisor {pid}" for pid in supervisors(self.state_dir)),
                *(f"shared memory {one}" for one in watch.segments if is_there(one)),
                *(
                    f"file {path}"
                    for path in Path(self.state_dir).rglob("*")
                    if path.is_socket() or ".new" in path.name
                ),
            ]
            if not self.left or time.monotonic() > end:
                return
            time.sleep(0.1)

    def __str__(self) -> str:
        times = sorted(seconds for seconds, _ in self.recoveries)
        slowest = sorted(self.recoveries, reverse=True)[:3]
        lines = [
            f"chaos: seed {self.seed}, {self.seconds:.0f} s, {self.kills.total()} kills",
            *(f"  killed {number:4}x {kind}" for kind, number in self.kills.most_common()),
            *(f"  stopped {number:3}x {kind}" for kind, number in self.stops.most_common()),
            f"  rows acknowledged: {self.acknowledged}, lost: {len(self.lost)}",
            f"  postmasters seen: {self.postmasters}, in {self.looks} looks",
            f"  two at once: {len(self.two_at_once)}",
            f"  left behind (orphans, segments, sockets, files): {len(self.left)}",
            f"  recovery: median {times[len(times) // 2]:.3f} s, "
            f"99 % {times[int(len(times) * 0.99)]:.3f} s, slowest "
            + ", ".join(f"{seconds:.3f} s ({kind})" for seconds, kind in slowest),
            f"  typed errors on the way: {self.typed.total()}, untyped: {len(self.untyped)}",
            *(f"    {number}x {words}" for words, number in self.typed.most_common(8)),
        ]
        return "\n".join(lines)


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _is_running(pid: int) -> bool:
    return _send(pid, 0)


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False
