"""
``Kind``: everything that a migration knows about one kind of PostgreSQL type.

The kinds themselves are in ``kinds/``. Every other module asks the kind of a
column's type, so that a new conversion is written in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from oxy_pg.migrate.convert.codec import Fast, in_encoding

if TYPE_CHECKING:
    from oxy_pg.migrate.convert.loss import Loss
    from oxy_pg.migrate.convert.unfit import Value


@dataclass(frozen=True, slots=True)
class PgType:
    """
    A PostgreSQL type: how SQL spells it, and how its values are treated.

    ``size`` is the length of varchar(n) and char(n), the precision of numeric,
    or the fraction digits of a time; ``scale`` belongs to numeric.
    """

    kind: Kind
    sql: str
    size: int | None = None
    scale: int | None = None

    def __str__(self) -> str:
        return self.sql

    def fast(self, facts: Facts, option: str | None, encoding: str) -> Fast | None:
        """
        Choose the fast way for a column whose values are mostly of one storage class.

        ``encoding`` is that of the texts in the file. None where there is no fast way.
        """
        counts = {
            "integer": facts.integers,
            "real": facts.reals,
            "text": facts.texts,
            "blob": facts.blobs,
        }
        storage = max(counts, key=lambda name: counts[name])
        if option is not None and (storage != "text" or option not in self.kind.numbers_only):
            return None
        found = self.kind.fast(self, storage, facts)
        return None if found is None else in_encoding(found, encoding)


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What the values of one column are.

    ``offsets`` counts texts that end like a time with an offset from UTC,
    ``longest`` is in characters, ``least`` and ``greatest`` are of numbers.
    """

    nulls: int = 0
    integers: int = 0
    reals: int = 0
    texts: int = 0
    blobs: int = 0
    longest: int = 0
    least: float = 0
    greatest: float = 0
    offsets: int = 0
    bits: bool = True  # every integer is 0 or 1
    whole: bool = True  # every integer survives as a double
    # The most fraction digits of any real, rounded to 15 digits: without binary noise.
    plain_decimals: int = 0
    sixteen: bool = True  # every blob has 16 bytes
    fractions: int = 0  # reals that are no whole numbers

    @property
    def values(self) -> int:
        """How many are not NULL."""
        return self.integers + self.reals + self.texts + self.blobs


@dataclass(frozen=True, slots=True)
class Declaration:
    """A column's declared type in SQLite: ``VARCHAR(20)`` is ``varchar`` of size 20."""

    name: str  # lower case, its words joined by underscores, without arguments
    size: int | None = None
    scale: int | None = None


@dataclass(frozen=True, slots=True)
class Rounding:
    """What sending a value changes: SQL with ``{x}`` that is true for such values, and words."""

    sql: str
    note: str  # for the plan: "12 times …"
    change: str  # for the report: "rounded to …"


