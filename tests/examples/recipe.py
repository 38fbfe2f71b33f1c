"""
A recipe, of docs/recipes or docs/applications, or docs/start.md: its page, its files, its commands.

A page has these code blocks; what stands after the language says what a test does with it:

    ```sh install           pip install …: run by `nox -s recipes`, in a new virtual environment
    ```python file=app.py   the file of that name in the recipe's directory
    ```sh run               run line by line with `sh -e`; every command has to succeed
    ```text prints          what the commands before it print; … stands for anything
    ```sh serve=8000        started in the background; the next block runs when the port answers
    ```sh serve             the same, without a port: the next block waits by itself
    ```python cells=a.ipynb the code cells of that notebook
    ```sh shown             not run, and read by `sh -n` only; the page says why

``python -m tests.examples.recipe`` writes the files of examples/ into the pages.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(```\w+ file=(\S+)\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)

CELLS = re.compile(r"^(```\w+ cells=(\S+)\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    language: str
    what: str
    text: str


@dataclass(frozen=True)
class Recipe:
    """A page and its directory."""

    page: Path

    @property
    def name(self) -> str:
        return self.page.stem

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.name.replace("-", "_")

    @property
    def blocks(self) -> list[Block]:
        return [Block(*found.groups("")) for found in BLOCK.finditer(self.page.read_text())]

    @property
    def files(self) -> dict[str, str]:
        """The files as the page shows them."""
        return {
            block.what.removeprefix("file="): block.text
            for block in self.blocks
            if block.what.startswith("file=")
        }

    def filled(self) -> str:
        """The page with the files as they are in the directory."""

        def with_file(found: re.Match[str]) -> str:
            return found[1] + (self.folder / found[2]).read_text()

        def with_cells(found: re.Match[str]) -> str:
            cells = json.loads((self.folder / found[2]).read_text())["cells"]
            code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
            return found[1] + "\n\n".join(code) + "\n"

        return CELLS.sub(with_cells, FILE.sub(with_file, self.page.read_text()))


DOCS = ROOT / "docs"
RECIPES = [
    Recipe(page)
    for pattern in ("start.md", "recipes/*.md", "applications/*.md")
    for page in sorted(DOCS.glob(pattern))
    if page.stem != "index"
]


class Run:
    """Runs the blocks of a recipe in a copy of its directory."""

    def __init__(self, recipe: Recipe, folder: Path, environment: Mapping[str, str]) -> None:
        self.recipe = recipe
        self.folder = folder
        self.environment = dict(environment)
        self.printed = ""
        self._server: subprocess.Popen[str] | None = None
        # A page's port may be in use here; what is pasted has another one.
        self._ports: dict[str, str] = {}

    def all(self, *, install: bool) -> None:
        """Run them in their order; what is to be installed may be there already."""
        shutil.copytree(
            self.recipe.folder,
            self.folder,
            ignore=shutil.ignore_patterns("__pycache__", "node_modules", ".*_cache"),
        )
        try:
            for block in self.recipe.blocks:
                if install or block.what != "install":
                    self._one(block)
        finally:
            self._end()

    def _one(self, block: Block) -> None:
        kind, _, port = block.what.partition("=")
        if kind in {"run", "install"}:
            self.printed = self._finished(block.text)
        elif kind == "prints":
            compare(block.text, self.printed)
        elif kind == "serve":
            self._end()
            self._serve(block.text, port)

    def _pasted(self, text: str) -> str:
        for port, free in self._ports.items():
            text = re.sub(rf"\b{port}\b", free, text)
        return text

    def _finished(self, text: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", self._pasted(text)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _serve(self, text: str, port: str) -> None:
        """Start it; without a port, what follows waits for it."""
        if port:
            self._ports[port] = str(free_port())
        log = self.folder.parent / "serve.log"
        with open(log, "w") as output:
            self._server = subprocess.Popen(
                ["sh", "-ec", f"exec {self._pasted(text)}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while port and not answers(int(self._ports[port])):
            assert self._server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def _end(self) -> None:
        """End what is served as Ctrl-C does: all processes of the terminal."""
        if self._server is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGINT)
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
            raise
        finally:
            self._server = None


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something listens on a port."""
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def compare(expected: str, printed: str) -> None:
    """
    Compare what a page shows with what was printed; … stands for anything.

    In a line of its own for any lines, or none: programs log to stdout or stderr as they like.
    """
    pattern = re.escape(f"{expected.strip()}\n").replace(re.escape("…\n"), "(?:.*\n)*?")
    pattern = pattern.replace(re.escape("…"), ".*?")
    assert re.fullmatch(pattern, f"{printed.strip()}\n", re.DOTALL), (expected, printed)


if __name__ == "__main__":
    for one in RECIPES:
        one.page.write_text(one.filled())
