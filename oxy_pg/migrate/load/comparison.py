"""
Rows of both sides, compared value by value.

That two values mean the same is decided in three ways, which share no code on purpose:
what one does not see, another may.

* meaning.py reads source and target a second time, and knows nothing of the conversion.
* Where it does not know the value, the kind decides: Kind.read() and Kind.canonical().
* For types without a kind convert/alike.py has compared what PostgreSQL gives back with
  what would be sent, before the first write (check/changes.py). PostgreSQL's own spelling
  is then what is expected here.
"""

from __future__ import annotations

from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg import sql

from oxy_pg.errors import VerificationFailed
from oxy_pg.migrate.check.rowsets import in_order, is_among
from oxy_pg.migrate.convert import values
from oxy_pg.migrate.convert.unfit import Unfit
from oxy_pg.migrate.load import meaning
from oxy_pg.migrate.load.digests import Sum
from oxy_pg.migrate.names import quoted
from oxy_pg.migrate.plan.survey import exact, exact_text, readable, row_name, show

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    import psycopg

    from oxy_pg.migrate.check.rowsets import RowSets
    from oxy_pg.migrate.plan.plan import ColumnPlan, TablePlan

    # A row's identity, and its values as they were read.
    Expected: TypeAlias = tuple[tuple[Any, ...], tuple[Any, ...]]
    # The same, and the texts of PostgreSQL's for types without a kind.
    Spelled: TypeAlias = tuple[tuple[Any, ...], tuple[Any, ...], tuple[str | None, ...]]

_SHOWN = 20
_FETCHED = 200  # rows at a time, at most
_MEMORY = 16 * 1024 * 1024  # bytes of rows that are fetched together, unless a single one has more
# What was inserted, and what was changed, in this transaction: so old rows that are changed are
# found too.
OURS = sql.SQL(" WHERE xmin = pg_current_xact_id()::xid")


