"""One data directory: whose it is, how it comes to be, what it is configured to do."""

from __future__ import annotations

import os

from oxy_pg import paths
from oxy_pg.errors import ConfigurationError, ForeignDataDirectory, ServerError, VersionMismatch
from oxy_pg.facts import MAJOR
from oxy_pg.installations import major_of
from oxy_pg.paths import DataDir
from oxy_pg.server.cluster import account as accounts
from oxy_pg.server.cluster import logs, postmaster
from oxy_pg.system import cheap, files, private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from oxy_pg.installations import Installation
    from oxy_pg.paths import StateDir
    from oxy_pg.server.cluster.account import Account
    from oxy_pg.system.deadline import Deadline

_MARK_TEXT = (
    "This cluster was made by oxy_pg and is started by it. postgresql.conf, pg_hba.conf and\n"
    "pg_ident.conf are written anew at every start. Remove it with `oxy-pg reset`.\n"
)


def make_state_dir(state: StateDir) -> None:
    """Make the state directory if need be; ConfigurationError when it cannot be used."""
    try:
        # As root the server's own user has to pass; it sees no more than the names it knows.
        files.make_directories(state.root, 0o700 if os.geteuid() else 0o711)
    except FileExistsError:
        raise ConfigurationError(
            f"The state directory {state.root} is a file. Choose a directory with OXY_STATE_DIR."
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"The state directory {state.root} cannot be made: {error.strerror}. "
            "Choose another place with OXY_STATE_DIR."
        ) from error
    state.check_private()
    check_access(state)
    _check_content(state)


def record(state: StateDir) -> None:
    """Let the user's projects name this state directory from now on; for the lock's holder."""
    from oxy_pg.system import recorded

    # Without a place for a record it is asked for by name the next time.
    with cheap.suppress(OSError, private.NotPrivate, ConfigurationError):
        recorded.keep(state.id, paths.state_dirs_dir())


def check_access(state: StateDir, *, writes: bool = True) -> None:
    """Raise ConfigurationError where we may not use the state directory; it need not exist."""
    try:
        os.stat(state.root)
    except PermissionError:
        what = "cannot be reached"
    except OSError:
        return
    else:
        needed = os.R_OK | os.X_OK | (os.W_OK if writes else 0)
        if os.access(state.root, needed) or not os.path.lexists(state.root):
            return  # it may go at this moment
        what = "is not writable" if writes else "is not readable"
    raise ConfigurationError(
        f"The state directory {state.root} {what} for {accounts.user_name(os.geteuid())}. Correct "
        "its owner or mode, or choose another place with OXY_STATE_DIR."
    )


def _check_content(state: StateDir) -> None:
    """Make sure, before the first file is written, that nothing else is kept in the directory."""
    if strangers := state.strangers():
        shown = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
        raise ConfigurationError(
            f"The state directory {state.root} holds other files ({shown}) and no server of "
            "oxy_pg. Nothing was written there. Choose a new or an empty directory "
            f"(OXY_STATE_DIR, state_dir= or --state-dir), such as {state.root}/postgres."
        )
    if not os.path.lexists(state.lock) and exists(state):
        check_mark(state)


def version(state: StateDir) -> str | None:
    """Return the major version of the cluster ("16"); None where there is no cluster."""
    return version_in(state.data_dir)


def version_in(data_dir: str) -> str | None:
    """Return the major version that a data directory was made with; None if it is not one."""
    text = files.read_text(f"{data_dir}/PG_VERSION")
    return text.strip() if text is not None else None


def exists(state: StateDir) -> bool:
    """Whether there is anything where the cluster belongs."""
    try:
        # What mkfs makes at the top of a volume is no data.
        return bool(set(os.listdir(state.data_dir)) - {"lost+found"})
    except FileNotFoundError:
        return False
    except OSError:
        return True


def check_mark(state: StateDir) -> None:
    """Make sure that oxy_pg made the cluster; ForeignDataDirectory if not. Touches nothing."""
    data_dir = state.data_dir
    try:
        content = os.listdir(data_dir)
    except NotADirectoryError:
        raise ForeignDataDirectory(data_dir, "it is not a directory") from None
    except OSError as error:
        raise ForeignDataDirectory(data_dir, f"it cannot be read ({error.strerror})") from error
    mark_name = os.path.basename(DataDir(data_dir).mark)
    if mark_name not in content:
        reason = "oxy_pg did not make it" if "PG_VERSION" in content else "it is not a cluster"
        raise ForeignDataDirectory(data_dir, f"{reason} ({mark_name} is missing)")


