"""The documentation builds as a site, every page and link of it, and asks no other server for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=["']?(?P<url>(?:https?:)?//[^"' >]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_there(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert [str(page) for page in pages if not (site / page).exists()] == []
    assert (site / "architecture.html").exists()


def test_nothing_is_loaded_from_elsewhere(site):
    found = {(page.name, match["url"]) for page in site.rglob("*.html") for match in LOADED.finditer(page.read_text())}
    assert found == set()
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?https?://[^)]*\)|@import[^;]*https?:", styles) == []


def test_the_search_finds_its_index_on_a_disk(site):
    assert (site / "search" / "search_index.js").stat().st_size > 100_000
    assert "iframe-worker" in (site / "index.html").read_text()


def test_names_of_pages_are_links(site):
    text = (site / "architecture.html").read_text()
    assert 'href="wire.html"' in text or 'href="commands.html"' in text
    assert "docs/commands.md" not in text
