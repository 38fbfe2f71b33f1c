"""postgresql.conf, pg_hba.conf and pg_ident.conf as values."""

from __future__ import annotations

import os
import sys

from oxy_pg.errors import ConfigurationError
from oxy_pg.system import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

Setting: TypeAlias = "str | int | float | bool"
# What ``settings=`` takes: PostgreSQL's settings by name.
Settings: TypeAlias = "Mapping[str, Setting]"

_MB = 1024 * 1024
_SHM = "/dev/shm"  # noqa: S108 - looked at, not written

# What must be ours for the rest to hold; value is why.
MANAGED = {
    "port": "oxy_pg picks a free one and keeps it",
    "listen_addresses": "the server is for this machine alone",
    "unix_socket_directories": "the sockets are in a private directory",
    "unix_socket_permissions": "the sockets are in a private directory",
    "unix_socket_group": "the sockets are in a private directory",
    "data_directory": "it belongs to the state directory",
    "config_file": "it belongs to the state directory",
    "hba_file": "it belongs to the state directory",
    "ident_file": "it belongs to the state directory",
    "external_pid_file": "postmaster.pid is the file that oxy_pg reads",
    "logging_collector": "the logs are kept within bounds",
    "log_destination": "the logs are kept within bounds",
    "log_directory": "the logs are kept within bounds",
    "log_filename": "the logs are kept within bounds",
    "log_rotation_size": "the logs are kept within bounds",
    "log_rotation_age": "the logs are kept within bounds",
    "log_truncate_on_rotation": "the logs are kept within bounds",
    "lc_messages": "errors are recognised by their text",
}


def checked(settings: Settings | None) -> dict[str, str] | None:
    """
    Return ``settings`` as PostgreSQL will read them: lower-case names, values as text.

    None stays None: the caller has no opinion. Raises ConfigurationError for
    what cannot be a setting, and for those that oxy_pg has to manage itself;
    whether PostgreSQL takes the rest, PostgreSQL says.
    """
    if settings is None:
        return None
    result = {}
    for given, value in settings.items():
        name = str(given).strip().lower()
        if not name.replace(".", "").replace("_", "").replace("$", "").isalnum():
            raise ConfigurationError(
                f"{given!r} cannot be the name of a PostgreSQL setting. Write it as in "
                "postgresql.conf: settings={'work_mem': '64MB'}."
            )
        if name in MANAGED:
            raise ConfigurationError(
                f"The setting {name!r} is managed by oxy_pg: {MANAGED[name]}. Leave it out."
            )
        result[name] = _text(name, value)
    return result


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if not isinstance(value, (str, int, float)):
        raise ConfigurationError(
            f"The setting {name!r} has a value of type {type(value).__name__}; "
            "a string, a number or a boolean is needed, such as '64MB', 1.1 or True."
        )
    text = str(value)
    if not text.isprintable():
        raise ConfigurationError(
            f"The setting {name!r} has a value with control characters in it: {text!r}."
        )
    return text


def defaults() -> dict[str, str]:
    """
    Return the settings of an embedded server: one developer, no replication.

    The memory settings are those of Oxy's migration guide, scaled down on a
    machine with less than 2 GB. fsync stays on.
    """
    total = machine.memory() // _MB
    return {
        "shared_buffers": f"{max(16, min(256, total // 8))}MB",
        "work_mem": f"{max(4, min(16, total // 128))}MB",
        "maintenance_work_mem": f"{max(16, min(64, total // 32))}MB",
        "effective_cache_size": f"{max(64, total // 2)}MB",
        "random_page_cost": "1.1",
        **({"effective_io_concurrency": "200"} if sys.platform == "linux" else {}),
        "max_connections": "100",
        # A migration of thousands of tables creates them, and their keys and indexes, in one
        # transaction, which holds a lock of each. Twice PostgreSQL's default takes 3 MB.
        "max_locks_per_transaction": "128",
        # Nothing replicates from here, so bulk loads into new tables need not write WAL
        # (PostgreSQL 16 manual, 20.5.1).
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_logical_replication_workers": "0",
        "max_wal_size": "1GB",
        "min_wal_size": "80MB",
        "dynamic_shared_memory_type": _dynamic_shared_memory_type(),
        # A client that was killed in the middle of a query is noticed (20.3.2).
        "client_connection_check_interval": "1s" if sys.platform == "linux" else "0",
        "timezone": "UTC",
        "datestyle": "iso, mdy",
        "lc_monetary": "C",
        "lc_numeric": "C",
        "lc_time": "C",
        "default_text_search_config": "pg_catalog.english",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
        # `oxy-pg status` reads the slow queries from the log. The values of their parameters are
        # the application's data, and stay out of it (20.8.2, 20.8.3).
        "log_min_duration_statement": "1s",
        "log_parameter_max_length": "0",
    }


