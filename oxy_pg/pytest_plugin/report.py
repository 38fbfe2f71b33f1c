"""What a failing test's report gets: the server's log, and how to look at its database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oxy_pg.pytest_plugin.hosted import LENT

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failing test's report what the server has logged, and how to look at its data."""
    report = yield
    lent = item.stash.get(LENT, None)
    # At teardown its database may be gone already.
    if lent is None or not report.failed or report.when == "teardown":
        return report
    import psycopg

    from oxy_pg.errors import OxyPgError

    try:
        log = lent.hosted.log_of(lent)
        if log:
            report.sections.append(("PostgreSQL log", log))
        crash = lent.hosted.crash_during(lent)
        if crash:
            report.sections.append(("PostgreSQL was restarted", crash))
        if lent.hosted.keeps and not lent.is_kept:
            how = lent.hosted.keep(lent, item.nodeid)
            report.sections.append(("PostgreSQL database kept", how))
    except (OSError, psycopg.Error, OxyPgError) as error:
        # The test's own failure is what matters, and the server may be the reason for it.
        report.sections.append(("PostgreSQL log", f"It could not be read: {error}"))
    return report
