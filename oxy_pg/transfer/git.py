"""The branch that a working directory is on, read from git's own files: no git is needed."""

from __future__ import annotations

import os

from oxy_pg.system import files

_BRANCH = "ref: refs/heads/"


def branch(directory: str) -> str | None:
    """Return the branch of the repository that a directory is in; None: it is on none."""
    head = files.read_text(f"{_git_dir(directory)}/HEAD")
    if head is None or not head.startswith(_BRANCH):
        return None
    return head.removeprefix(_BRANCH).strip()


def _git_dir(directory: str) -> str | None:
    """Return where git keeps its files: ``.git``, or for a worktree what that file names."""
    place = os.path.abspath(directory)
    while not os.path.lexists(f"{place}/.git"):
        parent = os.path.dirname(place)
        if parent == place:
            return None
        place = parent
    found = files.read_text(f"{place}/.git")
    if found is None or not found.startswith("gitdir: "):
        return f"{place}/.git"
    return os.path.join(place, found.removeprefix("gitdir: ").strip())
