"""How a column of PostgreSQL is stored in SQLite: declared, read, compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oxy_pg.export.catalog import Column

# An identifier, a number and a text of SQLite are each one word of a declaration; what has other
# signs is quoted.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*(?:\(\d+(?:, ?\d+)?\))?\Z")
# A double holds so many decimal digits, whatever they are.
_EXACT_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Form:
    """
    How the values of one column are stored.

    ``{x}`` stands for the column. ``read`` is PostgreSQL's SQL for what SQLite is
    given: a whole number, a double, a text or bytes. ``unfit`` is true for values
    that have no such form, and ``reason`` says why. ``found`` is SQLite's SQL
    for what was given, where the column's affinity has changed it.
    """

    declared: str
    read: str = "{x}"
    unfit: str | None = None
    reason: str = ""
    found: str = "{x}"

    @property
    def spelled(self) -> str:
        """The declared type, as CREATE TABLE takes it."""
        if _PLAIN.match(self.declared):
            return self.declared
        return '"' + self.declared.replace('"', '""') + '"'


_DAYS = "NOT ({x} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999')"
_NO_DAY = "SQLite has no times before the year 1 or after 9999, and no infinity"
_NAN = "SQLite stores NaN as NULL"

TEXT = Form("TEXT", "{x}::text")
# By the type's name. What is declared so, migrate-sqlite reads back as the same type: where SQLite
# has no such word, PostgreSQL's own stands after "pg_" (migrate/convert/types.py). The first word
# decides on the affinity, which must not change what is stored.
_FORMS = {
    "int2": Form("SMALLINT pg_smallint"),
    "int4": Form("INTEGER pg_integer"),
    "int8": Form("BIGINT"),
    # Its text is the number that was meant: 0.1, and not 0.10000000149.
    "float4": Form("REAL pg_real", "{x}::text::float8 + 0.0", "{x} = 'NaN'", _NAN),
    # SQLite has no negative zero in such a column; the sum turns it into zero.
    "float8": Form("REAL", "{x} + 0.0", "{x} = 'NaN'", _NAN),
    "numeric": Form("TEXT pg_numeric", "{x}::text"),
    "bool": Form("BOOLEAN", "{x}::int"),
    "text": Form("TEXT"),
    "bytea": Form("BLOB"),
    "uuid": Form("UUID", "{x}::text"),
    "json": Form("JSON_TEXT", "{x}::text"),
    "jsonb": Form("JSONB_TEXT", "{x}::text"),
    "date": Form("DATE", "{x}::text", _DAYS.replace(" 23:59:59.999999", ""), _NO_DAY),
    "time": Form("TIME", "{x}::text"),
    "timestamp": Form("TIMESTAMP", "{x}::text", _DAYS, _NO_DAY),
    # SQLite's own functions want the minutes of an offset; the session is in UTC.
    "timestamptz": Form("TIMESTAMP WITH TIME ZONE", "{x}::text || ':00'", _DAYS, _NO_DAY),
}
# Types whose values SQLite compares as PostgreSQL does, by what they can be compared with. A double
# is not the single that it was read from, nor the decimal number.
_COMPARED = {
    **dict.fromkeys(("int2", "int4", "int8", "float8", "bool"), "number"),
    **dict.fromkeys(("text", "varchar", "bpchar"), "text"),
    **{name: name for name in ("date", "time", "timestamp", "timestamptz", "uuid", "bytea")},
}


def compared(column: Column) -> str:
    """Return what a column's values compare with as in PostgreSQL: "" with nothing but NULL."""
    if column.type_kind == "c":
        return "nothing"  # a row of NULLs IS NULL
    is_known = column.is_builtin and column.type_kind == "b"
    return _COMPARED.get(column.type_name, "") if is_known else ""


def form(column: Column) -> Form:
    """Return how a column is stored whose table is created for the export."""
    arguments = column.type.partition("(")[2]
    if column.type_name == "varchar":
        declared = f"VARCHAR({arguments}" if arguments else "VARCHAR pg_character varying"
        return Form(declared, "{x}::text")
    if column.type_name == "numeric" and arguments:
        precision, scale = (int(number) for number in arguments.rstrip(")").split(","))
        if 0 <= scale <= precision <= _EXACT_DIGITS:
            return Form(f"REAL pg_{column.type}", "{x}::float8", "{x} = 'NaN'", _NAN)
        return Form(f"TEXT pg_{column.type}", "{x}::text")
    known = _FORMS.get(column.type_name) if column.is_builtin else None
    if known is None:
        if not (column.is_builtin or column.is_of_extension):
            return TEXT
        own = column.type.rpartition(".")[2] if column.is_of_extension else column.type
        return Form(f"TEXT pg_{own}", "{x}::text")
    if arguments:  # timestamp(3)
        return Form(f"{known.declared} pg_{column.type}", known.read, known.unfit, known.reason)
    return known
