"""
Kill -9 of anything, at any moment: nothing that was acknowledged is lost, and nothing is left.

The long form: ``OXY_PG_CHAOS_KILLS=1000 OXY_PG_CHAOS_SEED=1 pytest tests/chaos/test_chaos.py``.
"""

from __future__ import annotations

import os
import random

import pytest

from .storm import Storm

KILLS = int(os.environ.get("OXY_PG_CHAOS_KILLS", "25"))
SEED = int(os.environ.get("OXY_PG_CHAOS_SEED", str(random.randrange(10**6))))


@pytest.mark.timeout(120 + 5 * KILLS)
def test_nothing_acknowledged_is_lost(state_dir, tmp_path, capsys):
    """
    Field notes 1, 2, 4, 7, 9, 10: clients, supervisors, postmasters and backends die at random.

    Every row that was acknowledged is there, one postmaster at most serves at
    any time, every ensure() gives a working server or a typed error, and no
    process, segment, socket or half-written file stays.
    """
    journal_dir = tmp_path / "journals"
    journal_dir.mkdir()

    storm = Storm(state_dir, journal_dir, SEED, KILLS).run()

    with capsys.disabled():
        print(f"\n{storm}")  # noqa: T201 - its figures are wanted in every run
    assert set() == storm.lost
    assert [] == storm.two_at_once
    assert [] == storm.left
    assert [] == storm.untyped
    assert storm.acknowledged > 0
