"""The report as one self-contained HTML page: no script, no font, no image."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from oxy_pg.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from oxy_pg.migrate.report.values import Outcome, TableReport
    from oxy_pg.report import Skipped

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #66788a; --line: #d8e0e8;
  --page: #f6f8fa; --card: #ffffff; --bar: #336791; --warn: #9a5b00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5ebf1; --soft: #9aabbb; --line: #33414f;
  --page: #12181e; --card: #1a222a; --bar: #6ca0cf; --warn: #e0a95a; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.75rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 0 0 .75rem; }
.where { color: var(--soft); margin: 0 0 1.5rem; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 0 0 1.5rem; padding: 0;
  list-style: none; }
.facts li { flex: 1 1 auto; white-space: nowrap; }
.facts li, section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.25rem; }
.facts b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .85rem; }
section { margin: 0 0 1.25rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .925rem; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:last-child, td:last-child { padding-right: 0; } tr:last-child td { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .9em ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
svg { display: block; width: 100%; min-width: 36rem; height: auto; margin: 0 0 1rem; }
svg text { font-size: 12px; fill: var(--ink); } svg .value { fill: var(--soft); }
svg rect { fill: var(--bar); } summary { cursor: pointer; padding: .35rem 0; font-weight: 600; }
ul, ol { margin: 0; padding-left: 1.25rem; } td { max-width: 20rem; overflow-wrap: break-word; }
td.number, th.number { padding-left: .5rem; } summary { overflow-wrap: anywhere; }
.warn { color: var(--warn); } .bad { color: var(--bad); } pre { overflow-x: auto; }
"""


def page(report: Outcome) -> str:
    """Return the page."""
    title = "Dry run: what would be migrated" if report.dry_run else "Migrated to PostgreSQL"
    title = "Rehearsal: migrated and rolled back" if report.rehearsal else title
    sections = [
        _problems(report),
        _unexamined(report),
        _tables(report),
        _charts(report),
        _types(report),
        _skipped(report),
        _changes(report),
        _sequences(report),
        _compared(report),
        _next_steps(report),
    ]
    return printable(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{title}</h1>\n"
        f'<p class="where"><code>{escape(report.source)}</code> → '
        f"<code>{escape(report.target)}</code></p>\n"
        f"{_facts(report)}\n" + "\n".join(part for part in sections if part) + "\n"
        "</main>\n</body>\n</html>\n"
    )


def _facts(report: Outcome) -> str:
    rows = report.rows if not report.dry_run else sum(t.rows_read for t in report.tables)
    checked = {
        "full": (f"{report.verification.values:,}", "values compared"),
        "counts": (f"{report.verification.rows:,}", "row counts verified"),
        "none": ("nothing", "compared"),
    }[report.verification.mode]
    facts = [
        (f"{len(report.tables):,}", "tables"),
        (f"{rows:,}", "rows"),
        (_size(sum(t.bytes for t in report.tables)), "written"),
        (f"{report.seconds:,.1f} s", "total"),
        checked,
        (f"{len(report.skipped):,}", "objects skipped"),
    ]
    items = "".join(f"<li><b>{escape(value)}</b><span>{name}</span></li>" for value, name in facts)
    return f'<ul class="facts">{items}</ul>'


class _Figure(str):
    """A text that is aligned in its column as numbers are."""

    __slots__ = ()


def _size(size: float) -> _Figure:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return _Figure(f"{size:.0f} {unit}")
        size /= 1000
    return _Figure(f"{size:.1f} GB")


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    numeric = [all(_is_figure(row[place]) for row in rows) for place in range(len(heads))]
    head = "".join(
        f'<th class="number">{escape(name)}</th>' if figures else f"<th>{escape(name)}</th>"
        for name, figures in zip(heads, numeric, strict=True)
    )
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_figure(value: str | float) -> bool:
    return isinstance(value, _Figure) or not isinstance(value, str)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        text = escape(value)
    else:
        text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return f'<td class="number">{text}</td>' if _is_figure(value) else f"<td>{text}</td>"


def _problems(report: Outcome) -> str:
    parts = [f'<li class="bad">{escape(p.kind)}: {escape(p.message)}</li>' for p in report.problems]
    parts += [f'<li class="warn">{escape(warning)}</li>' for warning in report.warnings]
    return _section("Problems", f"<ul>{''.join(parts)}</ul>") if parts else ""


def _unexamined(report: Outcome) -> str:
    rows = [(one.kind, one.table, one.name, one.definition) for one in report.unexamined]
    heads = ("what", "table", "name", "definition")
    note = "<p>Only PostgreSQL can examine these; a rehearsal (<code>--rehearse</code>) does.</p>"
    return _section("Not examined", note + _grid(heads, rows)) if rows else ""


def _compared(report: Outcome) -> str:
    rows = [
        (one.table, ", ".join(one.bytes) or "-", one.sampled, ", ".join(one.values) or "-")
        for one in report.verification.compared
    ]
    heads = (
        "table",
        "stored bytes have the digest of those that were sent",
        "rows of them read again",
        "every value read again and compared",
    )
    return _section("How values were compared", _grid(heads, rows)) if rows else ""


