"""
Virtual tables: which tables a module keeps for them, and where the rows are.

Full-text tables (https://www.sqlite.org/fts5.html, https://www.sqlite.org/fts3.html) and R-trees
(https://www.sqlite.org/rtree.html) may hold the only copy of their rows. Those of a full-text table
are read from the table in which its module stores them: that needs neither module nor tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.source import tokens

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_FTS = {"fts3", "fts4", "fts5"}
_RTREE = {"rtree", "rtree_i32"}
# The options of FTS4 with "="; anything else is the definition of a column.
_FTS4_OPTIONS = {
    "matchinfo", "prefix", "compress", "uncompress", "order", "content", "languageid",
    "notindexed", "tokenize",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class VirtualTable:
    """
    One CREATE VIRTUAL TABLE statement.

    ``columns`` are those that its arguments declare, ``unindexed`` (folded) those that are not
    searched.
    """

    name: str
    module: str
    sql: str
    columns: tuple[str, ...]
    unindexed: frozenset[str]
    options: dict[str, str]

    @property
    def is_fts(self) -> bool:
        """Whether it is a full-text table."""
        return self.module in _FTS

    @property
    def is_rtree(self) -> bool:
        """Whether it is an R-tree."""
        return self.module in _RTREE

    @property
    def content(self) -> str | None:
        """The table whose rows a full-text table searches; "" for no table, None for its own."""
        return self.options.get("content") if self.is_fts else None

    @property
    def shadows(self) -> frozenset[str]:
        """The tables that the module keeps for it, folded; by its own rules and not by names."""
        if self.is_rtree:
            ends = ["node", "rowid", "parent"]
        elif self.module == "fts5":
            ends = ["data", "idx", "config"]
            if self.options.get("columnsize") != "0":
                ends.append("docsize")
        elif self.is_fts:
            ends = ["segments", "segdir"]
            if self.module == "fts4":
                ends.append("stat")
                if folded(self.options.get("matchinfo", "")) != "fts3":
                    ends.append("docsize")
        else:
            return frozenset()
        if self.is_fts and self.content is None:
            ends.append("content")
        return frozenset(folded(f"{self.name}_{end}") for end in ends)


def parse(name: str, sql: str) -> VirtualTable:
    """Read a CREATE VIRTUAL TABLE statement."""
    found = tokens.tokenize(sql)
    using = next((i for i, token in enumerate(found) if token.is_word("USING")), len(found))
    module = folded(found[using + 1].value) if using + 1 < len(found) else ""
    inner, _ = tokens.parenthesis(found, using + 2) if using + 2 < len(found) else ([], 0)
    columns: list[str] = []
    unindexed: set[str] = set()
    options: dict[str, str] = {}
    for item in tokens.items(inner):
        option = _option(module, item)
        if option is not None:
            options.setdefault(*option)
        elif item:
            columns.append(item[0].value)
            if any(token.is_word("UNINDEXED") for token in item[1:]):
                unindexed.add(folded(item[0].value))
    if "notindexed" in options:
        unindexed.add(folded(options["notindexed"]))
    return VirtualTable(name, module, sql, tuple(columns), frozenset(unindexed), options)


def _option(module: str, item: list[tokens.Token]) -> tuple[str, str] | None:
    if not item or module not in _FTS:
        return None
    key = folded(item[0].value)
    if module != "fts5" and key == "tokenize" and item[0].kind == "word":
        return key, " ".join(token.value for token in item[1:] if token.text != "=")
    if len(item) < 2 or item[1].text != "=":
        return None
    if module == "fts3" or (module == "fts4" and key not in _FTS4_OPTIONS):
        return None
    return key, " ".join(token.value for token in item[2:])


def install_views(connection: sqlite3.Connection) -> None:
    """
    Let the rows of full-text tables be read by the tables' names, from what their module stores.

    Raises sqlite3.Error.
    """
    query = "SELECT name, sql FROM sqlite_master WHERE sql LIKE 'create virtual table%'"
    for name, sql in connection.execute(query).fetchall():
        table = parse(name, sql)
        columns = stored_columns(connection, table)
        if columns:
            terms = ", ".join(f"{quoted(own)} AS {quoted(name)}" for own, name in columns)
            content = quoted(f"{table.name}_content")
            connection.execute(
                # A name is looked for in the temporary schema first.
                f"CREATE TEMP VIEW IF NOT EXISTS {quoted(table.name)} AS "
                f"SELECT {terms} FROM main.{content}"
            )


def stored_columns(connection: sqlite3.Connection, table: VirtualTable) -> list[tuple[str, str]]:
    """
    Return the columns in which a full-text table's module stores its rows, and what they are.

    The last one is the row's number. Empty for every other virtual table, and for one whose rows
    the module does not store, or compresses.
    """
    if not table.is_fts or table.content is not None or "compress" in table.options:
        return []
    stored = [
        row[1]
        for row in connection.execute(
            f"PRAGMA main.table_xinfo({quoted(f'{table.name}_content')})"
        ).fetchall()
    ]
    if not stored:
        return []
    key, *values = stored
    columns = list(_meanings(table, values))
    taken = {folded(name) for _, name in columns}
    number = next(name for name in ("rowid", "docid", "rowid_", "rowid__") if name not in taken)
    return [*columns, (key, number)]


def _meanings(table: VirtualTable, stored: list[str]) -> Iterator[tuple[str, str]]:
    declared = list(table.columns)
    for position, name in enumerate(stored):
        if table.module == "fts5":
            # "l0" and so on are the columns' locales.
            if name.startswith("c") and name[1:].isdecimal() and int(name[1:]) < len(declared):
                yield name, declared[int(name[1:])]
        elif name == "langid" and position == len(stored) - 1 and "languageid" in table.options:
            yield name, table.options["languageid"]
        else:
            yield name, name[1 + len(str(position)) :]


def suggestion(table: VirtualTable, columns: list[str]) -> str:
    """Return the PostgreSQL index that serves in the place of the module's."""
    if table.is_rtree:
        return _gist(table.name, columns)
    language = "english" if "porter" in table.options.get("tokenize", "") else "simple"
    searched = [name for name in columns if folded(name) not in table.unindexed]
    text = " || ' ' || ".join(f"coalesce({quoted(name)}::text, '')" for name in searched)
    vector = f"to_tsvector('{language}', {text or repr('')})"
    on = quoted(table.content or table.name)
    return (
        f"CREATE INDEX ON {on} USING gin ({vector});\n"
        f"-- SELECT * FROM {on} WHERE {vector} @@ websearch_to_tsquery('{language}', '…');"
    )


def _gist(name: str, columns: list[str]) -> str:
    # The first column is the key; then the least and the greatest value in each dimension.
    least, greatest = [quoted(c) for c in columns[1::2]], [quoted(c) for c in columns[2::2]]
    pairs = list(zip(least, greatest, strict=False))
    on = f"CREATE INDEX ON {quoted(name)} USING gist "
    if len(pairs) == 1:
        return f"{on}(numrange({least[0]}::numeric, {greatest[0]}::numeric, '[]'));"
    if len(pairs) == 2:
        corners = (f"point({', '.join(corner)})" for corner in (least, greatest))
        return f"{on}(box({', '.join(corners)}));"
    arrays = (f"ARRAY[{', '.join(part)}]::float8[]" for part in (least, greatest))
    return f"CREATE EXTENSION IF NOT EXISTS cube;\n{on}(cube({', '.join(arrays)}));"
