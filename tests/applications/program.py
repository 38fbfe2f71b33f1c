"""Programs of the applications, run as their users run them."""

from __future__ import annotations

import os
import subprocess

from oxy_pg import connection


def run(*words, folder=None, url=None, **variables):
    """Run a program of the applications, on SQLite or on the server of a URL."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        words,
        cwd=folder,
        env=(clean if url is None else connection.variables(url, clean)) | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr
