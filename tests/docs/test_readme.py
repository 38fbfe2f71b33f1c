"""README.md as a package index shows it: built, rendered, with working links."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
import readme_renderer.markdown

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PYPROJECT["project"]["urls"]["Repository"]
TARGETS = re.compile(r"\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """The metadata of the wheel, as `pip` and the index read it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT],
        check=True,
        capture_output=True,
        text=True,
        timeout=110,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_every_relative_link_is_absolute_on_the_index(metadata):
    """
    Files are shown by the repository's web page, pictures are the files themselves.
    """
    page = metadata.get_payload()

    assert [] == [target for target in TARGETS.findall(page) if not target.startswith("https://")]
    relative = [target for target in TARGETS.findall(README) if "://" not in target]
    assert len(relative) > 8
    for target in relative:
        kind = "raw" if target.endswith(".png") else "blob"
        assert f"]({REPOSITORY}/{kind}/main/{target})" in page
    assert "REPOSITORY" not in page


def test_the_index_renders_it(metadata):
    """
    As HTML, with its tables, code and picture.
    """
    assert "text/markdown" == metadata["Description-Content-Type"]
    html = readme_renderer.markdown.render(metadata.get_payload())

    assert html is not None
    assert html.count("<table>") == 2
    assert "<pre" in html
    assert f'<img src="{REPOSITORY}/raw/main/docs/benchmarks/ratios.png"' in html
    assert metadata["Project-URL"] == f"Repository, {REPOSITORY}"


def test_the_repositorys_address_is_the_same_everywhere():
    """
    In pyproject.toml the plugin that makes links absolute cannot refer to ``project.urls``.
    """
    found = re.findall(r"https://github\.com/[\w-]+/[\w-]+", (ROOT / "pyproject.toml").read_text())

    assert [REPOSITORY, REPOSITORY] == found


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "tests/FIELD_NOTES.md"], ids=str
)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    """
    In the repository itself.
    """
    for link in TARGETS.findall(page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        if anchor:
            prose = re.sub(r"^```.*?^```$", "", target.read_text(), flags=re.DOTALL | re.MULTILINE)
            headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}
            assert anchor in slugs, link
