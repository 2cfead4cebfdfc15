"""Checks a plan as a whole, before anything is built: steps against topology and each other, flows, streams,
captures.

Every error is told at once. Pure; usable on the host. It must not know how a fault is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from typing import Any

from testbed.errors import InputError, Location, raise_errors
from testbed.faults.steps import Step
from testbed.keying.base import keying_names
from testbed.record.plan import SOURCE_SPECIFIC, Flow, Plan, Stream
from testbed.topology.resolved import Topology, label
from testbed.values import OneOf, misnamed


def check_plan(plan: Plan) -> None:
    """InputErrors for what the plan names and the topology does not have, for what comes too late or too early, and
    for steps that contradict each other."""
    raise_errors(_wrong(plan))


def _wrong(plan: Plan) -> Iterator[InputError]:
    yield from _named(OneOf("keying mode", lambda _: keying_names()), plan.keying, plan.topology, "keying")
    steps = sorted(enumerate(plan.timeline), key=lambda each: each[1].at_s)
    tapped: set[str] = set()
    for number, step in steps:
        where, prefix = _where(number, step)
        for problem, allowed in step.wrong(plan.topology):
            yield InputError(prefix + problem, where=where, allowed=allowed)
        if step.at_s > plan.duration_s:
            yield InputError(
                f"{prefix}comes at {step.at_s:g} s, after the end of the run", where=where,
                allowed=f"0 to {plan.duration_s:g} s",
            )  # fmt: skip
        segment = getattr(step, "segment", "")
        if step.action == "tap":
            tapped.add(segment)
        elif step.needs_tap and segment in plan.topology.segments and segment not in tapped:
            yield InputError(
                f"{prefix}no intruder is on {segment} yet", where=where, allowed=f"a tap of {segment} earlier"
            )
    yield from _contradictions(plan.topology, steps)
    yield from _named(OneOf("interface", known_interfaces), plan.captures, plan.topology, "-o captures")
    for name, (problem, allowed) in misnamed(plan.options, plan.topology):
        yield InputError(problem, where=f"-o {name}", allowed=allowed)
    for number, flow in enumerate(plan.flows):
        yield from _flow(plan, flow, f"flows[{number}]")
    names: set[str] = set()
    for number, stream in enumerate(plan.streams):
        yield from _stream(plan, stream, f"streams[{number}]")
        if stream.name in names:
            yield InputError(f"another stream is called {stream.name!r}", where=f"streams[{number}]")
        names.add(stream.name)


def _where(number: int, step: Step) -> tuple[Location | str, str]:
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
                where, prefix = _where(number, step)
                other = f" ({before[1].written})" if before[1].written else ""
                yield InputError(
                    f"{prefix}contradicts {before[1].action} at the same moment{other}: {' '.join(part)}", where=where,
                    allowed="one of them, or different moments",
                )  # fmt: skip
                break


_ENDS = OneOf("node", lambda topology: [*topology.routers, *topology.hosts])


def _flow(plan: Plan, flow: Flow, where: str) -> Iterator[InputError]:
    yield from _named(_ENDS, (flow.src, flow.dst), plan.topology, where)
    if flow.src == flow.dst:
        yield InputError(f"{flow.src} sends to itself", where=where, allowed="two nodes")
    yield from _times(plan, flow.start_s, flow.stop_s, where)


def _stream(plan: Plan, stream: Stream, where: str) -> Iterator[InputError]:
    if plan.topology.pim is None:
        yield InputError(
            "multicast streams need PIM, and this topology has none", where=where, allowed="a topology without pim: off"
        )
    yield from _named(_ENDS, (stream.source, *stream.receivers), plan.topology, where)
    if stream.source in stream.receivers:
        yield InputError(f"{stream.source} sends to itself", where=where, allowed="other nodes as receivers")
    if stream.specific != (IPv4Address(stream.group) in SOURCE_SPECIFIC):
        kind = "source-specific" if stream.specific else "for any source"
        allowed = f"in {SOURCE_SPECIFIC}" if stream.specific else f"outside {SOURCE_SPECIFIC}, or specific=True"
        yield InputError(f"{stream.group} is not a group {kind}", where=where, allowed=f"a group {allowed}")
    yield from _times(plan, stream.since_s, stream.until_s, where)


def _times(plan: Plan, start_s: float, stop_s: float | None, where: str) -> Iterator[InputError]:
    stop_s = plan.duration_s if stop_s is None else stop_s
    if stop_s > plan.duration_s:
        yield InputError(
            f"stops at {stop_s:g} s, after the end of the run", where=where, allowed=f"0 to {plan.duration_s:g} s"
        )
    if start_s >= stop_s:
        yield InputError(
            f"starts at {start_s:g} s and stops at {stop_s:g} s", where=where, allowed="a start before the stop"
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
    raise_errors(InputError(problem, where=step.action, allowed=allowed) for problem, allowed in step.wrong(topology))
