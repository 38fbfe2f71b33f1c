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
from oxy_pg.report import Progress, Skipped
from oxy_pg.transfer import database, swap, tools
from oxy_pg.transfer.copy import inventory, rows, schema
from oxy_pg.transfer.report import MovedDatabase, MovedTable
from oxy_pg.url import with_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from oxy_pg.installations import Installation
    from oxy_pg.system.deadline import Patience

_EVERYWHERE = ("postgres", "template1")  # in every new cluster
_META = re.compile(r"^\\(?:un)?restrict \w+\n", re.MULTILINE)
_SUPERUSER = re.compile(r'^CREATE ROLE "?postgres"?;\n', re.MULTILINE)
_ROLE_SETTING = re.compile(r"^ALTER ROLE .* SET .*;\n", re.MULTILINE)

_DATABASES = """
    SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), to_jsonb(d)
    FROM pg_database d WHERE datname <> 'template0' ORDER BY pg_database_size(oid) DESC
"""


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the old cluster."""

    name: str
    owner: str
    encoding: str
    record: dict[str, Any]  # its row of pg_database, which differs from version to version
    inventory: inventory.Inventory


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What a cluster holds, what will copy it, and what cannot be copied."""

    source: str  # a superuser's URL
    programs: Installation
    databases: tuple[Database, ...]
    skipped: tuple[Skipped, ...]


def make_plan(source: str, bin_dir: str, version: str, patience: Patience) -> ClusterPlan:
    """
    Read what is in a cluster.

    ``source`` is a superuser's URL, and no other client is connected.
    ``bin_dir`` holds the programs of its version. Raises TransferRefused for
    what no dump contains.
    """
    programs = tools.at(bin_dir, version) or tools.find(installations.major_of(version))
    with contextlib.closing(database.connect(source, patience)) as connection:
        _refuse_prepared(connection)
        skipped = _tablespaces(connection)
        found = connection.execute(_DATABASES).fetchall()
    databases = []
    for name, owner, encoding, record in found:
        if not record["datallowconn"]:
            raise TransferRefused(
                f"read the database {name!r}",
                "it allows no connections, so it cannot be dumped.",
                f"Allow them under the old version (ALTER DATABASE {name} ALLOW_CONNECTIONS "
                "true), or drop it there.",
            )
        url = with_database(source, name)
        with contextlib.closing(database.connect(url, patience)) as connection:
            looked = inventory.look(connection)
        databases.append(Database(name, owner, encoding, record, looked))
    return ClusterPlan(source, programs, tuple(databases), skipped)


def _refuse_prepared(connection: psycopg.Connection[Any]) -> None:
    prepared = database.one(connection, "SELECT count(*) FROM pg_prepared_xacts")
    if prepared:
        raise TransferRefused(
            "read the old cluster",
            f"{prepared} transactions are prepared in it, neither committed nor rolled back "
            "(pg_prepared_xacts).",
            "Start it with its own version, and end them with COMMIT PREPARED or ROLLBACK "
            "PREPARED.",
        )


def _tablespaces(connection: psycopg.Connection[Any]) -> tuple[Skipped, ...]:
    names = connection.execute("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'")
    reason = "what was in it is in the data directory now"
    return tuple(Skipped("tablespace", str(name), reason) for (name,) in names)


