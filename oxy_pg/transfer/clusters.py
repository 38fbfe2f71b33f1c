"""Everything that is in one cluster, moved into a new and empty one: roles, databases, rows."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg import installations
from oxy_pg.errors import TransferRefused
from oxy_pg.transfer import database, inventory, rows, schema, swap, tools
from oxy_pg.transfer.progress import Progress
from oxy_pg.transfer.report import MovedDatabase, MovedTable
from oxy_pg.url import with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TIMEOUT = 30.0
_EVERYWHERE = ("postgres", "template1")  # in every new cluster
_META = re.compile(r"^\\(?:un)?restrict \w+\n", re.MULTILINE)
_SUPERUSER = re.compile(r'^CREATE ROLE "?postgres"?;\n', re.MULTILINE)
_ROLE_SETTING = re.compile(r"^ALTER ROLE .* SET .*;\n", re.MULTILINE)

_DATABASES = """
    SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
           to_jsonb(d) FROM pg_database d
    WHERE datname <> 'template0' ORDER BY pg_database_size(oid) DESC
"""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the old cluster holds."""

    databases: tuple[tuple[str, str, dict[str, Any]], ...]  # name, owner, row of pg_database
    inventories: dict[str, inventory.Inventory]


class Move:
    """
    One cluster's way into another one.

    Both URLs are a superuser's; nobody else is connected to either. ``bin_dir``
    holds the programs of the old version, which know best what it holds;
    ``directory`` is ours.
    """

    def __init__(
        self,
        source: str,
        bin_dir: str,
        version: str,
        directory: str,
        jobs: int,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.source = source
        self.directory = directory
        self.jobs = jobs
        self.on_progress = on_progress
        self.lost: list[str] = []
        self.programs = tools.at(bin_dir, version) or tools.find(installations.major_of(version))
        self.contents = self._look()
        self.counts: dict[str, dict[rows.Table, int]] = {}

    def _look(self) -> Contents:
        """Return what is in the source; raises TransferRefused for what no dump brings along."""
        self.on_progress(Progress("look"))
        found = []
        with contextlib.closing(database.connect(self.source, _TIMEOUT)) as connection:
            for name, owner, *_, record in connection.execute(_DATABASES).fetchall():
                if not record["datallowconn"]:
                    raise TransferRefused(
                        f"read the database {name!r}",
                        "it allows no connections, so it cannot be dumped.",
                        f"Allow them under the old version (ALTER DATABASE {name} "
                        "ALLOW_CONNECTIONS true), or drop it there.",
                    )
                found.append((name, owner, record))
            self._name_tablespaces(connection)
            prepared = database.one(connection, "SELECT count(*) FROM pg_prepared_xacts")
            if prepared:
                raise TransferRefused(
                    "read the old cluster",
                    f"{prepared} transactions are prepared in it, neither committed nor rolled "
                    "back (pg_prepared_xacts).",
                    "Start it with its own version, and end them with COMMIT PREPARED or ROLLBACK "
                    "PREPARED.",
                )
        looked = {}
        for name, _, _ in found:
            url = with_database(self.source, name)
            with contextlib.closing(database.connect(url, _TIMEOUT)) as connection:
                looked[name] = inventory.look(connection)
        return Contents(tuple(found), looked)

    def _name_tablespaces(self, connection: psycopg.Connection[Any]) -> None:
        names = connection.execute(
            "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'"
        ).fetchall()
        self.lost += [
            f"the tablespace {name}: what was in it stands in the data directory now"
            for (name,) in names
        ]

    def check_extensions(self, target: str) -> None:
        """Make sure that the new version has every extension; ExtensionsMissing if not."""
        wanted = {
            extension.name: extension
            for one in self.contents.inventories.values()
            for extension in one.extensions
        }
        with contextlib.closing(database.connect(target, _TIMEOUT)) as connection:
            inventory.check_extensions(connection, "the new version", list(wanted.values()))

    def run(self, target: str) -> None:
        """Bring all of it over."""
        settings = self._roles(target)
        for number, (name, owner, record) in enumerate(self.contents.databases):
            self._database(target, name, owner, record, number)
        # Last, because they hold for our own sessions as well.
        self._properties(target, settings)

    def _roles(self, target: str) -> list[str]:
        """Bring the roles, with passwords and memberships; return what sets their settings."""
        arguments = ("--roles-only", "--quote-all-identifiers")
        text = tools.run(self.programs, "pg_dumpall", arguments, url=self.source).decode()
        text = _SUPERUSER.sub("", _META.sub("", text))
        with contextlib.closing(database.connect(target, _TIMEOUT)) as connection:
            try:
                connection.execute(_ROLE_SETTING.sub("", text).encode())
            except psycopg.Error as error:
                raise database.refused("make the roles in the new cluster", error) from error
        return _ROLE_SETTING.findall(text)

    def _properties(self, target: str, role_settings: list[str]) -> None:
        """Bring what is set for roles and for databases, and who may connect to these."""
        with (
            contextlib.closing(database.connect(self.source, _TIMEOUT)) as source,
            contextlib.closing(database.connect(target, _TIMEOUT)) as connection,
        ):
            for statement in role_settings:
                self._try(connection, [sql.SQL(statement)])
            for name, _, record in self.contents.databases:
                for statements in swap.properties(source, name, name):
                    self._try(connection, statements)
                if record["datistemplate"] and name not in _EVERYWHERE:
                    words = sql.SQL("ALTER DATABASE {} IS_TEMPLATE true")
                    connection.execute(words.format(sql.Identifier(name)))

    def _try(
        self, connection: psycopg.Connection[Any], statements: Sequence[sql.SQL | sql.Composed]
    ) -> None:
        """Run what the new version may not know, and remember it if so."""
        try:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
        except psycopg.Error as error:
            words = "; ".join(one.as_string(connection).strip() for one in statements)
            self.lost.append(f"{words} ({error.diag.message_primary or error})")

    # --- one database ---

    def _database(
        self, target: str, name: str, owner: str, record: dict[str, Any], number: int
    ) -> None:
        source_url, target_url = with_database(self.source, name), with_database(target, name)
        if name not in _EVERYWHERE:
            self._create(target, name, owner, record)
        path = f"{self.directory}/schema-{number}"
        tables = self.contents.inventories[name].tables
        with rows.Snapshot(source_url, _TIMEOUT) as snapshot:
            schema.dump(self.programs, source_url, path, snapshot=snapshot.name)
            archive = schema.Archive(self.programs, path)
            self.on_progress(Progress("schema", table=name))
            with contextlib.closing(database.connect(target_url, _TIMEOUT)) as connection:
                inventory.create_extensions(connection, self.contents.inventories[name].extensions)
                connection.execute(schema.SETTINGS)
                archive.execute("pre-data", connection)
            self._rows(name, snapshot, target_url, tables)
        self.on_progress(Progress("index", table=name))
        archive.restore("post-data", target_url, self.jobs)
        self.lost += archive.lost
        with contextlib.closing(database.connect(target_url, _TIMEOUT)) as connection:
            connection.execute("ANALYZE")

    def _create(self, target: str, name: str, owner: str, record: dict[str, Any]) -> None:
        """Make a database like the old one; a locale provider of later versions is replaced."""
        encoding = {"ENCODING": self._encoding(name)}
        provider = record.get("datlocprovider", "c")
        locale = {"LC_COLLATE": record["datcollate"], "LC_CTYPE": record["datctype"]}
        chosen = (
            record.get("datlocale") or record.get("daticulocale") or record.get("colliculocale")
        )
        if provider == "i" and chosen:
            locale |= {"LOCALE_PROVIDER": "icu", "ICU_LOCALE": chosen}
        elif provider == "b" and chosen:
            locale |= {"LOCALE_PROVIDER": "builtin", "BUILTIN_LOCALE": chosen}
        with contextlib.closing(database.connect(target, _TIMEOUT)) as connection:
            if provider == "b" and database.major(connection) < 17:
                # "C" sorts as builtin does, by code point, and C.UTF-8 knows the same letters.
                locale = {"LC_COLLATE": "C", "LC_CTYPE": "C" if chosen == "C" else "C.UTF-8"}
                self.lost.append(
                    f"the builtin locale {chosen} of the database {name}: it is C now, "
                    f"and {locale['LC_CTYPE']} for letters"
                )
            statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
            for option, value in (encoding | locale).items():
                statement += sql.SQL(f" {option} {{}}").format(sql.Literal(value))
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                raise database.refused(f"make the database {name!r}", error) from error

    def _encoding(self, name: str) -> str:
        with contextlib.closing(
            database.connect(with_database(self.source, name), _TIMEOUT)
        ) as connection:
            return str(database.one(connection, "SHOW server_encoding"))

    def _rows(
        self, name: str, snapshot: rows.Snapshot, target_url: str, tables: tuple[rows.Table, ...]
    ) -> None:
        total = sum(table.size for table in tables)

        def tell(table: rows.Table, _: int, done: int) -> None:
            self.on_progress(Progress("load", min(done, total), total, f"{name}: {table}"))

        pump = rows.Pump(tables, tell)

        @contextlib.contextmanager
        def writer() -> Iterator[psycopg.Connection[Any]]:
            with contextlib.closing(database.connect(target_url, _TIMEOUT)) as connection:
                yield connection

        pump.copy_all(snapshot, writer, self.jobs)
        with writer() as connection, connection.transaction():
            connection.execute(rows.SETTINGS)
            rows.copy_sequences(snapshot.connection, connection)
            rows.copy_large_objects(snapshot.connection, connection, owners=True)
        self.counts[name] = {table: table.count(snapshot.connection) for table in tables}

    # --- whether all is there ---

    def verify(self, target: str) -> tuple[MovedDatabase, ...]:
        """Compare every table's rows with the old cluster's; raises CountsDiffer."""
        moved = []
        for name, owner, _ in self.contents.databases:
            expected = self.counts[name]
            url = with_database(target, name)
            with contextlib.closing(database.connect(url, _TIMEOUT)) as connection:
                rows.compare(
                    expected,
                    connection,
                    lambda done, of, table: self.on_progress(Progress("compare", done, of, table)),
                )
            tables = tuple(
                MovedTable(table.schema, table.name, number, table.size)
                for table, number in expected.items()
            )
            extensions = tuple(e.name for e in self.contents.inventories[name].extensions)
            if name not in _EVERYWHERE or tables:
                moved.append(MovedDatabase(name, owner, extensions, tables))
        return tuple(moved)
