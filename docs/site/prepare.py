"""
Write build/docs/, or another directory, from which the site is built: docs/ and the changelog.

The Markdown of this repository is written to be read in the repository. For the
site, links to files above docs/ become links to the repository, the name of a
file above its text becomes the title of the text, and no option in a table is
broken at its hyphens.
"""  # noqa: INP001 - a program, not a package

from __future__ import annotations

import html
import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/oxy-hq/oxy-pg"
# A file above docs/ that is a page of the site, and its name there.
PAGES = {"CHANGELOG.md": "changelog.md"}

CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
# The first line of a code block, with the name of a file in bold above it if there is one.
FENCE = re.compile(
    r"^(?:\*\*`(?P<name>[^`\n]+)`\*\*[^\n]*\n\n)?(?P<start> *```\w+)(?: (?P<options>[^\n]+))?$",
    re.MULTILINE,
)


def main(to: Path) -> None:
    """Write all of it anew."""
    shutil.rmtree(to, ignore_errors=True)
    left_out = shutil.ignore_patterns("*.py", "__pycache__", "results.json")
    shutil.copytree(ROOT / "docs", to, ignore=left_out)
    for path in to.rglob("*.md"):
        name = path.relative_to(to).as_posix()
        path.write_text(page(path.read_text(), f"docs/{name}", name))
    for source, name in PAGES.items():
        (to / name).write_text(page((ROOT / source).read_text(), source, name))


def page(text: str, source: str, name: str) -> str:
    """Return a page of the repository as a page of the site."""
    text = LINK.sub(lambda link: target(link[1], source, name), text)
    return unbroken(FENCE.sub(fence, text))


def target(link: str, source: str, name: str) -> str:
    """Return what a relative link of the repository becomes on the site."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    here = posixpath.dirname(name) or "."
    if path in PAGES:
        return posixpath.relpath(PAGES[path], here)
    if path.startswith("docs/"):
        return posixpath.relpath(path.removeprefix("docs/"), here)
    return f"{REPOSITORY}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"


def fence(line: re.Match[str]) -> str:
    """Return the first line of a code block: of its options only a file's name is shown."""
    name = line["name"]
    if name is None:
        file = re.search(r"\bfile=(\S+)", line["options"] or "")
        if file is None:
            return line["start"]
        # In docs/testing.md the first directory is that of the example.
        name = file[1].partition("/")[2] or file[1]
    return f'{line["start"]} title="{name}"'


def unbroken(text: str) -> str:
    """Mark the words of code in tables: on a phone "--" became "-" on two lines."""
    lines = []
    is_code = False
    for line in text.split("\n"):
        is_code ^= line.lstrip().startswith("```")
        is_row = line.startswith("|") and not is_code
        lines.append(CODE.sub(marked, line) if is_row else line)
    return "\n".join(lines)


def marked(code: re.Match[str]) -> str:
    """Return a piece of code with hyphens as HTML, where its words with them are elements."""
    if "-" not in code[1]:
        return code[0]
    words = [
        f"<span>{word}</span>" if "-" in word else word
        for word in html.escape(code[1].replace("\\|", "|"), quote=False).split(" ")
    ]
    # What is left of Markdown in it would be looked for.
    plain = re.sub(r"[*_|\[\]\\~:]", lambda sign: f"&#{ord(sign[0])};", " ".join(words))
    return f"<code>{plain}</code>"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/docs")
