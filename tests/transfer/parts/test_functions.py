"""
Functions that run while a copy is made: what they need is there, or the message says what to do.

Backups, restores in both ways, push in both ways, pull; upgrades are in ``copy/test_upgrade.py``.
"""

from __future__ import annotations

import psycopg
import pytest

import oxy_pg
from oxy_pg.transfer.copy import copy_database
from oxy_pg.transfer.copy.copy_plan import Order
from oxy_pg.transfer.parts import functions
from tests.transfer.compare import contents, differences

# Each reads a table that it names without a schema.
NAMELESS = {
    "materialized view": """
        CREATE MATERIALIZED VIEW dear AS SELECT id, price * rate(currency) AS price FROM sale;
    """,
    "through a view": """
        CREATE VIEW priced AS SELECT id, price * rate(currency) AS price FROM sale;
        CREATE MATERIALIZED VIEW dear AS SELECT * FROM priced WHERE price > 10;
    """,
    "over another": """
        CREATE MATERIALIZED VIEW z_first AS SELECT id, price * rate(currency) AS price FROM sale;
        CREATE MATERIALIZED VIEW m_second AS SELECT id, rate('EUR') * price AS p FROM z_first;
        CREATE VIEW between AS SELECT id, p + rate('USD') AS p FROM m_second;
        CREATE MATERIALIZED VIEW a_third AS SELECT b.id, b.p + z.price AS p
            FROM between b JOIN z_first z USING (id);
        CREATE UNIQUE INDEX ON a_third (id); CREATE INDEX ON z_first (price);
    """,
    "index": "CREATE INDEX by_rate ON sale (rate(currency));",
    "index's condition": "CREATE INDEX dear ON sale (id) WHERE rate(currency) > 1;",
    "generated column": """
        CREATE TABLE bought (id int PRIMARY KEY, currency text,
            rate numeric GENERATED ALWAYS AS (rate(currency)) STORED NOT NULL);
        INSERT INTO bought VALUES (1, 'EUR'), (2, 'USD');
    """,
    "CHECK": "ALTER TABLE sale ADD CONSTRAINT known CHECK (rate(currency) IS NOT NULL);",
    "domain": """
        CREATE DOMAIN money_of AS text CHECK (rate(VALUE) > 0);
        CREATE TABLE account (id int, currency money_of);
        INSERT INTO account VALUES (1, 'EUR');
    """,
    "operator": """
        CREATE FUNCTION worth(text, numeric) RETURNS boolean LANGUAGE sql IMMUTABLE AS
            'SELECT rate($1) >= $2';
        CREATE OPERATOR >=> (FUNCTION = worth, LEFTARG = text, RIGHTARG = numeric);
        ALTER TABLE sale ADD CONSTRAINT worth CHECK (currency >=> 1);
    """,
}
LANGUAGES = {
    "sql": "LANGUAGE sql IMMUTABLE AS 'SELECT rate FROM rates WHERE currency = $1'",
    "plpgsql": "LANGUAGE plpgsql IMMUTABLE AS"
    " 'BEGIN RETURN (SELECT rate FROM rates WHERE currency = $1); END'",
}
BEGIN = """
    CREATE TABLE rates (currency text PRIMARY KEY, rate numeric);
    INSERT INTO rates VALUES ('EUR', 1.1), ('USD', 1);
    CREATE FUNCTION rate(text) RETURNS numeric {};
    CREATE TABLE sale (id int PRIMARY KEY, currency text, price numeric);
    INSERT INTO sale SELECT g, CASE g % 2 WHEN 0 THEN 'EUR' ELSE 'USD' END, g
        FROM generate_series(1, 100) g;
"""
# All names have their schema, and the rows that are read come after those that are checked.
READING = """
    CREATE TABLE z_allowed (k text PRIMARY KEY);
    INSERT INTO z_allowed VALUES ('a'), ('b');
    CREATE FUNCTION ok(text) RETURNS boolean LANGUAGE sql AS
        'SELECT EXISTS (SELECT FROM public.z_allowed WHERE k = $1)';
    CREATE FUNCTION length_of(text) RETURNS int LANGUAGE sql IMMUTABLE AS
        'SELECT max(length(k))::int FROM public.z_allowed WHERE k = $1';
    CREATE TABLE a (id int PRIMARY KEY, k text, CONSTRAINT ok CHECK (ok(k)));
    COMMENT ON CONSTRAINT ok ON a IS 'with a comment';
    INSERT INTO a SELECT g, 'a' FROM generate_series(1, 2000) g;
    CREATE TABLE heir (more int, CONSTRAINT also CHECK (ok(k) OR more > 3)) INHERITS (a);
    INSERT INTO heir VALUES (5000, 'b', 1);
    CREATE TABLE part (k text CHECK (ok(k))) PARTITION BY LIST (k);
    CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
    INSERT INTO part VALUES ('a');
    CREATE DOMAIN allowed AS text CONSTRAINT fine CHECK (ok(VALUE));
    COMMENT ON CONSTRAINT fine ON DOMAIN allowed IS 'of a domain';
    CREATE TABLE b (d allowed, l int NOT NULL GENERATED ALWAYS AS (length_of(d)) STORED);
    INSERT INTO b VALUES ('b');
    ALTER TABLE b ADD CONSTRAINT later CHECK (ok('no')) NOT VALID;
"""
NEEDS_NONE = {
    "qualified": READING,
    "built in": """
        CREATE FUNCTION plus(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT abs($1) + 1';
        CREATE TABLE t (a int CHECK (plus(a) > 0));
        CREATE TABLE abs (a int);
    """,
    "comment": """
        CREATE TABLE t (a int);
        CREATE FUNCTION f() RETURNS bigint IMMUTABLE LANGUAGE sql AS
            $$ SELECT count(*) FROM public.t -- FROM t
               WHERE 'FROM t' <> '' $$;
        CREATE MATERIALIZED VIEW m AS SELECT f();
    """,
    "standard body": """
        CREATE TABLE t (a int);
        CREATE FUNCTION f() RETURNS bigint IMMUTABLE LANGUAGE sql
            BEGIN ATOMIC SELECT count(*) FROM t; END;
        CREATE MATERIALIZED VIEW m AS SELECT f();
    """,
    "view": """
        CREATE TABLE t (a int);
        CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t';
        CREATE VIEW v AS SELECT f();
    """,
}
WAYS = ("custom", "plain", "custom in place", "plain in place", "push", "push --swap", "pull")


