"""PostgreSQL's own judgement of texts: what it refuses, and what it makes of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import errors as pg

from oxy_pg.migrate.target import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oxy_pg.migrate.convert.kind import PgType

_SOFT = 160000  # since this version, pg_input_error_info() says why a text is refused
_ASKED = """
    SELECT e.message, CASE WHEN e.message IS NULL AND %s THEN (t::{type})::text END
    FROM unnest(%s::text[]) WITH ORDINALITY u(t, o), LATERAL pg_input_error_info(t, %s) e ORDER BY o
"""
_CAST = "SELECT (t::{type})::text FROM unnest(%s::text[]) WITH ORDINALITY u(t, o) ORDER BY o"


# What an input function may raise against a text. The last ones are those of regclass and its like,
# which look the text up.
_REFUSALS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
    psycopg.InternalError,
    pg.UndefinedTable,
    pg.UndefinedFunction,
    pg.UndefinedObject,
    pg.AmbiguousFunction,
    pg.InvalidSchemaName,
    pg.InvalidName,
    pg.SyntaxError,
)


class Verdict(NamedTuple):
    """Why a text is refused, or how PostgreSQL spells what it has read from it."""

    refused: str | None
    spelled: str | None


def judge(target: psycopg.Connection[Any], texts: Sequence[str], type_: PgType) -> list[Verdict]:
    """Ask about texts of one type; nothing is written."""
    if target.info.server_version >= _SOFT:
        wanted = type_.kind.is_spelled_by_postgres
        try:
            with session.transaction(target):
                rows = target.execute(
                    _ASKED.replace("{type}", type_.sql.replace("%", "%%")),
                    [wanted, [*texts], type_.sql],
                ).fetchall()
            return [Verdict(*row) for row in rows]
        except _REFUSALS:
            pass  # an input function, or a cast of text, that raises its errors all the same
        except psycopg.OperationalError as error:
            if not (error.sqlstate or "").startswith("54"):  # a limit, such as of nesting
                raise
    return _halved(target, texts, type_)


def _halved(target: psycopg.Connection[Any], texts: Sequence[str], type_: PgType) -> list[Verdict]:
    """Find the texts that make a statement fail by asking about half of them at a time."""
    try:
        with session.transaction(target):
            statement = _CAST.replace("{type}", type_.sql.replace("%", "%%"))
            rows = target.execute(statement, [[*texts]]).fetchall()
    except psycopg.OperationalError as error:
        if not (error.sqlstate or "").startswith("54"):  # a limit, which is about the value
            raise
        failed: psycopg.Error = error
    except _REFUSALS as error:
        failed = error
    else:
        return [Verdict(None, row[0]) for row in rows]
    if len(texts) == 1:
        return [Verdict(failed.diag.message_primary or str(failed), None)]
    half = len(texts) // 2
    return [*_halved(target, texts[:half], type_), *_halved(target, texts[half:], type_)]
