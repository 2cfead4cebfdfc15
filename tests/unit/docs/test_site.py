"""The documents build as a site without a warning, and their figures are those of the reference results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed.documents import site
from testbed.documents.measured import filled
from testbed.documents.pages import pages
from testbed.errors import InputError
from testbed.setup.paths import PROJECT


def small(folder: Path, link: str) -> Path:
    """A project of two pages, one of which links to `link`."""
    (folder / "docs").mkdir()
    (folder / "README.md").write_text(f"# First\n\n[a page]({link})\n")
    (folder / "docs" / "README.md").write_text("# All\n\n## Reference\n\n[a page](page.md)\n")
    (folder / "docs" / "page.md").write_text("# A page\n\n## A part\n\n[the first](../README.md)\n")
    return folder


def test_the_documents_build_without_a_warning(tmp_path: Path) -> None:
    first = site.build(tmp_path / "site")
    assert "Router keys" in first.read_text()
    for path in pages():
        page = "index.html" if path == Path("README.md") else path.with_suffix(".html")
        assert (first.parent / page).is_file(), path
    assert "lab run" in (first.parent / "docs" / "commands.html").read_text()


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/page.md#no-such-part"])
def test_a_link_that_leads_nowhere_is_told_with_its_page_and_nothing_is_built(link: str, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    with pytest.raises(InputError, match=r"index\.md:3") as raised:
        site.build(tmp_path / "site", small(tmp_path / "project", link))
    assert link.partition("#")[0].removeprefix("docs/") in str(raised.value) or "no-such-part" in str(raised.value)
    assert not (tmp_path / "site").exists()


def test_a_folder_that_is_not_ours_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine").write_text("mine")
    (tmp_path / "project").mkdir()
    with pytest.raises(InputError, match="did not make"):
        site.build(tmp_path / "site", small(tmp_path / "project", "docs/page.md#a-part"))
    assert (tmp_path / "site" / "mine").read_text() == "mine"


def test_every_figure_in_a_page_of_results_is_that_of_its_summary() -> None:
    told = {path: (PROJECT / path).read_text(encoding="utf-8") for path in pages()}
    marked = [path for path, text in told.items() if re.search("<!-- (measured|swept|calibrated|against): ", text)]
    assert len(marked) > 10
    stale = [str(path) for path in marked if filled(told[path]) != told[path]]
    assert stale == [], "python -m testbed.documents.measured"


def test_every_reference_result_has_a_page() -> None:
    results = {path.parent.name for path in (PROJECT / "results").glob("*/summary.json")}
    assert {path.stem for path in (PROJECT / "docs" / "results").glob("*.md")} == results
