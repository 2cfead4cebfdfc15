"""One experiment from its name to its results folder."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from testbed.analysis.run import PLAN, RECORD, Run
from testbed.errors import EnvironmentFailure, InputError, Interrupted, of_file, raise_errors
from testbed.guest.boot import Kernel
from testbed.record import origin
from testbed.record.flaws import listed, tried
from testbed.record.manifest import Manifest
from testbed.record.plan import Plan
from testbed.record.summary import FILE, read_summary
from testbed.report.drawing import Drawing, drawing
from testbed.report.page import Drawn
from testbed.report.style import FORMATS
from testbed.report.write import ask_timeline, write_report
from testbed.runner import calibrate, execute
from testbed.runner.answers import drawn as drawn_by
from testbed.runner.answers import measured, planned
from testbed.runner.execute import NOT_MEASURED, Outcome
from testbed.runner.experiment import KEYINGS, Experiment, Measures, find_for_guests, stretch
from testbed.runner.options import unknown_keying, unread
from testbed.runner.summarise import summarise, table_of
from testbed.topology.resolved import Topology
from testbed.whole import put

Progress = Callable[[Outcome, int, int], None]
SoFar = Callable[[Mapping[str, Any]], None]
Load = Callable[[str], Topology]
Known = dict[Path, tuple[Run, Measures]]
ANEW_S = 20.0
"""The least time between two reports of the finished runs, in seconds."""
SHARE = 0.05
"""Reports of what has ended so far take at most so much of the time of the runs."""
MANY = 20
"""The most errors of a request that are reported at once."""


@dataclass(frozen=True)
class Request:
    """A user's request. Empty keyings and seeds mean the experiment's own."""

    experiment: str
    topology: str = ""
    ospf: str | None = None
    """Versions of OSPF instead of the topology's own (testbed.topology.load.VERSIONS)."""
    keyings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    kernel: Kernel = "virtual"
    jobs: int = 1
    out: Path | None = None
    fresh: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    formats: Sequence[str] = FORMATS[:1]
    """The formats of figures."""
    live: bool = False
    """True if runs report events as they happen."""


@dataclass(frozen=True)
class Session:
    """A finished experiment, or a stopped one: its summary then has `partial`."""

    folder: Path
    summary: dict[str, Any]
    outcomes: Sequence[Outcome]


@dataclass(frozen=True)
class Prepared:
    """A request with all plans made and checked."""

    experiment: Experiment
    topology: Topology
    keyings: tuple[str, ...]
    seeds: tuple[int, ...]
    plans: Sequence[Plan]


def prepare(experiment: Experiment, request: Request, topology: Topology) -> Prepared:
    """Find every error of a request before minutes are spent: InputErrors with all of them."""
    keyings = tuple(request.keyings or experiment.keyings)
    seeds = request.seeds or tuple(range(1, experiment.seeds + 1))
    errors = list(wrong_keyings(keyings))
    known = [each for each in dict.fromkeys(keyings) if each in KEYINGS]
    errors += unread(request.options, known, experiment.options) if known else ()
    plans = []
    for seed in seeds:
        for keying in known:
            try:
                plan = planned(experiment, topology, keying, seed, request.options)
                plans.append(plan.model_copy(update={"live": request.live}))
            except InputError as error:
                errors.append(error)
        if len(errors) > MANY:
            break
    raise_errors(errors)
    return Prepared(experiment, topology, keyings, seeds, plans)


def wrong_keyings(asked: Sequence[str]) -> Iterator[InputError]:
    """The errors of a list of keying modes."""
    for number, name in enumerate(asked):
        if name not in KEYINGS:
            yield unknown_keying(name, "--keying")
        elif name in asked[:number]:
            yield InputError(f"{name} is given twice", where="--keying", allowed="each keying mode once")


