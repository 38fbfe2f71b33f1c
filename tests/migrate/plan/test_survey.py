"""What the columns hold decides how they are read."""

from __future__ import annotations

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
