"""The options of a run: which part reads which, and the errors in them.

The models of the engine and the keying modes define the allowed values (`testbed.keying.options`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from testbed.errors import InputError, Location, parts, raise_errors
from testbed.keying.base import KEYINGS
from testbed.keying.options import PlanOptions, options_of
from testbed.record.plan import Captures, all_options
from testbed.topology.findings import nearest
from testbed.values import explained

CAPTURES = "captures"
FLAG = "-o "
_CAPTURES: TypeAdapter[Any] = TypeAdapter(Captures)


@dataclass(frozen=True)
class Chosen:
    """The options of one run, by reader: engine and keying mode, captures, the experiment."""

    options: PlanOptions
    captures: Any
    own: dict[str, Any]


def unknown_keying(name: object, where: Location | str | None = None, next_command: str | None = None) -> InputError:
    """The error of an unknown keying mode."""
    problem = f"unknown keying mode {name!r}{nearest(str(name), KEYINGS)}"
    return InputError(problem, where=where, allowed=", ".join(KEYINGS), next_command=next_command)


def unknown_option(name: str, known: Iterable[str]) -> InputError:
    """The error of an option that no part reads; `known`: the options that some part reads."""
    there = sorted(known)
    return InputError(f"unknown option {name!r}{nearest(name, there)}", where=f"{FLAG}{name}", allowed=", ".join(there))


def sizes_of(value: Any, fewest: int, most: int, example: str) -> list[int]:
    """The numbers of routers in the option `sizes` of an experiment: one, a list, or a text with commas. InputError;
    `example`: a valid text."""
    sizes = [each.strip() for each in value.split(",")] if isinstance(value, str) else value
    try:
        numbers = [int(str(each)) for each in (sizes if isinstance(sizes, list) else [sizes])]
    except ValueError:
        allowed = f"numbers of routers: {example}"
        raise InputError(f"{sizes!r} is not a list of sizes", where=f"{FLAG}sizes", allowed=allowed) from None
    for number, size in enumerate(numbers):
        if size in numbers[:number]:
            raise InputError(f"{size} is given twice", where=f"{FLAG}sizes", allowed="each size once")
        if not fewest <= size <= most:
            raise InputError(f"{size} routers", where=f"{FLAG}sizes", allowed=f"{fewest} to {most:,} routers")
    return numbers


def choose(defaults: Mapping[str, Any], keying: str, given: Mapping[str, Any], file: str) -> Chosen:
    """The given options, over the experiment's own. Options of other keying modes are left out, since runs of one
    command share them. InputErrors at "-o NAME", or at `file` for the experiment's own."""
    readers, errors = all_options(), []
    for name in given:
        if name not in {*readers, CAPTURES, *defaults}:
            errors.append(unknown_option(name, {*readers, CAPTURES, *defaults}))
    values = {**defaults, **given}
    mode, options, captures = KEYINGS[keying].options, PlanOptions(), ()
    try:
        options = options_of(mode, {name: values[name] for name in values if name in mode.model_fields}, FLAG)
    except InputError as error:
        for each in parts(error):
            if str(each.where).removeprefix(FLAG).split(".")[0] not in given:
                each.problem, each.where = f"options: {each.problem}", file
            errors.append(each)
    try:
        captures = _CAPTURES.validate_python(values.get(CAPTURES, ()))
    except ValidationError as error:
        for each in explained(error, "option", PlanOptions, lambda *_: FLAG + CAPTURES):
            each.problem = f"{CAPTURES} is {each.problem}"
            errors.append(each)
    raise_errors(errors)
    return Chosen(
        options, captures, {name: values[name] for name in values if name not in readers and name != CAPTURES}
    )


def unread(given: Mapping[str, Any], keyings: Sequence[str], own: Mapping[str, Any]) -> Iterator[InputError]:
    """An error for each option that some keying mode reads, and none of these."""
    for name, readers in all_options().items():
        if name in given and name not in own and not set(readers) & set(keyings):
            yield InputError(
                f"no keying mode of {', '.join(keyings)} uses it", where=f"{FLAG}{name}",
                allowed=f"it is for --keying {', '.join(readers)}",
            )  # fmt: skip