@pytest.fixture
def copied(embedded, saved, new_database, tmp_path):
    """Copy a database in one of the ways; return the URL of the copy."""

    def copy(way: str, source: str, search_path: str | None = None) -> str:
        name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]
        if way == "pull":
            order = Order(
                *("pull", source, embedded.url(f"{name}_copy")),
                superuser=embedded.superuser_url(),
                alongside=True,
                search_path=search_path,
            )
            copy_database.run(order, dry_run=False, on_progress=None)
            return str(order.target)
        target = new_database(name=f"{name}_copy")
        if way.startswith("push"):
            order = Order(
                *("push", embedded.reader_url(name), target),
                alongside=way == "push --swap",
                search_path=search_path,
            )
            copy_database.run(order, dry_run=False, on_progress=None)
        else:
            in_place = way.endswith("in place")
            path = saved.backup(source, tmp_path / "copy", plain=way.startswith("plain")).path
            saved.restore(path, target, in_place=in_place, search_path=search_path)
        return target

    return copy


def all_of(url: str):
    """Everything, with what ``contents`` leaves out: comments on constraints, settings."""
    with psycopg.connect(url) as connection:
        return contents(url) | {
            "comments": sorted(
                connection.execute(
                    "SELECT conname, obj_description(oid, 'pg_constraint'), conislocal, coninhcount"
                    " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
                ).fetchall(),
                key=repr,
            ),
            "settings": connection.execute(
                "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
                " ORDER BY proname"
            ).fetchall(),
        }


@pytest.mark.parametrize("way", WAYS)
def test_checks_that_read_other_tables(way, copied, new_database):
    """
    Valid rows arrive, whatever is copied first, and so do the CHECKs, as they were.
    """
    source = new_database(READING)

    target = copied(way, source)

    assert {} == differences(all_of(source), all_of(target))
    with psycopg.connect(target) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("INSERT INTO a VALUES (0, 'c')")


