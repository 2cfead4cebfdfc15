"""Checks a plan as a whole, before anything is built: steps against topology and each other, flows, captures.

Every error is told at once. Pure; usable on the host. It must not know how a fault is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from testbed.errors import InputError, Location, refuse
from testbed.faults.steps import Step
from testbed.keying.base import keying_names
from testbed.record.plan import Flow, Plan
from testbed.topology.resolved import Topology, label
from testbed.values import OneOf, misnamed


def check_plan(plan: Plan) -> None:
    """InputErrors for what the plan names and the topology does not have, for what comes too late or too early, and
    for steps that contradict each other."""
    refuse(_wrong(plan))


def _wrong(plan: Plan) -> Iterator[InputError]:
    yield from _named(OneOf("keying mode", lambda _: keying_names()), plan.keying, plan.topology, "keying")
    steps = sorted(enumerate(plan.timeline), key=lambda each: each[1].at_s)
    tapped: set[str] = set()
    for number, step in steps:
        place, prefix = _place(number, step)
        for problem, allowed in step.wrong(plan.topology):
            yield InputError(prefix + problem, where=place, allowed=allowed)
        if step.at_s > plan.duration_s:
            yield InputError(
                f"{prefix}comes at {step.at_s:g} s, after the end of the run", where=place,
                allowed=f"0 to {plan.duration_s:g} s",
            )  # fmt: skip
        segment = getattr(step, "segment", "")
        if step.action == "tap":
            tapped.add(segment)
        elif step.needs_tap and segment in plan.topology.segments and segment not in tapped:
            yield InputError(
                f"{prefix}nobody is on {segment} before", where=place, allowed=f"a tap of {segment} earlier"
            )
    yield from _contradictions(plan.topology, steps)
    yield from _named(OneOf("interface", known_interfaces), plan.captures, plan.topology, "-o captures")
    for name, (problem, allowed) in misnamed(plan.options, plan.topology):
        yield InputError(problem, where=f"-o {name}", allowed=allowed)
    for number, flow in enumerate(plan.flows):
        yield from _flow(plan, flow, f"flows[{number}]")


def _place(number: int, step: Step) -> tuple[Location | str, str]:
    """Where a step stands, and what its error begins with."""
    if step.written is not None:
        return step.written, f"{step.action} at {step.at_s:g} s: "
    return f"timeline[{number}] ({step.action})", ""


def _contradictions(topology: Topology, steps: Iterable[tuple[int, Step]]) -> Iterator[InputError]:
    seen: dict[tuple[Any, ...], tuple[Any, Step]] = {}
    for number, step in steps:
        for part, value in step.sets(topology).items():
            before = seen.setdefault((step.at_s, *part), (value, step))
            if before[0] != value:
                place, prefix = _place(number, step)
                other = f" ({before[1].written})" if before[1].written else ""
                yield InputError(
                    f"{prefix}contradicts {before[1].action} of the same moment{other}: {' '.join(part)}", where=place,
                    allowed="one of them, or different moments",
                )  # fmt: skip
                break


def _flow(plan: Plan, flow: Flow, where: str) -> Iterator[InputError]:
    ends = OneOf("node", lambda topology: [*topology.routers, *topology.hosts])
    yield from _named(ends, (flow.src, flow.dst), plan.topology, where)
    if flow.src == flow.dst:
        yield InputError(f"{flow.src} sends to itself", where=where, allowed="two nodes")
    stop_s = plan.duration_s if flow.stop_s is None else flow.stop_s
    if stop_s > plan.duration_s:
        yield InputError(
            f"stops at {stop_s:g} s, after the end of the run", where=where, allowed=f"0 to {plan.duration_s:g} s"
        )
    if flow.start_s >= stop_s:
        yield InputError(
            f"starts at {flow.start_s:g} s and stops at {stop_s:g} s", where=where, allowed="a start before the stop"
        )


def _named(kind: OneOf, value: Any, topology: Topology, where: str) -> Iterator[InputError]:
    if value != "all":
        for problem, allowed in kind.wrong(value, topology):
            yield InputError(problem, where=where, allowed=allowed)


def known_interfaces(topology: Topology) -> list[str]:
    """The label of every interface on a segment of the topology."""
    return [label(*member) for segment in topology.segments.values() for member in segment.members]


def check_step(step: Step, topology: Topology) -> None:
    """InputErrors for a step by itself that cannot be done on the topology."""
    refuse(InputError(problem, where=step.action, allowed=allowed) for problem, allowed in step.wrong(topology))
