"""
Every recipe runs as pasted.

Those whose packages the tests have anyway run in the default suite; ``nox -s recipes`` runs all of
them, each in a new virtual environment with what its page installs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import oxy_pg
from tests.examples.recipe import EXAMPLES, RECIPES, ROOT, Run

NAMES = {recipe.name: recipe for recipe in RECIPES}
# Run in the default suite, with the packages of the tests.
QUICK = ("start", "editors", "fastapi")
KINDS = r"install|run|prints|shown|serve(=\d+)?|file=\S+|cells=\S+"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_page_has_the_files(recipe):
    """
    As they are in the directory, each with its name above it; and all of them.
    """
    text = recipe.page.read_text()
    hint = "`python -m tests.examples.recipe` writes the files into the pages"
    assert text == recipe.filled(), hint
    for name in recipe.files:
        assert re.search(rf"^\*\*`{re.escape(name)}`\*\*", text, re.MULTILINE), name
    there = {
        path.relative_to(recipe.folder).as_posix()
        for path in recipe.folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.stat().st_size
    }
    shown = {*recipe.files, *re.findall(r"cells=(\S+)", text)}
    assert there == shown


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_block_is_run_or_says_why_not(recipe):
    blocks = recipe.blocks
    assert recipe.page.read_text().count("```") == 2 * len(blocks)
    for block in blocks:
        assert re.fullmatch(KINDS, block.what), block
        if block.language == "sh":
            subprocess.run(["sh", "-n", "-c", block.text], check=True)
    if any(block.what == "shown" for block in blocks) and recipe.name != "start":
        assert "**not tried**" in recipe.page.read_text().lower()


def test_every_directory_has_a_page():
    assert {recipe.folder for recipe in RECIPES} <= set(EXAMPLES.iterdir())
    index = (ROOT / "docs/recipes/index.md").read_text()
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    assert {one.page.name for one in RECIPES if one.page.parent.name == "recipes"} == listed


def environment(state_dir, python, recipe):
    """What a reader has who has activated a virtual environment."""
    found = {
        **os.environ,
        "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Prisma downloads a program that only `prisma db push` and `migrate` need.
        "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/true",
    }
    if not (recipe.folder / "pyproject.toml").exists():
        found["OXY_STATE_DIR"] = str(state_dir)
    return found


@pytest.mark.parametrize("name", QUICK)
def test_recipe(name, state_dir):
    """
    With the packages of the tests.
    """
    recipe = NAMES[name]
    place = state_dir.parent / "recipe"

    Run(recipe, place, environment(state_dir, sys.executable, recipe)).all(install=False)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """A directory with this project's wheel, which `pip install oxy-pg` finds."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT],
        check=True,
    )
    return folder


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_recipe_as_pasted(recipe, state_dir, wheels):
    """
    In a new virtual environment, with what the page installs and nothing else.
    """
    if recipe.name == "node" and not shutil.which("npm"):
        pytest.skip("npm is not installed")
    place = state_dir.parent / "recipe"
    venv = state_dir.parent / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    variables = environment(state_dir, venv / "bin/python", recipe)
    links = " ".join(filter(None, [os.environ.get("PIP_FIND_LINKS"), str(wheels)]))
    variables |= {"PIP_FIND_LINKS": links, "UV_FIND_LINKS": str(wheels), "VIRTUAL_ENV": str(venv)}

    Run(recipe, place, variables).all(install=True)


# --- what cannot run here ---


def test_the_compose_files_give_the_application_its_server(state_dir):
    """
    The first starts the embedded one; the variables of the second lead to another.
    """
    folder = EXAMPLES / "compose"
    first, second = (
        yaml.safe_load((folder / name).read_text())
        for name in ("compose.yaml", "compose.server.yaml")
    )
    assert {"OXY_STATE_DIR"} == set(first["services"]["app"]["environment"])
    given = second["services"]["app"]["environment"]
    database = second["services"]["db"]["environment"]
    assert given["OXY_DATABASE_URL"] == (
        f"postgresql://{database['POSTGRES_USER']}:{database['POSTGRES_PASSWORD']}"
        f"@db:5432/{database['POSTGRES_DB']}"
    )

    def printed(**variables):
        return subprocess.run(
            [sys.executable, folder / "app.py"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    with oxy_pg.temporary() as server:
        server.create_database("app")
        url = server.url("app")
        there = printed(**{**given, "OXY_DATABASE_URL": url})
        here = printed(OXY_STATE_DIR=str(state_dir))
    port = url.rpartition(":")[2].partition("/")[0]
    assert f"connected to ('app', '{port}')\n" == there
    assert re.fullmatch(r"connected to \('oxy', '\d+'\)\n", here)
    assert port not in here


def test_the_workflow_is_one():
    """
    Both jobs run the same commands, those of the page.
    """
    path = EXAMPLES / "github_actions/.github/workflows/tests.yml"
    jobs = yaml.safe_load(path.read_text())["jobs"]
    commands = [[step["run"] for step in job["steps"] if "run" in step] for job in jobs.values()]
    pasted = [
        block.text.strip()
        for block in NAMES["github-actions"].blocks
        if block.what in {"install", "run"}
    ]
    assert [pasted, pasted] == commands


def test_the_dockerfiles_run_the_page_s_program():
    """
    Their instructions are Docker's, and what they run is what the page runs.
    """
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "CMD"}
    for name in ("Dockerfile", "Dockerfile.user"):
        lines = (EXAMPLES / "container" / name).read_text().splitlines()
        words = [line.split(" ", 1) for line in lines if line]
        assert {word for word, _ in words} <= known
        assert words[-1] == ["CMD", '["python", "app.py"]']
        for _, command in (pair for pair in words if pair[0] == "RUN"):
            subprocess.run(["sh", "-n", "-c", command], check=True)
