"""Whether PostgreSQL takes texts as values of a type, asked without writing them anywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors as pg

from oxy_pg.migrate.target import session

if TYPE_CHECKING:
    from collections.abc import Sequence

_TELLS = 160000  # the version that has pg_input_error_info()
_LINE = re.compile(r"oxy_input\D+(\d+)")


def refusals(
    connection: psycopg.Connection[Any], texts: Sequence[str], type_: str
) -> list[tuple[int, str]]:
    """Return which of the texts a type refuses, by their numbers from 0, each with the reason."""
    with session.transaction(connection):
        if connection.info.server_version < _TELLS:
            return _by_trying(connection, texts, type_)
        rows = connection.execute(
            "SELECT o, e.message FROM unnest(%s::text[]) WITH ORDINALITY u(t, o), "
            "LATERAL pg_input_error_info(t, %s) e WHERE e.message IS NOT NULL",
            [list(texts), type_],
        ).fetchall()
    return [(number - 1, message) for number, message in rows]


def _by_trying(
    connection: psycopg.Connection[Any], texts: Sequence[str], type_: str
) -> list[tuple[int, str]]:
    """Copy them into a temporary table, each time up to the next one that is refused."""
    # Not a cast: that cuts a text which is too long for varchar(n), and COPY refuses it.
    try:
        with connection.transaction():
            connection.execute(f"CREATE TEMPORARY TABLE oxy_input (v {type_}) ON COMMIT DROP")
    except (pg.InsufficientPrivilege, pg.ReadOnlySqlTransaction):
        return []  # it is found when the rows are written
    found: list[tuple[int, str]] = []
    first = 0
    while first < len(texts):
        refused = _refusal(connection, texts[first:])
        if refused is None:
            break
        number, message = refused
        found.append((first + number, message))
        first += number + 1
    connection.execute("DROP TABLE oxy_input")
    return found


def _refusal(connection: psycopg.Connection[Any], texts: Sequence[str]) -> tuple[int, str] | None:
    try:
        with (
            connection.transaction(force_rollback=True),
            connection.cursor().copy("COPY oxy_input FROM STDIN") as copy,
        ):
            for text in texts:
                copy.write_row((text,))
    except psycopg.DataError as error:
        line = _LINE.search(error.diag.context or "")
        if line is None:
            raise
        return int(line[1]) - 1, error.diag.message_primary or ""
    return None
