"""The examples run unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path, state_dir):
    """
    Twice: what an example leaves behind must not make it fail.
    """
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, path],
            env={**os.environ, "OXY_STATE_DIR": str(state_dir)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (done.returncode, done.stderr)
        assert done.stdout
