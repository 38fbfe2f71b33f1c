"""The account of the operating system that PostgreSQL runs under."""

from __future__ import annotations

import errno
import os
import stat

from oxy_pg import paths
from oxy_pg.errors import ConfigurationError
from oxy_pg.system import files, private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oxy_pg.paths import StateDir

# PostgreSQL refuses to run as root. A distribution's own account for it comes first; "nobody" is
# on every machine. What else runs under them cannot connect: see Account.socket_users.
_UNPRIVILEGED = ("postgres", "nobody")


class Account:
    """A user of this machine; ``demoted`` when it is not the one that we are."""

    __slots__ = ("demoted", "gid", "name", "uid")

    def __init__(self, uid: int, gid: int, name: str, *, demoted: bool) -> None:
        self.uid = uid
        self.gid = gid
        self.name = name
        self.demoted = demoted

    @property
    def socket_users(self) -> tuple[str, ...]:
        """
        The users of this machine who may come in by the private socket: for pg_ident.conf.

        We ourselves, and this account if it is a person's. The account that root
        has PostgreSQL run under for want of another one may be shared with other
        programs: they could reach the socket, and must not get in.
        """
        ours = user_name(os.geteuid())
        return (ours,) if self.demoted and self.name in _UNPRIVILEGED else (self.name, ours)

    def can_enter(self, path: str) -> bool:
        """
        Whether this account may pass through every directory above ``path``.

        Looks at owner, group and mode. Access lists are not asked: they can
        only be found out by trying.
        """
        if not self.demoted:
            return True
        parent = os.path.dirname(os.path.abspath(path))
        while True:
            found = _existing(parent)
            if found is not None and not self._may_search(found):
                return False
            if parent == "/":
                return True
            parent = os.path.dirname(parent)

    def _may_search(self, found: os.stat_result) -> bool:
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.gid:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)

    def own(self, path: str) -> None:
        """Give a directory or file to this account, if it is not ours anyway; raises OSError."""
        if not self.demoted:
            return
        # By descriptor: a link in its place, or a second name of some file, is not given away.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
                raise OSError(errno.EMLINK, "the file has another name elsewhere", path)
            os.fchown(descriptor, self.uid, self.gid)
        finally:
            os.close(descriptor)

    def popen_arguments(self) -> dict[str, Any]:
        """Return what makes ``subprocess`` run a program under this account."""
        if not self.demoted:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def _existing(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None  # we shall make it, and make it so that it can be entered


def account_for(state: StateDir) -> Account:
    """
    Return the account that runs the server of this state directory.

    It is our own, unless we are root: then it is the one that owns the data
    directory already, or else an unprivileged one that this machine has.
    """
    uid = os.geteuid()
    if uid:
        return Account(uid, os.getegid(), user_name(uid), demoted=False)
    import pwd

    try:
        owner = os.stat(state.data_dir).st_uid
    except OSError:
        owner = 0
    if owner:
        return Account(owner, _group_of(owner), user_name(owner), demoted=True)
    unmapped = False
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if _is_mapped(entry.pw_uid):
            return Account(entry.pw_uid, entry.pw_gid, name, demoted=True)
        unmapped = True
    if unmapped:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root, and this is the root of a user namespace in which "
            f"no user {' or '.join(_UNPRIVILEGED)} exists (/proc/self/uid_map has no number for "
            "one). Run it there as an ordinary user (podman run --userns=keep-id, unshare "
            "--map-user=1000), or give the namespace more users (/etc/subuid)."
        )
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and this machine has neither a user named "
        f"{' nor '.join(_UNPRIVILEGED)}. Add one (useradd --system postgres), or run as an "
        "ordinary user."
    )


def _is_mapped(uid: int) -> bool:
    """Whether there is such a user in our user namespace (user_namespaces(7))."""
    for line in (files.read_text("/proc/self/uid_map") or "").splitlines():
        first, _, count = map(int, line.split())
        if first <= uid < first + count:
            return True
    return not os.path.exists("/proc/self/uid_map")


def _group_of(uid: int) -> int:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def user_name(uid: int) -> str:
    """Return the name that PostgreSQL's peer authentication sees for ``uid``."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def shared_place(private_dir: str) -> str:
    """
    Return the directory for what ``private_dir`` would hold if others could enter it.

    What lies below the temporary directory is replaced by something below the
    temporary directory.
    """
    import tempfile

    temp_dir = os.path.realpath(tempfile.gettempdir())
    temporary = os.path.realpath(private_dir).startswith(temp_dir + "/")
    return paths.private_temp_dir(temp_dir) if temporary else paths.VAR_LIB


def shared_base(private_dir: str, account: Account) -> str:
    """
    Return a directory of root's that ``account`` can enter, made if need be.

    ``private_dir`` is the one that it cannot enter.
    """
    base = shared_place(private_dir)
    try:
        descriptor = private.make_directory(base)
    except (OSError, private.NotPrivate) as error:
        raise ConfigurationError(
            f"As root, PostgreSQL's files have to be in {base}, and that cannot be used: {error}. "
            "Correct its owner or mode."
        ) from error
    files.set_mode(descriptor, 0o711, base)  # it can be passed, not listed
    os.close(descriptor)
    if not account.can_enter(f"{base}/x"):
        raise ConfigurationError(
            f"As root, PostgreSQL runs under the user {account.name}, who can enter neither "
            f"{private_dir} nor {base}. Set OXY_STATE_DIR to a directory that this user can reach."
        )
    return base
