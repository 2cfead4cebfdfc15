"""How every figure looks: sizes of a paper's columns, colours and marks of the keying modes, and bytes that repeat.

Knows matplotlib and the keying modes' names; must not know what a figure shows.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from testbed.errors import InputError
from testbed.keying.base import KEYINGS, Look, keying_names
from testbed.whole import put

if TYPE_CHECKING:  # a page of figures that others draw does not need matplotlib
    from matplotlib.figure import Figure

COLUMN_IN = 3.5
PAGE_IN = 7.16
"""Widths of one column and of a page's two, in inches, as IEEE and ACM print them."""
FORMATS = ("svg", "png", "pdf")
"""What figures can be written as. SVG always is: report.html holds it."""
INK = "#222222"
FAINT = "#8a8a8a"
PALE = "#efefef"


_SPARE = (Look("#7a5195", "<", (0, (6, 2))), Look("#000000", ">", (0, (1, 2))))

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


def look(keying: str) -> Look:
    """The look of a keying mode; a mode without one of its own gets the same spare one every time."""
    mode = KEYINGS.get(keying)
    return (mode.look if mode else None) or _SPARE[sum(keying.encode()) % len(_SPARE)]


def ordered(keyings: Iterable[str]) -> list[str]:
    """From no security to the most; unknown modes after the known ones, by name."""
    known = keying_names()
    return sorted(keyings, key=lambda name: (known.index(name) if name in known else len(known), name))


@contextmanager
def figure(width_in: float, height_in: float, name: str) -> Iterator[Figure]:
    """A figure made, and to be saved, under this project's settings alone, whatever the user's matplotlibrc says."""
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # The backend must not be touched: switching it would import a display's.
    settings: dict[str, Any] = {key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")}
    settings |= _SETTINGS | {"svg.hashsalt": name}
    with rc_context(settings):  # type: ignore[arg-type]
        made = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasAgg(made)
        yield made


_written: ContextVar[Sequence[str]] = ContextVar("_written", default=("svg",))


@contextmanager
def written_as(formats: Sequence[str]) -> Iterator[None]:
    """Figures that are saved within are written in these formats, and as SVG."""
    token = _written.set(tuple(formats))
    try:
        yield
    finally:
        _written.reset(token)


def formats_of(text: str) -> tuple[str, ...]:
    """The formats that a list with commas names. InputError."""
    formats = tuple(dict.fromkeys(each.strip().lower() for each in text.split(",")))
    for each in formats:
        if each not in FORMATS:
            raise InputError(f"unknown format {each!r}", where="--formats", allowed=f"{', '.join(FORMATS)}, or several")
    return formats


def save(made: Figure, folder: Path, name: str) -> None:
    """Write `name`.svg and, to be printed, .png (300 dpi) and .pdf, where they were asked for (`written_as`).

    The same figure gives the same bytes, whatever else is written. Call inside `figure`.
    """
    # Placed once for all formats, which would each do it again.
    if (engine := made.get_layout_engine()) is not None:
        engine.execute(made)
        made.set_layout_engine("none")
    kept = io.BytesIO()
    if "png" in _written.get():
        made.savefig(kept, format="png", dpi=300, metadata={"Software": None})
        put(folder / f"{name}.png", kept.getvalue())
    if "pdf" in _written.get():
        kept = io.BytesIO()
        undated = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
        made.savefig(kept, format="pdf", metadata=undated)
        put(folder / f"{name}.pdf", kept.getvalue())
    text = io.StringIO()
    made.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # matplotlib ends many lines with a blank; files that people commit should not have them.
    put(folder / f"{name}.svg", re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE))


def noted(made: Figure, text: str) -> None:
    """Say below the figure what its marks mean."""
    made.supxlabel(fill(text, int(20 * made.get_figwidth())), fontsize=6.5, color=INK)


def wrapped(keying: str) -> str:
    """The name for a narrow column under an axis."""
    return keying.replace("-", "-\n")


def slug(name: str) -> str:
    """What of a name may stand in a file's name and in an id."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
