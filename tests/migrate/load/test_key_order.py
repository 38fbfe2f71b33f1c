"""A foreign key waits for its parent's key, wherever that key comes from."""

from __future__ import annotations

import psycopg
import pytest

from oxy_pg.migrate.migration import migrate

KEYS = """
SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f' ORDER BY 1, 2
"""

SHARED = """
CREATE TABLE u (id INTEGER PRIMARY KEY);
CREATE TABLE u_a (id INTEGER PRIMARY KEY, uid INT REFERENCES u(id));
CREATE TABLE u_b (x INT);
CREATE INDEX u_b_x ON u_b (x);
INSERT INTO u VALUES (1), (2);
INSERT INTO u_a VALUES (1, 2);
"""


def test_an_index_of_another_table_shares_the_prefix(move, pg):
    """
    The parent's key is created after that index, whose name it might take; the foreign key later.
    """
    move(SHARED)

    assert [("u_a", "u")] == pg(KEYS)


@pytest.mark.parametrize("order", [("p", "c", "z"), ("z", "c", "p"), ("c", "p", "z")])
def test_in_any_order_of_the_names(move, pg, order):
    """
    Parent, child and bystander share a prefix; each in turn comes first in the alphabet.
    """
    names = {role: f"t_{number}" for number, role in enumerate(order)}
    move(f"""
        CREATE TABLE {names["p"]} (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
        CREATE TABLE {names["c"]} (
            id INTEGER PRIMARY KEY, p INT REFERENCES {names["p"]}(id),
            code TEXT REFERENCES {names["p"]}(code), self INT REFERENCES {names["c"]}(id));
        CREATE TABLE {names["z"]} (x INT, y TEXT);
        CREATE INDEX {names["p"]}_id_key ON {names["z"]} (x);
        CREATE INDEX {names["p"]}_pkey ON {names["z"]} (y);
        INSERT INTO {names["p"]} VALUES (1, 'a');
        INSERT INTO {names["c"]} VALUES (5, 1, 'a', 5);
    """)

    expected = [(names["c"], names["c"]), (names["c"], names["p"]), (names["c"], names["p"])]
    assert sorted(expected) == pg(KEYS)


@pytest.mark.parametrize("unique", ["PRIMARY KEY", "UNIQUE"])
def test_the_parent_exists_and_its_key_is_set_aside(move, pg, pg_url, unique):
    """
    A table that is created refers to one that the application has created.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute(f"CREATE TABLE users (id bigint {unique}, n text)")
    move("""
        CREATE TABLE users (id INTEGER PRIMARY KEY, n TEXT);
        CREATE TABLE data (id INTEGER PRIMARY KEY, u INT REFERENCES users(id));
        INSERT INTO users VALUES (1, 'a');
        INSERT INTO data VALUES (1, 1);
    """)

    assert [("data", "users")] == pg(KEYS)


def test_a_cycle_between_created_and_existing_tables(move, pg, pg_url):
    """
    The existing one refers back: its foreign key is set aside, and restored last.
    """
    with psycopg.connect(pg_url) as connection:
        connection.execute("CREATE TABLE a (id bigint PRIMARY KEY, next bigint REFERENCES a(id))")
    move("""
        CREATE TABLE a (id INTEGER PRIMARY KEY, next INT REFERENCES a(id));
        CREATE TABLE a_b (id INTEGER PRIMARY KEY, a INT REFERENCES a(id), b INT REFERENCES a_b(id));
        INSERT INTO a VALUES (1, 2), (2, 1);
        INSERT INTO a_b VALUES (1, 2, 1);
    """)

    assert [("a", "a"), ("a_b", "a"), ("a_b", "a_b")] == pg(KEYS)


def test_djangos_own_schema_moves(pg, pg_url, tmp_path, start_python):
    """
    auth_user, auth_user_groups, auth_user_user_permissions: made by Django itself.
    """
    path = tmp_path / "django.sqlite3"
    process = start_python(
        "import django\n"
        "from django.conf import settings\n"
        f"settings.configure(DATABASES={{'default': {{'ENGINE': 'django.db.backends.sqlite3', "
        f"'NAME': {str(path)!r}}}}}, INSTALLED_APPS=['django.contrib.contenttypes', "
        "'django.contrib.auth', 'django.contrib.sessions', 'django.contrib.admin'], USE_TZ=True)\n"
        "django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\n"
        "from django.contrib.auth.models import Group, User\n"
        "user = User.objects.create_user('ann', 'a@example.org', 'secret')\n"
        "user.groups.add(Group.objects.create(name='editors'))\n"
    )
    _, errors = process.communicate(timeout=60)
    assert 0 == process.returncode, errors

    migrate(str(path), pg_url, verify="full")

    assert [("ann", "editors")] == pg(
        "SELECT username, g.name FROM auth_user u JOIN auth_user_groups m ON m.user_id = u.id"
        " JOIN auth_group g ON g.id = m.group_id"
    )
    assert ("auth_user_groups", "auth_user") in pg(KEYS)
