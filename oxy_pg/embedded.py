"""Whether an embedded server may be started, which OXY_PG_EMBEDDED decides."""

from __future__ import annotations

from oxy_pg.errors import ConfigurationError
from oxy_pg.system import environment

_URL = "OXY_DATABASE_URL"


def is_forbidden() -> bool:
    """Whether OXY_PG_EMBEDDED is ``never``; ConfigurationError for what it cannot be."""
    said = (environment.get("OXY_PG_EMBEDDED") or "").strip().lower()
    if said in {"", "allow"}:
        return False
    if said != "never":
        raise ConfigurationError(
            f"OXY_PG_EMBEDDED is {said!r}. Write never, which forbids an embedded server, or unset "
            "it."
        )
    return True


def refuse() -> None:
    """Raise ConfigurationError where OXY_PG_EMBEDDED forbids to start an embedded server."""
    if not is_forbidden():
        return
    missing = "names one" if environment.get(_URL) else "is not set"
    seen = " DATABASE_URL is set, but oxy_pg does not read it." if _database_url_alone() else ""
    raise ConfigurationError(
        f"OXY_PG_EMBEDDED=never forbids an embedded server, and {_URL} {missing}.{seen} Set "
        f"{_URL} to the URL of the server to use: postgresql://user:password@host/database."
    )


def _database_url_alone() -> bool:
    return bool(environment.get("DATABASE_URL")) and not environment.get(_URL)


_warned = False


def warn_of_database_url() -> None:
    """Warn once where DATABASE_URL is set alone: an embedded server may not be what is meant."""
    global _warned  # noqa: PLW0603 - once in a process
    if _warned or not _database_url_alone():
        return
    _warned = True
    import logging

    logging.getLogger("oxy_pg").warning(
        "DATABASE_URL is set, but oxy_pg does not read it: the embedded server is used. Set "
        "%s to use that server, or OXY_PG_EMBEDDED=never to forbid the embedded one.",
        _URL,
    )
