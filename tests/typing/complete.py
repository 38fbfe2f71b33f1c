"""
Whether every public name is completely typed: ``python tests/typing/complete.py`` tells.

It runs ``pyright --verifytypes``, which takes each module without an underscore for public. Public
here are the names in ``oxy_pg.__all__`` with their members, and the modules that define the verbs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import oxy_pg

COMMAND = ("pyright", "--verifytypes", "oxy_pg", "--ignoreexternal", "--outputjson")


def symbols() -> list[dict[str, object]]:
    """Return what pyright says about each symbol of the package."""
    root = str(Path(oxy_pg.__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as elsewhere:  # in the project it would not find py.typed
        done = subprocess.run(
            [sys.executable, "-m", *COMMAND],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )
    found: list[dict[str, object]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    return found


def names(symbol: dict[str, object]) -> set[str]:
    """Return the names under which a symbol can be imported."""
    others = symbol.get("alternateNames", ())
    assert isinstance(others, list | tuple)
    return {str(symbol["name"]), *others}


def main() -> None:
    """Name each public symbol whose type is not known for certain; exit code 1 if there are any."""
    public = {f"oxy_pg.{name}" for name in oxy_pg.__all__}
    found = symbols()
    # The places where the public classes and functions are defined, for the names of their members.
    homes = {name for symbol in found for name in names(symbol) if names(symbol) & public}
    asked = [
        symbol
        for symbol in found
        if any(name in homes or name.rpartition(".")[0] in homes for name in names(symbol))
        or str(symbol["name"]).startswith("oxy_pg._")  # what their signatures name
    ]
    missing = public - {name for symbol in asked for name in names(symbol)}
    wrong = [symbol for symbol in asked if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
    lines = [f"{symbol['name']} {json.dumps(symbol['diagnostics'])}" for symbol in wrong]
    lines += [f"{name} was not looked at" for name in sorted(missing)]
    sys.stdout.write(f"{len(asked)} public symbols, {len(lines)} not completely typed\n")
    sys.exit("\n".join(lines) or 0)


if __name__ == "__main__":
    main()
