"""The base classes of experiments: a question, a timeline, the measures of each run, and the criteria.

An experiment is one file with one subclass of Experiment. Those in experiments/ are found by name, others by path.
"""

from __future__ import annotations

import importlib.util
import inspect
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from testbed.analysis.measures import Adjacencies as Adjacencies
from testbed.analysis.measures import Measures as Measures
from testbed.analysis.measures import RequestCounts as RequestCounts
from testbed.analysis.multicast import HEARS, hears
from testbed.analysis.protected import CLEAR
from testbed.analysis.run import Run
from testbed.analysis.statistics import Interval, difference_of_medians, median_of, ratio_of_medians
from testbed.errors import InputError, InputErrors, Location, gathered, raise_errors
from testbed.faults.steps import MAX_S, make
from testbed.keying.base import keying_names
from testbed.owned import plain_name
from testbed.record.plan import Flow, Plan, Step, Stream
from testbed.runner.hosted import class_line, file_of, hosted, useless
from testbed.runner.options import choose, unknown_keying
from testbed.runner.streams import RATE_PPS
from testbed.setup.paths import PROJECT
from testbed.topology.adjacent import live_segments
from testbed.topology.findings import nearest
from testbed.topology.resolved import Topology
from testbed.values import explained, finite, quoted

if TYPE_CHECKING:
    from testbed.report.page import Drawn

FOLDER = PROJECT / "experiments"
KEYINGS = keying_names()
MAX_RATIO = 1.10
"""The longest recovery as a multiple of recovery without security."""
HEARING_S = 2 / RATE_PPS
"""The time of hearing is known to one packet of a stream, on both sides of a comparison."""
USUAL_DEAD_S = 40
"""OSPF's dead interval for which the timelines are written, in seconds (RFC 2328, appendix C.3, has four times a hello
of 10 s)."""


@dataclass(frozen=True)
class Span:
    """The measured span of an experiment: a name with start and end, and both in full."""

    name: str
    since: str
    until: str


ROUTES_RIGHT = "the last moment at which a router's forwarding table came to match the shortest paths for good"


@dataclass(frozen=True)
class Criterion:
    """A condition that must hold, with the number that decided it."""

    keying: str
    text: str
    value: str
    ok: bool


class Table:
    """All measures of an experiment, by keying mode and in the order of seeds."""

    def __init__(self, measures: Mapping[str, Sequence[Measures]]) -> None:
        self.measures = measures

    def __contains__(self, keying: str) -> bool:
        return bool(self.measures.get(keying))

    def has(self, keying: str, series: str) -> bool:
        """True if the series was measured in that mode."""
        return any(series in run.extra for run in self.measures.get(keying, ()))

    def values(self, keying: str, series: str | None = None) -> list[float | None]:
        """A series of that mode, or the main span, run by run."""
        runs = self.measures.get(keying, ())
        return [run.main_s if series is None else run.extra.get(series) for run in runs]

    def median_s(self, keying: str, series: str | None = None) -> float | None:
        """The median of a series; None when a run of that mode has no number, or there is no run."""
        values = self.values(keying, series)
        known = [value for value in values if value is not None]
        return median(known) if known and len(known) == len(values) else None

    def ratio(self, keying: str, series: str | None = None) -> float | None:
        """Its median divided by that without security; None if either is missing, or nothing took any time."""
        own, none = self.median_s(keying, series), self.median_s("none", series)
        return own / none if own is not None and none else None


