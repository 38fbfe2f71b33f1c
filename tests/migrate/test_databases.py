"""The generator of random databases: what the property tests claim to have looked at, it makes."""

from __future__ import annotations

import collections
import re

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.migrate.databases import databases
from tests.migrate.targets import CHECKS, SEQUENCES, wishes

# What the script of some database holds.
PATTERNS = {
    "shared prefixes": r'CREATE TABLE "u_a" .*\n(.*\n)*CREATE TABLE "u(_id)?" ',
    "a collation on a key": r"PRIMARY KEY COLLATE (NOCASE|RTRIM)",
    "a foreign key": r"REFERENCES ",
    "a CHECK": r" CHECK \(",
    "AUTOINCREMENT": r"AUTOINCREMENT",
    "WITHOUT ROWID": r"WITHOUT ROWID",
    "a full-text table": r"USING fts[345]\(body\)",
    "an index of another table": r"USING fts5\(body, content=\"",
    "an R-tree": r"USING rtree",
    "a view": r"CREATE VIEW \"view of ",
    "a view of a view": r"CREATE VIEW \"of ",
    "a partial index": r"INDEX .* WHERE ",
    "a generated column": r" AS \(.*\) (STORED|VIRTUAL)",
}


class _AllFound(Exception):
    """There is no need to look on."""


@pytest.mark.timeout(300)
def test_the_generator_makes_all_that_it_promises():
    """
    Every shape in the list, numbers of mixed units, and every wish for the target.
    """
    everything = {*PATTERNS, *CHECKS, *SEQUENCES, "mixed units"}
    found: set[str] = set()

    @settings(
        max_examples=3000,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(database=databases(), wanted=wishes)
    def look(database, wanted):
        script = "\n".join(database.script)
        found.update(name for name, pattern in PATTERNS.items() if re.search(pattern, script))
        found.update({wish.what for wish in wanted})
        numbers = collections.defaultdict(set)
        for statement, values in database.rows:
            for place, value in enumerate(values):
                if isinstance(value, int) and 10**9 <= value < 2 * 10**12:
                    numbers[statement, place].add(value > 10**11)
        found.update(["mixed units"] * any(len(sizes) == 2 for sizes in numbers.values()))
        if everything <= found:
            raise _AllFound

    with pytest.raises(_AllFound):
        look()
