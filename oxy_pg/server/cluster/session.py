"""
What a privileged session of ours begins with, against what a role or a database has set.

The owner of a database may say how every session in it begins (ALTER DATABASE
… SET), the superuser's included: a search_path in which operators and
functions of his own come first, a role, a library, a timeout of a
millisecond. What stands in the startup packet wins over all of that
(PostgreSQL 16 manual, 20.1), so our sessions bring neutral values along.

All of these an ordinary role may set, in every version from 14 on; what takes
a superuser to set, only a superuser can have set for a database.
"""

from __future__ import annotations

from oxy_pg.facts import SUPERUSER

PINNED = {
    "search_path": "pg_catalog, pg_temp",
    "role": "none",
    "local_preload_libraries": "",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "quote_all_identifiers": "off",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmlbinary": "base64",
    "xmloption": "content",
    "row_security": "on",
    "check_function_bodies": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "client_min_messages": "notice",
    "default_tablespace": "",
    "temp_tablespaces": "",
    "default_table_access_method": "heap",
    "createrole_self_grant": "",
    "jit": "off",
}
# What only a superuser may set, and so only one can have set; a missing library ends every session.
_OF_SUPERUSER = {"session_preload_libraries": ""}
# Not known to every version that a cluster may be upgraded from; the server is then 16.
_SINCE_16 = frozenset({"createrole_self_grant"})


def parameters(user: str, *, any_version: bool = False) -> dict[str, str]:
    """Return the settings for a session of ``user``, for its startup packet."""
    chosen = {
        name: value for name, value in PINNED.items() if not (any_version and name in _SINCE_16)
    }
    of_superuser = _OF_SUPERUSER if user == SUPERUSER else {}
    return chosen | of_superuser | {"session_authorization": user}


def options(user: str, *, any_version: bool = False) -> str:
    """Return the same as libpq's parameter ``options``, or the variable PGOPTIONS."""
    from oxy_pg.url import session_options  # not on the way of a process that attaches

    return session_options(parameters(user, any_version=any_version))
