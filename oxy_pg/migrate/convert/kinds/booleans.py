"""Booleans (manual: 8.6, Boolean Type)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.codec import Fast, Field
from oxy_pg.migrate.convert.kind import Kind
from oxy_pg.migrate.convert.kinds.numbers import BIGINT
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import Declaration, Facts, PgType
    from oxy_pg.migrate.convert.unfit import Value

_WORDS = {
    **dict.fromkeys(("t", "true", "1", "y", "yes", "on"), "t"),
    **dict.fromkeys(("f", "false", "0", "n", "no", "off"), "f"),
}


class Boolean(Kind):
    """True and false, which SQLite stores as 1 and 0."""

    name = "boolean"
    spellings = ("bool",)
    # tinyint(1): Laravel, and dumps of MySQL's.
    declarations = "bool boolean tinyint(1)"
    is_boolean = True
    family = "boolean"

    def choose(self, declared: Declaration, facts: Facts) -> PgType:
        return BIGINT.type if declared.name == "tinyint" and not facts.bits else self.type

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        found = _WORDS.get(str(value).lower()) if isinstance(value, int | str) else None
        if found is None:
            raise Unfit("not a boolean (0 or 1, true or false)")
        return found

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "integer":
            return None
        return Fast("typeof({x}) = 'integer' AND {x} BETWEEN 0 AND 1", "{x}", Field("{x}", "?"))

    def canonical(self, text: str) -> object:
        return text[0] in "t1"

    def unquoted(self, text: str) -> str | None:
        return "true" if text == "t" else "false"

    def number(self, text: str) -> str | None:
        return {"0": "false", "1": "true"}.get(text)


BOOLEAN = Boolean()
KINDS: tuple[Kind, ...] = (BOOLEAN,)
