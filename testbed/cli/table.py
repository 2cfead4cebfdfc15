"""The table of a summary as text: each measure with its interval, one number a column.

A terminal that is too narrow gets fewer columns, never folded ones. Knows the summary's shape, not the runs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from testbed.analysis.absent import ABSENT, NEVER, UNAFFECTED, is_span, missing

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]
_HEADING = 12
"""Letters of a heading that fit side by side, if its words allow it."""


@dataclass(frozen=True)
class _Column:
    """`rank`: the columns of the highest rank are left out first."""

    heading: str
    rank: int
    cell: Callable[[Row], str]
    left: bool = False

    def headed(self) -> str:
        """The heading, folded."""
        lines = textwrap.wrap(self.heading, _HEADING, break_long_words=False, break_on_hyphens=False)
        return "\n".join(lines)


def table_of(summary: Mapping[str, Any], columns: int, modes: Sequence[str] = ()) -> tuple[Table, list[str]]:
    """The table, if possible at most `columns` wide, and the headings that did not fit. `modes`: modes that get a row
    even without any run."""
    return _fitting(_columns(summary), summary["keyings"], columns, modes)


def multicast_of(summary: Mapping[str, Any], columns: int) -> tuple[Table, list[str]]:
    """The table of the multicast streams in the same form, if the summary has any."""
    from testbed.analysis.multicast import DUPLICATED, LOST, REGISTERS, TREES

    hears = summary["measured"]["multicast"]["name"]
    begin = hears.split(" to ")[0]

    def series(name: str, rank: int) -> _Column:
        return _Column(f"{name}: median", rank, lambda row: _series(name, row["extra"].get(name, [])))

    rows = {keying: row for keying, row in summary["keyings"].items() if "multicast" in row}
    times = [row["multicast"]["heard_s"] for row in rows.values()]
    wanted = [
        _Column("keying", 0, lambda row: "", left=True),
        *_span(f"{hears}, s", lambda row: row["multicast"]["heard_s"], times),
        _Column("× none", 5, lambda row: _ratio(row["multicast"])),
        series(f"{begin}{TREES}", 6),
        series(f"{begin}{REGISTERS}", 7),
        series(LOST, 2),
        series(DUPLICATED, 3),
    ]
    return _fitting(wanted, rows, columns, ())


def _fitting(
    wanted: Sequence[_Column], rows: Mapping[str, Row], columns: int, modes: Sequence[str]
) -> tuple[Table, list[str]]:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from testbed.cli.console import fit

    left_out: list[_Column] = []
    while True:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
        for column in wanted:
            table.add_column(column.headed(), justify="left" if column.left else "right", no_wrap=True)
        for name in dict.fromkeys((*modes, *rows)):
            # A mode without runs yet has only its name.
            table.add_row(name, *(each.cell(rows[name]) if name in rows else "" for each in wanted[1:]))
        highest = max(each.rank for each in wanted)
        if fit(table, columns) <= columns or not highest:
            return table, [each.heading for each in left_out]
        left_out = [each for each in wanted if each.rank == highest] + left_out
        wanted = [each for each in wanted if each.rank < highest]


def time_of(row: Row) -> str:
    """The main span of a mode in words: median and interval."""
    times = row["convergence_s"]
    text = _middle(times)
    if times["median"] is None:
        return text
    between = "" if times["low"] is None else f" ({_two(times['low'])} to {_two(times['high'])})"
    unit = "" if text == UNAFFECTED else " s"
    return f"{text}{unit}{between}" + (f", {lost} {NEVER}" if (lost := _lost(times)) else "")


def _columns(summary: Mapping[str, Any]) -> list[_Column]:
    measured, rows = summary["measured"], summary["keyings"].values()
    minute = any("requests_first_60s" in row for row in rows)
    columns = [
        _Column("keying", 0, lambda row: "", left=True),
        _Column("n", 1, lambda row: f"{row['n']}"),
        *_span(
            f"{measured['main']['name']}, s", lambda row: row["convergence_s"], [row["convergence_s"] for row in rows]
        ),
        _Column("× none", 5, _ratio),
    ]
    columns.append(_Column(measured["restored"], 2, _restored))
    if minute:
        columns.append(_Column("DKS requests, first 60 s of power", 3, _first_minute))
    columns.append(_Column("DKS requests before first scheduled", 6, _early))
    columns.append(_Column("DKS requests, all", 7 if minute else 3, _asked))
    return columns


def _span(heading: str, of: Callable[[Row], Row], there: Sequence[Row]) -> list[_Column]:
    """The columns of a span of time: its median, both ends of its interval, and the runs in which it never ended."""
    columns = [
        _Column(f"{heading}: median", 0, lambda row: _middle(of(row))),
        _Column("95 % from", 4, lambda row: _two(of(row)["low"])),
        _Column("to", 4, lambda row: _two(of(row)["high"])),
    ]
    if any(0 < _lost(times) < len(times["values"]) for times in there):
        columns.append(_Column(NEVER, 3, lambda row: f"{_lost(of(row))}"))
    return columns


def _two(value: float | None) -> str:
    """The cells of a span of time."""
    return ABSENT if value is None else UNAFFECTED if value == 0 else f"{value:.2f}"


def _lost(times: Row) -> int:
    return sum(value is None for value in times["values"])


def _middle(times: Row) -> str:
    if times["median"] is None:
        return NEVER if times["values"] else ABSENT
    return _two(times["median"])


def _series(name: str, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return missing(name) if values else ABSENT
    never, middle = len(values) - len(known), median(known)
    text = _two(middle) if is_span(name) else f"{middle:.2f}"
    return text.removesuffix(".00") + (f", {never} {NEVER}" if never and is_span(name) else "")


def _ratio(row: Row) -> str:
    return ABSENT if row["ratio_to_none"] is None else f"{row['ratio_to_none']:.3f}"


def _restored(row: Row) -> str:
    restored = row.get("adjacencies", {}).get("restored")
    return f"{min(restored)} of {row['adjacencies']['expected']}" if restored else ABSENT


def _first_minute(row: Row) -> str:
    return f"{row['requests_first_60s']['median']:g}" if "requests_first_60s" in row else ABSENT


def _early(row: Row) -> str:
    early = [value for value in row["dks_requests"]["before_first_scheduled_reconnection"] if value is not None]
    return f"{max(early)}" if early else ABSENT


def _asked(row: Row) -> str:
    total = [value for value in row["dks_requests"]["total"] if value is not None]
    return f"{median(total):g}" if total else ABSENT
