"""
A command of the user's, run with its output shown, and with the terminal for its questions.

What takes longer than two seconds is not left in silence: what it has written
so far is shown then, and the rest as it comes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from oxy_pg.system.deadline import now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SILENCE = 2.0  # seconds after which output is shown
_PAUSE = 0.3  # seconds after which an unfinished line is shown: it may be a question
_LINGER = 1.0  # seconds that a command's own children may hold its output open
_KEPT = 64 * 1024  # characters of output, for the message when it fails
_PATIENCE = 5.0  # seconds to end in, when we are interrupted


def run(
    command: str, environment: Mapping[str, str], on_output: Callable[[str], object] | None
) -> tuple[int, str]:
    """
    Run a shell command; return its exit code and the end of its output.

    ``on_output`` gets text as the command writes it, standard output and error
    together. With it, and on a terminal, the command may ask questions there;
    otherwise there is no input: a question ends at once. Interrupted, it ends
    the command first.
    """
    asks = on_output is not None and _is_terminal()
    process = subprocess.Popen(  # noqa: S602 - a shell command is what was asked for
        command,
        shell=True,
        env=dict(environment),
        stdin=None if asks else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Without a terminal of its own it cannot wait for an answer on /dev/tty either.
        start_new_session=not asks,
    )
    try:
        kept = _Output(on_output, asks=asks).follow(process)
    except BaseException:
        _end(process, group=not asks)
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    return process.wait(), kept


def _is_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _end(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """End the command, and what it has started."""
    for number, seconds in ((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


class _Output:
    """What a command writes: kept at first, then shown."""

    def __init__(self, on_output: Callable[[str], object] | None, *, asks: bool) -> None:
        self._on_output = on_output
        self._asks = asks
        self._kept = ""
        self._waiting = ""  # not shown yet
        self._shows = False
        self._said = False

    def follow(self, process: subprocess.Popen[bytes]) -> str:
        """Read until the command has ended; return the end of its output."""
        assert process.stdout is not None
        began = heard = now()
        ended: float | None = None
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 0.1)
            moment = now()
            if ready:
                piece = os.read(process.stdout.fileno(), 65536)
                if not piece:
                    break
                self._take(piece.decode(errors="replace"))
                heard = moment
            elif ended is None and process.poll() is not None:
                ended = moment
            elif ended is not None and moment - ended > _LINGER:
                break
            self._show(ran=moment - began, silent=moment - heard)
        if self._shows:
            self._say(self._waiting)
        return self._kept

    def _take(self, text: str) -> None:
        self._kept = (self._kept + text)[-_KEPT:]
        self._waiting = (self._waiting + text)[-_KEPT:]

    def _show(self, *, ran: float, silent: float) -> None:
        if ran < SILENCE or self._on_output is None:
            return
        self._shows = True
        if self._asks and not self._kept and not self._said:
            self._say("(--prepare is running; it may be waiting for an answer)\n")
        lines, newline, rest = self._waiting.rpartition("\n")
        if newline:
            self._say(lines + newline)
            self._waiting = rest
        if self._waiting and silent >= _PAUSE:
            self._say(self._waiting)
            self._waiting = ""

    def _say(self, text: str) -> None:
        self._said = True
        if text and self._on_output is not None:
            self._on_output(text)
