"""`python3 -m testbed.inside PLAN`: plays a plan in this machine's kernel. `--interactive`: a prompt.

Leaves 0 when the plan was played to its end, 1 when something in it failed, 2 for a bad plan,
3 when the machine cannot.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from pydantic import ValidationError

from testbed.errors import InputError, LabError
from testbed.record.plan import Plan


def main(argv: list[str] | None = None) -> int:
    """Play the plan that is named; its results go beside it."""
    parser = argparse.ArgumentParser(prog="testbed.inside", description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--interactive", action="store_true", help="give a prompt, play no timeline")
    asked = parser.parse_args(argv)
    try:
        plan = _read(asked.plan)
        if asked.interactive:
            from testbed.inside.interactive import run_prompt

            return asyncio.run(run_prompt(plan, asked.plan.parent))
        from testbed.inside.engine import run_plan

        return asyncio.run(run_plan(plan, asked.plan.parent))
    except LabError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_code


def _read(path: Path) -> Plan:
    try:
        return Plan.read(path)
    except OSError as error:
        raise InputError(f"cannot read the plan: {error.strerror}", where=str(path)) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {first['msg']}", where=str(path)) from None


if __name__ == "__main__":
    sys.exit(main())
