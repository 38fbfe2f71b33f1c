"""What the columns hold decides how they are read."""

from __future__ import annotations

import os

import pytest

from oxy_pg.errors import BadValues
from oxy_pg.migrate.migration import migrate


def test_one_bad_text_does_not_condemn_the_numbers_beside_it(lite, pg_url):
    """
    Seconds since 1970, and one empty text: the text is bad, the seconds are not.
    """
    path = lite(
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamp);
        INSERT INTO t VALUES (1, 1700000000), (2, 1700000001), (3, '');
        """
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert ["''"] == [bad.value for bad in caught.value.values]


@pytest.mark.parametrize("text", ["", "junk", "0000-00-00", "2023-02-31 00:00:00"])
def test_texts_that_are_no_times_do_not_condemn_a_number(lite, pg_url, text):
    """
    As many texts as numbers, and none of them is a time: the number still counts seconds.
    """
    path = lite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at timestamp)",
        {"t": [(1, 1700000000), (2, text), (3, text)]},
    )

    with pytest.raises(BadValues) as caught:
        migrate(path, pg_url)

    assert [repr(text)] * 2 == [bad.value for bad in caught.value.values]


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="counted by Linux")
@pytest.mark.parametrize("declared", ["BLOB", "BLOB NOT NULL", "TEXT", "my own type"])
def test_large_bytes_are_not_read_to_know_what_they_are(lite, pg_url, run_python, declared):
    """
    The plan for 20 MB of large values reads none of them: SQLite knows their types and lengths.
    """
    path = lite(
        f"""
        CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared});
        WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 20)
        INSERT INTO t SELECT id, randomblob(1000000) FROM n;
        """
    )
    program = f"""
from oxy_pg.migrate.migration import migrate
read = {{}}
def show(progress):
    with open("/proc/self/io") as file:
        read.setdefault(progress.phase, int(file.readline().split()[1]))
migrate({path!r}, {pg_url!r}, on_progress=show)
print(read["check"] - read["plan"])
"""
    assert int(run_python(program)) < 1_000_000
