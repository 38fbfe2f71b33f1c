"""What a template is made of, as one short text: unchanged, nothing has to be filled again."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Key = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None

_LEFT_OUT = {"__pycache__"}


def digest(key: Key, root: str) -> str | None:
    """
    Return what stands for a key; None where there is none.

    Each part is a file, a directory (its files count, by name and content) or
    any other text. Paths are relative to ``root``. Raises UsageError for a
    path that does not exist: a typing error would keep a template for ever.
    """
    if key is None:
        return None
    parts = [key] if isinstance(key, str | os.PathLike) else list(key)
    if not parts:
        return None
    found = hashlib.sha256()
    for part in parts:
        for words in _described(part, root):
            found.update(len(words).to_bytes(8, "big") + words)
    return found.hexdigest()


def _described(part: str | os.PathLike[str], root: str) -> Iterator[bytes]:
    text = os.fspath(part)
    path = os.path.join(root, os.path.expanduser(text))
    if os.path.isdir(path):
        yield b"directory"
        for name in sorted(_files(path)):
            yield name.encode(errors="surrogateescape")
            yield _content(f"{path}/{name}")
    elif os.path.exists(path):
        yield b"file"
        yield _content(path)
    elif isinstance(part, str) and "/" not in text and not text.endswith((".py", ".sql")):
        yield b"text"
        yield text.encode()
    else:
        raise pytest.UsageError(
            f"oxy_pg_template_key: there is no {text} in {root}. Name files and directories that "
            "the template is made from; a text of your own has no slash in it."
        )


def _files(top: str) -> Iterator[str]:
    """Yield the names of all files below a directory, but for compiled and hidden ones."""
    for directory, below, names in os.walk(top):
        below[:] = [name for name in below if name not in _LEFT_OUT and not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and not name.endswith(".pyc"):
                yield os.path.relpath(f"{directory}/{name}", top)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