class Kind:
    """
    One kind of PostgreSQL type: how its values are read, sent and compared.

    What is set and defined here suits a type about which nothing is known; a
    subclass states what its kind knows. Instances are compared by identity.
    """

    # --- what it is -----------------------------------------------------------

    name: ClassVar[str]
    # What CREATE TABLE calls it, where that is not its name.
    sql: ClassVar[str] = ""
    # Further names by which PostgreSQL or a user may call it.
    spellings: ClassVar[tuple[str, ...]] = ()
    # The words in SQLite that mean it: lower case, "_" for a space.
    declarations: ClassVar[str] = ""
    # Names in OPTIONS (convert/options.py) that mean something for it.
    options: ClassVar[frozenset[str]] = frozenset()
    # Those of them that say nothing about texts other than digits.
    numbers_only: ClassVar[frozenset[str]] = frozenset()

    # Whether it has an order (a default btree operator class), so that it may be in a key or an
    # index.
    is_ordered: ClassVar[bool] = True
    is_number: ClassVar[bool] = False
    is_integer: ClassVar[bool] = False
    is_boolean: ClassVar[bool] = False
    is_binary: ClassVar[bool] = False  # holds bytes, and no text
    # Texts that PostgreSQL compares as SQLite does; not char(n), which ignores blanks at its end.
    is_text: ClassVar[bool] = False
    # Whether numbers in such a column count time from an epoch.
    is_instant: ClassVar[bool] = False
    # Whether numbers in such a column are lengths of time.
    is_interval: ClassVar[bool] = False
    # Whether arithmetic in PostgreSQL gives what SQLite computes, so that it may compute a
    # generated column.
    computes_alike: ClassVar[bool] = False
    # Whether programs declare it for text and bytes alike: a column of texts alone becomes text,
    # one of blobs alone bytea.
    is_loose: ClassVar[bool] = False
    # Kinds of one family have equal keys where key() is equal; None: PostgreSQL alone can compare.
    family: ClassVar[str | None] = None
    # Kinds of one group may refer to each other in a foreign key; None: to the same kind only.
    reference_group: ClassVar[str | None] = None
    # Whether PostgreSQL may refuse a text that read() returns, and has to be asked.
    is_judged_by_postgres: ClassVar[bool] = False
    # Whether PostgreSQL may spell a value in another way than any that canonical() knows, so that
    # a comparison needs its cast. What that cast changes is not seen then.
    is_spelled_by_postgres: ClassVar[bool] = False
    # Whether read() may change a value (loss()).
    is_lossy: ClassVar[bool] = False

    def __init__(self) -> None:
        self.type = PgType(self, self.sql or self.name)

    def __repr__(self) -> str:
        return self.name.upper()

    # --- the type of a column ---------------------------------------------------

    def parsed(self, spelled: str, size: int | None, scale: int | None) -> PgType:
        """Return the type that ``format_type`` or a user spelled so, with these arguments."""
        # PostgreSQL does not know every name that a user may write: "datetime", "double".
        known = spelled.lower() in (self.name, *self.spellings)
        return PgType(self, self.type.sql if known else spelled, size, scale)

    def choose(self, declared: Declaration, facts: Facts) -> PgType:
        """Choose the type of a new column that was declared so and holds such values."""
        return self.type

    # --- values -------------------------------------------------------------------

    def read(self, value: Value, type_: PgType, option: str | None) -> str:
        """
        Return the text from which PostgreSQL reads exactly this value.

        This is the definition of what is right. ``option`` is one of
        ``options``. Raises Unfit with the reason.
        """
        raise NotImplementedError

    def fast(self, type_: PgType, storage: str, facts: Facts) -> Fast | None:
        """
        Return how SQLite itself sends the values of a column; None: read() for each of them.

        ``storage`` is what SQLite stores most of them as: "integer", "real",
        "text" or "blob"; ``facts`` are those of all values, or of some. It must give exactly
        what read() gives.
        """
        return None

    def loss(self, value: Value, type_: PgType, option: str | None) -> Loss | None:
        """
        Return what read() changes of a value that it accepts; None: nothing.

        Only asked where ``is_lossy``, and not for values that fast() sends.
        """
        return None

    def same(self, sent: str, found: str, type_: PgType) -> bool:
        """
        Whether what PostgreSQL gives back as text means what was sent.

        Asked where ``is_spelled_by_postgres``, and the texts differ.
        """
        return False

    def rounding(self, type_: PgType) -> Rounding | None:
        """Return which values sending changes, as read() is allowed to; None: none."""
        return None

    # --- comparisons --------------------------------------------------------------

    def key(self, text: str) -> str:
        """
        Return a text that is the same for the keys that PostgreSQL holds to be equal.

        ``text`` is what read() returned. Raises Unfit.
        """
        return text

    def has_plain_keys(self, facts: Facts) -> bool:
        """Whether keys that are sent by fast() are equal in SQLite where they are in PostgreSQL."""
        return True

    def canonical(self, text: str) -> object:
        """
        Turn what read() or PostgreSQL spelled into what is equal where the values are the same.

        Its repr() is too. 0.0 and -0.0 are not the same.
        """
        return text

    # --- SQL ------------------------------------------------------------------------

    def unquoted(self, text: str) -> str | None:
        """Spell what read() returned as a literal without quotes; None where it needs them."""
        return None

    def number(self, text: str) -> str | None:
        """Spell a number of SQLite's SQL that is compared with this type; None: uncertain."""
        return None

    def clock(self, shape: str) -> str | None:
        """
        Return the default that is the current time in UTC; None: uncertain.

        ``shape`` is how SQLite spells it, as a pattern for to_char().
        """
        return None

    def epoch(self) -> str | None:
        """Return the default that is the number of seconds since 1970; None: uncertain."""
        return None


# The current time without an offset, as SQLite means it.
UTC_NOW = "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"
