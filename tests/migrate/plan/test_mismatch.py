"""Two schemas that do not fit together."""

from __future__ import annotations

import pytest

from oxy_pg.errors import (
    SchemaMismatch,
)


def test_a_column_without_a_place_is_an_error(move, pg):
    """
    Field note 23: a source column with data and no column in the target.
    """
    pg("CREATE TABLE t (id int)")
    with pytest.raises(SchemaMismatch, match=r"t\.sandbox_info has 1 value and no column"):
        move("CREATE TABLE t (id int, sandbox_info text)", {"t": [(1, "{}"), (2, None)]})


def test_a_table_without_a_place_is_an_error(move):
    """
    Field note 23: a table without a place, where the schema must exist.
    """
    with pytest.raises(SchemaMismatch, match=r"table t does not exist in the target"):
        move("CREATE TABLE t (id int)", schema="existing")
