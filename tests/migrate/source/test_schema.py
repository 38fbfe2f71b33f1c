"""What SQLite has besides tables."""

from __future__ import annotations


def test_virtual_tables_and_their_shadows_are_reported(move):
    """
    Field note 20: FTS and R-tree tables stay behind, by name.
    """
    report = move(
        "CREATE VIRTUAL TABLE docs USING fts5(body);"
        "CREATE VIRTUAL TABLE geo USING rtree(id, a, b); CREATE TABLE t (v)"
    )
    kinds = {s.name: s.kind for s in report.skipped}
    assert "virtual" == kinds["docs"] == kinds["geo"]
    assert "shadow" == kinds["docs_data"] == kinds["geo_node"]
    assert ["t"] == [t.name for t in report.tables]
