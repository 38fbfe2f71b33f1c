"""UUIDs, stored as text or as sixteen bytes (manual: 8.12, UUID Type)."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.codec import Fast, Field
from oxy_pg.migrate.convert.kind import Kind
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import Facts, PgType
    from oxy_pg.migrate.convert.unfit import Value

_HEX = "typeof({x}) = 'text' AND length({x}) = 36 AND {x} NOT GLOB '*[^-0-9a-fA-F]*'"
_HEX += " AND {x} GLOB '????????-????-????-????-????????????'"
_HEX += " AND length(replace({x}, '-', '')) = 32 AND instr({x}, char(0)) = 0"
_UNHEX = "oxy_unhex(replace({x}, '-', ''))"
_FAST = {
    "blob": Fast("typeof({x}) = 'blob' AND length({x}) = 16", "hex({x})", Field("{x}", "16s")),
    "text": Fast(_HEX, "{x}", Field(_UNHEX, "16s")),
}


class Uuid(Kind):
    """A uuid."""

    name = "uuid"
    declarations = "uuid uuid_text uuid_blob guid uniqueidentifier"
    family = "uuid"

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        if isinstance(value, bytes):
            if len(value) == 16:
                return _spell(value.hex())
            raise Unfit(f"{len(value)} bytes; a uuid has 16")
        if isinstance(value, int | float):
            raise Unfit(
                "SQLite stored it as a number (a column declared uuid has NUMERIC affinity), and "
                "its original text cannot be known"
            )
        plain = value.strip().removeprefix("urn:uuid:").strip("{}").replace("-", "")
        if len(plain) != 32 or not re.fullmatch(r"[0-9a-fA-F]{32}", plain):
            raise Unfit("not a uuid")
        return _spell(plain.lower())

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        return _FAST.get(storage)

    def has_plain_keys(self, facts: Facts) -> bool:
        return not facts.texts  # upper and lower case, and braces

    def canonical(self, text: str) -> object:
        return uuid.UUID(text)


def _spell(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


UUID = Uuid()
KINDS: tuple[Kind, ...] = (UUID,)
