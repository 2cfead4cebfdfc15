"""Which files of the repository are documents. Knows where they lie, not what they say."""

from __future__ import annotations

from pathlib import Path

from testbed.setup.paths import PROJECT


def pages(project: Path = PROJECT) -> list[Path]:
    """Every document, by its path in the repository."""
    paths = [path for pattern in ("*.md", "docs/**/*.md", "results/**/*.md") for path in project.glob(pattern)]
    return sorted(path.relative_to(project) for path in paths)
