"""
Everything in one cluster copied into a new and empty one: roles, databases, rows.

``plan()`` reads the old cluster, and writes nothing; ``copy()`` carries the plan
out, and ``verify()`` compares the rows. All URLs are a superuser's, of servers
that run already and have no other users: they are not waited for.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg import installations
from oxy_pg.errors import TransferRefused
from oxy_pg.facts import SNAPSHOT
from oxy_pg.report import Progress, Skipped
from oxy_pg.transfer import database, properties, tools
from oxy_pg.transfer.parts import (
    functions,
    inventory,
    large_objects,
    rows,
    schema,
    sequences,
    settings,
    snapshot,
    tables,
)
from oxy_pg.transfer.report import MovedDatabase, MovedTable
from oxy_pg.transfer.running import run
from oxy_pg.url import with_database, with_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from oxy_pg.installations import Installation
    from oxy_pg.transfer.parts.functions import Held
    from oxy_pg.transfer.parts.inventory import Inventory
    from oxy_pg.transfer.parts.schema import Archive
    from oxy_pg.transfer.parts.snapshot import Snapshot
    from oxy_pg.transfer.parts.tables import Table

_EVERYWHERE = ("postgres", "template1")  # in every new cluster
_META = re.compile(r"^\\(?:un)?restrict \w+\n", re.MULTILINE)
_SUPERUSER = re.compile(r'^CREATE ROLE "?postgres"?;\n', re.MULTILINE)
_ROLE_SETTING = re.compile(r"^ALTER ROLE .* SET .*;\n", re.MULTILINE)

_OWNER = re.compile(r"^-- Name: .+; Type: CHECK CONSTRAINT; Schema: .+; Owner: (.+)$", re.MULTILINE)
_OWNERS = """
    SELECT rolname, rolsuper, rolcanlogin, rolconnlimit FROM pg_roles
    WHERE oid IN (SELECT relowner FROM pg_class UNION SELECT typowner FROM pg_type)
"""
# What an owner of a table lacks to fill it: right, object, owner.
_LACKING = """
    SELECT p, format('TABLE %I.%I', nspname, relname), pg_get_userbyid(relowner)
    FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace,
         unnest('{INSERT,TRUNCATE}'::text[]) p
    WHERE relkind = 'r' AND relpersistence <> 't' AND NOT has_table_privilege(relowner, c.oid, p)
    UNION
    SELECT 'USAGE', format('SCHEMA %I', nspname), pg_get_userbyid(relowner)
    FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND NOT has_schema_privilege(relowner, n.oid, 'USAGE')
"""
# What sorts by a collation of ICU: its own collations, and columns with one that initdb has made.
_ICU = """
    SELECT format('the collation %I.%I', nspname, collname)
    FROM pg_collation JOIN pg_namespace n ON n.oid = collnamespace
    WHERE collprovider = 'i' AND nspname <> 'pg_catalog'
    UNION ALL
    SELECT format('the column %I.%I.%I', nspname, relname, attname)
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_collation l ON l.oid = attcollation
    WHERE collprovider = 'i' AND collnamespace = 'pg_catalog'::regnamespace AND attnum > 0
      AND NOT attisdropped AND nspname !~ '^pg_'
"""
_DATABASES = """
    SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), to_jsonb(d)
    FROM pg_database d WHERE datname <> 'template0'
      AND NOT (starts_with(datname, %s) AND NOT datallowconn)
    ORDER BY pg_database_size(oid) DESC
