"""
Templates: filled by one process, used by all, kept for later sessions where a key is given.

A template is filled under another name, closed, and then renamed: one that has
its final name is complete. While it is filled its process holds an advisory
lock; a process that uses it shares that lock, so that nobody drops it. What
else there is to know of it is in the comment on the database.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from oxy_pg.connection import drop_database
from oxy_pg.errors import ServerError
from oxy_pg.facts import TEMPLATE_LOCK_CLASS
from oxy_pg.pytest_plugin.clones import seal, share_lock
from oxy_pg.system.deadline import Deadline, wall_clock

if TYPE_CHECKING:
    from oxy_pg.pytest_plugin.clones import Clones, Connection
    from oxy_pg.pytest_plugin.templates.failures import Failures
    from oxy_pg.pytest_plugin.templates.waiting import Watch

PREFIX = "oxy_pg_template_"

MOST_KEPT = 10  # templates of one project on one server
LONGEST_KEPT = 14 * 24 * 3600.0  # seconds since a session has used it
_FILLING = 3600.0  # seconds that another process may take to fill one
_PATTERN = f"^{PREFIX}[0-9a-f]{{16}}$"


class Template:
    """
    A template of this process: to be filled, or complete.

    ``database`` is where it is now. ``by`` is what has filled it: the places of
    the fixtures, for those that are defined more than once.
    """

    def __init__(self, name: str, database: str, by: list[str] | None = None) -> None:
        self.name = name
        self.database = database
        self.by: list[str] = by or []
        self.was_found = by is not None
        self.watch: Watch | None = None  # while it is filled here
        self.log_position: dict[str, int] = {}  # when that began

    def unwatch(self) -> str:
        """End the watch for locks; return what it has seen."""
        watch, self.watch = self.watch, None
        return watch.end() if watch is not None else ""

    @property
    def is_complete(self) -> bool:
        """Whether it can be copied."""
        return self.database == self.name


class Templates:
    """
    The templates that this process fills or uses.

    ``project`` is whose they are, for the number that is kept of each;
    ``failures`` tells the other workers of this session about one that could
    not be filled.
    """

    def __init__(self, clones: Clones, failures: Failures, project: str) -> None:
        self._clones = clones
        self._failures = failures
        self._project = project
        self._known: dict[str, Template] = {}
        self._kept: set[str] = set()

    def open(self, identity: str, *, keep: bool) -> Template:
        """
        Return the template of that ``identity``, complete or to be filled by the caller.

        Waits while another process fills it. The caller goes on with
        ``finish()`` or ``fail()``. With ``keep`` it stays on the server.
        Raises TemplateFailed where another worker could not fill it.
        """
        name = PREFIX + hashlib.sha256(identity.encode()).hexdigest()[:16]
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._wait_for(name)
            if keep:
                self._kept.add(name)
                if found.is_complete:
                    self._describe(found)  # it was used today
        return found

    def _wait_for(self, name: str) -> Template:
        for _ in Deadline(_FILLING).attempts(0.005, 0.1):
            self._failures.check(name)
            found = self._clones.run(functools.partial(_attempt, name=name))
            if found is not None:
                self._clones.locks.add((TEMPLATE_LOCK_CLASS, _lock_key(name)))
                return Template(name, name, found)
            if self._clones.run(functools.partial(_lock, name=name)):
                # Its process may have finished it just before.
                facts = self._clones.run(functools.partial(_described, name=name))
                if facts is None:
                    return Template(name, self._clones.create())
                self._share(name)
                return Template(name, name, facts["by"])
        raise ServerError(f"Another process has been filling the template {name} for an hour.")

    def finish(self, template: Template) -> None:
        """Close a template that is filled, and give it its name; nobody can connect to it."""
        template.unwatch()

        def rename(connection: Connection) -> None:
            seal(connection, template.database)
            statement = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(template.database), sql.Identifier(template.name)
            )
            try:
                connection.execute(statement)
            except psycopg.errors.DuplicateDatabase:
                # By way of another database of an external server, where locks are not seen.
                drop_database(connection, template.database)

        self._clones.run(rename)
        template.database = template.name
        self._describe(template)
        self._share(template.name)

    def fail(self, template: Template, reason: str) -> None:
        """Drop a template that could not be filled, and tell the other workers."""
        template.unwatch()
        self._failures.tell(template.name, reason)
        self._drop_unfinished(template)

    def close(self) -> None:
        """Drop what is unfinished, not kept, or has not been used for long."""
        for template in list(self._known.values()):
            if not template.is_complete:
                template.unwatch()
                self._drop_unfinished(template)
            elif template.name not in self._kept:
                self._leave(template.name)
        if self._kept:
            self._clones.run(self._expire)

    def _drop_unfinished(self, template: Template) -> None:
        self._known.pop(template.name, None)
        self._clones.run(functools.partial(drop_database, name=template.database))
        self._clones.run(functools.partial(_unlock, name=template.name))

    def _share(self, name: str) -> None:
        self._clones.run(functools.partial(_share_and_unlock, name=name))
        self._clones.locks.add((TEMPLATE_LOCK_CLASS, _lock_key(name)))

    def _leave(self, name: str) -> None:
        """Drop a template unless another process uses it too."""
        self._clones.locks.discard((TEMPLATE_LOCK_CLASS, _lock_key(name)))
        self._clones.run(functools.partial(_leave, name=name))

    def _describe(self, template: Template) -> None:
        kept = template.name in self._kept
        facts = {
            "project": self._project,
            "used": wall_clock() if kept else 0,
            "by": template.by,
        }
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
        statement = comment.format(sql.Identifier(template.name), json.dumps(facts))
        self._clones.run(lambda connection: connection.execute(statement))

    def _expire(self, connection: Connection) -> None:
        """Drop kept templates that are old, or too many; those in use stay."""
        too_old = wall_clock() - LONGEST_KEPT
        found = [(name, facts) for name, facts in _all(connection) if facts.get("used")]
        found.sort(key=lambda each: float(each[1]["used"]), reverse=True)
        ours = [name for name, facts in found if facts.get("project") == self._project]
        for name, facts in found:
            if float(facts["used"]) < too_old or name in ours[MOST_KEPT:]:
                _drop_if_free(connection, name)


def sweep(connection: Connection) -> None:
    """Drop templates that no later session was to use, and whose processes were killed."""
    for name, facts in _all(connection):
        if not facts.get("used"):
            _drop_if_free(connection, name)


def _all(connection: Connection) -> list[tuple[str, dict[str, Any]]]:
    """Return our role's complete templates, with what their comments say."""
    rows = connection.execute(
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database"
        " WHERE datname ~ %s AND pg_get_userbyid(datdba) = current_user",
        (_PATTERN,),
    )
    return [(str(name), _facts(comment)) for name, comment in rows.fetchall()]


