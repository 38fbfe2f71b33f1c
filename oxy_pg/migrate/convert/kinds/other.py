"""Types without a kind of their own, which PostgreSQL itself must judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.alike import alike
from oxy_pg.migrate.convert.kind import Kind, PgType
from oxy_pg.migrate.convert.options import NUL, UTF8
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.unfit import Value


class Other(Kind):
    """Text that goes through PostgreSQL's own input."""

    name = "other"
    is_ordered = False  # it may be, but nothing here knows
    is_judged_by_postgres = True
    is_spelled_by_postgres = True
    options = frozenset({*NUL, *UTF8})

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        if isinstance(value, bytes):
            raise Unfit(f"bytes, and the column is {type_}")
        return repr(value) if isinstance(value, float) else str(value)

    def same(self, sent: str, found: str, type_: PgType) -> bool:
        return alike(type_.sql, sent, found)


OTHER = Other()
