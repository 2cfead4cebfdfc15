"""A sweep file: an experiment, factors with their levels, and seeds. Read, checked, and multiplied out into plans.

Every error names the file and the line. Knows nothing of how runs are played.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.runtime import invalid
from testbed.errors import InputError, InputErrors, Location, gathered, parts, raise_errors
from testbed.owned import plain_name
from testbed.record.plan import Plan, all_options
from testbed.runner.answers import planned
from testbed.runner.experiment import KEYINGS, Experiment, find_for_guests
from testbed.runner.hosted import file_of, hosted
from testbed.runner.options import CAPTURES, unknown_keying, unread
from testbed.runner.session import MANY
from testbed.topology.findings import Caution, TopologyErrors, nearest
from testbed.topology.load import examine
from testbed.topology.read import Lines, parse, plain
from testbed.topology.resolved import Topology

MAX_RUNS = 100_000
TOPOLOGY, KEYING = "topology", "keying"
EXAMPLE = "experiments/sweeps/storm_by_size.yaml"


class SweepSource(BaseModel):
    """The content of a sweep file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    experiment: str
    """a name in experiments/, or the path of a .py file"""
    factors: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """levels by factor: `topology`, `keying`, or an option of the experiment (as -o)"""
    seeds: Annotated[int, Field(ge=1, le=1000)] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = 5
    """how many, from 1 on; or a list"""
    kernel: Literal["virtual", "uml", "native"] = "virtual"
    options: dict[str, Any] = Field(default_factory=dict)
    """for every run, as -o"""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: the level of every factor, and the plan."""

    levels: Mapping[str, Any]
    seed: int
    plan: Plan


@dataclass(frozen=True)
class Sweep:
    """A sweep multiplied out."""

    name: str
    experiment: Experiment
    kernel: Literal["virtual", "uml", "native"]
    factors: Sequence[str]
    cells: Sequence[Cell]
    cautions: Sequence[Caution]
    """what of its topologies will not come up"""


def read(file: Path) -> Sweep:
    """The content of a sweep file. Raises InputError with the line of an error."""
    marked = parse(file)
    if not isinstance(marked, dict):
        raise InputError("a sweep is a mapping of keys", where=Location(file, 1), allowed=_keys(), next_command=_look())
    lines = Lines(file, marked)
    written = plain(marked, file)
    try:
        return _checked(SweepSource.model_validate(written), lines, file)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        wrong = [_explained(each, lines) for each in problems if not _other_branch(each)]
        rest = {key: value for key, value in written.items() if key not in {each["loc"][0] for each in problems}}
        if "experiment" in rest:
            with gathered(wrong):
                _checked(SweepSource.model_validate(rest), lines, file)
        raise InputErrors(wrong) from error


def _checked(source: SweepSource, lines: Lines, file: Path) -> Sweep:
    try:
        experiment = find_for_guests(source.experiment)
    except InputError as error:
        raise_errors(_at(error, lines.of("experiment")))
        raise
    return _multiplied(source, experiment, lines, file)


def _other_branch(problem: Any) -> bool:
    """Whether it says of a number that it is no list, or of a list that it is no number: seeds may be either."""
    return (problem["type"], type(problem.get("input"))) in (("list_type", int), ("int_type", list))


def _multiplied(source: SweepSource, experiment: Experiment, lines: Lines, file: Path) -> Sweep:
    factors = {TOPOLOGY: [experiment.topology], KEYING: list(experiment.keyings), **source.factors}
    seeds = list(range(1, source.seeds + 1)) if isinstance(source.seeds, int) else list(dict.fromkeys(source.seeds))
    count = len(seeds)
    for levels in factors.values():
        count *= len(levels)
    if count > MAX_RUNS:
        raise InputError(f"{count} runs", where=lines.of("factors"), allowed=f"at most {MAX_RUNS}")
    wrong = list(_doubles(factors, lines))
    topologies: dict[str, Topology] = {}
    cautions: list[Caution] = []
    for number, level in enumerate(factors[TOPOLOGY]):
        try:
            topologies[str(level)], hints = _examined(level, lines.of("factors", TOPOLOGY, number))
            cautions += hints
        except InputError as error:
            wrong.append(error)
    if topologies:
        wrong += _each_alone(source, experiment, factors, next(iter(topologies.values())), lines)
    raise_errors(wrong)
    cells = []
    for row in itertools.product(*factors.values()):
        chosen = dict(zip(factors, row, strict=True))
        options = {**source.options, **{name: chosen[name] for name in chosen if name not in (TOPOLOGY, KEYING)}}
        for seed in seeds:
            try:
                plan = planned(experiment, topologies[chosen[TOPOLOGY]], chosen[KEYING], seed, options)
            except InputError as error:
                wrong += _at(error, lines.of("factors"))
                break  # another seed of the same levels has the same to say
            cells.append(Cell(chosen, seed, plan))
        if len(wrong) > MANY:
            break
    raise_errors(wrong)
    return Sweep(plain_name(file.stem, str(file)), experiment, source.kernel, tuple(factors), cells, cautions)


def _doubles(factors: Mapping[str, list[Any]], lines: Lines) -> Iterator[InputError]:
    for name, levels in factors.items():
        for number, level in enumerate(levels):
            if level in levels[:number]:
                yield InputError(
                    f"level {level!r} is given twice",
                    where=lines.of("factors", name, number),
                    allowed="each level once",
                )


def _each_alone(
    source: SweepSource, experiment: Experiment, factors: Mapping[str, list[Any]], topology: Topology, lines: Lines
) -> Iterator[InputError]:
    """The errors of every level of every factor by itself, at its line."""
    options = {name: levels for name, levels in factors.items() if name not in (TOPOLOGY, KEYING)}
    known = [level for level in factors[KEYING] if level in KEYINGS]

    def alone(where: Location, keyings: Sequence[str], given: Mapping[str, Any]) -> Iterator[InputError]:
        for keying in keyings:
            try:
                with hosted(file_of(experiment), "plan()", InputError):
                    experiment.plan(topology, keying, 1, given)
            except InputError as error:
                yield from _at(error, where)

    for number, level in enumerate(factors[KEYING]):
        if level not in KEYINGS:
            yield unknown_keying(level, lines.of("factors", KEYING, number), _look())
    for name, value in source.options.items():
        if name in options:
            yield InputError(
                f"{name!r} is both an option of every run and a factor",
                where=lines.of("options", name),
                allowed="one of them",
            )
        for error in unread({name: value}, known, experiment.options) if known else ():
            yield from _at(error, lines.of("options", name))
        yield from alone(lines.of("options", name), known, {name: value})
    for name, levels in options.items():
        if near := _misspelt(name, experiment):
            yield InputError(
                f"unknown factor {name!r}{near}", where=lines.of("factors", name),
                allowed=", ".join((TOPOLOGY, KEYING, *_options(experiment))), next_command=_look(),
            )  # fmt: skip
            continue
        for error in unread({name: levels}, known, experiment.options) if known else ():
            yield from _at(error, lines.of("factors", name))
        for number, level in enumerate(levels):
            yield from alone(lines.of("factors", name, number), known, {name: level})


def _options(experiment: Experiment) -> list[str]:
    return sorted({*all_options(), CAPTURES, *experiment.options})


def _misspelt(name: str, experiment: Experiment) -> str:
    """The probable meaning of a factor that is not an option, including topology and keying."""
    known = _options(experiment)
    return "" if name in known else nearest(name, [TOPOLOGY, KEYING, *known])


def _examined(level: Any, where: Location) -> tuple[Topology, list[Caution]]:
    if not isinstance(level, str):
        raise InputError(f"{level!r} is not a topology", where=where, allowed="ring:4, abilene, mine.yaml, in quotes")
    try:
        return examine(level)
    except TopologyErrors:
        raise  # they name the topology's own file and lines
    except InputError as error:
        raise_errors(_at(error, where))
        raise


def _at(error: InputError, where: Location) -> list[InputError]:
    """Each part of an error at this place, unless it names a line of a file itself."""
    return [
        each
        if isinstance(each.where, Location)
        else InputError(each.problem, where=where, allowed=each.allowed, next_command=each.next_command or _look())
        for each in parts(error)
    ]


def _explained(problem: Any, lines: Lines) -> InputError:
    # A union's branch is part of pydantic's path and of no file.
    path = [part for part in problem["loc"] if not str(part).startswith(("constrained-", "list[", "int"))]
    where = lines.of(*path)
    if problem["type"] == "extra_forbidden":
        return InputError(
            f"unknown key {path[-1]!r}{nearest(str(path[-1]), SweepSource.model_fields)}", where=where,
            allowed=_keys(), next_command=_look(),
        )  # fmt: skip
    if problem["type"] == "missing":
        return InputError(f"the key {path[-1]!r} is missing", where=where, allowed=_keys(), next_command=_look())
    return InputError(
        f"{'.'.join(map(str, path))} {invalid.problem(problem)}", where=where,
        allowed=invalid.allowed(problem) or None, next_command=_look(),
    )  # fmt: skip


def _keys() -> str:
    return ", ".join(SweepSource.model_fields)


def _look() -> str:
    return f"cat {EXAMPLE}"
