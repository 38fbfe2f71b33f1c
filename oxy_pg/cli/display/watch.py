"""The screen that ``status --watch`` draws, and the lines that it writes into a pipe."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from oxy_pg.cli.display import figures, terminal
from oxy_pg.cli.display.sections import STATE_COLOURS, Section, plain_lines, section_table, sections
from oxy_pg.cli.display.terminal import echo
from oxy_pg.errors import ConfigurationError, OxyPgError, UnsupportedServer
from oxy_pg.report import timestamp
from oxy_pg.server.monitor import activity
from oxy_pg.system.printable import many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Self

    from rich.console import RenderableType

    from oxy_pg.server.monitor.activity import Counters, Rates
    from oxy_pg.server.monitor.embedded import EmbeddedObserver
    from oxy_pg.server.monitor.external import ExternalObserver
    from oxy_pg.server.monitor.status import Observation

_BARS = " ▁▂▃▄▅▆▇█"
_PLAIN_BARS = " .:-=+*#@"
# Seconds that rates are taken over at least: a session reports once a second what it has done.
_SHORTEST = 1.9
_REMEMBERED = 500  # ticks: as many as the widest screen has room for


class Tick:
    """One look: what was seen, or why nothing was, and what happened since the last."""

    def __init__(self, found: Observation | None, error: str, rates: Rates | None) -> None:
        self.found = found
        self.error = error
        self.rates = rates
        self.at = dt.datetime.now(dt.UTC)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values: those of ``status --json``, and the rates."""
        known: dict[str, Any] = {"at": timestamp(self.at)}
        if self.found is None:
            return {**known, "state": "unreachable", "error": self.error}
        rates = self.rates and {
            name: getattr(self.rates, name) for name in activity.Rates.__dataclass_fields__
        }
        return {**known, **self.found.to_dict(), "rates": rates}


def _ticks(observer: EmbeddedObserver | ExternalObserver) -> Iterator[Tick]:
    """Look as often as the next tick is asked for; a server that was there may go and come."""
    before: deque[Counters] = deque()
    found: Observation | None = None
    while True:
        try:
            found = observer.look()
        except (ConfigurationError, UnsupportedServer):
            raise
        except OxyPgError as error:
            if found is None:
                raise
            before.clear()
            yield Tick(None, str(error), None)
            continue
        after = found.activity.counters if found.activity else None
        while len(before) > 1 and after and before[1].at <= after.at - _SHORTEST:
            before.popleft()
        rates = activity.rates(before[0] if before else None, after)
        if rates is None:
            before.clear()
        if after is not None:
            before.append(after)
        yield Tick(found, "", rates)


def watch(observer: EmbeddedObserver | ExternalObserver, every: float, *, as_json: bool) -> None:
    """Look every so many seconds until told to stop: on a terminal live, else in lines."""
    ticks = _ticks(observer)
    if not as_json and sys.stdout.isatty() and sys.stdin.isatty():
        with _Keys() as keys:
            _Screen(every).run(ticks, keys)
        return
    due = time.monotonic()
    for tick in ticks:
        if as_json:
            echo(json.dumps(tick.to_dict()))
        else:
            lines = [tick.error] if tick.found is None else plain_lines(tick.found)
            echo("\n".join([f"at: {tick.at:%Y-%m-%d %H:%M:%S}", *lines, ""]))
        sys.stdout.flush()
        due += every
        time.sleep(max(0.0, due - time.monotonic()))


class _Keys:
    """What the user presses, without Enter and without an echo; the terminal is put back after."""

    def __enter__(self) -> Self:
        import termios
        import tty

        self._descriptor = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        self._awake, self._waker = socket.socketpair()
        for one in (self._awake, self._waker):
            one.setblocking(False)
        # A signal writes into the pair, so that a new size of the window ends the wait.
        self._wakeup = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._winch = signal.signal(signal.SIGWINCH, lambda *_: None)
        self._term = signal.signal(signal.SIGTERM, _terminated)
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        signal.signal(signal.SIGTERM, self._term)
        signal.signal(signal.SIGWINCH, self._winch)
        signal.set_wakeup_fd(self._wakeup)
        self._awake.close()
        self._waker.close()
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str | None:
        """Return what was pressed, "" after a signal, None when the time is over."""
        ready, _, _ = select.select([self._descriptor, self._awake], [], [], max(0.0, seconds))
        if self._awake in ready:
            with contextlib.suppress(BlockingIOError):
                self._awake.recv(4096)
            return ""
        if not ready:
            return None
        # Nothing to read: the terminal has gone.
        return os.read(self._descriptor, 64).decode(errors="replace") or "q"


def _terminated(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)  # by way of everything that puts the terminal back


