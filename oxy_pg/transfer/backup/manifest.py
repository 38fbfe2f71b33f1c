"""
What a backup holds: a value, written at the end of the file that it describes.

Not in a file of its own: an operator copies one file, and a crash between two
would leave a pair that does not match. At the end it is ignored by pg_restore,
which reads from the beginning what the table of contents names, and harmless for
zcat: the manifest is one more gzip member, whose text is an SQL comment. A last
member, which is empty and of a fixed size, holds its length. A file that was
copied incompletely has no such end.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from oxy_pg.errors import BackupDamaged, BackupTooNew, ConfigurationError, NotABackup
from oxy_pg.report import Report
from oxy_pg.system.printable import many
from oxy_pg.transfer.contents import Extension, TableRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

FORMAT = 1

_PREFIX = "-- oxy_pg backup manifest: "
_LONGEST = 1 << 30  # bytes; a million tables take a tenth of it
_LONGEST_TEXT = 1 << 28  # bytes, unpacked
_BLOCK = 1 << 20
_VERSION = re.compile(r"\d{1,3}[\w.]{0,30}", re.ASCII)
# RFC 1952: gzip's header with a comment, no data, and the check sum and size of none.
_FOOTER = b"\x1f\x8b\x08\x10\0\0\0\0\0\xffoxy_pg manifest %012d\0\x03\0" + bytes(8)
_FOOTER_SIZE = len(_FOOTER % 0)
_HEADS = {b"PGDMP": "custom", b"\x1f\x8b": "plain"}


@dataclass(frozen=True, slots=True)
class Manifest(Report):
    """What a backup holds; all of it as of one moment, that of the dump's snapshot."""

    kind: Literal["custom", "plain"]  # pg_dump's format; plain is SQL, compressed with gzip
    database: str
    time: str  # ISO 8601, UTC, by the server's clock
    server_version: str  # "16.14"
    tool_version: str  # pg_dump's
    oxy_pg_version: str
    cluster: str  # identifies it; "" where the role had no right to know
    encoding: str
    collate: str
    ctype: str
    database_bytes: int  # of the database
    size: int  # bytes of the dump, without the manifest
    sha256: str  # of the dump, without the manifest
    tables: tuple[TableRows, ...]
    large_objects: int
    extensions: tuple[Extension, ...]
    schemas: tuple[str, ...] = ()  # those that are in it, where some were left out
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """The rows of all tables."""
        return sum(table.rows for table in self.tables)


def trailer(manifest: Manifest) -> bytes:
    """Return what is written at the end of the file."""
    values = manifest.to_dict()
    if not manifest.schemas:  # so that an older oxy_pg can read it
        del values["schemas"]
    text = f"{_PREFIX}{json.dumps(values)}\n"
    member = gzip.compress(text.encode("ascii"), mtime=0)
    return member + _FOOTER % len(member)