"""
# An application may have given a database of its own such a name.
_SNAPSHOTS = "SELECT count(*) FROM pg_database WHERE starts_with(datname, %s) AND NOT datallowconn"


@dataclass(frozen=True, slots=True)
class Database:
    """A database of the old cluster."""

    name: str
    owner: str
    encoding: str
    record: dict[str, Any]  # its row of pg_database, which differs from version to version
    inventory: Inventory
    icu: tuple[str, ...]  # what needs ICU


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """What is copied, and with which programs: those of the old version if possible."""

    source: str
    programs: Installation
    databases: tuple[Database, ...]
    skipped: tuple[Skipped, ...]  # what will be left out


@dataclass(frozen=True, slots=True)
class Copied:
    """What has arrived."""

    rows: Mapping[str, Mapping[Table, int]]  # of each database
    skipped: tuple[Skipped, ...]  # what was left out


# --- decide -----------------------------------------------------------------------


def plan(
    source: str, bin_dir: str, version: str, on_progress: Callable[[Progress], object]
) -> ClusterPlan:
    """
    Return what is in the old cluster, which ``bin_dir`` has the programs of.

    Raises TransferRefused for what cannot be dumped, ToolsNotFound, and
    psycopg.Error.
    """
    on_progress(Progress("plan"))
    programs = tools.at(bin_dir, version) or tools.find(installations.major_of(version))
    with _connected(source) as connection:
        _refuse_prepared(connection)
        tablespaces = connection.execute(
            "SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'"
        ).fetchall()
        found = connection.execute(_DATABASES, [SNAPSHOT]).fetchall()
        snapshots = database.one(connection, _SNAPSHOTS, SNAPSHOT)
    reason = "what was in it is in the data directory now"
    left = [Skipped("tablespace", name, reason) for (name,) in tablespaces]
    if snapshots:
        left.append(Skipped("snapshots", str(snapshots), "they stay in the old cluster"))
    return ClusterPlan(
        source=source,
        programs=programs,
        databases=tuple(_database(source, *row) for row in found),
        skipped=tuple(left),
    )


def _database(
    source: str, name: str, owner: str, encoding: str, record: dict[str, Any]
) -> Database:
    """Return a database with its inventory; raises TransferRefused where none can connect."""
    if not record["datallowconn"]:
        raise TransferRefused(
            f"read the database {name!r}",
            "it allows no connections, so it cannot be dumped.",
            f"Allow them under the old version (ALTER DATABASE {name} ALLOW_CONNECTIONS true), or "
            "drop it there.",
        )
    with _connected(with_database(source, name)) as connection:
        icu = tuple(row[0] for row in connection.execute(_ICU))
        if record.get("datlocprovider") == "i" and name not in _EVERYWHERE:
            icu = ("the database itself", *icu)
        return Database(name, owner, encoding, record, inventory.look(connection), icu)


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


def check_extensions(given: ClusterPlan, target: str) -> None:
    """Make sure that the new version has every extension; ExtensionsMissing if not."""
    wanted = {
        extension.name: extension
        for one in given.databases
        for extension in one.inventory.extensions
    }
    with _connected(target) as connection:
        inventory.check_extensions(connection, "the new version", list(wanted.values()))


def check_icu(given: ClusterPlan, target: str) -> None:
    """Make sure that the new version has ICU where something needs it; TransferRefused if not."""
    found = [f"{one.name}: {what}" for one in given.databases for what in one.icu]
    if not found:
        return
    with _connected(target) as connection:
        # initdb makes these where PostgreSQL was built with ICU.
        has_icu = database.one(
            connection, "SELECT EXISTS (SELECT FROM pg_collation WHERE collname LIKE '%-x-icu')"
        )
    if has_icu:
        return
    more = f"\n  … and {len(found) - 20:,} more" if len(found) > 20 else ""
    raise TransferRefused(
        "upgrade",
        "the new version was built without ICU, by which these are sorted:\n"
        + "\n".join(f"  - {one}" for one in found[:20])
        + more,
        "Use a PostgreSQL 16 with ICU (the system's, with OXY_PG_BIN_DIR), or give them another "
        "collation under the old version. Nothing was changed.",
    )


# --- act --------------------------------------------------------------------------


def copy(
    given: ClusterPlan,
    target: str,
    directory: str,
    jobs: int,
    on_progress: Callable[[Progress], object],
    search_path: str | None = None,
) -> Copied:
    """
    Copy everything into the new cluster; ``directory`` is for files in between.

    ``search_path`` is what functions have meanwhile that have none of their own.
    Raises TransferError and psycopg.Error.
    """
    return _Copying(given, target, directory, jobs, on_progress, search_path).run()


@contextlib.contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    with contextlib.closing(database.connect_again(url)) as connection:
        yield connection


class _Copying:
    """Carries a plan out, and remembers what has arrived and what was left out."""

    def __init__(
        self,
        given: ClusterPlan,
        target: str,
        directory: str,
        jobs: int,
        on_progress: Callable[[Progress], object],
        search_path: str | None,
    ) -> None:
        self.plan = given
        self.search_path = search_path
        self.target = target
        self.directory = directory
        self.jobs = jobs
        self.on_progress = on_progress
        self.rows: dict[str, Mapping[Table, int]] = {}
        self.skipped = list(given.skipped)

    def run(self) -> Copied:
        role_settings = self._roles()
        for number, one in enumerate(self.plan.databases):
            self._copy(one, f"{self.directory}/schema-{number}")
        # Last, because these hold for our own sessions as well.
        self._properties(role_settings)
        return Copied(self.rows, tuple(self.skipped))

    def _roles(self) -> list[str]:
        """Create the roles, with passwords and memberships; return what sets their settings."""
        arguments = ("--roles-only", "--quote-all-identifiers")
        text = run(self.plan.programs, "pg_dumpall", arguments, url=self.plan.source).decode()
        text = _SUPERUSER.sub("", _META.sub("", text))
        with _connected(self.target) as connection:
            try:
                connection.execute(_ROLE_SETTING.sub("", text).encode())
            except psycopg.Error as error:
                raise database.refused("create the roles in the new cluster", error) from error
        return _ROLE_SETTING.findall(text)

    def _properties(self, role_settings: list[str]) -> None:
        """Set what is set for roles and for databases, and who may connect to these."""
        with _connected(self.plan.source) as source, _connected(self.target) as connection:
            for statement in role_settings:
                self._try(connection, [sql.SQL(statement)])
            for one in self.plan.databases:
                for statements in properties.properties(source, one.name, one.name):
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

    def _copy(self, one: Database, path: str) -> None:
        """Copy a database; ``path`` is for its schema."""
        source_url = with_database(self.plan.source, one.name)
        target_url = with_database(self.target, one.name)
        if one.name not in _EVERYWHERE:
            self._create(one)
        with _connected(source_url) as reading:
            moment = snapshot.export(reading, source_url)
            self.on_progress(Progress("schema", table=one.name))
            archive = schema.dump(self.plan.programs, source_url, path, snapshot=moment.name)
            with _connected(target_url) as connection:
                inventory.create_extensions(connection, one.inventory.extensions)
                connection.execute(settings.SCHEMA)
                held = functions.Held(connection, self.search_path)
                self.skipped += archive.execute("pre-data", connection, held)
                held.before_rows()
                rest, checks = archive.parted()
                with self._owners(target_url) as owners:
                    self._copy_rows(one, moment, target_url, owners, held)
                    self.on_progress(Progress("index", table=one.name))
                    rest.restore("post-data", target_url, self.jobs)
                    # Last: the server runs a domain's when it reads a definition with a constant
                    # of that type, and the definitions until here are the superuser's to read.
                    held.add_checks(lambda owner: _connected(owners[owner]))
                    self._add_late(checks, target_url, owners)
                self.on_progress(Progress("analyze", table=one.name))
                connection.execute("ANALYZE")
                held.at_end(connection)

    def _create(self, one: Database) -> None:
        """Create a database like the old one."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {}").format(
            sql.Identifier(one.name), sql.Identifier(one.owner), sql.Literal(one.encoding)
        )
        with _connected(self.target) as connection:
            for option, value in self._locale(one, database.major(connection)).items():
                statement += sql.SQL(f" {option} {{}}").format(sql.Literal(value))
            try:
                connection.execute(statement)
            except psycopg.Error as error:
                raise database.refused(f"create the database {one.name!r}", error) from error

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
            rules = record.get("daticurules")
            locale |= {"ICU_RULES": rules} if rules else {}
        return locale

    def _add_late(self, checks: Archive, target_url: str, owners: Mapping[str, str]) -> None:
        """Add the CHECKs that are entries by themselves, as the owners of what they are of."""
        with _connected(target_url) as connection:
            script = checks.sql("post-data", database.major(connection))
        for entry in script.entries:
            heading = _OWNER.search(entry)
            url = owners.get(heading[1]) if heading else None
            if url is None:
                raise TransferRefused("add a CHECK", f"its owner is not known: {entry.strip()}", "")
            with _connected(url) as connection:
                connection.execute(settings.SCHEMA)
                try:
                    connection.execute(entry.encode())
                except psycopg.Error as error:
                    raise schema.refused(entry, error) from error

    def _copy_rows(
        self,
        one: Database,
        source: Snapshot,
        target_url: str,
        owners: Mapping[str, str],
        held: Held,
    ) -> None:
        """
        Copy the rows of every table as its owner, and compute what was held back.

        CHECKs and generated columns are computed while they are written, by
        functions that run with the rights of the role that writes.
        """
        listed = one.inventory.tables
        total = sum(table.size for table in listed)
        done = 0

        def tell(table: Table, here: int) -> None:
            now = min(done + here, total)
            self.on_progress(Progress("load", now, total, f"{one.name}: {table}"))

        with _rights(target_url):
            for part, jobs in zip(rows.ordered(listed, held.late), (self.jobs, 1), strict=True):
                for owner, url in owners.items():
                    owned = [table for table in part if table.owner == owner]
                    rows.Pump(owned, tell).copy_all(source, partial(_connected, url), jobs)
                    done += sum(table.size for table in owned)
            held.compute(lambda owner: _connected(owners[owner]))
        with _connected(target_url) as connection:
            sequences.copy(source.connection, connection)
            large_objects.copy(source.connection, connection, owners=True)
        self.rows[one.name] = tables.count(source.connection, listed)

    @contextlib.contextmanager
    def _owners(self, target_url: str) -> Iterator[dict[str, str]]:
        """Give the URL of each owner there; roles that may not log in can do it meanwhile."""
        with _connected(target_url) as connection:
            found = connection.execute(_OWNERS).fetchall()
            opened = [row for row in found if not row[1] and (not row[2] or row[3] != -1)]
            for name, *_ in opened:
                allow = sql.SQL("ALTER ROLE {} LOGIN CONNECTION LIMIT -1")
                connection.execute(allow.format(sql.Identifier(name)))
            urls = {}
            for name, is_superuser, *_ in found:
                urls[name] = target_url if is_superuser else with_user(target_url, name)
            yield urls
            # After an error the new cluster is removed as a whole.
            for name, _, can_login, limit in opened:
                restore = sql.SQL("ALTER ROLE {} {} CONNECTION LIMIT {}").format(
                    sql.Identifier(name), sql.SQL("LOGIN" if can_login else "NOLOGIN"), limit
                )
                connection.execute(restore)


