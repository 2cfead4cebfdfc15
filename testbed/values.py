"""Values as users give them: yes or no, numbers with units, counts, texts, lists, octets.

Each type accepts the value itself (a plan's JSON, an experiment's Python) and its text (a command line), and names the
allowed values; `explained` shows them beside the bad value. Knows no option and no fault.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, PlainValidator, ValidationError

from agents.runtime import invalid
from testbed.errors import InputError, Location
from testbed.topology.findings import nearest, some
from testbed.topology.resolved import Topology
from testbed.topology.units import ALLOWED, DELAYS, RATES, TIMES, not_allowed

_AMOUNT = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)\s*([a-zµ%]*(?:/s)?)\s*", re.IGNORECASE)
_SHOWN = 80
"""Characters of a bad value that an error shows."""


Wrong = tuple[str, str]
"""The problem, and the allowed values."""


def quantity(
    allowed: str, least: float, most: float, units: Mapping[str, float], *, none: bool = False
) -> PlainValidator:
    """A finite number, or its text with a unit (letter case does not matter). `none`: None is allowed too."""

    def convert(value: Any) -> float | None:
        if none and (value is None or value == "none"):
            return None
        if isinstance(value, str):
            match = _AMOUNT.fullmatch(value)
            unit = match[2].lower() if match else ""
            if match is None or (unit and unit not in units):
                raise not_allowed(allowed)
            value = float(match[1]) * (units[unit] if unit else 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise not_allowed(allowed)
        return value

    return PlainValidator(convert)


def whole(allowed: str, least: int, most: int) -> PlainValidator:
    """A whole number or its digits."""

    def convert(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise not_allowed(allowed)
        return value

    return PlainValidator(convert)


def one_of(*words: str) -> PlainValidator:
    """One of a few words."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise not_allowed(", ".join(words))
        return value

    return PlainValidator(convert)


def listed(
    allowed: str, *, every: str | None = None, least: int = 0, part: Callable[[Any], Any] = lambda each: text(each)
) -> BeforeValidator:
    """A list, or its text with commas, as a tuple of different parts; or the word `every`."""

    def convert(value: Any) -> Any:
        if every is not None and value == every:
            return every
        if isinstance(value, str):
            value = [each.strip() for each in value.split(",")] if value.strip() else []
        if not isinstance(value, list | tuple) or len(value) < least:
            raise not_allowed(allowed)
        try:
            items = tuple(part(each) for each in value)
        except ValueError:
            raise not_allowed(allowed) from None
        return items

    return BeforeValidator(convert)


def text(value: Any) -> str:
    """A text that is not empty. ValueError."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise not_allowed("a text")
    return value


def octets(least: int, most: int) -> Callable[[Any], str]:
    """Octets in hexadecimal, within bounds. The function raises ValueError."""
    allowed = f"{least} to {most} octets in hexadecimal"

    def convert(value: Any) -> str:
        try:
            decoded = bytes.fromhex(value)
        except (TypeError, ValueError):
            raise not_allowed(allowed) from None
        if not least <= len(decoded) <= most:
            raise not_allowed(allowed)
        return str(value)

    return convert


def _yes_or_no(value: Any) -> bool:
    known = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    if not isinstance(value, bool):
        raise not_allowed("true or false")
    return value


YesNo = Annotated[bool, PlainValidator(_yes_or_no)]
Text = Annotated[str, PlainValidator(text)]
Milliseconds = Annotated[float, quantity("a delay from 0 to 10s, such as 5ms (a bare number is ms)", 0, 10_000, DELAYS)]
Share = Annotated[float, quantity("a share of packets from 0% to 100%", 0, 100, {"%": 1.0})]
Rate = Annotated[
    float | None,
    quantity("a rate from 1kbps to 100Gbps (a bare number is Mbit/s), or none", 0.001, 100_000, RATES, none=True),
]


def seconds(least: float, most: float) -> PlainValidator:
    """Seconds, or a text with ms, s or min."""
    allowed = f"{least:,.10g} to {most:,.10g} seconds"
    return quantity(allowed, least, most, {**TIMES, "ms": 0.001})


class OneOf:
    """Marks an argument that names something of the topology: one, or a list of them."""

    def __init__(
        self, what: str, of: Callable[[Topology], Iterable[str]], meant: Callable[[str], str] = lambda name: name
    ) -> None:
        """`meant`: another spelling of a name, which may be the right one."""
        self.what, self.of, self.meant = what, of, meant

    def wrong(self, value: Any, topology: Topology) -> Iterator[Wrong]:
        """The parts of the value that the topology does not have."""
        known = list(self.of(topology))
        for name in [value] if isinstance(value, str) else value or ():
            if name not in known:
                meant = self.meant(name)
                near = f"; did you mean {meant!r}?" if meant in known else nearest(name, known)
                yield f"there is no {self.what} {name!r}{near}", some(sorted(known), 24)


def misnamed(model: BaseModel, topology: Topology) -> Iterator[tuple[str, Wrong]]:
    """The names in the model's fields that the topology does not have, by field."""
    for name, field in type(model).model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, OneOf):
                yield from ((name, wrong) for wrong in mark.wrong(getattr(model, name), topology))


def quoted(value: Any) -> str:
    """A bad value in an error, truncated if long."""
    said = repr(value)
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 3]}..."


def finite(value: Any) -> bool:
    """True for a usable number; truth values are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def explained(
    error: ValidationError, what: str, model: type[BaseModel], where: Callable[..., Location | str]
) -> Iterator[InputError]:
    """Each error of pydantic about a model in four parts. `what`: "option", "argument"; `where` turns a path into a
    place."""
    for problem in error.errors(include_url=False):
        path, value = problem["loc"], problem.get("input")
        name, known = ".".join(map(str, path)), _names(model, path[:-1])
        said = invalid.plain(problem["msg"])
        if problem["type"] == "extra_forbidden":
            text = f"unknown {what} {name!r}{nearest(str(path[-1]), known)}"
            allowed = some(known, 24) or f"no {what}s"
        elif problem["type"] == "missing":
            text, allowed = f"{name} is missing", ", ".join(known)
        else:
            text = f"{name} is {quoted(value)}" if name else quoted(value)
            allowed = invalid.allowed(problem) or said.removeprefix(ALLOWED)
        yield InputError(text, where=where(*path), allowed=allowed)


def _names(model: Any, path: Iterable[int | str]) -> list[str]:
    """The user's names of a model's fields, nested ones too."""
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        model = None if field is None else field.annotation
    hidden = getattr(model, "hidden", ())
    return [name for name in getattr(model, "model_fields", ()) if name not in hidden]
