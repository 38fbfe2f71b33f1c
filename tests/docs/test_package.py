"""The package as an index shows it: its description, its links, its picture."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """The METADATA of a wheel that pip has built from this tree."""
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", place, ROOT]
    subprocess.run(command, check=True, timeout=110)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())


def test_no_link_is_relative(metadata):
    """
    What works in the repository would lead nowhere on an index.
    """
    links = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())

    assert len(links) > 10
    assert [] == [link for link in links if not link.startswith("https://")]


def test_every_link_names_a_file_of_the_repository(metadata):
    for link in re.findall(r"\]\((https://[^)]+)\)", metadata.get_payload()):
        path = re.sub(r"^https://[^/]+/[^/]+/[^/]+/(blob/)?main/", "", link)
        assert (ROOT / path.partition("#")[0]).exists(), link


def test_it_renders(metadata):
    """
    By the renderer that the index itself uses; it answers None to what it cannot render.
    """
    from readme_renderer import markdown

    page = markdown.render(metadata.get_payload())

    assert page is not None
    assert "<table>" in page
    assert 'src="https://' in page
