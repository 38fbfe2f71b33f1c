"""
The tables in which migration tools record what they have done: known by name and by shape.

An application's own table may have the name of one; then it is a table like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.names import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import psycopg

    from oxy_pg.migrate.target.catalog import TargetTable


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns that a tool gives its table, those that only some versions give it, its key."""

    tool: str
    columns: frozenset[str]
    version: str | None = None
    further: frozenset[str] = frozenset()

    def fits(self, columns: Iterable[str], *, is_own_name: bool) -> bool:
        """
        Whether a table with these columns is the tool's.

        Under a name that no one else gives a table, old versions of the tool may
        have made it with fewer columns.
        """
        names = {folded(name) for name in columns}
        if not names <= self.columns | self.further:
            return False
        return self.columns <= names or (is_own_name and self.version in names)


# The table, the tool, and its columns; "*" marks the one with the version, "?" those that may lack.
# Drizzle has none: its hash is that of the migration's SQL, which is another for PostgreSQL.
_KNOWN = """
seaql_migrations             SeaORM          *version applied_at
alembic_version              Alembic         *version_num
django_migrations            Django          id app *name applied
south_migrationhistory       South           id app_name *migration applied
schema_migrations            Rails           *version ?dirty ?inserted_at ?applied_at \
  ?name ?checksum
schema_migrations            Sequel          *filename
schema_info                  Sequel          *version
ar_internal_metadata         Rails           *key value created_at updated_at
_prisma_migrations           Prisma          id checksum finished_at *migration_name logs \
  rolled_back_at started_at applied_steps_count
_sqlx_migrations             SQLx            *version description installed_on success checksum \
  execution_time
__diesel_schema_migrations   Diesel          *version run_on
refinery_schema_history      Refinery        *version name applied_on checksum
flyway_schema_history        Flyway          installed_rank *version description type script \
  checksum installed_by installed_on execution_time success
databasechangelog            Liquibase       *id author filename dateexecuted orderexecuted \
  exectype ?md5sum ?description ?comments ?tag ?liquibase ?contexts ?labels ?deployment_id
databasechangeloglock        Liquibase       *id locked lockgranted lockedby
knex_migrations              Knex            id *name batch migration_time
knex_migrations_lock         Knex            *index is_locked
migrations                   Knex            id *name batch migration_time
migrations_lock              Knex            *index is_locked
migrations                   TypeORM         id *timestamp name
typeorm_metadata             TypeORM         *type database schema table name value
migrations                   Laravel         id *migration batch
migrations                   db-migrate      id *name run_on
migrations                   gormigrate      *id
payload_migrations           Payload         id *name batch updated_at created_at
strapi_migrations            Strapi          id *name time
strapi_migrations_internal   Strapi          id *name time
strapi_database_schema       Strapi          id schema time *hash
directus_migrations          Directus        *version name timestamp
__drizzle_migrations         Drizzle         id hash created_at ?name ?applied_at
mikro_orm_migrations         MikroORM        id *name executed_at
kysely_migration             Kysely          *name timestamp
kysely_migration_lock        Kysely          *id is_locked
sequelizemeta                Sequelize       *name ?createdat ?updatedat
sequelizedata                Sequelize       *name
goose_db_version             goose           id *version_id is_applied tstamp
gorp_migrations              sql-migrate     *id applied_at
bun_migrations               Bun             id *name group_id migrated_at
bun_migration_locks          Bun             *id table_name
__efmigrationshistory        EF_Core         *migrationid productversion
__efmigrationslock           EF_Core         *id timestamp
migratehistory               Peewee          id *name ?migrated_at
aerich                       Aerich          id *version app content
phinxlog                     Phinx           *version ?migration_name start_time end_time \
  ?breakpoint
doctrine_migration_versions  Doctrine        *version executed_at execution_time
_yoyo_migration              yoyo            migration_hash *migration_id applied_at_utc
_yoyo_version                yoyo            *version installed_at_utc
yoyo_lock                    yoyo            *locked ctime pid
migration_log                Grafana         id *migration_id sql success error timestamp
"""


def _read(known: str) -> dict[str, list[Shape]]:
    shapes: dict[str, list[Shape]] = {}
    for line in known.strip().splitlines():
        name, tool, *columns = line.split()
        plain = [column for column in columns if column[0] != "?"]
        shapes.setdefault(name, []).append(
            Shape(
                tool.replace("_", " "),
                frozenset(column.lstrip("*") for column in plain),
                next((column[1:] for column in columns if column[0] == "*"), None),
                frozenset(column[1:] for column in columns if column[0] == "?"),
            )
        )
    return shapes


_SHAPES = _read(_KNOWN)
# Names that an application may give a table of its own.
_COMMON = {
    *("aerich", "migratehistory", "migration_log", "migrations", "migrations_lock", "phinxlog"),
    *("schema_info", "schema_migrations", "sequelizedata", "sequelizemeta", "typeorm_metadata"),
}


def shape_of(table: str, columns: Iterable[str]) -> Shape | None:
    """Return the shape of a migration tool's table; None for any other table."""
    names = list(columns)
    name = folded(table)
    found = (s for s in _SHAPES.get(name, ()) if s.fits(names, is_own_name=name not in _COMMON))
    return next(found, None)


def tools_of(tables: Iterable[TargetTable]) -> Iterator[str]:
    """Yield the migration tools that have tables among these."""
    for table in tables:
        shape = shape_of(table.name, (column.name for column in table.columns))
        if shape is not None:
            yield shape.tool


_ELSEWHERE = """
SELECT n.nspname, c.relname,
       ARRAY(SELECT a.attname FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text[]
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE lower(c.relname) = ANY(%s) AND n.nspname <> %s AND c.relkind = 'r'
  AND n.nspname !~ '^(pg_|information_schema$)' ORDER BY 1, 2
"""


def tools_elsewhere(connection: psycopg.Connection[Any], schema: str) -> dict[str, str]:
    """Return the migration tools that have tables in other schemas, and one table of each."""
    found: dict[str, str] = {}
    for other, table, columns in connection.execute(_ELSEWHERE, [list(_SHAPES), schema]):
        shape = shape_of(table, columns)
        if shape is not None:
            found.setdefault(shape.tool, f"{other}.{table}")
    return found


def is_bookkeeping(table: TargetTable | None) -> bool:
    """Whether a table of the target is a migration tool's."""
    return table is not None and shape_of(table.name, (c.name for c in table.columns)) is not None
