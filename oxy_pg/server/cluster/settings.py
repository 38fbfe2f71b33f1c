"""The caller's settings: kept between starts, checked by PostgreSQL itself."""

from __future__ import annotations

import os

from oxy_pg.errors import ConfigurationError
from oxy_pg.server.cluster.socket_connection import literal
from oxy_pg.system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oxy_pg.installations import Installation
    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.account import Account
    from oxy_pg.server.cluster.socket_connection import Connection
    from oxy_pg.system.deadline import Deadline


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


def for_start(
    state: StateDir,
    wanted: Mapping[str, str] | None,
    binaries: Installation,
    account: Account,
) -> dict[str, str]:
    """
    Return the settings to start with: those wanted, or with None those of last time.

    Raises ConfigurationError with PostgreSQL's own words for those it rejects.
    """
    known = load(state)
    if wanted is None or dict(wanted) == known:
        return known
    check(state, wanted, binaries, account)
    return dict(wanted)


def check(
    state: StateDir, settings: Mapping[str, str], binaries: Installation, account: Account
) -> None:
    """Ask PostgreSQL whether it takes these settings; ConfigurationError with its words if not."""
    words = refusal(os.path.realpath(state.data_dir), settings, binaries, account)
    if words is not None:
        raise ConfigurationError(
            f"PostgreSQL rejects the settings {dict(settings)!r}. It said:\n{words}\n"
            "Correct them; the server was not changed."
        )


def refusal(
    data_dir: str, settings: Mapping[str, str], binaries: Installation, account: Account
) -> str | None:
    """Return why PostgreSQL does not take these settings, in its own words; None if it does."""
    import subprocess

    from oxy_pg.system.process import environment

    # "postgres -C" reads the settings as a start would, prints one, and goes. The port is not
    # looked at, and a running server does not mind (PostgreSQL 16 manual, "postgres").
    arguments = [f"-c{name}={value}" for name, value in settings.items()]
    result = subprocess.run(
        [binaries.postgres, "-D", data_dir, "-C", "data_directory", *arguments],
        env=environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        **account.popen_arguments(),
    )
    return None if result.returncode == 0 else result.stderr.decode(errors="replace").strip()


def apply(
    state: StateDir,
    settings: Mapping[str, str],
    connect: Callable[[Deadline], Connection],
    deadline: Deadline,
) -> None:
    """
    Give a running server these settings, as far as a reload can; a warning names the rest.

    Raises ConfigurationError with PostgreSQL's own words for those it rejects.
    """
    known = load(state)
    if all(known.get(name) == value for name, value in settings.items()):
        return
    import filelock

    from oxy_pg.server.cluster import account, binaries, directory

    user = account.account_for(state)
    check(state, settings, binaries.reachable(binaries.find(), user), user)
    with filelock.FileLock(f"{state.settings}.lock", timeout=max(1.0, deadline.remaining())):
        merged = load(state) | dict(settings)
        save(state, merged)
        directory.configure(state, user, merged, durable=True)
    with connect(deadline) as connection:
        _reload(connection, deadline)
        pending = _pending(connection, tuple(settings))
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
