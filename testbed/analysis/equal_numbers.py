"""Whether two summaries hold the same numbers, one by one. Knows of a summary only which parts are not results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What a machine, and not the experiment, decides.
NOT_RESULTS = frozenset({"format", "cost", "wall_s", "provenance", "command", "source", "folder", "calibration"})


@dataclass(frozen=True)
class Number:
    """One number, or text with numbers in it, of a summary: its place, what is recorded and what came out now."""

    place: tuple[str, ...]
    recorded: Any
    now: Any

    @property
    def same(self) -> bool:
        return type(self.recorded) is type(self.now) and self.recorded == self.now

    def __str__(self) -> str:
        return f"{' / '.join(self.place)}: {_text(self.recorded)} recorded, {_text(self.now)} now"


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


def numbers(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Number]:
    """Every number of either summary, and every text that may hold one (findings, verdicts)."""
    first, second = dict(_leaves(recorded)), dict(_leaves(now))
    return [Number(at, first.get(at, ABSENT), second.get(at, ABSENT)) for at in dict.fromkeys([*first, *second])]


def records(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Number]:
    """The hash of every run's record."""
    sides = [side.get("provenance", {}).get("records", {}) for side in (recorded, now)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    return [Number(("record", name), sides[0].get(name, ABSENT), sides[1].get(name, ABSENT)) for name in names]


def _leaves(node: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name not in NOT_RESULTS:
                yield from _leaves(value, (*above, str(name)))
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for index, value in enumerate(node):
            yield from _leaves(value, (*above, str(index + 1)))
    elif not isinstance(node, str) or above[0] in ("findings", "criteria"):
        yield above, node


def _text(value: Any) -> str:
    return "no number" if value is None else str(value)
