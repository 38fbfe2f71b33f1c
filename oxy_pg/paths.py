"""
Where everything is: the one place that knows the paths that oxy_pg chooses.

What PostgreSQL names in a data directory (``postmaster.pid``, ``PG_VERSION``)
is spelled in ``server/cluster/``, once each. What the supervisor needs before
it has imported this module, its starter tells it (``supervisor/order.py``).

Text and ``os.path`` instead of ``pathlib`` and ``platformdirs``: this module
is on the way of every process that attaches to a running server, and either
import alone would take longer than attaching does.
"""

from __future__ import annotations

import os
import stat
import sys

from oxy_pg import project
from oxy_pg.errors import ConfigurationError
from oxy_pg.system import cheap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included (unix(7)).
LONGEST_SOCKET = 103
_LONGEST_SOCKET_NAME = ".s.PGSQL.65535"
_LONGEST_RUN_DIR = LONGEST_SOCKET - len(f"/s/{_LONGEST_SOCKET_NAME}")
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+")

# Where a cluster goes that root runs as another user, when that user cannot reach the state dir.
VAR_LIB = "/var/lib/oxy_pg"
HOME_PREFIX = "cluster-"
# Below private_temp_dir(): the state directory of a temporary server.
TEMPORARY_PREFIX = "temporary-"
_CLUSTER = "postgres_data"
# What oxy_pg puts into a state directory, and into those of the plugin's servers.
_FILES = (
    *("password", "password.verifier", "port", "lock", "settings.json", "settings.json.earlier"),
    *("supervisor.log", "run", "kept", "oxy_pg.id"),
)
_PLUGINS_FILES = ("users", "booted")
# What is in a directory that is as good as empty: a disk's own, and what keeps one in Git.
_NOTHING = ("lost+found", ".gitignore", ".gitkeep", ".keep", ".DS_Store")
# An application's database of SQLite, which it keeps in the same directory until it is migrated.
SQLITE = "db.sqlite"
_EXPECTED = frozenset([*_PLUGINS_FILES, *_NOTHING])


def state_dir(given: str | PathLike[str] | None = None) -> str:
    """
    Return the state directory: given, OXY_STATE_DIR's, the project's, or the user's data directory.

    Links are resolved, so that all names of one directory mean the same
    server. Raises ConfigurationError when the name is empty, begins with the
    home directory of a user who has none, or is a project's, and a server that
    was made elsewhere is in it.
    """
    chosen = os.fspath(given) if given is not None else os.environ.get("OXY_STATE_DIR")
    ours = project.of_working_directory() if chosen is None else None
    if chosen is None:
        chosen = (None if ours is None else ours.state_dir) or _default_state_dir()
    if not chosen:
        raise ConfigurationError(
            "The state directory's name is empty (OXY_STATE_DIR or state_dir). Unset it to use "
            "the default, or write a directory's path."
        )
    if "\0" in chosen:
        raise ConfigurationError("The state directory's name has a NUL character in it.")
    place = os.path.realpath(_expanded(chosen))
    _refuse_unreadable(place)
    if ours is not None and ours.state_dir is not None:
        _refuse_prepared(StateDir(place), ours)
    return place


def _refuse_unreadable(place: str) -> None:
    """Raise ConfigurationError for a name that PostgreSQL could not tell us back."""
    if "\n" in place or "\r" in place:
        why = "has a line break in it"
        because = "PostgreSQL's postmaster.pid has one path in a line"
    elif not _is_utf8(os.fsencode(place)):
        why = "is not UTF-8"
        because = "PostgreSQL tells its path as text, in UTF-8"
    else:
        return
    raise ConfigurationError(
        f"The state directory's name {why}: {place!r}. {because}: choose another directory with "
        "OXY_STATE_DIR, for a temporary server's with OXY_PG_TEMP_DIR."
    )


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refuse_prepared(state: StateDir, ours: project.Project) -> None:
    """
    Raise ConfigurationError for a server that came with a project.

    Its configuration, and files that we would take for our own, may run commands
    and lead elsewhere.
    """
    try:
        # The lock is made just before the record, and is nothing but a lock.
        prepared = [path for path in state.own() if path != state.lock]
    except OSError:
        return
    from oxy_pg.system import recorded

    if prepared and not recorded.is_recorded(state.id, state_dirs_dir()):
        raise ConfigurationError(
            f"[tool.oxy-pg] in {ours.path} names the state directory {state.root}, in which there "
            "is a server already that you have not started before. It may have come with the "
            "project, and its configuration can run commands. If it is yours, or you trust it, "
            f"name it yourself, once: oxy-pg start --state-dir {_shell(state.root)} (or set "
            "OXY_STATE_DIR). Otherwise remove it."
        )


