"""`python3 -m testbed.inside PLAN`: plays a plan in this machine's kernel. `--interactive`: a prompt.

Leaves 0 when the plan was played to its end, 1 when something in it failed, 2 for a bad plan,
3 when the machine cannot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from importlib import import_module
from pathlib import Path

from testbed.errors import LabError
from testbed.keying.preload import preload
from testbed.net.processes import Nursery


def main(argv: list[str] | None = None) -> int:
    """Play the plan that is named; its results go beside it."""
    parser = argparse.ArgumentParser(prog="testbed.inside", description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--interactive", action="store_true", help="give a prompt, play no timeline")
    asked = parser.parse_args(argv)
    nursery = None if asked.interactive else _nursery(asked.plan)
    from testbed.record.plan import Plan

    try:
        plan = Plan.read(asked.plan)
        if asked.interactive:
            from testbed.inside.interactive import run_prompt

            return asyncio.run(run_prompt(plan, asked.plan.parent))
        from testbed.inside.engine import run_plan

        return asyncio.run(run_plan(plan, asked.plan.parent, nursery))
    except LabError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_code


def _nursery(plan: Path) -> Nursery | None:
    """The nursery of a plan's agents, if it has any: with their modules, which this process mostly needs too, and not
    yet with what it alone needs."""
    try:
        modules = preload(json.loads(plan.read_text()).get("keying"))
    except (OSError, ValueError, AttributeError):
        return None  # whoever reads the plan says what is wrong with it
    for each in modules:
        import_module(each)
    return Nursery(modules) if modules else None


if __name__ == "__main__":
    sys.exit(main())
