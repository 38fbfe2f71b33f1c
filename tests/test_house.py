"""The house: rooms, their order, and no import that runs upwards (CONTRIBUTING.md, "The house")."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "oxy_pg"
MOST_IN_A_ROOM = 14

# From the ground up; what stands on one line may not import each other.
FLOORS = (
    ("problems", "deadline", "files", "private", "process", "postgresql", "progress"),
    ("errors", "installations", "machine"),
    ("paths", "url"),
    ("connection",),
    ("server", "migrate", "transfer"),
    ("pytest_plugin", "_endpoint"),
    ("_api",),
    ("",),  # oxy_pg/__init__.py
    ("cli",),
    ("__main__",),
)
# The rooms inside each wing, from the ground up; modules that stand beside the rooms are rooms too.
ROOMS = {
    "server": (
        ("cluster",),
        ("supervisor", "external", "tuning"),
        ("monitor",),
        ("server", "upgrade"),
        ("temporary", "doctor"),
    ),
    "migrate": (
        ("names",),
        ("source",),
        ("convert",),
        ("target",),
        ("plan",),
        ("check",),
        ("report",),
        ("load",),
        ("diagnosis",),
        ("migration",),
    ),
    "transfer": (
        ("manifest", "progress", "report", "tools", "workspace"),
        ("database",),
        ("swap",),
        ("backup", "copy"),
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


def test_there_are_arrows():
    assert len(ARROWS) > 300
    assert ("oxy_pg.__main__", 3, "oxy_pg.cli") in ARROWS


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    """
    Also those inside functions, and those for the type checker.
    """
    wing, room = place(module)
    for source, line, target in ARROWS:
        if source != module:
            continue
        where = f"{MODULES[source]}:{line} imports {target}"
        to_wing, to_room = place(target)
        if target == "oxy_pg":  # __version__, or the public names for the command line
            assert wing in {"cli", "transfer"}, where
        elif wing != to_wing:
            assert floor(to_wing, FLOORS) < floor(wing, FLOORS), where
        elif wing in ROOMS and room != to_room:
            assert to_room, f"{where}: a wing's own header has nothing to import"
            assert floor(to_room, ROOMS[wing]) < floor(room, ROOMS[wing]), where


def test_no_two_modules_import_each_other():
    """
    Neither directly nor around a corner.
    """
    above = {module: {t for s, _, t in ARROWS if s == module} for module in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for target in sorted(above[module]):
                visit(target, (*trail, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("room", sorted({path.parent for path in MODULES.values()}), ids=str)
def test_a_room_is_small_and_says_what_belongs_in_it(room):
    modules = [path for path in room.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_IN_A_ROOM
    header = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert header
    assert "TODO" not in header


def test_tests_have_the_same_rooms():
    tests = PACKAGE.parent / "tests"
    for path in MODULES.values():
        room = path.parent.relative_to(PACKAGE)
        assert (tests / room).is_dir(), f"no tests/{room}"


# ``utils`` is a noun that nobody has found yet.
@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_called_utils(module):
    assert module.rpartition(".")[2] not in {"utils", "util", "helpers", "common", "misc"}