class Question(ABC):
    """The description of an experiment and the judgement of its numbers. A subclass defines how it is played."""

    facts: ClassVar[tuple[str, ...]] = ("title", "question", "method", "topology", "seeds", "options", "keyings")
    """The attributes that a subclass must define."""

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    method: ClassVar[str]
    shows_not: ClassVar[str] = ""
    topology: ClassVar[str] = "abilene"
    keyings: ClassVar[tuple[str, ...]] = ("none", "manual", "central", "central-mgmt", "lks")
    seeds: ClassVar[int] = 5
    main: ClassVar[Span] = Span("fault to routes right", "the fault", ROUTES_RIGHT)
    """The span of `main_s` in its measures; the headings of tables and figures."""
    restored: ClassVar[str] = "adjacencies up at the end"
    """The meaning of `restored` adjacencies."""
    requests_since: ClassVar[str] = "the fault"
    """The start of the count of requests at the DKS, which goes to the end of the run."""
    options: ClassVar[Mapping[str, Any]] = {}

    @property
    def begin(self) -> str:
        """The start of its main span, such as "first boot": the name of that phase for multicast.series."""
        return self.main.name.split(" to ")[0]

    @property
    def hears(self) -> Span:
        """The span of the multicast streams that is shown and judged beside the main one."""
        return Span(hears(self.begin).removesuffix(", s"), self.main.since, HEARS)

    def judge(self, table: Table) -> list[Criterion]:
        """The criteria; the program exits with 1 when one is not met."""
        return []

    def none_in_clear(self, table: Table, keying: str) -> list[Criterion]:
        """The criterion that no routing packet of these runs was in clear. None if clear packets were not counted."""
        counts = table.values(keying, CLEAR) if table.has(keying, CLEAR) else []
        total = sum(count for count in counts if count is not None)
        return [Criterion(keying, f"no {CLEAR}", f"{total:g}", total == 0)] if counts else []

    def hears_in_time(self, table: Table, keying: str, phase: str = "") -> list[Criterion]:
        """The criterion that after this phase, by default the main one, all receivers hear again as fast as without
        security. None if multicast was not measured in both modes."""
        series = hears(phase or self.begin)
        there = table.has(keying, series) and table.has("none", series)
        return self.as_fast(table, keying, series, HEARING_S) if there else []

    def as_fast(self, table: Table, keying: str, series: str | None = None, spare_s: float = 0.0) -> list[Criterion]:
        """The criterion that this series, by default the main one, is as short as without security, or at most
        `spare_s` longer.

        The upper end of the interval is judged, or the number itself when there are too few seeds. A seed's faults are
        the same in every mode: if both modes have the same number of runs, they are compared in pairs. None if no run
        of either mode took any time.
        """
        values, none = (table.values(each, series) for each in (keying, "none"))
        if all(each == 0 for each in (*values, *none)):
            return []
        ratio, longer = _held_against(values, none)
        ok = (ratio is not None and ratio.most <= MAX_RATIO) or (longer is not None and longer.most <= spare_s)
        name = self.main.name if series is None else series.removesuffix(", s")
        text = f"{name}: at most {MAX_RATIO:.2f} × that of none" + (f", or {spare_s:g} s more" if spare_s else "")
        sides = (table.median_s(each, series) for each in (keying, "none"))
        value = " against ".join("never" if each is None else f"{each:.2f} s" for each in sides)
        if ratio is not None:
            value += f", × {ratio.value:.3f}"
        if ratio is not None and ratio.high is not None:
            value += f" (at most {ratio.high:.3f}, 95 %)"
        return [Criterion(keying, text, value, ok)]

    def findings(self, table: Table) -> list[str]:
        """The findings, in sentences with numbers."""
        return []


