"""Sequences go on where the keys ended."""

from __future__ import annotations


def test_sequences_go_on_where_the_keys_ended(move, pg):
    """
    Field note 1: the next key is above max(id) and above what sqlite_sequence remembers.
    """
    move(
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);"
        "INSERT INTO a VALUES (50, 'gone'); DELETE FROM a; INSERT INTO a VALUES (7, 'x');"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO b VALUES (9, 'y')"
    )
    assert [(51,)] == pg("INSERT INTO a (v) VALUES ('new') RETURNING id")
    assert [(10,)] == pg("INSERT INTO b (v) VALUES ('new') RETURNING id")


def test_serial_of_an_existing_table_is_advanced(move, pg):
    """
    Field note 1: serial columns of an existing schema too.
    """
    pg("CREATE TABLE s (id serial PRIMARY KEY, v text)")
    move("CREATE TABLE s (id INTEGER PRIMARY KEY AUTOINCREMENT, v text)", {"s": [(41, "a")]})
    assert [(42,)] == pg("INSERT INTO s (v) VALUES ('b') RETURNING id")


def test_mixed_case_names_keep_their_sequences(move, pg):
    """
    Field note 2: quoted names, mixed case and reserved words all the way.
    """
    move(
        'CREATE TABLE "Order Items" '
        '("Id" INTEGER PRIMARY KEY, "references" TEXT, "it\'s ""odd""" INT)',
        {"Order Items": [(3, "r", 1)]},
    )
    assert [(4,)] == pg('INSERT INTO "Order Items" ("references") VALUES (\'x\') RETURNING "Id"')
    assert [(3, "r", 1)] == pg('SELECT * FROM "Order Items" WHERE "Id" = 3')