def check(state: StateDir, account: Account) -> None:
    """
    Make sure that the cluster is ours and can be used; touches nothing.

    Raises ForeignDataDirectory or VersionMismatch.
    """
    major = check_ours(state, account)
    if major != MAJOR:
        raise VersionMismatch(state.data_dir, str(version(state)), str(MAJOR))


def check_ours(state: StateDir, account: Account) -> int:
    """Return the cluster's major version; ForeignDataDirectory if it is not managed by oxy_pg."""
    check_mark(state)
    data_dir = state.data_dir
    owner = os.stat(data_dir).st_uid
    if owner != account.uid:
        raise ForeignDataDirectory(
            data_dir,
            f"it belongs to the user {accounts.user_name(owner)}, "
            f"and PostgreSQL would run as {account.name}",
        )
    major = version(state)
    if major is None:
        raise ForeignDataDirectory(data_dir, "its PG_VERSION is missing or unreadable")
    if not os.access(data_dir, os.W_OK):
        raise ForeignDataDirectory(data_dir, "it is read-only")
    return major_of(major)


def create(
    state: StateDir,
    binaries: Installation,
    account: Account,
    deadline: Deadline,
    *,
    durable: bool,
) -> str:
    """
    Create the cluster: alongside its place, then renamed into it when complete.

    Nothing is synced; for a ``durable`` one ``sync_if_new()`` does that, all
    at once. Returns what ``template.publish()`` is to be called with. Raises
    InitdbFailed, or OSError when the disk is full. A crash leaves at most a
    directory ``postgres_data.new-*``, which the next call removes.
    """
    from oxy_pg.server.cluster import template

    home = _home_for(state, account)
    _remove_leftovers(home)
    place = DataDir(paths.cluster_in(home))
    aside = place.aside(os.getpid())
    try:
        waiting = template.make_cluster(aside, binaries, account, deadline, durable=durable)
        mark(aside, account, unsynced=durable)
        os.rename(aside, place.path)
    except OSError as error:
        _remove_unfinished(aside if home == state.root else home)
        if os.path.ismount(place.path):
            raise ConfigurationError(
                f"The data directory {place.path} is a mount point, and a new cluster, which is "
                f"renamed into its place, cannot be put there ({error.strerror}). Mount the volume "
                f"as {state.root}, the state directory."
            ) from error
        raise
    except BaseException:
        _remove_unfinished(aside if home == state.root else home)
        raise
    if home != state.root:
        # Made on the disk of the state directory: a rename does not lead from one to another.
        link = f"{state.data_dir}.{os.getpid()}.link"
        os.symlink(place.path, link)
        os.rename(link, state.data_dir)
    return waiting


def _remove_unfinished(place: str) -> None:
    postmaster.remove_segment(place)
    files.remove_tree(place)


def mark(data_dir: str, account: Account, *, unsynced: bool = False) -> None:
    """Make a new cluster, which nothing has been synced of yet, recognisable as ours."""
    names = DataDir(data_dir)
    for path in (names.mark, names.unsynced) if unsynced else (names.mark,):
        files.write_text(path, _MARK_TEXT, owner=(account.uid, account.gid), sync=False)
    make_log_dir(data_dir, account)


def make_log_dir(data_dir: str, account: Account) -> str:
    """Make the directory of the server's logs if need be; return its path."""
    log_dir = DataDir(data_dir).log_dir
    if not os.path.isdir(log_dir):
        files.make_directory(log_dir, 0o700)
        account.own(log_dir)
    return log_dir


def _home_for(state: StateDir, account: Account) -> str:
    """Return where the cluster is to be: elsewhere if root's server could not reach it."""
    if os.path.islink(state.data_dir) and not os.path.exists(state.data_dir):
        os.unlink(state.data_dir)  # what it pointed to has been removed
    if account.can_enter(state.data_dir):
        return state.root
    import secrets

    base = accounts.shared_base(state.root, account)
    home = f"{base}/{paths.HOME_PREFIX}{paths.digest(state.root)[:8]}-{secrets.token_hex(4)}"
    files.make_directory(home, 0o711)  # it can be passed, not listed
    files.write_text(paths.owner_of_home(home), f"{state.root}\n")
    return home


def _remove_leftovers(home: str) -> None:
    for path in DataDir(paths.cluster_in(home)).all_aside():
        postmaster.remove_segment(path)  # of an initdb that was killed
        files.remove_tree(path)


def sync_if_new(state: StateDir) -> None:
    """Make sure that a cluster that was made just now has reached the disk."""
    if not os.path.exists(state.unsynced):
        return
    files.sync_tree(state.data_dir)
    files.sync_file(state.home)
    with cheap.suppress(FileNotFoundError):  # another process was faster
        os.unlink(state.unsynced)


