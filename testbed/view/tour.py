"""Plays the guided tour's run in a guest and makes its page."""

from __future__ import annotations

from pathlib import Path

from testbed.analysis.run import Run
from testbed.faults.check import check_plan
from testbed.runner.execute import code_digest, first_problem, play_one
from testbed.topology.resolved import Topology
from testbed.view.demo import SPEED, TOPOLOGY, Demo, story
from testbed.view.page import page
from testbed.view.scene import scene


def tour(folder: Path) -> str:
    """The page. The run is kept below `folder`. LabError when it could not be played."""
    plan = Demo().plan(Topology.load(TOPOLOGY), "lks", 1, {})
    check_plan(plan)
    outcome = play_one(plan, folder, "virtual", code_digest())
    problem = first_problem([outcome])
    if problem is not None:
        raise problem
    run = Run(outcome.folder)
    return page([{**scene(run), "name": Demo.title}], story(run), SPEED)
