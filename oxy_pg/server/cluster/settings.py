"""The caller's settings: kept between starts, checked by PostgreSQL itself."""

from __future__ import annotations

import os
import time

from oxy_pg.errors import ConfigurationError, StartTimeout
from oxy_pg.facts import ROLE
from oxy_pg.server.cluster.socket_connection import Connection, QueryError, literal
from oxy_pg.system import cheap, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oxy_pg.installations import Installation
    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.account import Account
    from oxy_pg.system.deadline import Deadline


_A_WHILE = 0.02  # seconds
# Starting or going down, no connection left: whatever the settings are.
_NOT_OF_SETTINGS = frozenset({"57P01", "57P02", "57P03", "53300"})


def load(state: StateDir) -> dict[str, str]:
    """Return the settings of last time; nothing where their file is missing or damaged."""
    if not os.path.exists(state.settings):
        return {}
    import json

    try:
        found = json.loads(files.read_text(state.settings) or "{}")
    except ValueError:
        found = None
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return found
    import logging

    logging.getLogger("oxy_pg").warning("%s is damaged and was ignored", state.settings)
    return {}


def save(state: StateDir, settings: Mapping[str, str]) -> None:
    """Keep the settings for the next start."""
    import json

    text = json.dumps(dict(settings), indent=1, sort_keys=True) + "\n"
    if files.read_text(state.settings) != text:
        files.write_text(state.settings, text)


def forget_earlier(state: StateDir) -> None:
    """Do without the settings of before: those that waited for a restart have worked."""
    with cheap.suppress(FileNotFoundError):
        os.unlink(state.earlier_settings)


def return_to_earlier(state: StateDir) -> bool:
    """Take the settings of before instead of those that waited for a restart, if any did."""
    try:
        os.rename(state.earlier_settings, state.settings)
    except FileNotFoundError:
        return False
    return True


def refusal_of_sessions(socket_dir: str, port: int, deadline: Deadline) -> str | None:
    """
    Return why no session of an application lives in a server; None if one does.

    It does nothing for some milliseconds, inside a transaction and outside, and
    runs a statement that takes as long: less than that is no life.
    """
    words: str | None = None
    for _ in range(2):  # a second time: the server may have been about to restart
        try:
            with Connection(socket_dir, port, deadline, user=ROLE, pinned=False) as connection:
                for statement in (f"SELECT pg_catalog.pg_sleep({_A_WHILE})", "BEGIN", "COMMIT"):
                    connection.query(statement)
                    time.sleep(_A_WHILE)
        except QueryError as error:
            if error.sqlstate in _NOT_OF_SETTINGS:
                return None
            words = str(error)
        except OSError as error:
            words = f"sessions are ended as soon as they have begun ({error})"
        else:
            return None
    return words


def for_start(
    state: StateDir,
    wanted: Mapping[str, str] | None,
    binaries: Installation,
    account: Account,
    deadline: Deadline,
) -> dict[str, str]:
    """
    Return the settings to start with: those wanted, or with None those of last time.

    Raises ConfigurationError with PostgreSQL's own words for those it rejects.
    """
    known = load(state)
    if wanted is None or dict(wanted) == known:
        return known
    check(state, wanted, binaries, account, deadline)
    return dict(wanted)


def check(
    state: StateDir,
    settings: Mapping[str, str],
    binaries: Installation,
    account: Account,
    deadline: Deadline,
) -> None:
    """Ask PostgreSQL whether it takes these settings; ConfigurationError with its words if not."""
    words = refusal(os.path.realpath(state.data_dir), settings, binaries, account, deadline)
    if words is not None and not deadline.remaining():  # it has not answered
        raise StartTimeout(state.data_dir, deadline.timeout, words)
    if words is not None:
        raise ConfigurationError(
            f"PostgreSQL rejects the settings {dict(settings)!r}. It said:\n{words}\n"
            "Correct them; the server was not changed."
        )


def refusal(
    data_dir: str,
    settings: Mapping[str, str],
    binaries: Installation,
    account: Account,
    deadline: Deadline,
) -> str | None:
    """Return why PostgreSQL does not take these settings, in its own words; None if it does."""
    from oxy_pg.server.cluster import program
    from oxy_pg.system.process import environment

    # "postgres -C" reads the settings as a start would, prints one, and goes. The port is not
    # looked at, and a running server does not mind (PostgreSQL 16 manual, "postgres").
    arguments = [f"-c{name}={value}" for name, value in settings.items()]
    command = [binaries.postgres, "-D", data_dir, "-C", "data_directory", *arguments]
    said = program.run(command, account, deadline, environment())
    return said if said is None else said.strip()


def apply(
    state: StateDir,
    settings: Mapping[str, str],
    connect: Callable[[Deadline], Connection],
    where: tuple[str, int],
    deadline: Deadline,
) -> None:
    """
    Give a running server these settings, as far as a reload can; a warning names the rest.

    ``where`` are the directory and the port of its socket. Raises
    ConfigurationError with PostgreSQL's own words for those it rejects, and for
    those with which no session lives; then the earlier ones are in force.
    """
    known = load(state)
    if all(known.get(name) == value for name, value in settings.items()):
        return
    import filelock

    from oxy_pg.server.cluster import account, binaries, directory

    user = account.account_for(state)
    check(state, settings, binaries.reachable(binaries.find(deadline), user), user, deadline)
    with filelock.FileLock(f"{state.settings}.lock", timeout=max(1.0, deadline.remaining())):
        before = load(state)
        merged = before | dict(settings)
        with connect(deadline) as connection:

            def put_in_force(chosen: Mapping[str, str]) -> None:
                save(state, chosen)
                directory.configure(state, user, chosen, durable=True)
                _reload(connection, deadline)

            put_in_force(merged)
            words = refusal_of_sessions(*where, deadline)
            if words is not None:
                put_in_force(before)
                raise ConfigurationError(
                    f"No session works with the settings {dict(settings)!r}. PostgreSQL said:\n"
                    f"{words}\nThey were not kept, and the server goes on with its old ones."
                )
            pending = _pending(connection, tuple(settings))
        if pending and not os.path.exists(state.earlier_settings):
            import json

            files.write_text(state.earlier_settings, json.dumps(before) + "\n")
    if pending:
        import logging

        logging.getLogger("oxy_pg").warning(
            "the running server goes on with its old %s: the new value needs `oxy-pg restart`",
            ", ".join(pending),
        )


def _reload(connection: Connection, deadline: Deadline) -> None:
    """Have the configuration files read again, and return when they have been."""
    before = connection.query("SELECT pg_conf_load_time()")
    connection.query("SELECT pg_reload_conf()")
    for _ in deadline.attempts(0.002, 0.1):
        if connection.query("SELECT pg_conf_load_time()") != before:
            return


def _pending(connection: Connection, names: tuple[str, ...]) -> list[str]:
    """Return those settings that wait for a restart."""
    wanted = ", ".join(literal(name) for name in names)
    rows = connection.query(
        f"SELECT name FROM pg_settings WHERE pending_restart AND lower(name) IN ({wanted})"
        " ORDER BY name"
    )
    return [str(row[0]) for row in rows]