def _facts(comment: str | None) -> dict[str, Any]:
    try:
        found = json.loads(comment or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _described(connection: Connection, name: str) -> dict[str, Any] | None:
    """Return what a complete template's comment says; None where there is none of that name."""
    row = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (name,)
    ).fetchone()
    return None if row is None else {"by": [], **_facts(row[0])}


# --- its lock ---


def _lock_key(name: str) -> int:
    return int(name.removeprefix(PREFIX)[:8], 16) & 0x7FFFFFFF


def _ask(connection: Connection, function: str, name: str) -> bool:
    row = connection.execute(
        f"SELECT {function}(%s, %s)", (TEMPLATE_LOCK_CLASS, _lock_key(name))
    ).fetchone()
    return row == (True,)


def _lock(connection: Connection, name: str) -> bool:
    return _ask(connection, "pg_try_advisory_lock", name)


def _unlock(connection: Connection, name: str) -> None:
    _ask(connection, "pg_advisory_unlock", name)


def _share_and_unlock(connection: Connection, name: str) -> None:
    share_lock(connection, TEMPLATE_LOCK_CLASS, _lock_key(name))
    _unlock(connection, name)


def _attempt(connection: Connection, name: str) -> list[str] | None:
    """Share the lock of a complete template, and return what has filled it; None: not there."""
    if not _ask(connection, "pg_try_advisory_lock_shared", name):
        return None
    found = _described(connection, name)
    if found is None:
        _ask(connection, "pg_advisory_unlock_shared", name)
        return None
    return list(found["by"])


def _leave(connection: Connection, name: str) -> None:
    _ask(connection, "pg_advisory_unlock_shared", name)
    _drop_if_free(connection, name)


def _drop_if_free(connection: Connection, name: str) -> None:
    """Drop a template that no process holds the lock of, in whichever database it was taken."""
    taken = connection.execute(
        "SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s"
        " AND pid <> pg_backend_pid()",
        (TEMPLATE_LOCK_CLASS, _lock_key(name)),
    ).fetchone()
    if taken is not None or not _lock(connection, name):
        return
    try:
        # Without FORCE: a copy that is being made of it ends neither here nor there.
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    except (psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
        pass
    finally:
        _unlock(connection, name)
