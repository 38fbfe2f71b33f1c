"""
The tables in which migration tools record what they have done: known by name and by shape.

An application's own table may have the name of one; then it is a table like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oxy_pg.migrate.names import folded, quoted
from oxy_pg.migrate.target.spelling import ident

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    import psycopg

    from oxy_pg.migrate.source.schema import SourceSchema
    from oxy_pg.migrate.target.catalog import TargetSchema


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns that a tool gives its table, those that only some versions give it, its key."""

    tool: str
    columns: frozenset[str]
    version: str | None = None
    further: frozenset[str] = frozenset()

    def fits(self, columns: Iterable[str]) -> bool:
        """Whether a table with these columns is the tool's."""
        names = {folded(name) for name in columns}
        return self.columns <= names <= self.columns | self.further


# The table, the tool, and its columns; "*" marks the one with the version, "?" those that may lack.
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
__drizzle_migrations         Drizzle         id *hash created_at ?name ?applied_at
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


def shape_of(table: str, columns: Iterable[str]) -> Shape | None:
    """Return the shape of a migration tool's table; None for any other table."""
    names = list(columns)
    return next((s for s in _SHAPES.get(folded(table), ()) if s.fits(names)), None)


def bookkeeping_warnings(
    lite: sqlite3.Connection,
    server: psycopg.Connection[Any],
    source: SourceSchema,
    target: TargetSchema,
) -> list[str]:
    """Compare the versions that the migration tools have recorded on both sides."""
    warnings = []
    for table in source.tables:
        shape = shape_of(table.name, (column.name for column in table.columns))
        existing = target.table(table.name)
        if shape is None or shape.version is None or existing is None:
            continue
        column = existing.column(shape.version)
        if column is None:
            continue
        query = f"SELECT {ident(column.name)} FROM {ident(target.name, existing.name)}"
        theirs = {str(row[0]) for row in server.execute(query)}
        ours = {
            str(row[0])
            for row in lite.execute(f"SELECT {quoted(shape.version)} FROM {quoted(table.name)}")
        }
        for missing, where in ((ours - theirs, "target"), (theirs - ours, "source")):
            if missing:
                listed = ", ".join(sorted(missing)[:5]) + (", …" if len(missing) > 5 else "")
                warnings.append(
                    f"{table.name}: the {where} lacks {len(missing)} versions: {listed}"
                )
    return warnings
