"""Text and bytes (manual: 8.3, Character Types; 8.4, Binary Data Types)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oxy_pg.migrate.convert.codec import QUOTED, Fast, Field
from oxy_pg.migrate.convert.kind import UTC_NOW, Kind, PgType
from oxy_pg.migrate.convert.loss import Loss
from oxy_pg.migrate.convert.options import NUL, UTF8
from oxy_pg.migrate.convert.unfit import Unfit

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.kind import Declaration, Facts
    from oxy_pg.migrate.convert.unfit import Value

_LONGEST = 10_485_760  # characters of varchar(n)
_LARGEST_BLOB = 500_000_000  # bytes, which are twice as many as hexadecimal digits


class _Characters(Kind):
    """What all texts have in common: a number becomes its shortest text."""

    family = "text"
    reference_group = "text"
    options = frozenset({*NUL, *UTF8})

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        if isinstance(value, bytes):
            raise Unfit(f"bytes, and the column is {type_} (--cast to bytea, or {self.name}:utf8)")
        text = repr(value) if isinstance(value, float) else str(value)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unfit("a lone surrogate, which UTF-8 does not have") from error
        if type_.size is not None and len(text) > type_.size:
            raise Unfit(f"{len(text):,} characters, and the column is {type_}")
        return text


class Text(_Characters):
    """Text of any length."""

    name = "text"
    spellings = ("string",)
    declarations = """
        text clob tinytext mediumtext longtext string ntext character_large_object enum set citext
        name nclob enum_text
    """
    is_text = True
    is_loose = True

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "text":
            return None
        fits = "typeof({x}) = 'text'"
        if type_.size is not None:
            fits += f" AND length({{x}}) <= {type_.size}"
        return Fast(fits, QUOTED, Field("{x}"))

    def clock(self, shape: str) -> str | None:
        return f"to_char({UTC_NOW}, '{shape}')"


class Varchar(Text):
    """Text of so many characters at most."""

    name = "varchar"
    spellings = ("character varying",)
    declarations = """
        varchar nvarchar character_varying varying_character char nchar character varchar2
        native_character national_character_varying nvarchar2 bpchar
    """
    is_judged_by_postgres = True

    def parsed(self, spelled: str, size: int | None, scale: int | None) -> PgType:
        return PgType(self, spelled, size, scale)  # as PostgreSQL spells it

    def choose(self, declared: Declaration, facts: Facts) -> PgType:
        size = declared.size
        # char(n) too: PostgreSQL's char pads with blanks, SQLite's does not.
        if size is None or not 1 <= size <= _LONGEST or facts.longest > size:
            return TEXT.type
        return PgType(self, f"varchar({size})", size)


class Char(_Characters):
    """Text that is padded with blanks, which then do not count."""

    name = "char"
    sql = "bpchar"  # of any length; "char" is character(1)
    spellings = ("character",)
    is_judged_by_postgres = True

    is_lossy = True

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        if isinstance(value, str) and value.endswith(" "):
            what = "no longer with the blanks at its end, which char(n) does not keep"
            return Loss(what, after=value.rstrip(" "))
        return None

    def parsed(self, spelled: str, size: int | None, scale: int | None) -> PgType:
        return PgType(self, spelled, size or (None if spelled.lower() == self.sql else 1), scale)

    def key(self, text: str) -> str:
        return text.rstrip(" ")

    def canonical(self, text: str) -> object:
        return text.rstrip(" ")


class Bytea(Kind):
    """Bytes."""

    name = "bytea"
    spellings = ("blob",)
    declarations = """
        blob binary varbinary bytea tinyblob mediumblob longblob image bytes varbinary_blob
        binary_blob raw
    """
    family = "bytea"
    is_binary = True
    is_loose = True
    options = frozenset(UTF8)

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        if not isinstance(value, bytes):
            what = "text" if isinstance(value, str) else "a number"
            raise Unfit(
                f"{what}, and the column is bytea (--cast table.column=bytea:utf8 for text)"
            )
        return "\\x" + value.hex()

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        if storage != "blob":
            return None
        fits = f"typeof({{x}}) = 'blob' AND length({{x}}) < {_LARGEST_BLOB}"
        # SQLite knows the length of bytes that it has not read.
        return Fast(fits, r"'\x' || hex({x})", Field("{x}", size="length({x})"))


TEXT, VARCHAR, CHAR, BYTEA = Text(), Varchar(), Char(), Bytea()
KINDS: tuple[Kind, ...] = (TEXT, VARCHAR, CHAR, BYTEA)