def _expanded(path: str) -> str:
    """Return a path with the user's home directory for ``~``; ConfigurationError if unknown."""
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise _no_home(found)
    return found


def _no_home(path: str) -> ConfigurationError:
    return ConfigurationError(
        f"The home directory in {path} is not known: HOME is not set, and the user id "
        f"{os.geteuid()} has none in /etc/passwd. Set HOME, or write absolute paths into "
        "OXY_STATE_DIR and OXY_PG_CACHE_DIR."
    )


def _default_state_dir() -> str:
    if sys.platform == "linux":
        # What platformdirs.user_data_dir("oxy") answers here, without the 10 ms of its import.
        base = os.environ.get("XDG_DATA_HOME", "").strip()
        return (base if os.path.isabs(base) else _expanded("~/.local/share")) + "/oxy"
    import platformdirs

    return platformdirs.user_data_dir("oxy", appauthor=False)


def cache_dir() -> str:
    """Return the directory for what can be made again: OXY_PG_CACHE_DIR or the user's cache dir."""
    given = os.environ.get("OXY_PG_CACHE_DIR")
    if given:
        return os.path.realpath(_expanded(given))
    import platformdirs

    try:
        found = platformdirs.user_cache_dir("oxy_pg", appauthor=False)
    except RuntimeError:  # where there is no home directory
        raise _no_home("~/.cache") from None
    return os.path.realpath(_expanded(found))


def binaries_dir() -> str:
    """
    Return the directory of `oxy-pg binaries add`: OXY_PG_BINARIES_DIR, or in the user's data dir.

    For root it is below /var/lib, where the user that PostgreSQL runs under can enter.
    """
    given = os.environ.get("OXY_PG_BINARIES_DIR")
    if given:
        return os.path.realpath(os.path.expanduser(given))
    if os.geteuid() == 0:
        return f"{VAR_LIB}/binaries"
    if sys.platform == "linux":
        # What platformdirs.user_data_dir() answers here, without the 10 ms of its import.
        base = os.environ.get("XDG_DATA_HOME", "").strip()
        base = base if os.path.isabs(base) else _expanded("~/.local/share")
        return os.path.realpath(f"{base}/oxy_pg/binaries")
    import platformdirs

    return os.path.realpath(platformdirs.user_data_dir("oxy_pg", appauthor=False)) + "/binaries"


def records_dir() -> str:
    """Return the directory for what must not be in the cache: checksums of what is in it."""
    return f"{_user_state_dir()}/templates"


def state_dirs_dir() -> str:
    """Return the directory of the user's record of state directories."""
    return f"{_user_state_dir()}/state-dirs"


def _user_state_dir() -> str:
    if sys.platform == "linux":
        # What platformdirs.user_state_dir() answers here, without the 10 ms of its import.
        base = os.environ.get("XDG_STATE_HOME", "").strip()
        base = base if os.path.isabs(base) else _expanded("~/.local/state")
        return os.path.realpath(f"{base}/oxy_pg")
    import platformdirs

    return os.path.realpath(platformdirs.user_state_dir("oxy_pg", appauthor=False))


class DataDir:
    """
    The files that oxy_pg keeps in one data directory, and those alongside it.

    ``path`` is where it really is, not a link to it: what is renamed into its
    place has to be on the same disk.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def log_dir(self) -> str:
        """The server's logs; ``log_directory`` in postgresql.conf."""
        return f"{self.path}/log"

    @property
    def mark(self) -> str:
        """Says that oxy_pg made this cluster."""
        return f"{self.path}/oxy_pg.txt"

    @property
    def unsynced(self) -> str:
        """There as long as this cluster, a new one, has not reached the disk."""
        return f"{self.path}/oxy_pg.unsynced"

    @property
    def new(self) -> str:
        """In an upgrade's new cluster, until it has taken the old one's place and name."""
        return f"{self.path}/oxy_pg.new"

    @property
    def filling(self) -> DataDir:
        """An upgrade's new cluster, not complete."""
        return DataDir(f"{self.path}.upgrading")

    @property
    def complete(self) -> DataDir:
        """An upgrade's new cluster before the swap, the old one after it."""
        return DataDir(f"{self.path}.upgraded")

    @property
    def dump(self) -> str:
        """What an upgrade's pg_dump writes and its pg_restore reads."""
        return f"{self.path}.dump"

    def aside(self, name: object) -> str:
        """Return where a cluster is made before it gets its name, or emptied after it lost it."""
        return f"{self.path}.new-{name}"

    def all_aside(self) -> list[str]:
        """Return every such place that exists."""
        return self._alongside(".new-")

    def keep_as(self, major: int) -> str:
        """Return a free name to keep an old cluster under."""
        name = f"{self.path}.old-{major}"
        number = 1
        while os.path.lexists(name):
            number += 1
            name = f"{self.path}.old-{major}-{number}"
        return name

    def kept(self) -> list[str]:
        """Return every old cluster that an upgrade has kept."""
        return self._alongside(".old-")

    def _alongside(self, *suffixes: str) -> list[str]:
        home, name = os.path.split(self.path)
        prefixes = tuple(name + suffix for suffix in suffixes)
        return sorted(f"{home}/{one}" for one in os.listdir(home) if one.startswith(prefixes))


