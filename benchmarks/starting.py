"""
Starting and attaching, beside pgserver: ``python -m benchmarks.starting``.

Every figure is taken in a process of its own, the contenders in turn in one
run; medians, and the ratio to pgserver. What counts is the ratio: the
machine's speed is in both. Both packages have to be installed as their users
have them, with their bytecode compiled.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TIMED = """
import time
began = time.perf_counter()
import {module}
imported = time.perf_counter()
{call}
ready = time.perf_counter()
{call}
again = time.perf_counter()
print((imported - began) * 1e3, (ready - began) * 1e3, (again - ready) * 1e3)
{then}
"""
_CALLS = {
    "pgserver": "server = pgserver.get_server({place!r}, cleanup_mode='stop')",
    "oxy_pg": "oxy_pg.ensure(state_dir={place!r})",
}
_WAIT = "import sys; sys.stdout.flush(); sys.stdin.read()"


@dataclass(frozen=True)
class Line:
    """One row of the table: times in milliseconds, and the ratio to reach."""

    what: str
    pgserver: float
    oxy_pg: float
    reach: float

    def __str__(self) -> str:
        ratio = self.oxy_pg / self.pgserver
        verdict = "reached" if ratio <= self.reach else "NOT reached"
        return (
            f"| {self.what} | {self.pgserver:.2f} ms | {self.oxy_pg:.2f} ms "
            f"| {ratio:.2f} | ≤ {self.reach} | {verdict} |"
        )


class Bench:
    """The places of both contenders, and how each is started."""

    def __init__(self, base: Path, rounds: int) -> None:
        self.places = {"pgserver": str(base / "pgserver"), "oxy_pg": str(base / "oxy_pg")}
        self.cache = base / "cache"
        self.rounds = rounds
        self.environment = {**os.environ, "OXY_PG_CACHE_DIR": str(self.cache)}
        self.environment.pop("OXY_DATABASE_URL", None)

    def code(self, contender: str, then: str = "") -> list[str]:
        """Return the command that starts a contender and prints its times."""
        call = _CALLS[contender].format(place=self.places[contender])
        code = _TIMED.format(module=contender, call=call, then=then)
        return [sys.executable, "-W", "ignore", "-c", code]

    def times(self, contender: str) -> list[float]:
        """Start or attach once; milliseconds for the import, until ready, and for asking again."""
        done = subprocess.run(
            self.code(contender), env=self.environment, capture_output=True, text=True, check=True
        )
        return [float(word) for word in done.stdout.split()]

    def medians(self, rounds: int, before: Callable[[str], None]) -> dict[str, list[float]]:
        """Measure both in turn."""
        found: dict[str, list[list[float]]] = {"pgserver": [], "oxy_pg": []}
        for _ in range(rounds):
            for contender, times in found.items():
                before(contender)
                times.append(self.times(contender))
        return {
            contender: [statistics.median(column) for column in zip(*times, strict=True)]
            for contender, times in found.items()
        }

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep both servers running."""
        holders = [
            subprocess.Popen(
                self.code(contender, _WAIT),
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for contender in self.places
        ]
        for holder in holders:
            assert holder.stdout is not None
            holder.stdout.readline()
        try:
            yield
        finally:
            for holder in holders:
                holder.communicate()

    def stop(self, contender: str) -> None:
        """Leave the server stopped; pgserver's stops with its process."""
        if contender == "oxy_pg":
            import oxy_pg

            oxy_pg.Server(self.places[contender]).stop()

    def remove(self, contender: str) -> None:
        """Leave no cluster."""
        self.stop(contender)
        shutil.rmtree(self.places[contender], ignore_errors=True)

    def remove_template(self, contender: str) -> None:
        """Leave no cluster, and no template to copy one from."""
        self.remove(contender)
        shutil.rmtree(self.cache, ignore_errors=True)

    def run(self) -> list[Line]:
        """Measure everything."""
        few = max(3, self.rounds // 3)
        first = self.medians(few, self.remove_template)
        copied = self.medians(few, self.remove)
        warm = self.medians(self.rounds, self.stop)
        with self.held():
            attached = self.medians(self.rounds, lambda _: None)
        for contender in self.places:
            self.remove(contender)
        imports, ready, again = range(3)

        def line(what: str, found: dict[str, list[float]], column: int, reach: float) -> Line:
            return Line(what, found["pgserver"][column], found["oxy_pg"][column], reach)

        return [
            line("import", attached, imports, 0.4),
            line("first start ever (initdb)", first, ready, 0.75),
            # pgserver has no template: its cold start is what a new cluster costs there.
            Line("new cluster, template cached", first["pgserver"][1], copied["oxy_pg"][1], 0.25),
            line("start of a stopped cluster", warm, ready, 0.4),
            line("attach from a new process, import included", attached, ready, 0.4),
            line("asking again in the same process", attached, again, 0.5),
        ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    base = Path(tempfile.mkdtemp(prefix="oxy_pg-bench-"))
    base.chmod(0o711)  # as root the servers run as another user
    try:
        lines = Bench(base, rounds).run()
    finally:
        shutil.rmtree(base, ignore_errors=True)
    print("| what | pgserver | oxy_pg | ratio | reach | |")
    print("|---|---:|---:|---:|---:|---|")
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
