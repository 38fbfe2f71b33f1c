"""
All benchmarks, side by side with the alternatives, in one run.

    python -m benchmarks [--rounds N] [--only PART ...] [--to DIR]
    python -m benchmarks --redraw
    python -m benchmarks --guard

A complete run writes a page, JSON and pictures to docs/benchmarks; a run of
some parts prints its table, and writes only where ``--to`` says. ``--redraw``
creates page and pictures again from the JSON. ``--guard`` is a short form that
fails when a ratio to an alternative has become worse.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import (
    attached,
    export,
    guard,
    idle,
    limits,
    machine,
    migration,
    page,
    place,
    shapes,
    snapshots,
    starting,
    suites,
    tables,
    throttled,
    transfer,
)
from benchmarks.movers import MOVERS
from benchmarks.result import Result

_JSON = "results.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds of the quick benchmarks (default 15)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--messages",
        type=int,
        default=1_000_000,
        help="messages in the largest migration, rows in the export",
    )
    parser.add_argument(
        "--megabytes",
        type=int,
        default=1_000,
        help="the database of snapshots and transfers, and the table of blobs",
    )
    parser.add_argument("--wide", type=int, default=30_000, help="rows of the wide table")
    parser.add_argument("--small", type=int, default=5_000_000, help="rows of the small ones")
    parser.add_argument("--clients", type=int, default=500, help="that are attached at once")
    parser.add_argument("--to", type=Path, help="directory for page, JSON and pictures")
    parser.add_argument("--dir", help="directory for the servers' files (default: temporary)")
    parser.add_argument("--redraw", action="store_true", help="page and pictures from the JSON")
    parser.add_argument("--guard", action="store_true", help="the short form, for every change")
    arguments = parser.parse_args()
    is_whole = arguments.only == list(PARTS)
    home = arguments.to or (place.ROOT / "docs" / "benchmarks" if is_whole else None)
    if arguments.redraw:
        _draw(home or Path())
        return 0
    place.compile_ours()
    if arguments.guard:
        return guard.run()
    results: list[Result] = []
    with place.lent(arguments.dir) as base:
        facts = machine.description(base)
        for name in arguments.only:
            _say(f"{name} …")
            began = time.monotonic()
            results += PARTS[name](base, arguments)
            _say(f"{name}: {time.monotonic() - began:.0f} s")
            if home is not None:
                _write(home, facts, results)  # what there is, should a later part fail
    print(page.reached(results))
    if home is not None:
        _draw(home)
    return 0


def _write(home: Path, facts: dict[str, str], results: list[Result]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    document = {"measured on": facts, "results": [result.document() for result in results]}
    (home / _JSON).write_text(json.dumps(document, indent=1) + "\n")


def _draw(home: Path) -> None:
    """Write page and pictures next to the JSON."""
    from benchmarks import plots  # matplotlib: only where pictures are drawn

    document = json.loads((home / _JSON).read_text())
    results = [Result.of(one) for one in document["results"]]
    text = page.markdown(document["measured on"], results, plots.draw(results, home))
    (home / "README.md").write_text(text)
    _say(f"written to {home}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# --- the parts ---


def _starting(base: Path, given: argparse.Namespace) -> list[Result]:
    return starting.Starting(base, starting.installed()).measure(given.rounds)


def _limits(base: Path, given: argparse.Namespace) -> list[Result]:
    return limits.measure(base, given.rounds)


def _throttled(base: Path, given: argparse.Namespace) -> list[Result]:
    return throttled.measure(base, _few(given))


def _idle(base: Path, _: argparse.Namespace) -> list[Result]:
    return idle.measure(base, 10.0)


def _attached(base: Path, given: argparse.Namespace) -> list[Result]:
    return attached.measure(base, given.clients, given.rounds, 10.0)


def _suites(base: Path, given: argparse.Namespace) -> list[Result]:
    return [suites.measure(base, tests, max(1, given.rounds // 3)) for tests in (1, 50)]


def _migration(base: Path, given: argparse.Namespace) -> list[Result]:
    largest, few = given.messages, _few(given)
    sizes = {
        largest // 100: (few, migration.FEW),
        largest // 10: (few, MOVERS),
        largest // 4: (few, migration.FEW),
        largest: (few, MOVERS),
    }
    return migration.measure(base, sizes, _say)


def _shapes(base: Path, given: argparse.Namespace) -> list[Result]:
    chosen = (shapes.wide(given.wide), shapes.blobs(given.megabytes), shapes.small(given.small))
    return shapes.measure(base, chosen, _fewest(given), _say)


def _tables(base: Path, given: argparse.Namespace) -> list[Result]:
    return tables.measure(base, _few(given), _say)


def _export(base: Path, given: argparse.Namespace) -> list[Result]:
    return export.measure(base, given.messages, _few(given), _say)


def _snapshots(base: Path, given: argparse.Namespace) -> list[Result]:
    return snapshots.measure(base, given.megabytes, _fewest(given), _say)


def _transfer(base: Path, given: argparse.Namespace) -> list[Result]:
    return transfer.measure(base, given.megabytes, max(1, _fewest(given) // 2), _say)


def _few(given: argparse.Namespace) -> int:
    """Return the rounds of what takes seconds."""
    return max(1, int(given.rounds) // 5)


def _fewest(given: argparse.Namespace) -> int:
    """Return the rounds of what takes tens of seconds."""
    return max(1, int(given.rounds) // 7)


PARTS = {
    "starting": _starting,
    "limits": _limits,
    "throttled": _throttled,
    "idle": _idle,
    "attached": _attached,
    "suite": _suites,
    "migration": _migration,
    "shapes": _shapes,
    "tables": _tables,
    "export": _export,
    "snapshots": _snapshots,
    "transfer": _transfer,
}


if __name__ == "__main__":
    sys.exit(main())