class InGuests:
    """How an experiment in guests is played: as Played of testbed.runner.played."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._prepared: Prepared | None = None
        self.kernel: Kernel | None = None
        self.folder = Path()

    @property
    def modes(self) -> tuple[str, ...]:
        """The keying modes whose numbers come as their runs end."""
        return self._prepared.keyings if self._prepared else ()

    def prepare(self, request: Request, load: Load) -> None:
        """As the function, of a network that it loads; InputErrors too for a folder that holds something else."""
        network = load(request.topology or self._experiment.topology)
        self.folder = folder_of(request, self._experiment.name, network.name)
        refuse_another(self.folder, self._experiment.name, network)
        self._prepared, self.kernel = prepare(self._experiment, request, network), request.kernel

    def play(self, request: Request, progress: Progress, so_far: SoFar) -> Session:
        """As `run`."""
        return run(request, progress, self._prepared, so_far)

    def conclude(
        self,
        outcomes: Sequence[Outcome],
        about: Mapping[str, Any],
        folder: Path,
        kept: Mapping[str, Any] | None = None,
        flaws: Sequence[InputError] = (),
        figures: Drawing | None = None,
        known: Known | None = None,
    ) -> dict[str, Any]:
        """Measure the finished runs, and write summary.json and the report. `kept`: the provenance of records that were
        not made now, whose code may have changed since. `flaws`: known missing or damaged files. `figures` draws.
        `known`: runs that are measured already, by their folders.

        Raises InputError when nothing can be measured, and then writes nothing.
        """
        experiment, all_flaws, figures = self._experiment, list(flaws), figures or Drawing()
        outcomes, taken = measure(experiment, outcomes, all_flaws, known or {})
        if not taken:
            raise nothing_left(folder, all_flaws, about.get("command", ""))
        runs = [run for run, _ in taken]
        measures: dict[str, list[Measures]] = {}
        for run, numbers in taken:
            measures.setdefault(run.plan.keying, []).append(numbers)
        summary = summarise(experiment, outcomes, measures, {**about, "provenance": kept or provenance(runs)})
        if (factor := stretch(runs[0].plan.topology)) > 1:
            dead_s = runs[0].plan.topology.ospf.dead_s
            summary["method"] += (
                f" OSPF's dead interval is {dead_s} s here, and every moment comes {factor:g} times as late."
            )
        if (calibrated := folder / calibrate.FILE).exists():
            try:
                summary["calibration"] = calibrate.read(calibrated)
            except InputError as error:
                all_flaws.append(error)
        with written(folder):
            own = folder / "figures"
            own.mkdir(parents=True, exist_ok=True)
            drawn: Sequence[Drawn] = ()
            with tried("the experiment's own figures cannot be drawn", all_flaws), figures.here():
                drawn = drawn_by(experiment, own, runs)
            write_report(folder, summary, runs, drawn, all_flaws, figures)
            put(folder / FILE, json.dumps(summary, indent=1) + "\n")
        return summary


def run(
    request: Request, progress: Progress, prepared: Prepared | None = None, so_far: SoFar = lambda _table: None
) -> Session:
    """Play, measure, write summary and report. After each run `so_far` gets the table of the finished runs, and then
    `progress` is called with the run.

    When the work is stopped (`children.stoppable`), the finished runs are measured and reported. Raises InputError
    before anything is started, EnvironmentFailure when no run ended or a method of the experiment failed, Interrupted
    when it was stopped before any run ended.
    """
    if prepared is None:
        experiment = find_for_guests(request.experiment)
        prepared = prepare(experiment, request, Topology.load(request.topology or experiment.topology, request.ospf))
    experiment, topology = prepared.experiment, prepared.topology
    spec, plans = request.topology or experiment.topology, prepared.plans
    folder = folder_of(request, experiment.name, topology.name)
    refuse_another(folder, experiment.name, topology)
    about = {
        "topology": topology.name,
        "routers": len(topology.routers),
        "kernel": request.kernel,
        "command": command_line(request, spec, prepared.keyings, prepared.seeds),
        "source": str(Path(request.experiment).resolve()) if request.experiment.endswith(".py") else None,
    }
    with execute.locked(folder, new=True), drawing(request.formats, request.jobs) as figures:
        course = _Course(prepared, folder, about, figures, so_far)

        def heard(outcome: Outcome, done: int, of: int) -> None:
            course.add(outcome)
            progress(outcome, done, of)
            course.report_if_due()

        outcomes = execute.play(plans, folder, request.kernel, request.jobs, fresh=request.fresh, progress=heard)
        if not outcomes:
            raise Interrupted(128 + signal.SIGINT)
        if not any(outcome.done for outcome in outcomes):
            problem = execute.first_problem(outcomes)
            assert problem is not None
            raise problem
        summary = course.report(outcomes)
    return Session(folder, summary, outcomes)


class _Course:
    """The numbers of an experiment's runs while they are played. Each run is measured, and its own figure drawn, when
    it ends; the report of the finished runs is made again when all modes of one more seed have ended."""

    def __init__(
        self, prepared: Prepared, folder: Path, about: Mapping[str, Any], figures: Drawing, so_far: SoFar
    ) -> None:
        self._experiment, self._seeds, self._folder = prepared.experiment, prepared.seeds, folder
        self._played = InGuests(prepared.experiment)
        self._about, self._figures, self._so_far = about, figures, so_far
        self._order = {(plan.keying, plan.seed): number for number, plan in enumerate(prepared.plans)}
        self._ended: list[Outcome] = []
        self._known: Known = {}
        self._reported_at = time.monotonic()
        self._anew_s = ANEW_S

    def add(self, outcome: Outcome) -> None:
        """One more run has ended. Its errors are reported when all have ended."""
        self._ended.append(outcome)
        self._ended.sort(key=lambda each: self._order[each.keying, each.seed])
        if not outcome.done:
            return
        with tried("", []):
            run = Run(outcome.folder)
            self._known[outcome.folder] = run, measured(self._experiment, run)
            ask_timeline(self._figures, self._folder, run, first=outcome.seed == self._seeds[0])
            numbers: dict[str, list[Measures]] = {}
            for each in self._ended:
                if each.folder in self._known:
                    numbers.setdefault(each.keying, []).append(self._known[each.folder][1])
            about = {"seeds": self._seeds_of(self._ended), **self._about}
            self._so_far(table_of(self._experiment, self._ended, numbers, about))

    def report_if_due(self) -> None:
        """A report of the finished runs, when they are whole seeds and the last report is not too recent."""
        waited = time.monotonic() - self._reported_at
        seeds = self._seeds_of(self._ended)
        due = len(self._ended) == len(seeds) * len(self._order) // len(self._seeds)
        if due and len(self._ended) < len(self._order) and waited >= self._anew_s:
            began = time.monotonic()
            with tried("", []):
                self.report(self._ended)
            self._reported_at = time.monotonic()
            self._anew_s = max(ANEW_S, (self._reported_at - began) / SHARE)

    def report(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Of these outcomes."""
        about = {"seeds": self._seeds_of(outcomes), **self._about}
        if len(outcomes) < len(self._order):
            about["partial"] = {"done": len(outcomes), "of": len(self._order)}
        return self._played.conclude(outcomes, about, self._folder, figures=self._figures, known=self._known)

    def _seeds_of(self, outcomes: Sequence[Outcome]) -> list[int]:
        there = {each.seed for each in outcomes}
        return [seed for seed in self._seeds if seed in there]