@contextlib.contextmanager
def _rights(url: str) -> Iterator[None]:
    """Let owners write to their tables meanwhile, where they have revoked that from themselves."""
    with _connected(url) as connection:
        lacking = [
            (sql.SQL(right), sql.SQL(on), sql.Identifier(owner))
            for right, on, owner in connection.execute(_LACKING)
        ]
        for one in lacking:
            connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(*one))
        yield
        for one in lacking:
            connection.execute(sql.SQL("REVOKE {} ON {} FROM {}").format(*one))


# --- verify -----------------------------------------------------------------------


def verify(
    given: ClusterPlan, copied: Copied, target: str, on_progress: Callable[[Progress], object]
) -> tuple[MovedDatabase, ...]:
    """Compare every table's rows with the old cluster's; raises CountsDiffer."""
    moved = []
    for one in given.databases:
        expected = copied.rows[one.name]
        with _connected(with_database(target, one.name)) as connection:
            rows.compare(
                expected,
                connection,
                lambda done, of, table: on_progress(Progress("verify", done, of, table)),
            )
        if one.name not in _EVERYWHERE or expected:
            moved.append(_moved(one, expected))
    return tuple(moved)


def _moved(one: Database, counted: Mapping[Table, int]) -> MovedDatabase:
    extensions = tuple(f"{found.name} {found.version}" for found in one.inventory.extensions)
    tables = tuple(
        MovedTable(table.schema, table.name, number, table.size)
        for table, number in counted.items()
    )
    return MovedDatabase(one.name, one.owner, extensions, tables)
