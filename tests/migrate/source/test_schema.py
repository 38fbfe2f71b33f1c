"""What SQLite has besides tables."""

from __future__ import annotations


def test_virtual_tables_and_their_shadows_are_reported(move):
    """
    Field note 20: the indexes of FTS and R-tree tables stay behind, by name; their rows move.
    """
    report = move(
        "CREATE VIRTUAL TABLE docs USING fts5(body);"
        "CREATE VIRTUAL TABLE geo USING rtree(id, a, b); CREATE TABLE t (v)"
    )
    kinds = {s.name: s.kind for s in report.skipped}
    assert "full-text index" == kinds["docs"]
    assert "spatial index" == kinds["geo"]
    assert "shadow" == kinds["docs_data"] == kinds["geo_node"]
    assert ["docs", "geo", "t"] == [t.name for t in report.tables]
