"""Long texts of a stranger: what reads them takes four times as long for four times the length."""

from __future__ import annotations

import time

import pytest

from oxy_pg.migrate.source import tokens
from oxy_pg.server.monitor import redaction, slow_queries
from oxy_pg.url import mask_text

LENGTH = 8_000
LINE = "2026-11-26 10:00:00.123 UTC [12] "
PIECES = (
    *("@", ":", "://", "://:", "a://", "(", "[", '"', "'", "`", "--", "/*", "$a", "password"),
    *("password='", "a", " ", "\\", "postgresql://a:b@"),
)


def read_log(directory, text: str) -> None:
    """As `oxy-pg status` does: the application writes what it likes into the server's log."""
    (directory / "postgresql-2026-11-26_000000.log").write_text(
        f"{LINE}oxy@oxy STATEMENT:  {text}\n{LINE}{text}\n"
        f"{LINE}oxy@oxy LOG:  duration: 1.0 ms  statement: {text}\n"
    )
    slow_queries.from_log(str(directory), 0)


READERS = {
    "log": read_log,
    "redaction": lambda _, text: redaction.shown(f"SELECT '{text}'"),
    "message": lambda _, text: mask_text(text),
    "schema": lambda _, text: tokens.tokenize(text),
    "table": lambda _, text: tokens.parse_table(f"CREATE TABLE t (a {text})"),
    "index": lambda _, text: tokens.where_clause(f"CREATE INDEX i ON t ({text})"),
}


def seconds(reader, directory, text: str) -> float:
    began = time.process_time()
    reader(directory, text)
    return time.process_time() - began


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("reader", READERS)
def test_time_grows_with_the_length(tmp_path, reader, piece):
    """
    Not with its square: a megabyte in a log, in a message or in a schema would take hours.
    """
    short, long = piece * (LENGTH // len(piece)), piece * (4 * LENGTH // len(piece))
    read = READERS[reader]
    ratios = []
    for turn in range(5):
        few, many = (seconds(read, tmp_path, text + " " * turn) for text in (short, long))
        ratios.append(many / max(few, 1e-4))
        if ratios[-1] < 8:
            return
    assert min(ratios) < 8, ratios
