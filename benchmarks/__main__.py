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
from pathlib import Path

from benchmarks import (
    export,
    guard,
    idle,
    limits,
    machine,
    migration,
    page,
    place,
    snapshots,
    starting,
    suites,
    tables,
)
from benchmarks.movers import MOVERS
from benchmarks.result import Result

_JSON = "results.json"
PARTS = ("starting", "limits", "idle", "suite", "migration", "tables", "export", "snapshots")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds of the quick benchmarks (default 15)"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--messages",
        type=int,
        default=1_000_000,
        help="messages in the largest migration, rows in the export",
    )
    parser.add_argument(
        "--megabytes", type=int, default=1_000, help="the database of the snapshots"
    )
    parser.add_argument("--to", type=Path, help="directory for page, JSON and pictures")
    parser.add_argument("--dir", help="directory for the servers' files (default: temporary)")
    parser.add_argument("--redraw", action="store_true", help="page and pictures from the JSON")
    parser.add_argument("--guard", action="store_true", help="the short form, for every change")
    arguments = parser.parse_args()
    is_whole = tuple(arguments.only) == PARTS
    home = arguments.to or (place.ROOT / "docs" / "benchmarks" if is_whole else None)
    if arguments.redraw:
        _draw(home or Path())
        return 0
    place.compile_ours()
    if arguments.guard:
        return guard.run()
    with place.lent(arguments.dir) as base:
        facts = machine.description(base)
        results = _measure(base, arguments)
    print(page.reached(results))
    if home is not None:
        home.mkdir(parents=True, exist_ok=True)
        document = {"measured on": facts, "results": [result.document() for result in results]}
        (home / _JSON).write_text(json.dumps(document, indent=1) + "\n")
        _draw(home)
    return 0


def _draw(home: Path) -> None:
    """Write page and pictures next to the JSON."""
    from benchmarks import plots  # matplotlib: only where pictures are drawn

    document = json.loads((home / _JSON).read_text())
    results = [Result.of(one) for one in document["results"]]
    text = page.markdown(document["measured on"], results, plots.draw(results, home))
    (home / "README.md").write_text(text)
    _say(f"written to {home}")


def _measure(base: Path, arguments: argparse.Namespace) -> list[Result]:
    results: list[Result] = []
    few = max(1, arguments.rounds // 5)
    if "starting" in arguments.only:
        _say("starting …")
        results += starting.Starting(base, starting.installed()).measure(arguments.rounds)
    if "limits" in arguments.only:
        _say("limits …")
        results += limits.measure(base, arguments.rounds)
    if "idle" in arguments.only:
        _say("idle …")
        results += idle.measure(base, 10.0)
    if "suite" in arguments.only:
        _say("suites …")
        results += [suites.measure(base, tests, max(1, arguments.rounds // 3)) for tests in (1, 50)]
    if "migration" in arguments.only:
        largest = arguments.messages
        sizes = {
            largest // 100: (few, migration.FEW),
            largest // 10: (few, MOVERS),
            largest // 4: (few, migration.FEW),
            largest: (few, MOVERS),
        }
        results += migration.measure(base, sizes, _say)
    if "tables" in arguments.only:
        results += tables.measure(base, few, _say)
    if "export" in arguments.only:
        _say("export …")
        results += export.measure(base, arguments.messages, few, _say)
    if "snapshots" in arguments.only:
        _say("snapshots …")
        results += snapshots.measure(base, arguments.megabytes, few, _say)
    return results


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
