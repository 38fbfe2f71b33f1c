"""Sizes, times and rates as a person reads them."""

from __future__ import annotations


def size(size_bytes: float) -> str:
    """Megabytes."""
    return f"{size_bytes / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    """The two largest units."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = ((days, "d"), (hour, "h"), (minute, "min"), (second, "s"))
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "0 s"


def seconds(number: float | None) -> str:
    """A short time with a fraction, a long one without; nothing for one that is not known."""
    if number is None:
        return ""
    if number >= 60:
        return duration(number)
    return f"{number:.1f} s" if number >= 1 else f"{number * 1000:.0f} ms"


def count(number: float) -> str:
    """A number in a few characters."""
    for least, unit in ((1e9, "G"), (1e6, "M"), (1e5, "k")):
        if number >= least:
            return f"{number / (1e3 if unit == 'k' else least):,.1f}{unit}"
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def percent(ratio: float | None) -> str:
    """A part of one; 100 % only when nothing is missing."""
    if ratio is None:
        return "-"
    return "100 %" if ratio == 1 else f"{min(ratio * 100, 99.99):.2f} %"
