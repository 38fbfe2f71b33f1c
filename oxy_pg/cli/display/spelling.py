"""Environment variables as shells and programs read them."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# What every reader of .env files takes without quotes. `docker run --env-file` knows none.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=?&~*-]*")


def _export(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _dotenv(name: str, value: str) -> str:
    if not _PLAIN.fullmatch(value):
        value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"{name}={value}"


def _fish(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}'"


def _powershell(name: str, value: str) -> str:
    # It takes typographic quotes for the plain one.
    escaped = re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value)
    return f"$env:{name} = '{escaped}'"


def _lines(spell: Callable[[str, str], str]) -> Callable[[Mapping[str, str]], str]:
    def spelled(variables: Mapping[str, str]) -> str:
        return "\n".join(spell(name, value) for name, value in variables.items())

    return spelled


def _json(variables: Mapping[str, str]) -> str:
    return json.dumps(dict(variables), indent=2)


FORMATS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "export": _lines(_export),
    "dotenv": _lines(_dotenv),
    "json": _json,
    "fish": _lines(_fish),
    "powershell": _lines(_powershell),
}
