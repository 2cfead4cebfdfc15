"""Prints tables and sentences as wide as the terminal, folded between words, never truncated.

Knows nothing of their content.
"""

from __future__ import annotations

import os
import textwrap

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

WIDTH = 150
"""Columns of a table when neither a terminal nor COLUMNS gives a number."""


def width(*, errors: bool = False) -> int | None:
    """The columns of standard output, or of standard error; None when neither a terminal nor COLUMNS gives a number."""
    usual = Console(stderr=errors)
    return usual.width if usual.is_terminal or "COLUMNS" in os.environ else None


def show(table: Table, *, errors: bool = False) -> None:
    """Print a table. Wide cells fold between words, sentences before numbers. A table whose words do not fit is wider
    than the terminal, which wraps it."""
    needed = fit(table, width(errors=errors) or WIDTH)
    Console(stderr=errors, width=needed, markup=False, highlight=False, emoji=False).print(table)


def fit(table: Table, given: int) -> int:
    """Give each column its width, so that the table takes `given` columns if it can; the columns it takes."""
    for column in table.columns:
        column.width = None
    most = [max(map(cell_len, _lines(column)), default=0) for column in table.columns]
    frame = Console(width=10_000).measure(table).maximum - sum(most)
    widths = list(most)
    for least in (
        [_least(each, numbers_whole=True) for each in table.columns],
        [_least(each) for each in table.columns],
    ):
        while sum(widths) + frame > given:
            widest = max(range(len(widths)), key=lambda at: (widths[at] > least[at], widths[at]), default=None)
            if widest is None or widths[widest] <= least[widest]:
                break
            widths[widest] -= 1
    for column, columns in zip(table.columns, widths, strict=True):
        column.width = columns
    return max(given, sum(widths) + frame)


def folded(text: str) -> str:
    """A line as printed: on a terminal, folded between words with the further lines indented; else unchanged."""
    columns = width()
    if columns is None or cell_len(text) <= columns:
        return text
    return textwrap.fill(
        text, max(columns, 20), subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True, replace_whitespace=False,
    )  # fmt: skip


def _lines(column: Column) -> list[str]:
    return [line for cell in (column.header, *column.cells) for line in str(cell).split("\n")]


def _least(column: Column, *, numbers_whole: bool = False) -> int:
    """The width that folds no word; with `numbers_whole`, no cell of a number column either."""
    words = {word for line in _lines(column) for word in line.split()}
    if column.no_wrap:
        words |= set(_lines(column))
    elif numbers_whole and column.justify == "right":
        words |= {line for cell in column.cells for line in str(cell).split("\n")}
    return max(map(cell_len, words), default=0)
