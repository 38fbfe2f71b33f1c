"""The house: rooms, their order, and no import that runs upwards (CONTRIBUTING.md, "The house")."""

from __future__ import annotations

import ast

import pytest

from tests import house
from tests.house import ARROWS, FLOORS, MODULES, MOST_IN_A_ROOM, PACKAGE, ROOMS, floor, place


def test_there_are_arrows():
    assert len(ARROWS) > 300
    assert ("oxy_pg.__main__", 11, "oxy_pg.cli.quick") in ARROWS


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


def test_the_diagram_is_drawn_from_the_imports():
    """
    ``python -m tests.house`` redraws it.
    """
    page = house.PAGE.read_text()
    assert page == house.redrawn(page)
