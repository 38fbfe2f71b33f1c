"""pytest-xdist: its workers share one server, and what they find reaches the summary."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from oxy_pg.pytest_plugin import options

if TYPE_CHECKING:
    from oxy_pg.server.place import Place

_RUN = pytest.StashKey[str]()  # names the temporary server that all workers share
_PLACE = pytest.StashKey["Place"]()  # where it lives
_AHEAD = pytest.StashKey[int]()  # tests that have not begun
_LEAKS = pytest.StashKey[list[tuple[str, str]]]()
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


def place(config: pytest.Config) -> Place:
    """Return where that server lives: chosen once, as the room may be less a moment later."""
    if _PLACE not in config.stash:
        from oxy_pg.server.place import Place

        given = told(config).get("oxy_pg_place")
        config.stash[_PLACE] = Place(**given) if given else options.place(config)
    return config.stash[_PLACE]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Count the tests; a worker may run a part of them."""
    session.config.stash[_AHEAD] = len(session.items)


def begin_test(config: pytest.Config) -> None:
    """Count down."""
    config.stash[_AHEAD] = tests_ahead(config) - 1


def tests_ahead(config: pytest.Config) -> int:
    """Return how many tests have not begun in this process, at most."""
    return config.stash.get(_AHEAD, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist which server it shares."""
    node.workerinput["oxy_pg_run"] = run_name(node.config)
    chosen = place(node.config)
    node.workerinput["oxy_pg_place"] = {name: getattr(chosen, name) for name in chosen.__slots__}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Remember what a worker has found, and that it was killed."""
    if error:
        node.config.stash[_KILLED] = True
    output = getattr(node, "workeroutput", {})
    remember_leaks(node.config, [(test, text) for test, text in output.get("oxy_pg_leaks", ())])


def remember_leaks(config: pytest.Config, found: list[tuple[str, str]]) -> None:
    """Remember what tests have left, for the summary; a worker tells it the controller."""
    if found:
        config.stash.setdefault(_LEAKS, []).extend(found)
        if told(config):
            vars(config).setdefault("workeroutput", {})["oxy_pg_leaks"] = leaks(config)


def leaks(config: pytest.Config) -> list[tuple[str, str]]:
    """Return what tests have left: (test, text)."""
    return config.stash.get(_LEAKS, [])


def current_test() -> str:
    """Return the name of the test that is running; pytest sets it in the environment."""
    return os.environ.get("PYTEST_CURRENT_TEST", "a fixture").rpartition(" (")[0] or "a fixture"


def clean_up(config: pytest.Config) -> None:
    """Remove, when all workers have gone, what they shared and what killed ones have left."""
    if _RUN not in config.stash or told(config):
        return
    from oxy_pg.pytest_plugin.templates import failures

    failures.forget(config.stash[_RUN])
    if not config.stash.get(_KILLED, False):
        return
    from oxy_pg import _endpoint

    url = _endpoint.external_url()
    if url is None:
        return
    from oxy_pg.pytest_plugin import sweeping
    from oxy_pg.server import external
    from oxy_pg.system.deadline import Deadline
    from oxy_pg.url import plain

    with external.connect(plain(url), Deadline(60)) as connection:
        sweeping.sweep(connection)