class Move:
    """
    One cluster's way into another one, which is new and empty.

    No other client is connected to either. ``directory`` is for temporary files.
    """

    def __init__(
        self,
        plan: ClusterPlan,
        directory: str,
        jobs: int,
        patience: Patience,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self.source = plan.source
        self.programs = plan.programs
        self.databases = plan.databases
        self.directory = directory
        self.jobs = jobs
        self.patience = patience
        self.on_progress = on_progress
        self.skipped = list(plan.skipped)
        self.counts: dict[str, dict[rows.Table, int]] = {}

    def check_extensions(self, target: str) -> None:
        """Make sure that the new version has every extension; ExtensionsMissing if not."""
        wanted = {
            extension.name: extension
            for one in self.databases
            for extension in one.inventory.extensions
        }
        with contextlib.closing(database.connect(target, self.patience)) as connection:
            inventory.check_extensions(connection, "the new version", list(wanted.values()))

    def run(self, target: str) -> None:
        """Bring all of it over."""
        settings = self._roles(target)
        for number, one in enumerate(self.databases):
            self._move(one, target, f"{self.directory}/schema-{number}")
        # Last, because they hold for our own sessions as well.
        self._properties(target, settings)

    def _roles(self, target: str) -> list[str]:
        """Bring the roles, with passwords and memberships; return what sets their settings."""
        arguments = ("--roles-only", "--quote-all-identifiers")
        text = tools.run(self.programs, "pg_dumpall", arguments, url=self.source).decode()
        text = _SUPERUSER.sub("", _META.sub("", text))
        with contextlib.closing(database.connect(target, self.patience)) as connection:
            try:
                connection.execute(_ROLE_SETTING.sub("", text).encode())
            except psycopg.Error as error:
                raise database.refused("make the roles in the new cluster", error) from error
        return _ROLE_SETTING.findall(text)

    def _properties(self, target: str, role_settings: list[str]) -> None:
        """Bring what is set for roles and for databases, and who may connect to these."""
        with (
            contextlib.closing(database.connect(self.source, self.patience)) as source,
            contextlib.closing(database.connect(target, self.patience)) as connection,
        ):
            for statement in role_settings:
                self._try(connection, [sql.SQL(statement)])
            for one in self.databases:
                for statements in swap.properties(source, one.name, one.name):
                    self._try(connection, statements)
                if one.record["datistemplate"] and one.name not in _EVERYWHERE:
                    words = sql.SQL("ALTER DATABASE {} IS_TEMPLATE true")
                    connection.execute(words.format(sql.Identifier(one.name)))

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
            kind, _, name = words.partition(" ")
            self.skipped.append(Skipped(kind, name, error.diag.message_primary or str(error)))

    # --- one database ---

    def _move(self, one: Database, target: str, path: str) -> None:
        """Bring a database; ``path`` is for its schema."""
        source_url, target_url = (
            with_database(self.source, one.name),
            with_database(target, one.name),
        )
        if one.name not in _EVERYWHERE:
            self._create(one, target)
        with rows.snapshot(source_url, self.patience) as snapshot:
            self.on_progress(Progress("schema", table=one.name))
            schema.dump(self.programs, source_url, path, snapshot=snapshot.name)
            archive = schema.Archive(self.programs, path)
            with contextlib.closing(database.connect(target_url, self.patience)) as connection:
                inventory.create_extensions(connection, one.inventory.extensions)
                connection.execute(schema.SETTINGS)
                archive.execute("pre-data", connection)
            self._move_rows(one, snapshot, target_url)
        self.on_progress(Progress("index", table=one.name))
        archive.restore("post-data", target_url, self.jobs)
        self.skipped += archive.unsupported
        with contextlib.closing(database.connect(target_url, self.patience)) as connection:
            connection.execute("ANALYZE")

    def _create(self, one: Database, target: str) -> None:
        """Make a database like the old one."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {}").format(
            sql.Identifier(one.name), sql.Identifier(one.owner), sql.Literal(one.encoding)
        )
        with contextlib.closing(database.connect(target, self.patience)) as connection:
            for option, value in self._locale(one, database.major(connection)).items():
                statement += sql.SQL(f" {option} {{}}").format(sql.Literal(value))
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                raise database.refused(f"make the database {one.name!r}", error) from error

    def _locale(self, one: Database, major: int) -> dict[str, str]:
        """Return CREATE DATABASE's options; a provider that this version lacks is replaced."""
        record = one.record
        provider = record.get("datlocprovider", "c")
        chosen = record.get("datlocale") or record.get("daticulocale") or ""
        if provider == "b" and major < 17:
            # "C" sorts by code point as builtin does, and C.UTF-8 knows the same letters.
            letters = "C" if chosen == "C" else "C.UTF-8"
            reason = f"of the database {one.name}: it is C now, and {letters} for letters"
            self.skipped.append(Skipped("builtin locale", chosen, reason))
            return {"LC_COLLATE": "C", "LC_CTYPE": letters}
        locale = {"LC_COLLATE": record["datcollate"], "LC_CTYPE": record["datctype"]}
        if provider == "b":
            locale |= {"LOCALE_PROVIDER": "builtin", "BUILTIN_LOCALE": chosen}
        elif provider == "i":
            locale |= {"LOCALE_PROVIDER": "icu", "ICU_LOCALE": chosen}
        return locale

    def _move_rows(self, one: Database, snapshot: rows.Snapshot, target_url: str) -> None:
        tables = one.inventory.tables
        total = sum(table.size for table in tables)

        def tell(table: rows.Table, _: int, done: int) -> None:
            self.on_progress(Progress("load", min(done, total), total, f"{one.name}: {table}"))

        @contextlib.contextmanager
        def writer() -> Iterator[psycopg.Connection[Any]]:
            with contextlib.closing(database.connect(target_url, self.patience)) as connection:
                yield connection

        rows.Pump(tables, tell).copy_all(snapshot, writer, self.jobs)
        with writer() as connection, connection.transaction():
            connection.execute(rows.SETTINGS)
            rows.copy_sequences(snapshot.connection, connection)
            rows.copy_large_objects(snapshot.connection, connection, owners=True)
        self.counts[one.name] = {table: table.count(snapshot.connection) for table in tables}

    # --- whether all is there ---

    def verify(self, target: str) -> tuple[MovedDatabase, ...]:
        """Compare every table's rows with the old cluster's; raises CountsDiffer."""
        moved = []
        for one in self.databases:
            expected = self.counts[one.name]
            url = with_database(target, one.name)
            with contextlib.closing(database.connect(url, self.patience)) as connection:
                rows.compare(
                    expected,
                    connection,
                    lambda done, of, table: self.on_progress(Progress("compare", done, of, table)),
                )
            if one.name not in _EVERYWHERE or expected:
                moved.append(_moved(one, expected))
        return tuple(moved)


def _moved(one: Database, counted: dict[rows.Table, int]) -> MovedDatabase:
    extensions = tuple(f"{found.name} {found.version}" for found in one.inventory.extensions)
    tables = tuple(
        MovedTable(table.schema, table.name, number, table.size)
        for table, number in counted.items()
    )
    return MovedDatabase(one.name, one.owner, extensions, tables)
