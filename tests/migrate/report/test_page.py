"""The HTML report in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]

SCRIPT = """
CREATE TABLE "<i>threads</i>" (id INTEGER PRIMARY KEY, title VARCHAR(20) NOT NULL);
CREATE TABLE empty (id INTEGER PRIMARY KEY);
CREATE VIEW titles AS SELECT typeof(1);
"""
ROWS = {"<i>threads</i>": [(1, "a"), (2, "<script>document.title = 'bad'</script>")]}


# What Chromium itself asks for, for every page (nothing of it is reached: see FLAGS).
ITS_OWN = re.compile(r"https?://[a-z0-9.-]+\.(google|googleapis|gvt1)\.com/")


@pytest.fixture
def browse(tmp_path):
    """Show a page in Chromium; returns the DOM, and the addresses that the page asked for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium here; Debian's package is called chromium")

    def show(html: str) -> tuple[str, set[str]]:
        page = tmp_path / "report.html"
        page.write_text(html, encoding="utf-8")
        log = tmp_path / "net.json"
        places = [f"--user-data-dir={tmp_path}/profile", f"--log-net-log={log}"]
        done = subprocess.run(
            [chromium, *FLAGS, *places, "--dump-dom", page.as_uri()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        asked = set(re.findall(r'"url":"(https?:[^"]+)"', log.read_text()))
        return done.stdout, {address for address in asked if not ITS_OWN.match(address)}

    return show


def test_page_is_rendered_and_asks_for_nothing(move, browse):
    """
    A browser shows tables, bars and next steps, and opens no other address for it.
    """
    html = move(SCRIPT, ROWS).to_html()

    dom, asked = browse(html)

    assert "<title>Migrated to PostgreSQL</title>" in dom
    assert "&lt;i&gt;threads&lt;/i&gt;" in dom
    assert "<script" not in dom
    assert dom.count("<rect") >= 2
    for heading in ("Tables", "Types", "Skipped", "Next steps"):
        assert f"<h2>{heading}</h2>" in dom
    assert set() == asked
    # That the test would see it:
    canary = "http://picture.invalid/canary.png"
    assert {canary} == browse(html.replace("<main>", f'<main><img src="{canary}">'))[1]


def test_a_dry_run_with_problems_does_not_advise_to_go_ahead(move):
    """
    The page says what the command line says: the migration would be refused.
    """
    script = "CREATE TABLE {} (id INTEGER PRIMARY KEY, day DATE)"
    good = move(script.format("good"), {"good": [(1, "2026-01-31")]}, dry_run=True).to_html()
    bad = move(script.format("bad"), {"bad": [(1, "soon")]}, dry_run=True).to_html()

    assert "without <code>--dry-run</code> to migrate" in good
    assert "without <code>--dry-run</code>" not in bad
    assert "Solve the problems above (1)" in bad