class Experiment(Question):
    """An experiment that is played in guests. Subclass this in a file of your own; see docs/experiments.md."""

    facts: ClassVar[tuple[str, ...]] = (*Question.facts, "duration_s")
    duration_s: ClassVar[float]

    @abstractmethod
    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        """The timeline, in seconds since all daemons run. `rng` is the same for every keying mode of a seed."""

    @abstractmethod
    def measure(self, run: Run) -> Measures:
        """The numbers of one run."""

    def flows(self, topology: Topology) -> list[Flow]:
        """Streams of probe packets through the network."""
        return []

    def streams(self, topology: Topology) -> list[Stream]:
        """Multicast streams through the network; `testbed.runner.streams` has the usual ones of a topology."""
        return []

    def draw(self, folder: Path, runs: Sequence[Run]) -> Sequence[Drawn]:
        """Further figures of this experiment, written to `folder`."""
        return ()

    def plan(self, topology: Topology, keying: str, seed: int, options: Mapping[str, Any]) -> Plan:
        """The plan of one run. Raises InputErrors for an unknown keying mode, errors in options, timeline, flows and
        streams, or a network without an adjacency."""
        if keying not in KEYINGS:
            raise unknown_keying(keying)
        if not live_segments(topology):
            raise InputError(
                "convergence is measured by OSPF's routes, and no adjacency comes up in this network",
                where=f"topology {topology.name}",
                allowed="a link or LAN whose ends agree and that does not lose every packet",
                next_command="lab validate FILE, which names the reason for each; lab up starts it all the same",
            )
        wrong: list[InputError] = []
        with gathered(wrong):
            chosen = choose(self.options, keying, options, str(class_line(type(self))))
        rng, factor, file = random.Random(f"{self.name} {seed}"), stretch(topology), file_of(self)
        with gathered(wrong), _steps_checked(wrong), hosted(file, "timeline()", InputError):
            steps = _all_of(self, "timeline", self.timeline(topology, rng), Step, "a list of step(…)")
        with gathered(wrong), hosted(file, "flows()", InputError):
            flows = _all_of(self, "flows", self.flows(topology), Flow, "a list of Flow(…)")
        with gathered(wrong), hosted(file, "streams()", InputError):
            streams = _all_of(self, "streams", self.streams(topology), Stream, "a list of Stream(…)")
        raise_errors(wrong)
        try:
            return Plan(
                experiment=self.name,
                topology=topology,
                keying=keying,
                seed=seed,
                duration_s=self.duration_s * factor,
                timeline=in_order(steps, topology),
                flows=tuple(_longer(flow, factor) for flow in flows),
                streams=tuple(_drawn_out(stream, factor) for stream in streams),
                captures=chosen.captures,
                options=chosen.options,
                own=chosen.own,
            )
        except ValidationError as error:
            where = class_line(type(self))
            raise InputErrors(explained(error, "part of a plan", Plan, lambda *_: where)) from error


def _held_against(
    values: Sequence[float | None], none: Sequence[float | None]
) -> tuple[Interval | None, Interval | None]:
    """Ratio and difference of one mode's spans to those without security, with their intervals; None if a run of either
    did not complete the span; no ratio to a span that took no time."""
    own, others = ([each for each in side if each is not None] for side in (values, none))
    if not own or not others or len(own) < len(values) or len(others) < len(none):
        return None, None
    if len(own) != len(others):
        return ratio_of_medians(others, own) if median(others) else None, difference_of_medians(others, own)
    pairs = list(zip(own, others, strict=True))
    return median_of([a / b for a, b in pairs]) if all(others) else None, median_of([a - b for a, b in pairs])


def _all_of(owner: Experiment, method: str, items: Any, kind: type, allowed: str) -> list[Any]:
    """The items that a method returned, if all are of this kind."""
    if not isinstance(items, list | tuple):
        raise useless(owner, method, items, allowed, InputError)
    raise_errors(useless(owner, method, each, allowed, InputError) for each in items if not isinstance(each, kind))
    return list(items)


def stretch(topology: Topology) -> float:
    """The factor by which every time of a timeline grows, so that routers with long timers have time to notice a
    fault."""
    return max(1.0, topology.ospf.dead_s / USUAL_DEAD_S)


def in_order(steps: Iterable[Step], topology: Topology) -> tuple[Step, ...]:
    """The timeline of a plan: the steps of an experiment, delayed as the topology's timers require."""
    factor = stretch(topology)
    late = [each.model_copy(update={"at_s": each.at_s * factor}) for each in steps]
    return tuple(sorted(late, key=lambda step: step.at_s))


def _longer(flow: Flow, factor: float) -> Flow:
    stop_s = None if flow.stop_s is None else flow.stop_s * factor
    return flow.model_copy(update={"start_s": flow.start_s * factor, "stop_s": stop_s})


def _drawn_out(stream: Stream, factor: float) -> Stream:
    until_s = None if stream.until_s is None else stream.until_s * factor
    return stream.model_copy(update={"since_s": stream.since_s * factor, "until_s": until_s})


def between(numbers: Iterable[float]) -> str:
    """Least and greatest in words: "38", or "9 to 16"."""
    known = sorted(numbers)
    return f"{known[0]:g}" if known[0] == known[-1] else f"{known[0]:g} to {known[-1]:g}"


