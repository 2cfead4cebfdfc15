"""Gets an experiment's plan, numbers, verdicts and figures, and checks every result.

Before a guest boots a bad result is bad input (exit code 2). Once runs exist it is a failure (3), and they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.analysis.measures import Adjacencies, RequestCounts
from testbed.analysis.run import Run
from testbed.errors import EnvironmentFailure, InputError, parts, raise_errors
from testbed.faults.check import check_plan
from testbed.record.plan import Plan
from testbed.runner.experiment import Criterion, Experiment, Measures, Question, Table
from testbed.runner.hosted import file_of, hosted, line_of, useless
from testbed.topology.resolved import Topology
from testbed.values import finite, quoted

if TYPE_CHECKING:
    from testbed.report.page import Drawn


def planned(
    experiment: Experiment, topology: Topology, keying: str, seed: int, options: Mapping[str, Any] | None = None
) -> Plan:
    """The plan of one run, checked. InputErrors with all errors."""
    with hosted(file_of(experiment), "plan()", InputError):
        plan = experiment.plan(topology, keying, seed, options or {})
    if not isinstance(plan, Plan):
        raise useless(experiment, "plan", plan, "a Plan, such as super().plan(…) gives", InputError)
    try:
        check_plan(plan)
    except InputError as error:
        raise_errors(_placed(experiment, each) for each in parts(error))
    return plan


def _placed(experiment: Experiment, error: InputError) -> InputError:
    """The method that gave a bad flow or stream, or a step of unknown origin, is named in the error."""
    for method in ("flows", "streams", "timeline"):
        if str(error.where).startswith(f"{method}["):
            error.problem, error.where = f"{error.where}: {error.problem}", line_of(experiment, method)
    return error


def measured(experiment: Experiment, run: Run) -> Measures:
    """The numbers of one run. LabError."""
    with hosted(file_of(experiment), "measure()", EnvironmentFailure):
        measures = experiment.measure(run)
    return sound(experiment, "measure", measures)


def sound(experiment: Question, method: str, measures: object) -> Measures:
    """The measures that a method returned. EnvironmentFailure for a result of another type, or with invalid numbers."""
    if not isinstance(measures, Measures):
        raise useless(experiment, method, measures, "Measures", EnvironmentFailure)
    wrong: list[tuple[str, Any]] = []
    if not (measures.main_s is None or finite(measures.main_s)):
        wrong.append(("main_s", measures.main_s))
    for name, kind, value in (("adjacencies", Adjacencies, measures.adjacencies), ("dks", RequestCounts, measures.dks)):
        if value is not None and not isinstance(value, kind):
            wrong.append((name, value))
            continue
        for part, count in vars(value).items() if value is not None else ():
            if not (count is None and kind is RequestCounts) and not (finite(count) and count >= 0):
                wrong.append((f"{name}.{part}", count))
    if not isinstance(measures.extra, Mapping):
        wrong.append(("extra", measures.extra))
    else:
        wrong += [
            (f"extra[{name!r}]", value)
            for name, value in measures.extra.items()
            if not isinstance(name, str) or not (value is None or isinstance(value, bool) or finite(value))
        ]
    if wrong:
        name, value = wrong[0]
        error = useless(experiment, method, value, "finite numbers, or None for a missing one", EnvironmentFailure)
        error.problem = f"{method}() returned {name} = {quoted(value)}"
        raise error
    return measures


def judged(experiment: Question, table: Table) -> list[Criterion]:
    """The criteria. EnvironmentFailure for an invalid result."""
    with hosted(file_of(experiment), "judge()", EnvironmentFailure):
        criteria = _list(experiment, "judge", experiment.judge(table), "a list of Criterion")
    for each in criteria:
        kinds = (("keying", str), ("text", str), ("value", str), ("ok", bool))
        if not isinstance(each, Criterion) or not all(isinstance(getattr(each, name), kind) for name, kind in kinds):
            allowed = "a list of Criterion(keying, text, value, ok): three texts, True or False"
            raise useless(experiment, "judge", each, allowed, EnvironmentFailure)
    return criteria


def findings(experiment: Question, table: Table) -> list[str]:
    """The findings, in sentences. EnvironmentFailure for an invalid result."""
    with hosted(file_of(experiment), "findings()", EnvironmentFailure):
        sentences = _list(experiment, "findings", experiment.findings(table), "a list of texts")
    for each in sentences:
        if not isinstance(each, str):
            raise useless(experiment, "findings", each, "a list of texts", EnvironmentFailure)
    return sentences


def drawn(experiment: Experiment, folder: Path, runs: Sequence[Run]) -> Sequence[Drawn]:
    """The experiment's own figures. EnvironmentFailure for an invalid result."""
    with hosted(file_of(experiment), "draw()", EnvironmentFailure):
        return figures(experiment, "draw", experiment.draw(folder, runs), folder)


def figures(experiment: Question, method: str, drawn: object, folder: Path) -> Sequence[Drawn]:
    """The figures that a method returned, whose files exist. EnvironmentFailure."""
    from testbed.report.page import Drawn

    listed = _list(experiment, method, drawn, "a list of Drawn")
    for each in listed:
        if not isinstance(each, Drawn):
            raise useless(experiment, method, each, "a list of Drawn", EnvironmentFailure)
        if not (folder / f"{each.name}.svg").is_file():
            raise useless(experiment, method, each, f"figures whose {each.name}.svg exists", EnvironmentFailure)
    return listed


def _list(experiment: Question, method: str, given: object, allowed: str) -> list[Any]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, list | tuple | Sequence):
        raise useless(experiment, method, given, allowed, EnvironmentFailure)
    return list(given)
