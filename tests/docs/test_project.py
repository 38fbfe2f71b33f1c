"""The files beside the code: what they say of each other, and the paths that they name, is true."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
CI = (ROOT / ".ci/run").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
COMMANDS = [
    line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("python3 -m ")
]


def test_readme_has_the_two_commands():
    """
    The first runs an example, the second the tests.
    """
    first, second = COMMANDS

    assert first.endswith("examples/quickstart.py")
    assert second.endswith(" -m pytest")


def test_ci_finds_readmes_commands():
    """
    With the shell's own words, so that a changed heading is noticed here and not only in CI.
    """
    found = re.search(r"^command_of_readme\(\) \{.*?^\}$", CI, re.DOTALL | re.MULTILINE)
    assert found
    for number, command in enumerate(COMMANDS, 1):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{found[0]}\ncommand_of_readme {number}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert command == done.stdout.strip()
    assert 0 == subprocess.run(["bash", "-n", ROOT / ".ci/run"], check=False).returncode


def test_the_workflow_covers_every_python():
    """
    Those that the classifiers name, on Linux by .ci/run and on macOS by README's second command.
    """
    prefix = "Programming Language :: Python :: 3."
    pythons = [
        name.removeprefix("Programming Language :: Python :: ")
        for name in PYPROJECT["project"]["classifiers"]
        if name.startswith(prefix)
    ]
    jobs = WORKFLOW["jobs"]

    for job in ("linux", "macos"):
        assert pythons == jobs[job]["strategy"]["matrix"]["python"]
    assert "bash .ci/run" in [step.get("run") for step in jobs["linux"]["steps"]]
    assert COMMANDS[1] in [step.get("run") for step in jobs["macos"]["steps"]]
    assert "macos-latest" == jobs["macos"]["runs-on"]


def test_pre_commit_has_the_same_ruff():
    """
    Two versions would format differently.
    """
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (ruff,) = (repo for repo in hooks if "ruff" in repo["repo"])

    assert f"ruff=={ruff['rev'].removeprefix('v')}" in PYPROJECT["dependency-groups"]["lint"]
    assert {"ruff-check", "ruff-format"} == {hook["id"] for hook in ruff["hooks"]}


def test_contributing_names_every_session():
    """
    And no other.
    """
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = set(re.findall(r"^@nox\.session.*?^def (\w+)\(", noxfile, re.DOTALL | re.MULTILINE))
    table = set(re.findall(r"^\| `(\w+)` \|", CONTRIBUTING, re.MULTILINE))

    assert sessions == table
    words = re.findall(r"`nox -s ([a-z ]+)`", re.sub(r"\s+", " ", CONTRIBUTING))
    assert words
    assert set(" ".join(words).split()) <= sessions


def test_the_paths_that_the_files_name_exist():
    """
    In CONTRIBUTING.md, the noxfile and the field notes: paths of this repository.
    """
    for name in ("CONTRIBUTING.md", "noxfile.py", "tests/FIELD_NOTES.md", "docs/architecture.md"):
        text = (ROOT / name).read_text()
        for path in re.findall(r"(?<![\w/])(?:tests|oxy_pg|docs|examples)/[\w/.-]*\w", text):
            assert (ROOT / path).exists(), f"{name}: {path}"
    for path in re.findall(r"`((?:cli|server|migrate|transfer|system)/[\w/.]+)`", CONTRIBUTING):
        assert (ROOT / "oxy_pg" / path).exists(), path
