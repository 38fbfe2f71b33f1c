"""Views and conditions are proven when nothing else reads the SQLite file."""

from __future__ import annotations

import threading

from oxy_pg.migrate.load.proof import prove

FILE = """
CREATE TABLE a (x INTEGER, t TEXT);
CREATE INDEX a_x ON a (x) WHERE x % 2 = 0;
CREATE VIEW v AS SELECT x, upper(t) AS t FROM a;
INSERT INTO a VALUES (1, 'one'), (2, 'One'), (3, 'two');
CREATE TABLE b (t TEXT);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO b SELECT printf('%0300d', i) FROM n;
"""


def test_no_other_thread_reads_the_file_during_a_proof(move, pg, monkeypatch):
    """
    Two threads with one connection would wait for ever: one has SQLite's lock, one Python's.
    """
    reading = []

    def watched(*given):
        reading.append([one.name for one in threading.enumerate() if "reader" in one.name])
        return prove(*given)

    monkeypatch.setattr("oxy_pg.migrate.load.post_data.prove", watched)

    move(FILE)

    assert [[], []] == reading
    assert [("a_x",)] == pg("SELECT indexname FROM pg_indexes WHERE tablename = 'a'")
    assert [(3,)] == pg("SELECT count(*) FROM v")
