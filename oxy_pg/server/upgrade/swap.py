"""
The upgraded cluster takes the old one's place, also when an upgrade was killed.

    postgres_data             the old one, until the swap; then the new one
    postgres_data.upgrading   the new one, while it is filled
    postgres_data.upgraded    the new one, complete and on disk; after the swap the old one
    postgres_data.dump        what is on its way from one to the other
    postgres_data.old-18      the old one, kept

Killed at any moment an upgrade leaves the old state or the new one; ``settle()``
says how each leftover is finished or removed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from oxy_pg.errors import ServerError
from oxy_pg.facts import MAJOR
from oxy_pg.installations import major_of
from oxy_pg.server.cluster import directory, postmaster, settings
from oxy_pg.system import files

if TYPE_CHECKING:
    from oxy_pg.paths import DataDir, StateDir


def complete(place: DataDir) -> None:
    """Let the new cluster, which has been filled and stopped, reach the disk and its next name."""
    files.remove_tree(place.dump)
    files.sync_tree(place.filling.path)
    os.rename(place.filling.path, place.complete.path)
    files.sync_file(os.path.dirname(place.path))


def exchange(place: DataDir, old_version: int) -> str:
    """
    Let the new cluster, which is complete, take the old one's place.

    Returns where the old one is kept. Before it returns, all of it has reached
    the disk.
    """
    home = os.path.dirname(place.path)
    complete = place.complete.path
    old = place.keep_as(old_version)
    if files.exchange(complete, place.path):
        files.sync_file(home)
        os.rename(complete, old)
    else:
        # A moment without a cluster: the next process settles it before anything else.
        os.rename(place.path, old)
        os.rename(complete, place.path)
    files.sync_file(home)
    os.unlink(place.new)
    return old


def keep_settings(state: StateDir, old_version: int, supported: dict[str, str]) -> None:
    """Leave the settings that the new version takes, and keep a copy of all alongside."""
    kept = state.kept_settings(old_version)
    files.write_text(kept, files.read_text(state.settings) or "")
    settings.save(state, supported)


def is_settled(state: StateDir) -> bool:
    """Whether the cluster is of this version, and nothing of an upgrade is under way."""
    place = state.cluster
    leftovers = (place.filling.path, place.complete.path, place.dump, place.new)
    here = directory.version(state) or ""
    return major_of(here) == MAJOR and not any(map(os.path.lexists, leftovers))


def settle(state: StateDir) -> None:
    """
    Finish a swap that was interrupted, and remove what was never swapped in.

    Only for the holder of the lock, and when neither cluster runs.
    """
    directory.settle(state)
    place, complete = state.cluster, state.cluster.complete
    here_is_new = os.path.exists(place.new)
    if os.path.isdir(complete.path):
        there_is_new = os.path.exists(complete.new)
        if here_is_new and not there_is_new:  # it has been swapped in; the old one has no name yet
            found = directory.version_in(complete.path) or "unknown"
            os.rename(complete.path, place.keep_as(major_of(found)))
            files.sync_file(os.path.dirname(place.path))
        elif there_is_new:  # the old cluster may have been used since
            files.remove_tree(complete.path)
    if here_is_new:
        os.unlink(place.new)
    postmaster.remove_segment(place.filling.path)
    for path in (place.filling.path, place.dump):
        files.remove_tree(path)


def discard_old(state: StateDir) -> list[str]:
    """
    Remove the clusters that upgrades have kept; returns their paths.

    The server may run: it does not use them. Raises ServerError when
    there is no cluster of this version that has taken their place.
    """
    state.check_private()
    kept = state.cluster.kept() if os.path.isdir(state.root) else []
    if kept and major_of(directory.version(state) or "") != MAJOR:
        raise ServerError(
            f"There is no cluster of PostgreSQL {MAJOR} in {state.data_dir}, so the old "
            "ones alongside it are kept."
        )
    for path in kept:
        files.remove_tree(path)
    for path in state.all_kept_settings() if kept else ():
        os.unlink(path)
    return kept