def read(path: str) -> Manifest:
    """
    Return the manifest of a backup; the dump is not compared with it.

    Raises NotABackup, BackupDamaged, BackupTooNew (of a newer oxy_pg), and
    ConfigurationError for a file that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return _read(file, path)
    except OSError as error:
        raise ConfigurationError(
            f"The backup {path} cannot be read: {error.strerror}. Check the path and its rights."
        ) from error


def _read(file: BinaryIO, path: str) -> Manifest:
    head = file.read(5)
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise BackupDamaged(path, "it is empty")
    if not any(head.startswith(magic) for magic in _HEADS):
        raise NotABackup(path, "it begins with the signature of neither pg_dump nor gzip")
    file.seek(max(0, size - _FOOTER_SIZE))
    length = _length(file.read())
    if length is None:
        raise BackupDamaged(
            path,
            "it has no manifest at its end, so it was truncated (or it was made by pg_dump itself: "
            "then restore it with pg_restore or psql)",
        )
    start = size - _FOOTER_SIZE - length
    if start < 0:
        raise BackupDamaged(path, "its end does not belong to it")
    file.seek(start)
    manifest = _parsed(file.read(length), path)
    if manifest.size != start:
        raise BackupDamaged(
            path, f"the dump in it has {many(start, 'byte')}, and {manifest.size:,} were written"
        )
    return manifest


def _length(footer: bytes) -> int | None:
    digits = footer[-_FOOTER_SIZE:][26:38]
    if not digits.isdigit() or footer != _FOOTER % int(digits) or int(digits) > _LONGEST:
        return None
    return int(digits)


def _parsed(member: bytes, path: str) -> Manifest:
    try:
        unpacking = zlib.decompressobj(wbits=31)  # RFC 1952
        text = unpacking.decompress(member, _LONGEST_TEXT).decode("ascii")
        if not unpacking.eof:
            raise BackupDamaged(path, "its manifest does not end where it should")
        values = json.loads(text.removeprefix(_PREFIX))
    except (ValueError, zlib.error, RecursionError, MemoryError) as error:
        raise BackupDamaged(path, f"its manifest cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise BackupDamaged(path, "its manifest is not a JSON object")
    if isinstance(values.get("format"), int) and values["format"] > FORMAT:
        raise BackupTooNew(
            path,
            f"a newer oxy_pg ({values.get('oxy_pg_version')})",
            "an oxy_pg that does not know its format",
        )
    try:
        values["tables"] = tuple(_checked(TableRows, one) for one in _list(values, "tables"))
        values["extensions"] = tuple(
            _checked(Extension, {**one, "uses": tuple(one.get("uses", ()))})
            for one in _list(values, "extensions")
        )
        values["schemas"] = tuple(_list(values, "schemas")) if "schemas" in values else ()
        manifest: Manifest = _checked(Manifest, values)
    except (AttributeError, KeyError, TypeError) as error:
        raise BackupDamaged(path, f"its manifest is incomplete ({error})") from error
    except ValueError as error:
        raise BackupDamaged(path, f"its manifest is not valid: {error}") from error
    return manifest


def _list(values: dict[str, Any], name: str) -> list[Any]:
    found = values[name]
    if not isinstance(found, list):
        raise TypeError(f"{name} is not a list")
    return found


def _checked(kind: Any, values: Any) -> Any:
    """Return the dataclass with these values; ValueError and TypeError if one is wrong."""
    if not isinstance(values, dict):
        raise TypeError(f"{kind.__name__} is not a JSON object")
    made = kind(**values)
    for field in fields(kind):
        value = getattr(made, field.name)
        if field.type == "str" and not (isinstance(value, str) and "\0" not in value):
            raise ValueError(f"{field.name} is not a text")
        if field.type == "int" and (type(value) is not int or value < 0):
            raise ValueError(f"{field.name} is not a number of things")
        if field.type == "tuple[str, ...]" and not all(
            isinstance(one, str) and "\0" not in one for one in value
        ):
            raise ValueError(f"{field.name} are not texts")
    if isinstance(made, Manifest):
        if made.kind not in _HEADS.values():
            raise ValueError("kind is neither custom nor plain")
        for name in ("server_version", "tool_version"):
            if not _VERSION.fullmatch(getattr(made, name)):
                raise ValueError(f"{name} is not a version")
    return made


def check(path: str, on_bytes: Callable[[int, int], object]) -> Manifest:
    """
    Return the manifest of a backup, once the SHA-256 of the dump is what it says.

    ``on_bytes`` is called with how many bytes are done, and of how many.
    Raises what ``read()`` raises.
    """
    manifest = read(path)
    found = digest(path, manifest.size, on_bytes)
    if found != manifest.sha256:
        raise BackupDamaged(
            path, f"its SHA-256 is {found}, and {manifest.sha256} was written into its manifest"
        )
    return manifest


def digest(path: str, size: int, on_bytes: Callable[[int, int], object]) -> str:
    """Return the SHA-256 of the first ``size`` bytes of a file."""
    digested, done = hashlib.sha256(), 0
    try:
        with open(path, "rb", buffering=0) as file:
            while done < size and (block := file.read(min(_BLOCK, size - done))):
                digested.update(block)
                done += len(block)
                on_bytes(done, size)
    except OSError as error:
        raise BackupDamaged(path, f"it cannot be read: {error.strerror}") from error
    return digested.hexdigest()
