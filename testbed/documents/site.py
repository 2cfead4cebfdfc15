"""The documents as a site: pages of the repository, in the order of docs/README.md, made into HTML by Sphinx.

A link that leads nowhere, a page that no index names and whatever else Sphinx warns of ends it. No network is needed.
Knows where documents and pictures lie; must not know what they say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from testbed import owned
from testbed.documents import commands
from testbed.documents.pages import pages
from testbed.errors import InputError
from testbed.setup.paths import PROJECT

INDEX = Path("docs/README.md")
"""The page whose sections are the site's parts, and whose links are their pages."""
REFERENCE = "Reference"
"""The part that has the generated pages too."""
GENERATED = {Path("docs/commands.md"): commands.page}
_LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)")


def parts(project: Path = PROJECT) -> list[tuple[str, list[Path]]]:
    """Heading and pages of each section of the index, each page where it is named first."""
    seen, listed = {INDEX}, []
    for section in (project / INDEX).read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        targets = [target for target in _LINK.findall(text) if target.endswith(".md")]
        named = [(project / INDEX.parent / each).resolve().relative_to(project.resolve()) for each in targets]
        listed.append((heading, [path for path in dict.fromkeys(named) if path not in seen]))
        seen |= set(named)
    return listed


def build(out: Path, project: Path = PROJECT) -> Path:
    """Make the site in `out`, a new folder or one of ours; its first page. InputError names every warning."""
    with tempfile.TemporaryDirectory(prefix="lab-docs-") as folder:
        source, made = Path(folder) / "source", Path(folder) / "made"
        _gather(project, source)
        words = [
            sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--fresh-env",
            "--conf-dir", str(PROJECT / "docs"), str(source), str(made),
        ]  # fmt: skip
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            warnings = done.stderr.replace(f"{source}/", "").strip()
            raise InputError(f"the documents do not build\n{warnings}", where=str(project / "docs"))
        owned.fresh(out, "--out")
        for entry in made.iterdir():
            if entry.name != ".doctrees":
                shutil.move(entry, out / entry.name)
    return out / "index.html"


def _gather(project: Path, source: Path) -> None:
    """Copy all pages, what they link to beside them, and the generated ones; make the first page of README.md."""
    for path in pages(project):
        text = (project / path).read_text(encoding="utf-8")
        first = path == Path("README.md")
        here = source / ("index.md" if first else path)
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(text + "".join(_trees(project)) if first else _to_the_first(text), encoding="utf-8")
        for target in _LINK.findall(text):
            beside = (project / path.parent / target).resolve()
            if beside.suffix != ".md" and beside.is_file():
                copy = source / beside.relative_to(project.resolve())
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(beside, copy)
    for path, text_of in GENERATED.items():
        (source / path).write_text(text_of(), encoding="utf-8")


def _to_the_first(text: str) -> str:
    """README.md is the site's first page, and links from below say so."""
    return re.sub(r"\]\(((?:\.\./)+)README\.md([)#])", r"](\1index.md\2", text)


def _trees(project: Path) -> Iterator[str]:
    """The side bar: a tree of pages for each part, which no page shows."""
    for heading, named in [("All documents", [INDEX]), *parts(project)]:
        paths = [*named, *(GENERATED if heading == REFERENCE else ())]
        lines = "\n".join(str(path.with_suffix("")) for path in paths)
        yield f"\n\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{lines}\n```"
