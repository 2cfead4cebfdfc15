"""One experiment from its name to its results folder."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.analysis.run import Run
from testbed.guest.boot import Kernel
from testbed.runner import calibrate, execute, origin
from testbed.runner.execute import Outcome
from testbed.runner.experiment import Experiment, Measures, find, stretch
from testbed.runner.summarise import summarise
from testbed.topology.resolved import Topology

Told = Callable[[Outcome, int, int], None]


@dataclass(frozen=True)
class Request:
    """What a person asked for. Empty keyings and seeds mean the experiment's own."""

    experiment: str
    topology: str = ""
    keyings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    kernel: Kernel = "virtual"
    jobs: int = 1
    out: Path | None = None
    fresh: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """A finished experiment."""

    folder: Path
    summary: dict[str, Any]
    outcomes: Sequence[Outcome]


def run(request: Request, told: Told) -> Session:
    """Play, measure, write summary and report. Raises InputError before anything is started, EnvironmentFailure when
    no run at all came to its end."""
    experiment = find(request.experiment)
    spec = request.topology or experiment.topology
    topology = Topology.load(spec)
    keyings = request.keyings or experiment.keyings
    seeds = request.seeds or tuple(range(1, experiment.seeds + 1))
    plans = [experiment.plan(topology, keying, seed, request.options) for seed in seeds for keying in keyings]
    folder = request.out or Path("runs") / f"{experiment.name}-{topology.name}-{request.kernel}"
    with execute.locked(folder):
        outcomes = execute.play(plans, folder, request.kernel, request.jobs, fresh=request.fresh, told=told)
        if not any(outcome.done for outcome in outcomes):
            problem = execute.first_problem(outcomes)
            assert problem is not None
            raise problem
        about = {
            "topology": topology.name,
            "routers": len(topology.routers),
            "kernel": request.kernel,
            "command": command_line(request, spec, keyings, seeds),
            "seeds": list(seeds),
            "source": str(Path(request.experiment).resolve()) if request.experiment.endswith(".py") else None,
        }
        summary = conclude(experiment, outcomes, about, folder)
    return Session(folder, summary, outcomes)


def command_line(request: Request, topology: str, keyings: Sequence[str], seeds: Sequence[int]) -> str:
    """The command that repeats this, every choice spelled out."""
    words = ["./lab", "run", request.experiment, "--kernel", request.kernel, "--keying", ",".join(keyings)]
    words += ["--topology", topology]
    words += ["--seed", str(seeds[0])] if len(seeds) == 1 else ["--seeds", str(len(seeds))]
    for name, value in request.options.items():
        # As JSON, so that true, lists and a text that looks like a number are read back as what they were.
        words += ["-o", f"{name}={json.dumps(value)}"]
    return shlex.join(words)


def conclude(
    experiment: Experiment,
    outcomes: Sequence[Outcome],
    about: Mapping[str, Any],
    folder: Path,
    kept: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure the finished runs, and write summary.json and the report. `kept`: the provenance of records that were
    not made now; what plays runs may have changed since."""
    from testbed.report.write import write_report

    runs = [Run(outcome.folder) for outcome in outcomes if outcome.done]
    measures: dict[str, list[Measures]] = {}
    for done in runs:
        measures.setdefault(done.plan.keying, []).append(experiment.measure(done))
    summary = summarise(experiment, outcomes, measures, {**about, "provenance": kept or provenance(runs)})
    if runs and (factor := stretch(runs[0].plan.topology)) > 1:
        dead_s = runs[0].plan.topology.ospf.dead_s
        summary["method"] += (
            f" OSPF's dead interval is {dead_s} s here, and every moment comes {factor:g} times as late."
        )
    if (calibrated := folder / calibrate.FILE).exists():
        summary["calibration"] = json.loads(calibrated.read_text())
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    write_report(folder, summary, runs, experiment.draw(figures, runs))
    return summary


def provenance(runs: Sequence[Run]) -> dict[str, Any]:
    """From what these numbers came: versions, and the hash of every record."""
    from testbed.setup.all import inventory

    manifest = runs[0].manifest if runs else {}
    made = origin.read(runs[0].folder) if runs else None
    return {
        "commit": made.commit if made else manifest.get("commit"),
        "code": execute.code_digest(),
        "kernel": manifest.get("kernel"),
        "versions": manifest.get("versions"),
        "guest": inventory(),
        "host_python": sys.version.split()[0],
        "records": {
            f"{run.plan.keying}-{run.plan.seed}": run.manifest.get("sha256", {}).get("record.jsonl") for run in runs
        },
    }
