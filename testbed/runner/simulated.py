"""Experiments without a guest: cases that processes on this machine compute, on virtual time.

They are run, kept, summarised, compared and reproduced like experiments in guests. Knows nothing of a case's content.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from testbed import owned
from testbed.errors import EnvironmentFailure, InputError, Interrupted, raise_errors
from testbed.guest.boot import Kernel
from testbed.record import origin
from testbed.record.flaws import lines_of, tried
from testbed.record.reading import document
from testbed.record.summary import FILE
from testbed.report.drawing import Drawing
from testbed.report.page import Drawn, write_page
from testbed.report.table import write_csv
from testbed.runner.answers import figures as figures_of
from testbed.runner.answers import sound
from testbed.runner.execute import NOT_MEASURED, Outcome, keep, kept, locked, pool_of, room_for_runs, take
from testbed.runner.experiment import Measures, Question
from testbed.runner.hosted import file_of, hosted, useless
from testbed.runner.session import (
    Load,
    Progress,
    Request,
    Session,
    SoFar,
    command_line,
    nothing_left,
    refuse_another,
    written,
)
from testbed.runner.summarise import summarise
from testbed.setup import children
from testbed.setup.artefact import digest, digest_of
from testbed.setup.paths import PROJECT
from testbed.whole import put

RESULT, COST = "result.json", "cost.json"
_PLAYS = ("agents", "testbed/simulation", "testbed/storm", "testbed/effort", "testbed/runner")


class _Cost(BaseModel):
    """The content of cost.json."""

    wall_s: float
    cpu_s: float
    peak_mib: float


class Simulated(Question):
    """Subclass this for an experiment whose cases are computed. The modes of a summary are the cases' labels."""

    module: str
    """The module that is started (`python -m`) with a case's file and a folder, and writes result.json and cost.json
    there."""

    @abstractmethod
    def cases(self, request: Request) -> Sequence[tuple[str, int, Mapping[str, Any]]]:
        """Label, seed and values of each. InputError."""

    @abstractmethod
    def read(self, result: Mapping[str, Any]) -> Measures:
        """The numbers of one case."""

    @abstractmethod
    def figures(self, folder: Path, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Sequence[Drawn]:
        """Draw all cases' results, by label, into `folder`."""

    def check(self, request: Request) -> None:
        """InputError for an invalid request."""
        given = {"--topology": request.topology, "--ospf": request.ospf, "--view": request.live}
        given["--kernel"] = request.kernel != "virtual"
        for name in (name for name, value in given.items() if value):
            raise InputError(
                f"{self.name} is computed without a guest", where=name, allowed=f"none of {', '.join(given)}"
            )
        self.cases(request)


class Computed:
    """How a computed experiment is played: as Played of testbed.runner.played."""

    kernel: Kernel | None = None
    modes: tuple[str, ...] = ()

    def __init__(self, experiment: Simulated) -> None:
        self._experiment = experiment
        self.folder = Path()
        self._cases: Sequence[tuple[str, int, Mapping[str, Any]]] = ()

    def prepare(self, request: Request, load: Load) -> None:
        """InputErrors for an invalid request. Nothing is loaded."""
        self._cases = _cases(self._experiment, request)
        self.folder = request.out or Path("runs") / self._experiment.name

    def play(self, request: Request, progress: Progress, so_far: SoFar) -> Session:
        """Compute all cases, `request.jobs` at a time, longest first; summary and report, also of the finished cases
        when the work is stopped. Interrupted when there are none."""
        experiment, cases, folder = self._experiment, self._cases, self.folder
        code = code_digest()
        refuse_another(folder, experiment.name)
        with locked(folder, new=True):
            room_for_runs(folder)
            outcomes = _play(experiment, cases, folder, code, request, progress)
            if not outcomes:
                raise Interrupted(128 + signal.SIGINT)
            failed = [each for each in outcomes if not each.done]
            if failed:
                raise EnvironmentFailure(
                    f"{len(failed)} of {len(outcomes)} cases failed:\n{failed[0].keying}, seed {failed[0].seed}: "
                    f"{failed[0].detail}",
                    where=str(failed[0].folder),
                )
            about, made = _about(experiment, request, cases, outcomes), _provenance(code, outcomes)
            summary = self.conclude(outcomes, about, folder, made, figures=Drawing(request.formats))
        return Session(folder, summary, outcomes)

    def conclude(
        self,
        outcomes: Sequence[Outcome],
        about: Mapping[str, Any],
        folder: Path,
        kept: Mapping[str, Any] | None = None,
        flaws: Sequence[InputError] = (),
        figures: Drawing | None = None,
    ) -> dict[str, Any]:
        """Measure and draw the finished cases. A case whose result is missing or damaged is left out and reported.
        `kept`: the provenance of records that were not made now.

        Raises InputError when nothing can be measured, and then writes nothing.
        """
        results: dict[str, list[Mapping[str, Any]]] = {}
        measures: dict[str, list[Measures]] = {}
        costs: dict[str, Any] = {}
        experiment, all_flaws, ended = self._experiment, list(flaws), []
        for each in outcomes:
            count = len(all_flaws)
            if each.done:
                with tried(f"{each.keying}, seed {each.seed}, cannot be measured", all_flaws, each.folder):
                    result, cost = document(each.folder / RESULT, dict[str, Any]), document(each.folder / COST, _Cost)
                    with hosted(file_of(experiment), "read()", EnvironmentFailure):
                        numbers = sound(experiment, "read", experiment.read(result))
                    results.setdefault(each.keying, []).append(result)
                    measures.setdefault(each.keying, []).append(numbers)
                    costs[f"{each.keying}-{each.seed}"] = cost.model_dump()
            ended.append(each if len(all_flaws) == count else replace(each, status=NOT_MEASURED))
        if not results:
            raise nothing_left(folder, all_flaws)
        made = _provenance(code_digest(), outcomes) if kept is None else kept
        summary = summarise(experiment, ended, measures, {**about, "provenance": made})
        summary["cost"] = costs
        with written(folder):
            own = folder / "figures"
            own.mkdir(parents=True, exist_ok=True)
            drawn: Sequence[Drawn] = ()
            hosting = hosted(file_of(experiment), "figures()", EnvironmentFailure)
            with tried("the figures cannot be drawn", all_flaws), hosting, (figures or Drawing()).here():
                drawn = figures_of(experiment, "figures", experiment.figures(own, results), own)
            summary["flaws"] = lines_of(all_flaws, folder)
            put(folder / FILE, json.dumps(summary, indent=1) + "\n")
            write_csv(folder / "summary.csv", summary)
            write_page(folder / "report.html", summary, drawn, [], own)
        return summary


def _cases(experiment: Simulated, request: Request) -> list[tuple[str, int, Mapping[str, Any]]]:
    """The experiment's cases. InputErrors for an invalid request, or an invalid list of cases."""
    raise_errors(
        InputError(f"{each} is given twice", where="--keying", allowed="each keying mode once")
        for each in dict.fromkeys(request.keyings)
        if request.keyings.count(each) > 1
    )
    allowed = "a list of (label, seed, values), with whole numbers for routers and processes among the values"
    with hosted(file_of(experiment), "cases()", InputError):
        experiment.check(request)
        cases = experiment.cases(request)
    if not isinstance(cases, list | tuple) or not cases:
        raise useless(experiment, "cases", cases, allowed, InputError)
    for each in cases:
        try:
            label, seed, values = each
            fits = isinstance(label, str) and all(
                type(n) is int for n in (seed, values["routers"], values["processes"])
            )
            json.dumps(values)
        except (TypeError, ValueError, KeyError):
            fits = False
        if not fits:
            raise useless(experiment, "cases", each, allowed, InputError)
    return list(cases)


def _case_flaws(own: Path) -> list[InputError]:
    """The missing or damaged files of a case."""
    flaws: list[InputError] = []
    with tried("the case", flaws, own):
        document(own / RESULT, dict[str, Any])
        document(own / COST, _Cost)
    return flaws


def code_digest() -> str:
    """The hash of all code that decides the results."""
    files = sorted(path for each in _PLAYS for path in (PROJECT / each).rglob("*.py"))
    return digest_of(files)


def _play(
    experiment: Simulated,
    cases: Sequence[tuple[str, int, Mapping[str, Any]]],
    folder: Path,
    code: str,
    request: Request,
    progress: Progress,
) -> list[Outcome]:
    """The most expensive cases come first. A case with processes of its own has the machine for itself."""
    done: dict[int, Outcome] = {}
    jobs, fresh, module = max(1, request.jobs), request.fresh, experiment.module
    order = sorted(range(len(cases)), key=lambda index: -int(cases[index][2]["routers"]))
    large = [index for index in order if cases[index][2]["processes"] > 1]

    def tell(outcome: Outcome) -> None:
        progress(outcome, len(done), len(cases))

    with pool_of(jobs) as pool:
        for index in large:
            if not children.stopped():
                take(pool, {pool.submit(_one, module, cases[index], folder, code, fresh, jobs): index}, done, tell)
        others = [] if children.stopped() else [index for index in order if index not in large]
        waiting = {pool.submit(_one, module, cases[index], folder, code, fresh): index for index in others}
        take(pool, waiting, done, tell)
    return [done[index] for index in sorted(done)]


def _one(
    module: str, case: tuple[str, int, Mapping[str, Any]], folder: Path, code: str, fresh: bool, jobs: int = 1
) -> Outcome:
    label, seed, values = case
    name = f"{label.replace(' ', '-')}-{seed}-{digest(json.dumps(values), code)}"
    own = folder / "runs" / owned.plain_name(name, "a case's folder")
    if not fresh and (before := kept(own, _case_flaws)) is not None:
        return before
    owned.fresh(own, str(own))
    (own / "case.json").write_text(json.dumps(values, indent=1) + "\n")
    # Python's hashes must not depend on the process: they decide the order of sets.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    began = time.monotonic()
    with (own / "output").open("w") as output:
        command = [sys.executable, "-m", module, str(own.resolve()), str(jobs)]
        with children.started(
            command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as child:
            code_left = child.wait()
    return _ended(label, seed, own, code_left, time.monotonic() - began)


def _ended(label: str, seed: int, own: Path, code: int, wall_s: float) -> Outcome:
    if code:
        detail = "\n".join((own / "output").read_text().splitlines()[-12:])
        return Outcome(label, seed, own, f"exit code {code}", round(wall_s, 2), 0.0, detail)
    virtual_s = json.loads((own / RESULT).read_text())["until_s"]
    outcome = Outcome(label, seed, own, "done", round(wall_s, 2), virtual_s)
    keep(outcome)
    return outcome


def _about(
    experiment: Simulated,
    request: Request,
    cases: Sequence[tuple[str, int, Mapping[str, Any]]],
    outcomes: Sequence[Outcome],
) -> dict[str, Any]:
    seeds = sorted({seed for _label, seed, _values in cases})
    keyings = request.keyings or experiment.keyings
    words = command_line(request, None, keyings, seeds)
    return {
        "topology": experiment.topology,
        "routers": max(int(values["routers"]) for _label, _seed, values in cases),
        "kernel": "virtual",
        "command": words,
        "seeds": seeds,
        **({} if len(outcomes) == len(cases) else {"partial": {"done": len(outcomes), "of": len(cases)}}),
        "source": str(Path(request.experiment).resolve()) if request.experiment.endswith(".py") else None,
    }


def _provenance(code: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "commit": origin.commit(),
        "code": code,
        "kernel": None,
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in ("cryptography", "pydantic", "cbor2")},
        },
        "records": {
            f"{each.keying}-{each.seed}": digest(each.folder / RESULT)
            for each in outcomes
            if (each.folder / RESULT).is_file()
        },
    }
