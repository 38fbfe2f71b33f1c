"""docs/testing.md: every example in it runs unchanged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pytest_plugin.conftest import remove_cached_servers

DOC = (Path(__file__).parents[2] / "docs/testing.md").read_text()
FILES = dict(re.findall(r"^```python file=(\S+)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL))
COMMANDS = dict(re.findall(r"^```sh run=(\S+)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL))
EXAMPLES = sorted({name.partition("/")[0] for name in FILES})


def test_every_block_is_an_example():
    """
    No block is skipped because its first line is spelled differently.
    """
    assert DOC.count("```") == 2 * (len(FILES) + len(COMMANDS))
    assert {
        *("psycopg", "scopes", "keys", "sqlalchemy", "alembic", "django", "fastapi"),
        *("pytest-django", "unittest"),
    } == set(EXAMPLES)
    assert set(COMMANDS) < set(EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example, tmp_path, state_dir):
    """
    In a directory of its own, with the command that the page names, or else with pytest.
    """
    for name, text in FILES.items():
        if name.startswith(f"{example}/"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    command = COMMANDS.get(example, "python -m pytest -p no:cacheprovider").split()
    assert command.pop(0) == "python"

    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path / example,
        env={
            **os.environ,
            "OXY_STATE_DIR": str(state_dir),
            "OXY_PG_CACHE_DIR": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    remove_cached_servers(tmp_path / "cache")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed|Ran [1-9]\d* tests? ", done.stdout + done.stderr)