def folder_of(request: Request, experiment: str, topology: str) -> Path:
    """The folder of the results."""
    return request.out or Path("runs") / f"{experiment}-{topology}-{request.kernel}"


def refuse_another(folder: Path, experiment: str, network: Topology | None = None) -> None:
    """InputError for a folder with the results of another experiment, or of another network of the same name, which
    would be overwritten, and for a path that is not a folder."""
    execute.refuse_file(folder)
    try:
        there = read_summary(folder)
    except InputError:
        return  # none, or one that says nothing any more
    if there["experiment"] != experiment:
        raise InputError(
            f"holds results of {there['experiment']}", where=str(folder), allowed="another folder, with --out"
        )
    for run in there.get("runs", ()) if network is not None else ():
        try:
            known = Plan.read(folder / run["folder"] / PLAN).topology
        except InputError:
            continue
        if known != network:
            raise InputError(
                f"holds results of another network with the same name {known.name}", where=str(folder),
                allowed="another folder, with --out; or another `name:` in the topology's file",
            )  # fmt: skip
        return


def command_line(request: Request, topology: str | None, keyings: Sequence[str], seeds: Sequence[int]) -> str:
    """The command that repeats this, with every choice spelled out. `topology`: None if nothing is played in a
    guest."""
    kernel = [] if topology is None else ["--kernel", request.kernel]
    words = ["./lab", "run", request.experiment, *kernel, "--keying", ",".join(keyings)]
    words += [] if topology is None else ["--topology", topology]
    words += ["--ospf", request.ospf] if request.ospf else []
    words += ["--seed", str(seeds[0])] if len(seeds) == 1 else ["--seeds", str(len(seeds))]
    for name, value in request.options.items():
        # As JSON, so that true, lists and a text that looks like a number are read back unchanged.
        words += ["-o", f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def measure(
    experiment: Experiment, outcomes: Sequence[Outcome], flaws: list[InputError], known: Known
) -> tuple[list[Outcome], list[tuple[Run, Measures]]]:
    """The numbers of every finished run that has them, which may be `known`. A run that cannot be measured is no longer
    `done`, and `flaws` says why; it also gets runs whose files were changed."""
    outcomes_now, taken = [], []
    for each in outcomes:
        if each.done:
            run, count = Run(each.folder), len(flaws)
            with tried(f"{each.keying}, seed {each.seed}, cannot be measured", flaws, each.folder):
                if not each.folder.is_dir():
                    raise InputError("the run is missing", where=str(each.folder))
                plan = run.plan
                if (plan.experiment, plan.keying, plan.seed) != (experiment.name, each.keying, each.seed):
                    other = f"is of {plan.experiment}, {plan.keying}, seed {plan.seed}"
                    raise InputError(other, where=str(each.folder / PLAN))
                taken.append(known.get(each.folder) or (run, measured(experiment, run)))
            if len(flaws) > count:
                each = replace(each, status=NOT_MEASURED)
            else:
                flaws += run.flaws()
        outcomes_now.append(each)
    return outcomes_now, taken


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """InputError for results that cannot be written, EnvironmentFailure where the disk is full."""
    try:
        yield
    except OSError as error:
        failure = of_file(error, folder, "a folder that you may write")
        failure.problem = f"cannot be written: {failure.problem}"
        raise failure from error


def nothing_left(folder: Path, flaws: Sequence[InputError], command: str = "") -> InputError:
    """The error of a folder in which nothing can be measured: a failure when the experiment's own code is to blame.
    `command`: the command that made it."""
    again = f"{command} --out {folder}" if command.startswith("./lab") else "lab run --help"
    error = InputError(
        f"no run here can be measured:{listed(flaws)}" if flaws else "no finished run is here", where=str(folder),
        allowed="a folder with the record of at least one finished run", next_command=again,
    )  # fmt: skip
    if any(each.exit_code == EnvironmentFailure.exit_code for each in flaws):
        error.exit_code, error.allowed, error.next_command = EnvironmentFailure.exit_code, None, execute.MEASURE_AGAIN
    return error


def provenance(runs: Sequence[Run]) -> dict[str, Any]:
    """The origin of these numbers: versions, and the hash of every record."""
    from testbed.setup.made_of import inventory

    manifests = {run.folder: _manifest(run) for run in runs}
    first = next(iter(manifests.values()), Manifest())
    made = None
    with suppress(InputError):
        made = origin.read(runs[0].folder) if runs else None
    return {
        "commit": made.commit if made else first.commit,
        "code": execute.code_digest(),
        "kernel": first.kernel,
        "versions": first.versions,
        "guest": inventory(),
        "host_python": sys.version.split()[0],
        "records": {f"{run.plan.keying}-{run.plan.seed}": manifests[run.folder].sha256.get(RECORD) for run in runs},
    }


def _manifest(run: Run) -> Manifest:
    try:
        return run.manifest
    except InputError:
        return Manifest()
