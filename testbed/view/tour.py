"""Plays the guided tour's run in a guest and makes its page."""

from __future__ import annotations

from pathlib import Path

from testbed.analysis.run import Run
from testbed.faults.check import check_plan
from testbed.runner.execute import play_alone
from testbed.topology.resolved import Topology
from testbed.view.demo import SPEED, TOPOLOGY, Demo, story
from testbed.view.page import page
from testbed.view.scene import scene


def tour(folder: Path) -> str:
    """The page. The run is kept below `folder`. LabError when it could not be played."""
    plan = Demo().plan(Topology.load(TOPOLOGY), "lks", 1, {})
    check_plan(plan)
    run = Run(play_alone(plan, folder).folder)
    return page([{**scene(run), "name": Demo.title}], story(run), SPEED)