# What is thrown away afterwards need not survive a power failure (PostgreSQL 16 manual, 14.5).
NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    # Copying and dropping a database each want a checkpoint: with fewer buffers to look through,
    # and without slots, whose state it writes anew every time, one takes a fifth of the time.
    "shared_buffers": f"{max(16, min(64, machine.memory() // _MB // 8))}MB",
    "max_replication_slots": "0",
    "log_min_duration_statement": "-1",  # a log that is thrown away is not read
    # In the directory that goes with the server, and not in /dev/shm, where it would stay if
    # everything were killed at once.
    "dynamic_shared_memory_type": "mmap",
}
# And where the disk is memory: no more of it for the WAL than a checkpoint is worth.
IN_MEMORY = {"max_wal_size": "256MB"}

# What logs.prune() leaves at most, in files of log_rotation_size.
LOG_TOTAL = 64 * _MB
_MANAGED_VALUES = {
    "listen_addresses": "127.0.0.1",
    "logging_collector": "on",
    "log_destination": "stderr",
    "log_directory": "log",
    "log_filename": "postgresql-%Y-%m-%d_%H%M%S.log",
    "log_rotation_size": "8MB",
    "log_rotation_age": "7d",
    "lc_messages": "C",
}


def _dynamic_shared_memory_type() -> str:
    """Choose ``mmap`` where /dev/shm is as small as in a container (64 MB by default)."""
    if sys.platform != "linux":
        return "posix"
    try:
        found = os.statvfs(_SHM)
    except OSError:
        return "mmap"
    roomy = found.f_frsize * found.f_blocks >= 256 * _MB
    return "posix" if roomy and os.access(_SHM, os.W_OK) else "mmap"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def postgresql_conf(
    settings: Mapping[str, str], *, durable: bool = True, in_memory: bool = False
) -> str:
    """Return postgresql.conf for a cluster of ours with the caller's ``settings``."""
    own = {} if durable else NOT_DURABLE | (IN_MEMORY if in_memory else {})
    merged = defaults() | own | dict(settings) | _MANAGED_VALUES
    lines = "".join(f"{name} = {_quoted(value)}\n" for name, value in merged.items())
    return (
        "# Written by oxy_pg at every start; changes made here are lost. Use settings= or\n"
        "# ALTER SYSTEM, which is kept in postgresql.auto.conf and wins over this file.\n"
        "# The port and the socket directory are on the command line.\n" + lines
    )


def pg_hba_conf() -> str:
    """
    Return who may connect, and how.

    Over TCP with a password, and never as the superuser; through the private
    socket the owner of the state directory, as any role (PostgreSQL 16 manual, 21.1).
    """
    return (
        "# Written by oxy_pg at every start.\n"
        "# TYPE  DATABASE  USER      ADDRESS       METHOD\n"
        "local   all       all                     peer map=oxy_pg\n"
        "host    all       postgres,oxy_monitor,oxy_reader  127.0.0.1/32  reject\n"
        "host    all       all       127.0.0.1/32  scram-sha-256\n"
    )


def pg_ident_conf(user_names: tuple[str, ...], role: str = "all") -> str:
    """Return which users of this machine may be whom (PostgreSQL 16 manual, 21.2)."""
    lines = "".join(f'oxy_pg  "{name}"  {role}\n' for name in dict.fromkeys(user_names))
    return f"# Written by oxy_pg at every start.\n# MAPNAME  SYSTEM-USERNAME  PG-USERNAME\n{lines}"
