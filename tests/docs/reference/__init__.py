"""
The reference pages, made from the code: ``python -m tests.docs.reference`` writes docs/reference/.

Nothing in them is written by hand; tests/docs/test_reference.py fails when they are stale.
"""

from __future__ import annotations

from pathlib import Path

from tests.docs.reference import api, cli, configuration, errors, json_output
from tests.docs.reference.markdown import table

FOLDER = Path(__file__).parents[3] / "docs/reference"

_LISTED = (
    ("[Python API](api.md)", "every public function, class and pytest fixture"),
    ("[Command line](cli.md)", "every command of `oxy-pg` with all its options and an example"),
    (
        "[Configuration](configuration.md)",
        "every key of `[tool.oxy-pg]`, environment variable and option, with default and place",
    ),
    ("[Errors, and what to do](../errors.md)", "every error, when it is raised, and what to do"),
    ("[Messages of the errors](errors.md)", "the classes with their attributes and messages"),
    ("[Reports](../reports.md)", "the fields of what the functions return"),
    ("[JSON output](json.md)", "what `--json` prints, with JSON schemas"),
    ("[Compatibility](../compatibility.md)", "versions and systems, and what was run on them"),
)
INTRODUCTION = f"""# Reference

{table(("page", "what it lists"), _LISTED)}
The pages below `docs/reference/` are made from the code of this version:
`python -m tests.docs.reference` writes them.
"""


def pages() -> dict[str, str]:
    """Return the text of each file below docs/reference/."""
    return {
        "index.md": INTRODUCTION,
        "api.md": api.page(),
        "cli.md": cli.page(),
        "configuration.md": configuration.page(),
        "errors.md": errors.page(),
        "json.md": json_output.page(),
        **json_output.schema_files(),
    }


def write() -> None:
    """Write them, and remove what is no longer among them."""
    made = pages()
    for path in FOLDER.rglob("*"):
        if path.is_file() and str(path.relative_to(FOLDER)) not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(text)
