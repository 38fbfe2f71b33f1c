"""
The processes that the chaos suite kills: writers and probes, forked from one that knows the way.

Run as ``python actors.py STATE_DIR JOURNAL_DIR``; it takes orders on its standard input
(``writer NUMBER RUN``, ``probe NUMBER``), and every actor reports on its standard output.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import psycopg

import oxy_pg

KEEP_ALIVE = 1.0


def report(*words: object) -> None:
    """Say one line; it is short enough for the pipe to keep it whole."""
    os.write(1, (" ".join(str(word) for word in words).replace("\n", " ")[:2000] + "\n").encode())


def ensure(who: str, state_dir: str) -> str:
    """Ask until there is a server; whatever ensure() raises is reported, typed or not."""
    end = time.monotonic() + 120
    while True:
        try:
            return oxy_pg.ensure(state_dir=state_dir, keep_alive=KEEP_ALIVE, timeout=60)
        except oxy_pg.OxyPgError as error:
            report("typed", who, type(error).__name__, error)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            report("untyped", who, repr(error))
        if time.monotonic() > end:
            report("hopeless", who)
            os._exit(1)
        time.sleep(0.05)


def write(state_dir: str, journal_dir: str, number: int, run: int) -> None:
    """Commit numbered rows for ever; what PostgreSQL has acknowledged goes into the journal."""
    who = f"writer-{number}"
    os.setpgid(0, 0)
    parent = os.getpid()
    url = ensure(who, state_dir)
    if not os.fork():
        # The rest of the application: it has a lease too, and notices when its parent has gone.
        ensure(who, state_dir)
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(0)
    journal = os.open(f"{journal_dir}/{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    report("writing", number, run, parent)
    row = 0
    while True:
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
                while True:
                    row += 1
                    connection.execute(
                        "INSERT INTO written VALUES (%s, %s, %s)", (number, run, row)
                    )
                    os.write(journal, f"{run} {row}\n".encode())
                    os.fsync(journal)
                    time.sleep(0.002)
        except psycopg.Error:
            time.sleep(0.01)
        url = ensure(who, state_dir)


def probe(state_dir: str, number: int) -> None:
    """Be the next one that asks, at once; and believe nothing but a commit."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        url = ensure(f"probe-{number}", state_dir)
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
                connection.execute("INSERT INTO written VALUES (-1, %s, 0)", (number,))
        except psycopg.Error:
            continue  # killed once more
        report("recovered", number)
        return
    report("hopeless", f"probe-{number}")


def main() -> None:
    """Fork an actor for each order, until there are no more orders."""
    state_dir, journal_dir = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    oxy_pg.Server(state_dir)  # loads everything, touches nothing
    for order in sys.stdin:
        kind, *numbers = order.split()
        pid = os.fork()
        if pid:
            report("began", kind, numbers[0], pid)
            continue
        try:
            if kind == "writer":
                write(state_dir, journal_dir, int(numbers[0]), int(numbers[1]))
            else:
                probe(state_dir, int(numbers[0]))
        finally:
            os._exit(0)


if __name__ == "__main__":
    main()
