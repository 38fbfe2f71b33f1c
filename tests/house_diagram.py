"""
The diagram of the packages in docs/architecture.md, drawn from the imports.

``python -m tests.house_diagram`` writes it; ``test_house.py`` fails when it is out of date.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tests.test_house import ARROWS, FLOORS, MODULES, ROOMS, floor, place

PAGE = Path(__file__).parents[1] / "docs/architecture.md"
BEGIN = "<!-- packages: begin (python -m tests.house_diagram) -->\n"
END = "<!-- packages: end -->\n"
FOUNDATION = "foundation"
LOWEST_WING = floor("server", FLOORS)


def node(module: str) -> str:
    """A wing, a module above the wings, or the foundation as a whole."""
    wing, _ = place(module)
    return FOUNDATION if floor(wing, FLOORS) < LOWEST_WING else wing


def reduced(arrows: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out each arrow that a longer way already implies."""
    below: dict[str, set[str]] = {}
    for source, target in arrows:
        below.setdefault(source, set()).add(target)

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = below.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found

    return sorted(
        (source, target)
        for source, target in arrows
        if not any(target in reachable(other) for other in below[source] - {target})
    )


def mermaid() -> str:
    """The flowchart: the rooms of each wing, and what stands above and below the wings."""
    outer: set[tuple[str, str]] = set()
    inner: dict[str, set[tuple[str, str]]] = {wing: set() for wing in ROOMS}
    for source, _, target in ARROWS:
        if target == "oxy_pg":  # asks for __version__, or for the public names
            continue
        ends = node(source), node(target)
        if ends[0] != ends[1]:
            outer.add(ends)
        elif ends[0] in ROOMS and place(source)[1] != place(target)[1]:
            inner[ends[0]].add((place(source)[1], place(target)[1]))
    lines = ["flowchart TB"]
    for name in sorted({*map(node, MODULES)}):
        if name in ROOMS:
            lines.append(f'    subgraph {name}["{name}/"]')
            lines += [
                f'        {name}_{room}["{room}"]' for room in chain.from_iterable(ROOMS[name])
            ]
            lines += [
                f"        {name}_{source} --> {name}_{target}"
                for source, target in reduced(inner[name])
            ]
            lines.append("    end")
        else:
            lines.append(f'    {identifier(name)}["{label(name)}"]')
    lines += [
        f"    {identifier(source)} --> {identifier(target)}" for source, target in reduced(outer)
    ]
    return "\n".join(lines) + "\n"


def identifier(name: str) -> str:
    return name or "oxy_pg"


def label(name: str) -> str:
    if name == FOUNDATION:
        return ", ".join(chain.from_iterable(FLOORS[:LOWEST_WING]))
    return name or "oxy_pg"


def block() -> str:
    """The diagram as it stands in the page."""
    return f"{BEGIN}```mermaid\n{mermaid()}```\n{END}"


def written(page: str) -> str:
    """The page with the present diagram in it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE} has no line {BEGIN}"
    assert end, f"{PAGE} has no line {END}"
    return before + block() + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
