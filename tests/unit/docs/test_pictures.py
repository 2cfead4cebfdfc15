"""The pictures are what their source draws, and each stands in a page."""

from __future__ import annotations

import importlib.util
from xml.etree import ElementTree

from testbed.documents.pages import pages
from testbed.setup.paths import PROJECT

FOLDER = PROJECT / "docs" / "pictures"


def drawn() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("draw", FOLDER / "draw.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.pictures())


def test_every_picture_is_what_its_source_draws() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.svg")}
    assert drawn() == there, "python docs/pictures/draw.py"


def test_every_picture_has_a_title_and_stands_in_a_page() -> None:
    text = "".join((PROJECT / path).read_text(encoding="utf-8") for path in pages())
    for name, svg in drawn().items():
        title = ElementTree.fromstring(svg).find("{http://www.w3.org/2000/svg}title")
        assert title is not None and title.text, name
        assert f"pictures/{name})" in text, name
