"""Every public error: it pickles, it is documented, it says what to do."""

from __future__ import annotations

import inspect
import pickle
import re
import typing
from pathlib import Path

import pytest

import oxy_pg
from oxy_pg import errors
from oxy_pg.report import BadValue, NumberGroup, Orphans, UnclearTime, ValueChange

PAGE = (Path(__file__).parents[1] / "docs/errors.md").read_text()


def tree(root: type[oxy_pg.OxyPgError] = oxy_pg.OxyPgError) -> list[type[oxy_pg.OxyPgError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


ERRORS = tree()

VALUES = {
    "tuple[str, ...]": ("one", "two"),
    "tuple[str, str]": ("one", "two"),
    "str": "some text",
    "int": 7,
    "float": 2.5,
    "int | None": 3,
    "bool": True,
    "str | None": "other text",
    "tuple[tuple[str, int], ...]": (("item", 3),),
    "tuple[tuple[str, str], ...]": (("vector", "not installed"),),
    "tuple[BadValue, ...]": (BadValue("t", "c", "rowid 1", "'x'", "not a number"),),
    "tuple[ValueChange, ...]": (ValueChange("t", "c", 3, "rounded", "rowid 1", "1.239", "1.24"),),
    "tuple[UnclearTime, ...]": (
        UnclearTime(
            "t", "c", (NumberGroup(2, "5", "9", (("s", "1970", "1970"),)),), ("t.c=date:s",)
        ),
    ),
    "tuple[Orphans, ...]": (Orphans("t", ("c",), "p", 2, ("rowid 1", "rowid 2")),),
}


def example(error: type[oxy_pg.OxyPgError]) -> oxy_pg.OxyPgError:
    """One with a value for each parameter of its own."""
    if error.__init__ is Exception.__init__ or (
        "__init__" not in vars(error)
        and not any(
            "__init__" in vars(base)
            for base in error.__mro__
            if issubclass(base, errors.OxyPgError)
        )
    ):
        return error("what happened, and what to do")
    parameters = list(inspect.signature(error.__init__).parameters.values())[1:]
    given = [one for one in parameters if one.kind is not one.KEYWORD_ONLY]
    named = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
    return error(
        *(VALUES[str(one.annotation)] for one in given),
        **{one.name: VALUES[str(one.annotation)] for one in named},
    )


def test_the_tree_is_what_the_package_exports():
    assert {error.__name__ for error in ERRORS} == {
        name
        for name in oxy_pg.__all__
        if isinstance(getattr(oxy_pg, name), type)
        and issubclass(getattr(oxy_pg, name), BaseException)
    }


@pytest.mark.parametrize("error", ERRORS)
def test_it_pickles(error):
    """
    As multiprocessing, pytest-xdist and celery send it: the same type, words and attributes.
    """
    made = example(error)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(made, protocol))
        assert type(made) is type(again)
        assert str(made) == str(again)
        assert made.args == again.args
        assert vars(made) == vars(again)


@pytest.mark.parametrize("error", ERRORS)
def test_it_has_words(error):
    """
    A message, and a docstring that says what the state is.
    """
    assert str(example(error)).strip()
    assert error.__doc__


@pytest.mark.parametrize("error", ERRORS)
def test_it_is_documented_once(error):
    """
    With when it is raised, and what to do.
    """
    rows = re.findall(rf"^\| `{error.__name__}` \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    assert 1 == len(rows)


def test_nothing_else_is_documented():
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(error.__name__ for error in ERRORS)


def test_every_timeout_is_a_timeout_error():
    assert {"LockTimeout", "StartTimeout"} == {
        error.__name__ for error in ERRORS if issubclass(error, TimeoutError)
    }


def test_annotations_are_known():
    """
    A new kind of parameter needs a value here; not a silent skip.
    """
    kinds = {
        str(one.annotation)
        for error in ERRORS
        for one in list(inspect.signature(error.__init__).parameters.values())[1:]
        if one.kind not in {one.VAR_POSITIONAL, one.VAR_KEYWORD}
    }
    assert kinds <= set(VALUES) | {str(typing.Any)}
