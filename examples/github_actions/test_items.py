import psycopg


def test_items(oxy_pg_connection: psycopg.Connection) -> None:
    oxy_pg_connection.execute("CREATE TABLE item (name text)")
    oxy_pg_connection.execute("INSERT INTO item VALUES ('a chair')")
    assert oxy_pg_connection.execute("SELECT name FROM item").fetchall() == [("a chair",)]
