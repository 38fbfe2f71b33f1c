"""What a template is made of, as one short text: unchanged, nothing has to be filled again."""

from __future__ import annotations

import difflib
import hashlib
import os
from typing import TYPE_CHECKING, NoReturn

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
    path that does not exist: a typing error would keep a template for ever;
    and for a file that cannot be read.
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


def told(parts: Iterable[str], root: str) -> str:
    """
    Return what the parts of a key were taken for, in a line; nothing of them is read.

    A text is allowed, and a typing error in a path looks like one.
    """
    return "; ".join(_told(part, root) for part in parts)


def _told(text: str, root: str) -> str:
    path = _path(text, root)
    if os.path.isdir(path):
        try:
            count = sum(1 for _ in _files(path))
        except pytest.UsageError:
            return f"{text} (cannot be read)"
        return f"{count} file{'s' * (count != 1)} in {text.rstrip('/')}/"
    if os.path.exists(path):
        return f"the file {text}"
    if not _is_text(text):
        return f"{text} (no such file)"
    near = difflib.get_close_matches(text, os.listdir(root), 1, 0.8)
    return f"the text {text!r} (no such file{f'; did you mean {near[0]}?' if near else ''})"


def _path(text: str, root: str) -> str:
    return os.path.join(root, os.path.expanduser(text))


def _is_text(text: str) -> bool:
    """Whether it may be meant as a text where there is no such path."""
    return "/" not in text and not text.endswith((".py", ".sql"))


def _described(part: str | os.PathLike[str], root: str) -> Iterator[bytes]:
    text = os.fspath(part)
    path = _path(text, root)
    if os.path.isdir(path):
        yield b"directory"
        for name in sorted(_files(path)):
            yield name.encode(errors="surrogateescape")
            yield _content(f"{path}/{name}")
    elif os.path.isfile(path):
        yield b"file"
        yield _content(path)
    elif os.path.exists(path):
        raise pytest.UsageError(
            f"oxy_pg_template_key: {path} is neither a file nor a directory, and is not read. Name "
            "files and directories that the template is made from."
        )
    elif isinstance(part, str) and _is_text(text):
        yield b"text"
        yield text.encode()
    else:
        raise pytest.UsageError(
            f"oxy_pg_template_key: there is no {text} in {root}. Name files and directories that "
            "the template is made from; a text of your own has no slash in it."
        )


def _files(top: str) -> Iterator[str]:
    """
    Yield the names of all files below a directory, but for compiled and hidden ones.

    Links to files are among them; pipes, sockets and devices, which may never end, are not.
    """
    for directory, below, names in os.walk(top, onerror=_refuse):
        below[:] = [name for name in below if name not in _LEFT_OUT and not name.startswith(".")]
        for name in names:
            path = f"{directory}/{name}"
            if not name.startswith(".") and not name.endswith(".pyc") and os.path.isfile(path):
                yield os.path.relpath(path, top)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        _refuse(error, path)


def _refuse(error: OSError, path: str | None = None) -> NoReturn:
    """Raise the error for what cannot be read: a change of it would not be noticed."""
    raise pytest.UsageError(
        f"oxy_pg_template_key: {path or error.filename} cannot be read: {error.strerror}. Make it "
        "readable for the user who runs the tests, or name files that are."
    ) from error
