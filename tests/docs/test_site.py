"""The documentation site: its pages, its links, and what the preparation makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
CONFIGURATION = (ROOT / "mkdocs.yml").read_text()
LINK = re.compile(r"(?<!!)\]\(([^)\s]+)\)")


def test_every_page_is_in_the_navigation():
    """
    And everything in the navigation is a page; the changelog is made one.
    """
    navigation = CONFIGURATION.partition("\nnav:\n")[2]
    named = re.findall(r"([\w/.-]+\.md)$", navigation, re.MULTILINE)

    assert sorted([*PAGES, "changelog.md"]) == sorted(named)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(name):
    """
    In the repository; `nox -s docs` looks at the site.
    """
    page = DOCS / name
    for link in LINK.findall(without_code(page.read_text())):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in headings(target.read_text()), link


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def headings(text):
    """The anchors that GitHub gives to the headings."""
    found = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The Markdown from which the site is built."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    subprocess.run([sys.executable, DOCS / "site/prepare.py", folder], check=True)
    return folder


def test_no_link_of_the_site_leads_out_of_it(prepared):
    """
    Except to the repository, where the file or directory exists.
    """
    repository = re.escape(re.search(r"^repo_url: (.*)$", CONFIGURATION, re.MULTILINE)[1])
    seen = 0
    for page in prepared.rglob("*.md"):
        for link in LINK.findall(without_code(page.read_text())):
            inside = re.fullmatch(rf"{repository}/(?:blob|tree)/main/([^#]+)(?:#.*)?", link)
            if inside:
                seen += 1
                assert (ROOT / inside[1]).exists(), link
            elif "://" not in link and not link.startswith("#"):
                target = (page.parent / link.partition("#")[0]).resolve()
                assert target.is_relative_to(prepared), link
                assert target.exists(), link
    assert seen > 15


def test_the_name_of_a_file_is_the_title_of_its_text(prepared):
    """
    And what a block's first line tells the tests is not shown.
    """
    page = (prepared / "recipes/fastapi.md").read_text()

    assert '```python title="app.py"\n' in page
    assert "**`app.py`**" not in page
    assert "```sh\nuvicorn app:app --reload" in page
    for path in prepared.rglob("*.md"):
        for line in re.findall(r"^ *```.+$", path.read_text(), re.MULTILINE):
            assert re.fullmatch(r' *```\w+( title="[^"]+")?', line), line


def test_code_in_tables_says_the_same_with_whole_words(prepared):
    """
    Every word with a hyphen is an element, which no browser breaks; blocks of code stay.
    """
    seen = 0
    for page in prepared.rglob("*.md"):
        for line in without_code(page.read_text()).splitlines():
            if not line.startswith("|"):
                continue
            assert not [one for one in re.findall("`[^`]*`", line) if "-" in one], line
            for code in re.findall(r"<code>(.*?)</code>", line):
                seen += 1
                assert "-" not in re.sub(r"<span>[^<> ]*</span>", "", code), code
    assert seen > 100
    reference = (prepared / "reference/cli.md").read_text()
    plain = reference.replace("<span>", "").replace("</span>", "")
    assert "| Run a dev server with a database: <code>oxy-pg run -- CMD…</code>. |" in plain
    assert "\n  run   Run a dev server with a database: `oxy-pg run -- CMD…`.\n" in reference
