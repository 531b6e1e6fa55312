"""Relative links and file names in the documents lead to files that are there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"),
                           *(ROOT / "reports").rglob("*.md"), *(ROOT / "sw").rglob("*.md")]
         if path.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_resolve(page):
    text = page.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)
             if not link.startswith("http")]
    named = re.findall(r"`((?:sw|hw|sim|tests|reports|benchmarks|docs)/[\w./-]+)`", text)
    missing = ([link for link in links if not (page.parent / link).exists()]
               + [name for name in named if not (ROOT / name).exists()])
    assert not missing


def test_reports_are_few_files():
    tracked = subprocess.run(["git", "ls-files", "reports"], cwd=ROOT, capture_output=True,
                             text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("this is no git checkout")
    assert len(tracked) < 40