def fetched(largest: int) -> int:
    """Return how many rows are fetched at a time, where some are so large."""
    return max(1, min(_FETCHED, _MEMORY // max(1, largest)))


class Comparison:
    """The source's rows as they should be in the target."""

    def __init__(self, source: sqlite3.Connection, rows: RowSets) -> None:
        self._source = source
        self._rows = rows

    def expected(
        self, table: TablePlan, columns: Sequence[ColumnPlan], where: str = "", limit: str = ""
    ) -> Iterator[Expected]:
        """
        Yield rows in the order in which they were loaded: those of a condition, or all.

        ``limit`` may begin with another order.
        """
        keys = len(table.source.identity)
        terms = [f"t.{part}" for part in table.source.identity]
        terms += [self._cell(table, column.source) for column in columns]
        rows = f"{quoted(table.source.name)} AS t NOT INDEXED WHERE {self._rows.moving(table, 't')}"
        order = "" if limit.startswith("ORDER") else in_order(table)
        query = f"SELECT {', '.join(terms)} FROM {rows} {where} {order} {limit}"
        with exact_text(self._source):
            for row in self._source.cursor().execute(query):
                yield row[:keys], tuple(map(_value, row[keys:]))

    def _cell(self, table: TablePlan, column: str) -> str:
        name = exact(self._source, f"t.{quoted(column)}")
        emptied = self._rows.nulled.get((table.source.name, column), [])
        if not emptied:
            return name
        is_emptied = " OR ".join(is_among(table, names, "t") for names in emptied)
        return f"CASE WHEN NOT ({is_emptied}) THEN {name} END"


def _value(raw: Any) -> Any:
    try:
        return values.decode(raw) if isinstance(raw, bytearray) else raw
    except Unfit:
        return None  # emptied, as --on-bad-value null asked


def _text(value: Any, column: ColumnPlan) -> str | None:
    if value is None:
        return None
    try:
        return values.to_text(value, column.type, column.survey.option)
    except Unfit:
        return None  # emptied, as --on-bad-value null asked


# --- in the order in which they lie ---------------------------------------------------------


class Rows:
    """
    The comparison of one table, row by row.

    ``differences`` are described; those of columns that an existing table computes
    itself are no fault.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], schema: str, comparison: Comparison
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._comparison = comparison
        self.differences: list[str] = []

    def compare(
        self,
        table: TablePlan,
        columns: Sequence[ColumnPlan],
        many: int,
        *,
        at_once: bool = False,
    ) -> None:
        """
        Compare columns of a table that was empty, ``many`` rows at a time.

        Raises VerificationFailed.
        """
        expected_rows = self._comparison.expected(table, columns)
        wanted = _with_spelling(self._connection, columns, expected_rows, many)
        found = arrived(self._connection, self._schema, table, columns, many, at_once=at_once)
        for number, (expected, texts) in enumerate(zip_longest(wanted, found), start=1):
            if expected is None or texts is None:
                side = "source" if expected is None else "target"
                self.differences.append(
                    f"{table.source.name}: row {number:,} is missing in the {side}"
                )
                break
            self._row(table, columns, expected, texts)
            if len(self.differences) >= _SHOWN:
                break
        if self.differences:
            raise VerificationFailed(tuple(self.differences))

    def _row(
        self,
        table: TablePlan,
        columns: Sequence[ColumnPlan],
        expected: Spelled,
        texts: tuple[str | None, ...],
    ) -> None:
        identity, wanted, spelled = expected
        for column, value, by_postgres, text in zip(columns, wanted, spelled, texts, strict=True):
            if _same(value, text, column, by_postgres):
                continue
            what = f"{show(value)} became {show(text)}"
            if column.generated and table.existing is not None:
                continue  # computed.py counts them
            where = row_name(table.source, tuple(readable(part) for part in identity))
            self.differences.append(f"{table.source.name}.{column.source}, {where}: {what}")


def _same(value: Any, text: str | None, column: ColumnPlan, by_postgres: str | None) -> bool:
    if value is None:
        return text is None
    if text is None:
        return _text(value, column) is None
    if by_postgres is not None:
        return by_postgres == text
    wanted = meaning.meant(value, column.type, column.survey.option)
    if wanted is not meaning.UNKNOWN:
        found = meaning.spelled(text, column.type)
        if found is not meaning.UNKNOWN:
            return meaning.same(wanted, found)
    said = _text(value, column)
    canonical = column.type.kind.canonical
    return said == text or (said is not None and canonical(said) == canonical(text))


def _with_spelling(
    connection: psycopg.Connection[Any],
    columns: Sequence[ColumnPlan],
    rows: Iterator[Expected],
    many: int,
) -> Iterator[Spelled]:
    """
    Let PostgreSQL spell the values of types without a kind, as it does in its output.

    So too where values change: what they become was listed and accepted.
    """
    others = [
        n
        for n, column in enumerate(columns)
        if column.changes or column.type.kind.is_spelled_by_postgres
    ]
    nothing = (None,) * len(columns)
    if not others:
        yield from ((key, row, nothing) for key, row in rows)
        return
    while batch := list(islice(rows, many)):
        texts: list[list[str | None]] = [list(nothing) for _ in batch]
        for number in others:
            column = columns[number]
            sent = [_text(row[number], column) for _, row in batch]
            for row, text in zip(texts, _cast(connection, column, sent), strict=True):
                row[number] = text
        yield from ((*row, tuple(text)) for row, text in zip(batch, texts, strict=True))


def _cast(
    connection: psycopg.Connection[Any], column: ColumnPlan, sent: list[str | None]
) -> list[str | None]:
    query = (
        f"SELECT t::{column.type.sql}::text "
        "FROM unnest(%s::text[]) WITH ORDINALITY AS u (t, place) ORDER BY place"
    )
    return [text for (text,) in connection.execute(query, [sent])]


def arrived(
    connection: psycopg.Connection[Any],
    schema: str,
    table: TablePlan,
    columns: Sequence[ColumnPlan],
    many: int,
    *,
    ours: bool = False,
    at_once: bool = False,
) -> Iterator[tuple[str | None, ...]]:
    """
    Yield the target's rows as text, in their physical order, fetched ``many`` at a time.

    ``ours`` are those alone that this transaction has written; ``at_once`` is
    for a table that the memory holds.
    """
    terms = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(column.target)) for column in columns
    )
    query = sql.SQL("SELECT {} FROM {}").format(terms, sql.Identifier(schema, table.target))
    if ours:
        query += OURS
    if at_once:
        yield from connection.execute(query)
        return
    # A cursor of the server is read in one process, page after page.
    with connection.cursor(name="oxy_pg_verify") as cursor:
        cursor.itersize = many
        yield from cursor.execute(query)


# --- in any order ---------------------------------------------------------------------------


def compare_sums(
    connection: psycopg.Connection[Any],
    schema: str,
    comparison: Comparison,
    table: TablePlan,
    many: int,
) -> list[ColumnPlan]:
    """
    Compare a table that had rows already, by a sum over the digests of all new rows.

    They are fetched ``many`` at a time.

    Return the columns that were compared: those that the target computes itself
    are not. Raises VerificationFailed.
    """
    columns = [column for column in table.columns if not column.generated]
    wanted, found = Sum(), Sum()
    expected_rows = comparison.expected(table, columns)
    for _, row, spelled in _with_spelling(connection, columns, expected_rows, many):
        texts = [
            _text(value, column) if by_postgres is None else by_postgres
            for value, by_postgres, column in zip(row, spelled, columns, strict=True)
        ]
        wanted.add(_canonical(texts, columns))
    for stored in arrived(connection, schema, table, columns, many, ours=True):
        found.add(_canonical(stored, columns))
    if wanted.result() != found.result():
        raise VerificationFailed((f"{table.source.name}: the rows are not the same",))
    return columns


def _canonical(texts: Sequence[str | None], columns: Sequence[ColumnPlan]) -> bytes:
    meant = [
        None if text is None else column.type.kind.canonical(text)
        for text, column in zip(texts, columns, strict=True)
    ]
    return repr(meant).encode(errors="surrogatepass")