def step(at_s: float, action: str, **args: Any) -> Step:
    """One step of a timeline. InputErrors, with the caller's line, for invalid arguments: while a plan is made, only
    when the timeline has named all its steps."""
    caller, errors = sys._getframe(1), _STEP_ERRORS.get()
    where = Location(caller.f_code.co_filename, caller.f_lineno)
    if errors is None:
        return make(action, args, at_s, where)
    with gathered(errors):
        return make(action, args, at_s, where)
    return make("mark", {"name": "a step that is wrong"}, 0, where)


_STEP_ERRORS: ContextVar[list[InputError] | None] = ContextVar("errors", default=None)
"""Collects the errors of steps, so that all errors of a timeline are reported at once."""


@contextmanager
def _steps_checked(wrong: list[InputError]) -> Iterator[None]:
    token = _STEP_ERRORS.set(wrong)
    try:
        yield
    finally:
        _STEP_ERRORS.reset(token)


def names() -> list[str]:
    """The experiments in experiments/."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))


def find(spec: str) -> Question:
    """An experiment by name or by the path of its file. Raises InputError when there is none."""
    path = Path(spec) if spec.endswith(".py") else FOLDER / f"{spec}.py"
    if not (path.is_file() if spec.endswith(".py") else spec in names()):
        raise InputError(
            f"unknown experiment {spec!r}{nearest(spec, names())}",
            allowed=f"{', '.join(names())}, or the path of a .py file", next_command="lab run --help",
        )  # fmt: skip
    module_spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise InputError("not a Python file", where=str(path))
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    with hosted(str(path), "the file", InputError):
        module_spec.loader.exec_module(module)
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Question) and kind.__module__ == module.__name__
    ]
    whole = [kind for kind in kinds if not inspect.isabstract(kind)]
    if len(whole) != 1:
        listed = f": {', '.join(kind.__name__ for kind in whole)}" if whole else ""
        missing = sorted(set().union(*(kind.__abstractmethods__ for kind in kinds)))
        raise InputError(
            f"holds {len(whole)} experiments{listed}", where=str(path),
            allowed="one subclass of Experiment" + (f", with {', '.join(missing)}" if kinds and not whole else ""),
        )  # fmt: skip
    (kind,) = whole
    with hosted(str(path), f"{kind.__name__}()", InputError):
        experiment = kind()
    _check_facts(experiment)
    return experiment


def find_for_guests(spec: str) -> Experiment:
    """As `find`, for an experiment that is played in guests. InputError for another."""
    match find(spec):
        case Experiment() as experiment:
            return experiment
        case other:
            raise InputError(
                f"{other.name} is computed without a guest", allowed=f"lab run {other.name}, with the options it names"
            )


_FACTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("title", "question", "method"), (lambda value: isinstance(value, str), "a text")),
    "topology": (lambda value: isinstance(value, str) and bool(value), 'a text such as "ring:4"'),
    "seeds": (lambda value: type(value) is int and 1 <= value <= 1000, "a whole number from 1 to 1000"),
    "options": (lambda value: isinstance(value, Mapping), "a table of options by name"),
    "keyings": (
        lambda value: isinstance(value, list | tuple) and bool(value) and all(isinstance(each, str) for each in value),
        'a tuple of keying modes, such as ("none", "lks")',
    ),
    "duration_s": (lambda value: finite(value) and 0 <= value <= MAX_S, f"seconds, at most {MAX_S:,}"),
}
"""The attributes that a class must define for its experiment."""


def _check_facts(experiment: Question) -> None:
    """InputErrors for missing or invalid attributes of the class."""
    errors, where = [], class_line(type(experiment))
    name = getattr(experiment, "name", None)
    try:
        plain_name(name if isinstance(name, str) else "", f"{where}: name")
    except InputError as error:
        errors.append(InputError(f"name is {name!r}", where=where, allowed=error.allowed))
    for fact in experiment.facts:
        fits, allowed = _FACTS[fact]
        value = getattr(experiment, fact, None)
        if not fits(value):
            problem = f"{fact} is {quoted(value)}" if hasattr(experiment, fact) else f"{fact} is missing"
            errors.append(InputError(problem, where=where, allowed=allowed))
    raise_errors(errors)