@pytest.mark.parametrize("way", WAYS)
def test_with_a_search_path_names_are_found(way, copied, new_database):
    """
    Every kind of object whose function names a table without its schema.
    """
    script = BEGIN.format(LANGUAGES["plpgsql"]) + "".join(
        f"CREATE SCHEMA IF NOT EXISTS {name}; SET search_path = {name}, public; {text}"
        for name, text in zip("abcdefghi", NAMELESS.values(), strict=True)
    )
    source = new_database(script)

    target = copied(way, source, "public, g")

    assert {} == differences(all_of(source), all_of(target))


@pytest.mark.parametrize("kind", NAMELESS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_needs_a_search_path_is_named(kind, language, new_database):
    """
    By its name, with the function and the statement that mends it; and then by nothing.
    """
    source = new_database(BEGIN.format(LANGUAGES[language]) + NAMELESS[kind])
    with psycopg.connect(source) as connection:
        connection.execute("SET search_path = ''")
        *more, warning = sorted(functions.unqualified(connection), key=lambda one: "rates" in one)
        assert len(more) == {"operator": 1, "over another": 2}.get(kind, 0)
        assert "'rates'" in warning
        assert "ALTER FUNCTION public.rate(text) SET search_path = public" in warning
        assert any(
            name in warning
            for name in ("public.dear", "z_first", "by_rate", "bought.rate", "sale.", "money_of")
        )
        connection.execute("ALTER FUNCTION public.rate(text) SET search_path = public")
        assert all("public.worth(" in one for one in functions.unqualified(connection))


@pytest.mark.parametrize("script", NEEDS_NONE.values(), ids=NEEDS_NONE)
def test_what_needs_none_is_not_named(script, new_database):
    with psycopg.connect(new_database(script)) as connection:
        connection.execute("SET search_path = ''")
        assert () == functions.unqualified(connection)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["materialized view", "CHECK", "generated column"])
def test_without_it_the_error_says_what_to_do(kind, way, copied, new_database):
    """
    It names the function and the option, and never says that valid rows violate a constraint.
    """
    source = new_database(BEGIN.format(LANGUAGES["plpgsql"]) + NAMELESS[kind])

    with pytest.raises(oxy_pg.TransferRefused) as caught:
        copied(way, source)

    assert "public.rate(text)" in caught.value.remedy
    assert "--search-path" in caught.value.remedy
    assert "violates" not in str(caught.value)


def test_a_backup_and_a_dry_run_warn(saved, embedded, new_database, tmp_path):
    source = new_database(BEGIN.format(LANGUAGES["sql"]) + NAMELESS["index"])
    name = psycopg.conninfo.conninfo_to_dict(source)["dbname"]
    order = Order("push", embedded.reader_url(name), new_database())

    report = saved.backup(source, tmp_path)
    dry = copy_database.run(order, dry_run=True, on_progress=None)

    for warning in (*report.warnings, *dry.warnings):
        assert "the index public.by_rate needs the function public.rate(text)" in warning
    assert len(report.warnings) == len(dry.warnings) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ()),
        ("public", ("public",)),
        ('Public, "My ""Own", auth', ("public", 'My "Own', "auth")),
    ],
)
def test_a_search_path_is_written_as_in_sql(given, expected):
    assert expected == functions.names(given)


@pytest.mark.parametrize("given", ["", "public,", "public,,auth"])
def test_what_is_no_search_path(given):
    with pytest.raises(oxy_pg.ConfigurationError, match="list of schemas"):
        functions.names(given)


def test_a_search_path_of_their_own_stays(copied, new_database):
    """
    A function with a search_path of its own keeps it.
    """
    source = new_database(
        "CREATE SCHEMA own; CREATE TABLE own.t AS SELECT 1 AS a;"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = own SET work_mem = '8MB'"
        " AS 'SELECT a FROM t'; CREATE MATERIALIZED VIEW m AS SELECT f();"
    )
    target = copied("custom", source, "public")
    assert {} == differences(all_of(source), all_of(target))