def _tables(report: Outcome) -> str:
    rows = [
        (
            t.name if t.target == t.name else f"{t.name} → {t.target}",
            "created" if t.action == "create" else "filled",
            t.rows_read,
            t.rows_written,
            t.rows_skipped,
            _size(t.bytes),
            t.seconds,
        )
        for t in report.tables
    ]
    heads = ("table", "action", "rows read", "written", "skipped", "size", "seconds")
    return _section("Tables", _grid(heads, rows)) if rows else ""


def _charts(report: Outcome) -> str:
    charts: list[tuple[str, Callable[[TableReport], float], Callable[[float], str]]] = [
        ("Rows", lambda t: t.rows_written, lambda v: f"{v:,.0f}"),
        ("Bytes", lambda t: t.bytes, _size),
        ("Seconds", lambda t: t.seconds, lambda v: f"{v:.2f} s"),
    ]
    if not any(t.rows_written for t in report.tables):
        return ""
    return "\n".join(
        _section(f"{name} per table", _bars(report.tables, value, spell))
        for name, value, spell in charts
    )


def _bars(
    tables: tuple[TableReport, ...],
    value: Callable[[TableReport], float],
    spell: Callable[[float], str],
) -> str:
    shown = sorted((t for t in tables if value(t)), key=value, reverse=True)[:25]
    most = max((value(t) for t in shown), default=1) or 1
    bars = []
    for number, table in enumerate(shown):
        top = 26 * number
        width = max(2, 480 * value(table) / most)
        bars.append(
            f'<text x="0" y="{top + 16}">{escape(_short(table.name))}</text>'
            f'<rect x="220" y="{top + 3}" width="{width:.1f}" height="18" rx="3"/>'
            f'<text class="value" x="{228 + width:.1f}" y="{top + 16}">'
            f"{escape(spell(value(table)))}</text>"
        )
    height = 26 * len(shown)
    label = ", ".join(f"{t.name}: {spell(value(t))}" for t in shown)
    return (
        f'<svg viewBox="0 0 800 {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(bars)}</svg>"
    )


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"


def _types(report: Outcome) -> str:
    parts = [
        f"<details><summary>{escape(t.name)}</summary>"
        + _grid(
            ("column", "in SQLite", "in PostgreSQL", "NULLs"),
            [
                (
                    c.name if c.name == c.target else f"{c.name} → {c.target}",
                    c.declared or "(no type)",
                    c.type,
                    c.nulls,
                )
                for c in t.columns
            ],
        )
        + "</details>"
        for t in report.tables
    ]
    return _section("Types", "".join(parts)) if parts else ""


def _skipped(report: Outcome) -> str:
    rows = [(s.kind, s.name, s.reason) for s in report.skipped]
    if not rows:
        return ""
    details = "".join(_definition(one) for one in report.skipped if one.sql or one.suggestion)
    return _section("Skipped", _grid(("what", "name", "why"), rows) + details)


def _definition(left: Skipped) -> str:
    """Show the SQL of what was left behind, and what may serve in its place."""
    parts = [("SQLite", left.sql), ("Suggested for PostgreSQL, to be checked", left.suggestion)]
    shown = "".join(
        f"<p>{name}:</p><pre><code>{escape(text)}</code></pre>" for name, text in parts if text
    )
    name = escape(f"{left.kind} {left.name}")
    return f"<details><summary>{name}</summary>{shown}</details>"


def _changes(report: Outcome) -> str:
    rows = [(c.table, c.column, c.count, c.what, c.example) for c in report.changes]
    heads = ("table", "column", "values", "what happened", "example")
    return _section("Changed values", _grid(heads, rows)) if rows else ""


def _sequences(report: Outcome) -> str:
    rows = [(s.name, s.next) for s in report.sequences]
    return _section("Sequences", _grid(("sequence", "next number"), rows)) if rows else ""


def _next_steps(report: Outcome) -> str:
    if report.rehearsal:
        steps = [
            "Everything was rolled back: the target is as it was.",
            "Run the same command without <code>--rehearse</code> to migrate the data.",
        ]
    elif report.dry_run and report.problems:
        steps = [
            "Nothing was written, on either side.",
            f"Solve the problems above ({len(report.problems):,}): the migration would be refused.",
            "Run the same command again, with <code>--dry-run</code>, until none is left.",
        ]
    elif report.dry_run:
        steps = [
            "Nothing was written, on either side.",
            "Run the same command without <code>--dry-run</code> to migrate the data.",
        ]
    else:
        steps = [
            "Set <code>OXY_DATABASE_URL</code> to the target's URL and start the application.",
            "The SQLite file was only read. Keep it until you are sure.",
            "Run <code>ANALYZE;</code> once, so that PostgreSQL plans with fresh statistics.",
            "Make a backup of the new database: <code>pg_dump --format=custom</code>.",
        ]
    return _section("Next steps", f"<ol>{''.join(f'<li>{step}</li>' for step in steps)}</ol>")
