"""What a failing test's report gets: the server's log, its databases, what to do next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from oxy_pg.pytest_plugin import evidence, options, workers
from oxy_pg.pytest_plugin.hosted import HOSTED, Hosted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_KEPT = "PostgreSQL database kept"
_HINT = "oxy_pg: what to do"


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which server the tests run on, and what the options' template key was taken for."""
    lines = [options.server_line(config, lambda: workers.place(config))]
    parts = options.template_key(config)
    if parts:
        from oxy_pg.pytest_plugin.templates import key

        lines.append(f"oxy_pg: template key: {key.told(parts, str(config.rootpath))}")
    return lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failing test's report what the server has logged, and how to look at its data."""
    report = yield
    if report.failed:
        _hide_password(report)
    hosted = item.config.stash.get(HOSTED, None)
    if report.failed:
        report.sections += [(_HINT, hint) for hint in _hints(report.longreprtext)]
    if hosted is None:
        return report
    import psycopg

    from oxy_pg.errors import OxyPgError

    try:
        if report.when == "setup":
            report.sections += _of_template(hosted, call)
        # At teardown its database may be gone already.
        if report.failed and report.when != "teardown":
            report.sections += _of_databases(hosted, item)
        if report.when == "teardown":
            hosted.settle()
    except (OSError, psycopg.Error, OxyPgError) as error:
        # The test's own failure is what matters, and the server may be the reason for it.
        report.sections.append(("PostgreSQL log", f"It could not be read: {error}"))
    return report


def _hide_password(report: pytest.TestReport) -> None:
    """Take the password of the server's URL from the traceback, which shows arguments."""
    url = options.given_url()
    if url:
        from oxy_pg.url import mask_text

        text = report.longreprtext
        masked = mask_text(text, url)
        if masked != text:
            report.longrepr = masked


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Count it, and let the log of databases that more than one test uses begin here."""
    workers.begin_test(item.config)
    hosted = item.config.stash.get(HOSTED, None)
    if hosted is not None and hosted.lent:
        position = hosted.log_position()
        for lent in hosted.lent:
            lent.log_position = position


def _of_databases(hosted: Hosted, item: pytest.Item) -> Iterator[tuple[str, str]]:
    used = hosted.used_by(item)
    if not used:
        return
    position = used[0].log_position
    log = evidence.log_of(hosted, [lent.name for lent in used], position)
    if log:
        yield "PostgreSQL log", log
    crash = evidence.crash_during(hosted, position)
    if crash:
        yield "PostgreSQL was restarted", crash
    if hosted.keeps:
        for lent in used:
            if lent.is_ours and not lent.is_kept:  # what is rolled back cannot be kept
                yield _KEPT, evidence.keep(lent, item.nodeid)


def _of_template(hosted: Hosted, call: pytest.CallInfo[None]) -> Iterator[tuple[str, str]]:
    """Drop a template that could not be filled; tell this test, and the other workers, why."""
    main, definition = hosted.main, hosted.main_definition
    cached = getattr(definition, "cached_result", None)
    if main is None or main.is_complete or not cached or cached[2] is None:
        return
    seen = main.unwatch()
    log = evidence.log_of(hosted, [main.database], main.log_position)
    found = [("PostgreSQL lock", seen), ("PostgreSQL log", log)]
    text = str(call.excinfo.getrepr(style="short")) if call.excinfo is not None else ""
    for title, words in found:
        if words:
            text += f"\n\n{title}:\n{words}"
    hosted.fail_main(text)
    yield from ((title, words) for title, words in found if words)


# --- what to do ---

_HINTS = (
    (
        r"permission denied to create extension \W*(\w[\w-]*)",
        (
            "The role of tests is not a superuser. Have the extension created in every test "
            "database: pytest --oxy-pg-extension={0}, or oxy_pg_extensions = ['{0}'] under "
            "[tool.pytest.ini_options], or extensions = ['{0}'] under [tool.oxy-pg]."
        ),
    ),
    (
        r"(?:extension \W*|/extension/)(\w[\w-]*?)(?:\W* is not available|\.control)",
        (
            "This PostgreSQL has no extension {0}. `oxy-pg binaries` shows which installed one "
            "has it, and `oxy-pg binaries add npm` adds one with contrib. Then have it created in "
            "every test database: --oxy-pg-extension={0}, or extensions = ['{0}'] under "
            "[tool.oxy-pg]. Or use a server that has it with OXY_DATABASE_URL."
        ),
    ),
    (
        r"ScopeMismatch.*fixture (oxy_pg_template(?:_key)?) with a session",
        (
            "There is one {0} for all tests of a session: write @pytest.fixture(scope='session') "
            "above it."
        ),
    ),
    (
        r"ScopeMismatch.*fixture oxy_pg_(?!template)\w+ with a (\w+) scoped request",
        (
            "A fixture of this scope can request oxy_pg_{0}_url, or make databases with "
            "oxy_pg_database_factory."
        ),
    ),
    (
        r"cannot execute .* in a read-only transaction",
        (
            "If this was another connection to the database of oxy_pg_transaction: tests share "
            "that database, so others can only read it. Use oxy_pg_url for a database of its own."
        ),
    ),
    (
        r"No space left on device",
        (
            "If it is the directory of the test server that is full (the header line names it): "
            "--oxy-pg-dir, oxy_pg_dir under [tool.pytest.ini_options] or OXY_PG_TEMP_DIR names "
            "another one."
        ),
    ),
    (
        r"SocketBlockedError|SocketConnectBlockedError",
        (
            "pytest-socket also blocks the private Unix socket to the test server: add "
            "--allow-unix-socket (and --allow-hosts=127.0.0.1 for drivers written in Python)."
        ),
    ),
)


def _hints(text: str) -> Iterator[str]:
    for pattern, hint in _HINTS:
        found = re.search(pattern, text)
        if found is not None:
            yield hint.format(*found.groups())


# --- the summary ---


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the databases that were kept, and what tests have left."""
    kept = [
        (report.nodeid, text.partition("\n")[0])
        for kind in ("failed", "error")
        for report in terminalreporter.stats.get(kind, ())
        for title, text in getattr(report, "sections", ())
        if title == _KEPT
    ]
    if kept:
        terminalreporter.section("PostgreSQL databases kept")
        for test, text in kept:
            terminalreporter.line(f"{test}: {text}")
    leaks = workers.leaks(terminalreporter.config)
    if leaks:
        terminalreporter.section("left open in PostgreSQL")
        for test, text in leaks:
            terminalreporter.line(f"{test} has left {text}")
        terminalreporter.line("--oxy-pg-leaks=fail makes them fail; =off does not look.")
