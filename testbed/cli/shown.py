"""Prints tables: as wide as the terminal, wide enough where there is none, and never with anything cut off.

Knows nothing of what is in them.
"""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table

WIDTH = 150
"""Columns where no terminal and no COLUMNS says how many."""


def show(table: Table) -> None:
    """Print it. What does not fit folds; where words would not, it is wider than the terminal, which wraps it."""
    for column in table.columns:
        column.overflow = "fold"
    usual = Console()
    given = usual.width if usual.is_terminal or "COLUMNS" in os.environ else WIDTH
    least = Console(width=10_000).measure(table).minimum
    Console(width=max(given, least), markup=False, highlight=False, emoji=False).print(table)
