"""The files of backups: their names, how they appear atomically, and which ones are kept."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from oxy_pg.errors import BackupExists, ConfigurationError, OxyPgError, TransferRefused
from oxy_pg.system import aside, files
from oxy_pg.transfer.backup import manifest as manifests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oxy_pg.transfer.backup.manifest import Manifest

_ENDINGS = {"custom": ".dump", "plain": ".sql.gz"}
_STAMP = r"-\d{8}T\d{6}Z(-\d+)?(\.dump|\.sql\.gz)"
_PART = ".oxy-part"
_NO_SPACE = "Make room there, or choose another place. No part of it was left behind."


def stem(database: str) -> str:
    """Return a database's name as it appears in the names of its backups."""
    # Without what a file's name cannot hold, or a shell would interpret; else easy to read.
    return "".join(
        quote(letter, safe="") if letter in "/\\%*?[]\"'" or not letter.isprintable() else letter
        for letter in database
    ).replace(".", "%2E", 1 if database.startswith(".") else 0)


def name(database: str, time: str, kind: str, number: int = 1) -> str:
    """Return the name that a backup gets in a directory; ``time`` is ISO 8601 in UTC."""
    stamp = re.sub(r"[-:]", "", time[:19]) + "Z"
    return f"{stem(database)}-{stamp}" + (f"-{number}" if number > 1 else "") + _ENDINGS[kind]


@contextlib.contextmanager
def written_aside(directory: str, label: str) -> Iterator[str]:
    """
    Give the path of a new, empty file in ``directory``, which is removed afterwards.

    Otherwise as ``aside.written()``; raises ConfigurationError where none can be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            path = stack.enter_context(aside.written(directory, label, _PART))
        except OSError as error:
            raise ConfigurationError(
                f"No backup can be written into {directory}: {error.strerror}. Create the "
                "directory, or choose one that you can write to."
            ) from error
        yield path


def finish(part: str, manifest: Manifest) -> None:
    """Write the manifest at the end of a file, and sync the file to the disk."""
    try:
        with open(part, "ab") as file:
            file.write(manifests.trailer(manifest))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TransferRefused(f"write {part}", str(error.strerror), _NO_SPACE) from error


def put(part: str, path: str, *, force: bool) -> None:
    """Give a complete file its name, atomically; BackupExists unless ``force``."""
    try:
        aside.put(part, path, replace=force)
    except FileExistsError as error:
        raise BackupExists(path) from error
    except OSError as error:
        remedy = "Check the path and its rights."
        raise TransferRefused(f"write {path}", str(error.strerror), remedy) from error


def rotate(directory: str, newest: Manifest, keep: int) -> list[str]:
    """
    Delete the oldest backups of a database, all but ``keep``; return their paths.

    Only files are counted whose name is one that ``name()`` gives, and whose
    manifest names this database of this cluster, and the same schemas of it.
    """
    ours = []
    pattern = re.compile(re.escape(stem(newest.database)) + _STAMP)
    for found in os.listdir(directory):
        path = f"{directory}/{found}"
        if not pattern.fullmatch(found) or os.path.islink(path):
            continue
        try:
            other = manifests.read(path)
        except OxyPgError:
            continue  # not known to be a backup of this database
        if _is_of_the_same(other, newest):
            ours.append((other.time, found, path))
    deleted = [path for _, _, path in sorted(ours)[:-keep]]
    for path in deleted:
        with contextlib.suppress(FileNotFoundError):  # another backup has deleted it
            os.unlink(path)
    files.sync_file(directory)
    return deleted


def _is_of_the_same(one: Manifest, other: Manifest) -> bool:
    return (one.database, one.cluster, set(one.schemas)) == (
        other.database,
        other.cluster,
        set(other.schemas),
    )
