"""
The house as the imports draw it: its rooms, their order, and the arrows between them.

``python -m tests.house`` redraws the diagram in docs/architecture.md.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "oxy_pg"
MOST_IN_A_ROOM = 14

# From the ground up; what stands on one line may not import each other.
FLOORS = (
    ("facts", "sessions", "system"),
    ("report",),
    ("errors",),
    ("installations",),
    ("project",),
    ("paths", "url"),
    ("connection",),
    ("server", "migrate", "transfer", "export"),
    ("_defaults", "_endpoint"),
    ("pytest_plugin", "_server"),
    ("_api",),
    ("",),  # oxy_pg/__init__.py
    ("cli",),
    ("__main__",),
)
# The rooms inside each wing, from the ground up; modules that stand beside the rooms are rooms too.
ROOMS = {
    "server": (
        ("cluster",),
        ("supervisor", "external", "tuning", "place"),
        ("monitor",),
        ("server", "upgrade"),
        ("temporary", "doctor"),
        ("binaries",),
        ("uninstall",),
    ),
    "migrate": (
        ("names", "options"),
        ("source",),
        ("convert",),
        ("target",),
        ("plan",),
        ("check",),
        ("report",),
        ("load",),
        ("diagnosis", "outcome", "command", "trial"),
        ("preparation",),
        ("migration",),
    ),
    "transfer": (
        ("contents", "git", "refusals", "report", "tools", "workspace"),
        ("running",),
        ("database", "properties"),
        ("copying", "locks"),
        ("swap", "parts"),
        ("backup", "copy", "snapshots"),
    ),
    "export": (
        ("names", "expressions", "catalog", "digests", "report"),
        ("columns",),
        ("shapes", "ddl"),
        ("plan",),
        ("original", "check", "load"),
        ("verify",),
        ("export",),
    ),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> list[tuple[int, str]]:
    """Every module of ours that a file imports: at the top, lazily, or for the type checker."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative"
            base = node.module or ""
            names = [
                name if (name := f"{base}.{alias.name}") in MODULES else base
                for alias in node.names
            ]
        else:
            continue
        found += [(node.lineno, name) for name in names if name in MODULES]
    return found


ARROWS = sorted(
    {
        (module, line, target)
        for module, path in MODULES.items()
        for line, target in imports(path)
        if target != module
    }
)


def place(module: str) -> tuple[str, str]:
    """The wing, or the module of the foundation; and the room in it."""
    parts = module.split(".")[1:]
    wing = parts[0] if parts else ""
    return wing, parts[1] if len(parts) > 1 and wing in ROOMS else ""


def floor(name: str, floors: tuple[tuple[str, ...], ...]) -> int:
    found = [number for number, names in enumerate(floors) if name in names]
    assert found, f"{name!r} has no floor: say in FLOORS or ROOMS where it stands"
    return found[0]


# --- the diagram ---

PAGE = PACKAGE.parent / "docs/architecture.md"
BEGIN, END = "<!-- drawn by python -m tests.house -->", "<!-- end of the drawing -->"
FOUNDATION = (
    "foundation: paths, url, errors, connection, installations, report, facts, sessions, system/"
)
# Which part of the diagram a module of the foundation or above the wings belongs to.
_ABOVE = {
    "": "api",
    "_api": "api",
    "_server": "api",
    "_endpoint": "api",
    "_defaults": "api",
    "__main__": "cli",
}


def node(module: str) -> str:
    """The part of the diagram that a module stands in."""
    wing, room = place(module)
    if wing in ROOMS:
        return f"{wing}.{room}" if room else wing
    if wing in {"cli", "pytest_plugin"}:
        return wing
    return _ABOVE.get(wing, "foundation")


def drawing() -> str:
    """The packages as a Mermaid flowchart; what imports the foundation has no arrow."""
    arrows = sorted(
        {
            (node(source), node(target))
            for source, _, target in ARROWS
            if node(source) != node(target) and "foundation" not in {node(source), node(target)}
        }
    )
    inside = {wing: [(a, b) for a, b in arrows if _wing(a) == _wing(b) == wing] for wing in ROOMS}
    lines = ["```mermaid", "flowchart TD"]
    lines += [
        '    cli["cli/"]',
        '    pytest_plugin["pytest_plugin/"]',
        '    api["_api, _server, _endpoint"]',
    ]
    for wing, floors in ROOMS.items():
        lines.append(f'    subgraph {wing}["{wing}/"]')
        for rooms in reversed(floors):
            for room in rooms:
                shape = "{}/" if (PACKAGE / wing / room).is_dir() else "{}"
                lines.append(f'        {wing}.{room}["{shape.format(room)}"]')
        lines += [f"        {a} --> {b}" for a, b in inside[wing]]
        lines.append("    end")
    between = sorted({(_wing(a), _wing(b)) for a, b in arrows if _wing(a) != _wing(b)})
    lines += [f"    {a} --> {b}" for a, b in between]
    lines.append(f'    foundation["{FOUNDATION}"]')
    lines += [f"    {wing} --> foundation" for wing in ROOMS]
    return "\n".join([*lines, "```"])


def _wing(part: str) -> str:
    return part.partition(".")[0]


def redrawn(page: str) -> str:
    """The page with the diagram as the imports are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{drawing()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text()))
