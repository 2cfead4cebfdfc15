"""The figure of what an intruder got: for each thing he did and each keying mode, packets at daemons, and their effect.

Knows counts; must not know what was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.report.page import Drawn
from testbed.report.style import FAINT, INK, PAGE_IN, figure, noted, ordered, save, wrapped

NAME = "heard"
_ROW_IN = 0.42
_NOTHING, _REACHED, _DID = "#ffffff", "#dcdcdc", "#7d7d7d"


@dataclass(frozen=True)
class Cell:
    """One run. `reached`: packets at daemons; `changed`: adjacencies and routes that changed."""

    reached: int
    changed: int


def draw_heard(folder: Path, cells: Mapping[str, Mapping[str, Sequence[Cell]]]) -> list[Drawn]:
    """heard.png and .svg: a row for each thing done, a column for each keying mode; none without runs."""
    keyings = ordered({keying for row in cells.values() for keying in row})
    if not keyings:
        return []
    with figure(PAGE_IN, _ROW_IN * (len(cells) + 1), NAME) as made:
        panel = made.add_subplot()
        for line, row in enumerate(cells.values()):
            for column, keying in enumerate(keyings):
                runs = row.get(keying, ())
                if not runs:
                    continue
                did = any(each.changed for each in runs)
                color = _DID if did else _REACHED if any(each.reached for each in runs) else _NOTHING
                panel.barh(line, 1, left=column, height=1, facecolor=color, edgecolor=FAINT, linewidth=0.5)
                text = f"{_least_to_most([each.reached for each in runs])}\n"
                text += f"{_least_to_most([each.changed for each in runs])} changed" if did else ""
                panel.text(
                    column + 0.5, line, text.strip(), ha="center", va="center", fontsize=7,
                    color="#ffffff" if did else INK,
                )  # fmt: skip
        panel.set_yticks(range(len(cells)), list(cells))
        panel.set_xticks([column + 0.5 for column in range(len(keyings))], [wrapped(each) for each in keyings])
        panel.xaxis.tick_top()
        panel.tick_params(length=0)
        panel.set_xlim(0, len(keyings))
        panel.set_ylim(len(cells) - 0.5, -0.5)
        for side in panel.spines.values():
            side.set_visible(False)
        noted(
            made,
            "packets that reached routing daemons, least to most of the seeds. White: none; light grey: some, without "
            "effect; dark grey: adjacencies, routes or trees changed, so many times",
        )
        save(made, folder, NAME)
    caption = (
        "Packets of an intruder that reached routing daemons, least and most of the seeds. White: none; light: some, "
        "without effect; dark: the number of changes of adjacencies or routes."
    )
    return [Drawn(NAME, caption, "page")]


def _least_to_most(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"