class StateDir:
    """
    The files of one state directory.

    Making one touches nothing. Two are equal when they mean the same place.
    """

    __slots__ = ("root",)

    def __init__(self, root: str) -> None:
        self.root = root

    def __repr__(self) -> str:
        return f"StateDir({self.root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateDir) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def check_private(self) -> None:
        """
        Raise ConfigurationError where another user can change what is in the directory.

        Such a user could plant a password, or a supervisor of his own. And root,
        who creates, removes and gives away files here, would do that wherever a
        link of that user leads. One that does not exist yet is no error.
        """
        try:
            found = os.lstat(self.root)
        except OSError:
            return
        # What belongs to root is as safe as the machine: a volume's mount point often does.
        if found.st_uid not in {os.geteuid(), 0}:
            raise ConfigurationError(_foreign(self.root, found.st_uid))
        if found.st_mode & 0o022 and stat.S_ISDIR(found.st_mode):
            mode = stat.S_IMODE(found.st_mode)
            raise ConfigurationError(
                f"The state directory {self.root} is writable for other users (mode {mode:04o}), "
                f"who could replace the server in it. Close it: chmod go-w {_shell(self.root)}. "
                "If others may have used it meanwhile, choose a new place with OXY_STATE_DIR."
            )

    def own(self) -> list[str]:
        """Return the paths of what oxy_pg has put into the directory."""
        return [f"{self.root}/{name}" for name in sorted(os.listdir(self.root)) if _is_own(name)]

    def strangers(self) -> list[str]:
        """
        Return the names in a directory that is not for oxy_pg; none where it is.

        It is one that does not exist or is empty, the user's data directory
        for ``oxy``, one in which a server was started before, and one in which
        an application has put the SQLite database that is to be migrated.
        """
        try:
            names = os.listdir(self.root)
        except OSError:
            return []
        if {"lock", "supervisor.log"}.issubset(names) or SQLITE in names:
            return []
        if self.root == os.path.realpath(_default_state_dir()):
            return []
        return sorted(name for name in names if not (_is_own(name) or name in _EXPECTED))

    @property
    def data_dir(self) -> str:
        """The cluster; a link where root had to put it elsewhere."""
        return f"{self.root}/{_CLUSTER}"

    @property
    def cluster(self) -> DataDir:
        """The cluster where it really is."""
        return DataDir(os.path.realpath(self.data_dir))

    @property
    def unsynced(self) -> str:
        """There as long as a new cluster has not reached the disk."""
        return DataDir(self.data_dir).unsynced

    @property
    def log_dir(self) -> str:
        """The server's logs."""
        return DataDir(self.data_dir).log_dir

    @property
    def supervisor_log(self) -> str:
        """The supervisor's log."""
        return f"{self.root}/supervisor.log"

    @property
    def lock(self) -> str:
        """Held by the starting process, and then by the supervisor; its text names the holder."""
        return f"{self.root}/lock"

    @property
    def id(self) -> str:
        """A random name of this directory, which the user's record of them has, too."""
        return f"{self.root}/oxy_pg.id"

    @property
    def password(self) -> str:
        """The password of the role ``oxy``, readable by its owner alone."""
        return f"{self.root}/password"

    @property
    def verifier(self) -> str:
        """What the server stores for that password, as it was seen last."""
        return f"{self.password}.verifier"

    @property
    def port(self) -> str:
        """The port of last time."""
        return f"{self.root}/port"

    @property
    def settings(self) -> str:
        """The settings that the last caller asked for."""
        return f"{self.root}/settings.json"

    def kept_settings(self, major: int) -> str:
        """Return where an upgrade keeps the settings that only the old version takes."""
        return f"{self.settings}.old-{major}"

    def all_kept_settings(self) -> list[str]:
        """Return every such file that exists."""
        prefix = f"{os.path.basename(self.settings)}.old-"
        return [f"{self.root}/{name}" for name in os.listdir(self.root) if name.startswith(prefix)]

    @property
    def home(self) -> str:
        """The directory that the cluster is in: this one, or where root had to put it."""
        try:
            target = os.readlink(self.data_dir)
        except OSError:
            return self.root
        home = os.path.dirname(target)
        return home if is_home_elsewhere(home) else self.root

    @property
    def run_dir(self) -> str:
        """The directory of the sockets: short, plain, and closed to other users."""
        run_dir = f"{self.home}/run"
        if len(run_dir) <= _LONGEST_RUN_DIR and _PLAIN.issuperset(run_dir):
            return run_dir
        return f"{private_temp_dir('/tmp')}/{digest(self.root)}"  # noqa: S108

    @property
    def control(self) -> str:
        """The supervisor's socket."""
        return f"{self.run_dir}/control"

    @property
    def socket_dir(self) -> str:
        """PostgreSQL's socket directory."""
        return f"{self.run_dir}/s"

    @property
    def socket_links(self) -> list[str]:
        """Second names of PostgreSQL's socket, of which the first that is possible is made."""
        return [f"{self.root}/kept/socket", f"{self.run_dir}.kept/socket"]

    @property
    def earlier_settings(self) -> str:
        """The settings before those that wait for a restart."""
        return f"{self.settings}.earlier"

    @property
    def longest_socket(self) -> str:
        """The longest path that a socket of PostgreSQL may get here."""
        return f"{self.socket_dir}/{_LONGEST_SOCKET_NAME}"


