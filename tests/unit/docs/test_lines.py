"""Lines and paragraphs of the documents are short enough to be read beside code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.documents.pages import pages
from testbed.setup.paths import PROJECT

WIDTH, LINES = 120, 6
RECORDED = {Path("docs/first-half-hour.md"), Path("docs/protect-two-routers.md")}
"""What programs print there is as wide as they make it."""
DOCUMENTS = [path for path in pages() if path not in RECORDED]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is no table, heading, code, picture, or figure of a summary."""
    fenced = measured = False
    for number, line in enumerate((PROJECT / path).read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        measured = bool(re.match("<!-- (measured|swept|calibrated|against)", line)) or (
            measured and "<!-- end of" not in line
        )
        other = fenced or measured or re.match(r"\s*(```|\||#|!\[|<!--)|    \S", line)
        yield number, "" if other else line


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_no_line_of_prose_is_longer_than_the_wrap(path: Path) -> None:
    assert [number for number, line in prose(path) if len(line) > WIDTH and " " in line.strip()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_no_paragraph_is_longer_than_six_lines(path: Path) -> None:
    long, run = [], 0
    for number, line in prose(path):
        run = run + 1 if line.strip() and not re.match(r"\s*([-*]|\d+\.)\s", line) else int(bool(line.strip()))
        if run == LINES + 1:
            long.append(number)
    assert long == []
