"""A dry run."""

from __future__ import annotations

import os

FAMILY = """
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parent (id));
CREATE TABLE grandchild (id INTEGER PRIMARY KEY, child_id INTEGER NOT NULL REFERENCES child (id));
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (10, 1), (11, 99), (12, NULL);
INSERT INTO grandchild VALUES (100, 10), (101, 11);
"""


def test_a_dry_run_writes_nothing(move, pg, tmp_path):
    """
    Field note 25: a dry run names every problem and changes nothing.
    """
    report = move(
        FAMILY + "CREATE TABLE bad (n integer); INSERT INTO bad VALUES (1), ('x')", dry_run=True
    )
    assert {"bad value", "orphans"} == {problem.kind for problem in report.problems}
    assert [] == pg("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    assert ["app.db"] == os.listdir(tmp_path)