def _is_own(name: str) -> bool:
    """Whether oxy_pg gives this name to a file in a state directory."""
    if name in {_CLUSTER, *_FILES}:
        return True
    first, dot, rest = name.partition(".")
    if first == _CLUSTER and dot:  # not each: somebody may keep a copy here
        return rest.startswith(("new-", "upgrad", "dump", "old-")) or rest.endswith(".link")
    if name.startswith("settings.json."):
        return rest.startswith(("json.old-", "json.lock")) or rest.endswith(".new")
    return first in {"password", "port"} and rest.endswith(".new")


def _foreign(root: str, owner: int) -> str:
    import pwd

    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    belongs = f"The state directory {root} belongs to the user {name}"
    if os.geteuid() == 0:
        return (
            f"{belongs}, and root does not work in a directory that another user can change. Run "
            f"it as that user: runuser -u {_shell(name)} -- oxy-pg …; or choose another place with "
            "OXY_STATE_DIR."
        )
    return (
        f"{belongs}, who could replace the server in it. Choose another place with OXY_STATE_DIR; "
        f"or, if it is yours, have root give it to you: chown -R {os.geteuid()} {_shell(root)}"
    )


def _shell(text: str) -> str:
    import shlex

    return shlex.quote(text)


def digest(text: str) -> str:
    """Return a short name for ``text`` that nothing else shares."""
    return cheap.sha256(os.fsencode(text))[:16]


def private_temp_dir(temp_dir: str) -> str:
    """
    Return this user's own directory below ``temp_dir``; it may not exist yet.

    Its name is the same for every process of this user. Where another user
    has taken that name, the next one is used.
    """
    uid = os.geteuid()
    for number in range(100):
        path = f"{temp_dir}/oxy_pg-{uid}" + (f"-{number}" if number else "")
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return path
        if stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022:
            return path
    raise ConfigurationError(
        f"Every name for a private directory below {temp_dir} (oxy_pg-{uid}, …) is taken by "
        "another user. Ask an administrator to remove those."
    )


def is_private_temp_dir(path: str) -> bool:
    """Whether ``path`` is named like what ``private_temp_dir()`` returns."""
    return os.path.basename(path).startswith(f"oxy_pg-{os.geteuid()}")


def is_home_elsewhere(path: str) -> bool:
    """Whether ``path`` is a place where root puts clusters, and so ours to remove."""
    parent, name = os.path.split(path)
    return name.startswith(HOME_PREFIX) and (parent == VAR_LIB or is_private_temp_dir(parent))


def cluster_in(home: str) -> str:
    """Return the data directory in a place where root puts clusters."""
    return f"{home}/{_CLUSTER}"


def owner_of_home(home: str) -> str:
    """Return the file in such a place that names the state directory it belongs to."""
    return f"{home}/state_dir"