class _Screen:
    """The picture, and what it remembers."""

    def __init__(self, every: float) -> None:
        self._every = every
        # COLUMNS and LINES are what the terminal once had; a screen asks what it has.
        fixed = {"COLUMNS", "LINES"}
        environment = {name: value for name, value in os.environ.items() if name not in fixed}
        self._console = terminal.console(_environ=environment)
        utf8 = (self._console.encoding or "").lower().startswith("utf")
        self._bars = _BARS if utf8 else _PLAIN_BARS
        self._history: dict[str, deque[float | None]] = {
            name: deque(maxlen=_REMEMBERED)
            for name in ("transactions/s", "connections", "cache hits", "rows/s")
        }

    def run(self, ticks: Iterator[Tick], keys: _Keys) -> None:
        """Draw until q is pressed."""
        from rich.live import Live

        tick = next(ticks)  # before the screen is taken, so that an error is seen
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            # Rates need two looks: the second comes soon.
            due = time.monotonic() + min(self._every, 1.0)
            self._remember(tick)
            while True:
                live.update(self.picture(tick), refresh=True)
                pressed = keys.wait(due - time.monotonic())
                if pressed is None:
                    tick = next(ticks)
                    self._remember(tick)
                    due = max(due, time.monotonic() - self._every) + self._every
                elif pressed.lower().startswith(("q", "\x04")):
                    return

    def _remember(self, tick: Tick) -> None:
        found = tick.found.status if tick.found else None
        rates = tick.rates
        values = {
            "transactions/s": rates.transactions_per_s if rates else None,
            "connections": found.connections if found else None,
            "cache hits": rates.cache_hit_ratio if rates else None,
            "rows/s": rates.rows_read_per_s + rates.rows_written_per_s if rates else None,
        }
        for name, value in values.items():
            self._history[name].append(value)

    def picture(self, tick: Tick) -> RenderableType:
        """Compose the screen, as high as the terminal is."""
        width, height = self._console.size
        parts: list[RenderableType] = [self._head(tick, width), *self._graphs(tick, width)]
        left = height - len(parts)
        if tick.found is None:
            parts.append(Text(tick.error, style="red"))
        elif tick.found.activity is not None:
            found = tick.found.activity
            notes = [f"{name.replace('_', ' ')}: {why}" for name, why in found.unknown.items()]
            if found.hidden:
                notes.append(
                    f"not shown to {found.role}: {many(found.hidden, 'session')} of other roles"
                )
            foot = Text("; ".join(notes), style="dim", no_wrap=True, overflow="ellipsis")
            known = [*sections(found), _databases(tick.found)]
            parts += _fitted(known, left - bool(notes), width)
            parts += [foot] * bool(notes)
        return Group(*parts)

    def _head(self, tick: Tick, width: int) -> RenderableType:
        every = f"every {self._every:g} s, q quits"
        if tick.found is None:
            state, text = "unreachable", ""
        else:
            found = tick.found.status
            state = found.state
            place = (found.url or str(found.data_dir or "")).partition("?")[0]
            up = f"up {figures.duration(found.uptime_s)}" if found.uptime_s is not None else ""
            version = f"PostgreSQL {found.server_version}" if found.server_version else ""
            text = "  ".join(part for part in (version, place, up) if part)
        line = Table.grid(expand=True, padding=(0, 1, 0, 0))
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        line.add_column(no_wrap=True, justify="right")
        line.add_row(
            Text(state, style=f"bold {STATE_COLOURS.get(state, 'red')}"),
            Text(text, no_wrap=True, overflow="ellipsis"),
            Text(every if width >= 60 else "q quits", style="dim"),
        )
        return line

    def _graphs(self, tick: Tick, width: int) -> list[RenderableType]:
        texts = self._values(tick)
        room = max(len(text) for text in texts.values())
        lines: list[RenderableType] = []
        for name, text in texts.items():
            most = 1.0 if name == "cache hits" else None
            bars = sparkline(self._history[name], max(0, width - 16 - room), self._bars, most)
            line = Text(f"{name:14} ", style="bold", no_wrap=True)
            line.append(bars, style="cyan not bold")
            line.append(f" {text:>{room}}", style="not bold")
            lines.append(line)
        return lines

    def _values(self, tick: Tick) -> dict[str, str]:
        found, rates = tick.found and tick.found.status, tick.rates
        connections = "-"
        if found and found.connections is not None:
            connections = f"{found.connections} of {found.max_connections}"
        read = figures.count(rates.rows_read_per_s) if rates else "-"
        written = figures.count(rates.rows_written_per_s) if rates else "-"
        return {
            "transactions/s": figures.count(rates.transactions_per_s) if rates else "-",
            "connections": connections,
            "cache hits": figures.percent(rates.cache_hit_ratio if rates else None),
            "rows/s": f"{read} read, {written} written",
        }


def sparkline(
    values: deque[float | None], width: int, bars: str = _BARS, most: float | None = None
) -> str:
    """
    Draw the last ``width`` values from 0 to ``most`` (default: the highest of them).

    What is not known is a gap, and anything above 0 can be seen.
    """
    shown = list(values)[-width:] if width else []
    highest = most or max((value for value in shown if value is not None), default=0) or 1
    steps = len(bars) - 1
    drawn = "".join(
        bars[0]
        if value is None
        else bars[max(1, min(steps, round(value / highest * steps)))]
        if value
        else bars[1]
        for value in shown
    )
    return drawn.rjust(width)


def _databases(found: Observation) -> Section:
    ordered = sorted(found.status.databases, key=lambda one: -one.size_bytes)
    rows = tuple((figures.size(one.size_bytes), one.name) for one in ordered)
    return Section("databases", ("name",), rows)


def _fitted(known: list[Section], lines: int, width: int) -> list[RenderableType]:
    """Share the lines out: each section gets its title and a row, then they take turns."""
    rows: dict[int, int] = {}
    for number, section in enumerate(known):
        if section.rows and lines >= 2:
            rows[number] = 1
            lines -= 2
    while lines > 0:
        growing = [number for number in rows if rows[number] < len(known[number].rows)]
        if not growing:
            break
        for number in growing[:lines]:
            rows[number] += 1
        lines -= len(growing[:lines])
    return [section_table(known[number], most, width) for number, most in rows.items()]
