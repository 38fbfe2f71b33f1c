"""Applications that contain Python: no second copy of one is ever started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys
open(os.environ["STARTS"], "a").write("started\\n")
{before}
import oxy_pg, psycopg
try:
    with oxy_pg.Server(os.environ["PLACE"], keep_alive=0) as server:
        print(psycopg.connect(server.ensure_database()).execute("SELECT 1").fetchone())
except oxy_pg.OxyPgError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def application(tmp_path, state_dir):
    """Run an application, which counts how often it was started; returns that and its output."""
    starts = tmp_path / "starts"

    def run(before: str, program: str = sys.executable, **variables: str):
        done = subprocess.run(
            [program, "-c", CODE.format(before=before)],
            env={**os.environ, "STARTS": str(starts), "PLACE": str(state_dir), **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return starts.read_text().count("started"), done.stdout + done.stderr

    return run


# Each is what such an application has: its own program in sys.executable, or nothing.
EMBEDDED = {
    "frozen": "sys.frozen = True; sys.executable = os.environ['APPLICATION']",
    "no program": "sys.executable = ''; sys.prefix = sys.exec_prefix = sys.base_prefix = '/x'",
    "uwsgi": (
        "sys.executable = os.environ['APPLICATION'];"
        "sys.prefix = sys.exec_prefix = sys.base_prefix = '/x'"
    ),
}


@pytest.fixture
def program(tmp_path):
    """An application's program, which records each start of it."""
    path = tmp_path / "application"
    path.write_text('#!/bin/sh\necho started >> "$STARTS"\n')
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("kind", sorted(EMBEDDED))
def test_it_is_found_out_before(application, program, state_dir, kind):
    """
    The error names the way out, and nothing was started or made.
    """
    starts, output = application(EMBEDDED[kind], APPLICATION=program)

    assert 1 == starts
    assert "ConfigurationError" in output
    assert "OXY_PG_PYTHON" in output
    assert not state_dir.exists()


@pytest.mark.parametrize("kind", sorted(EMBEDDED))
def test_another_python_does_it(application, program, kind):
    """
    OXY_PG_PYTHON names one, and all works.
    """
    python = str(Path(sys.executable))
    starts, output = application(EMBEDDED[kind], APPLICATION=program, OXY_PG_PYTHON=python)

    assert (1, "(1,)\n") == (starts, output)


def test_python_under_another_name_finds_its_own(application, tmp_path):
    """
    A program that embeds Python in a virtual environment finds that one's.
    """
    link = tmp_path / "my-application"
    link.symlink_to(sys.executable)
    before = f"assert sys.executable != {sys.executable!r}; sys.prefix = {sys.prefix!r}"
    starts, output = application(
        before, str(link), PYTHONPATH=os.pathsep.join(path for path in sys.path if path)
    )

    assert (1, "(1,)\n") == (starts, output)


@pytest.mark.parametrize("given", ["python3", "/nonexistent/python"])
def test_what_is_no_program_is_refused(application, given):
    """
    OXY_PG_PYTHON is the full path of a program.
    """
    _, output = application("", OXY_PG_PYTHON=given)

    assert "ConfigurationError" in output
    assert "OXY_PG_PYTHON" in output