def configure(
    state: StateDir, account: Account, settings: Mapping[str, str], *, durable: bool
) -> None:
    """Write the configuration files, where they differ from what is there."""
    # Each sync would wait for all that was written so far.
    sync = durable and not os.path.exists(state.unsynced)
    write_configuration(state.data_dir, account, settings, durable=durable, sync=sync)
    logs.prune(make_log_dir(state.data_dir, account))


def write_configuration(
    data_dir: str,
    account: Account,
    settings: Mapping[str, str],
    *,
    durable: bool = True,
    sync: bool = True,
) -> None:
    """Write postgresql.conf and who may connect, where they differ from what is there."""
    from oxy_pg.server.cluster import config  # with the supervisor's interpreter starting
    from oxy_pg.system import machine

    wanted = {
        "postgresql.conf": config.postgresql_conf(
            settings, durable=durable, in_memory=not durable and machine.is_memory(data_dir)
        ),
        "pg_hba.conf": config.pg_hba_conf(),
        "pg_ident.conf": config.pg_ident_conf(account.socket_users),
    }
    for name, text in wanted.items():
        path = f"{data_dir}/{name}"
        if files.read_text(path) != text:
            files.write_text(path, text, owner=(account.uid, account.gid), sync=sync)


def make_run_dir(state: StateDir, account: Account) -> None:
    """Make the directories of the sockets, closed to other users."""
    run_dir = state.run_dir
    # As root we must let the server's user pass; what is inside is closed all the same.
    mode = 0o711 if account.demoted else 0o700
    try:
        parent = os.path.dirname(run_dir)
        if paths.is_private_temp_dir(parent):
            _make_private(parent, mode)
        _make_private(run_dir, mode)
        # In that one nobody but us can put a link in the place of the other.
        with cheap.suppress(FileExistsError):
            files.make_directory(state.socket_dir, 0o700)
        descriptor = os.open(state.socket_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (private.NotPrivate, NotADirectoryError) as error:
        raise ServerError(
            f"The directory {run_dir} for the sockets cannot be used: {error}. Remove it."
        ) from error
    try:
        owner = os.fstat(descriptor).st_uid
        if owner not in {os.geteuid(), account.uid}:
            raise ServerError(
                f"The directory {state.socket_dir} for the sockets belongs to the user "
                f"{accounts.user_name(owner)}. Remove it."
            )
        files.set_mode(descriptor, 0o700, state.socket_dir)
        if account.demoted:
            os.fchown(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)


def _make_private(path: str, mode: int) -> None:
    descriptor = private.make_directory(path, mode)
    files.set_mode(descriptor, mode, path)
    os.close(descriptor)


def settle(state: StateDir) -> None:
    """
    Put the new cluster of an upgrade in its place, if it was killed between two renames.

    Only where the system cannot exchange two names at once, and only for
    the holder of the lock; see server/upgrade/swap.py.
    """
    place = state.cluster
    if not os.path.lexists(place.path) and os.path.isdir(place.complete.path):
        os.rename(place.complete.path, place.path)
        files.sync_file(os.path.dirname(place.path))


def destroy(state: StateDir) -> None:
    """Remove the cluster and what belongs to it; only for the holder of the lock."""
    from oxy_pg.system import recorded

    home, run_dir = state.home, state.run_dir
    place = DataDir(paths.cluster_in(home))
    doomed = place.aside("removed")
    files.remove_tree(doomed)
    try:
        os.rename(place.path, doomed)  # gone at once, also when we are killed next
    except FileNotFoundError:
        pass
    else:
        files.remove_tree(doomed)
    files.remove_tree(run_dir)
    if home != state.root:
        os.unlink(state.data_dir)
        files.remove_tree(home)
    for path in state.socket_links:
        remove(os.path.dirname(path))
    with cheap.suppress(ConfigurationError):
        recorded.forget(state.id, paths.state_dirs_dir())
    # The lock goes last: while it is there and held, no other process uses the directory.
    for path in (*(path for path in state.own() if path != state.lock), state.lock):
        remove(path)
    with cheap.suppress(OSError):  # it holds other files, or is a mount point
        os.rmdir(state.root)


def remove(path: str) -> None:
    """Remove a file, a link, or a directory with everything in it; raises OSError."""
    if os.path.isdir(path) and not os.path.islink(path):
        files.remove_tree(path)
    elif os.path.lexists(path):
        os.unlink(path)
