"""pytest-xdist: its workers share one server, and what killed ones leave is dropped."""

from __future__ import annotations

from typing import Any

import pytest

_RUN = pytest.StashKey[str]()  # names the temporary server that all workers share
_KILLED = pytest.StashKey[bool]()  # a worker was


def told(config: pytest.Config) -> dict[str, Any]:
    """Return what xdist's controller has told this process; nothing if it is not a worker."""
    found: dict[str, Any] = getattr(config, "workerinput", {})
    return found


def run_name(config: pytest.Config) -> str:
    """Return the name of this run's server: the same for the controller and all its workers."""
    if _RUN not in config.stash:
        import secrets

        given = told(config).get("oxy_pg_run")
        config.stash[_RUN] = str(given or f"pytest-{secrets.token_hex(4)}")
    return config.stash[_RUN]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist which server it shares."""
    node.workerinput["oxy_pg_run"] = run_name(node.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Remember that a worker was killed."""
    if error:
        node.config.stash[_KILLED] = True


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop, when all workers have gone, what those that were killed could not."""
    from oxy_pg import _endpoint

    url = _endpoint.external_url()
    if url is None or not config.stash.get(_KILLED, False):
        return
    from oxy_pg.pytest_plugin import clones
    from oxy_pg.server import external
    from oxy_pg.system.deadline import Deadline
    from oxy_pg.url import plain

    with external.connect(plain(url), Deadline(60)) as connection:
        clones.sweep(connection)
