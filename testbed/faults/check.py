"""Checks a plan against its topology before anything is built. Pure; usable on the host.

It must not know how a fault is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from testbed.errors import InputError
from testbed.keying.base import keying_names
from testbed.record.plan import Action, Plan, Step
from testbed.topology.resolved import label

_DKS = "dks"

#: action → (arguments it must have, arguments it may have)
ARGUMENTS: dict[Action, tuple[frozenset[str], frozenset[str]]] = {
    Action.POWER_OFF: (frozenset(), frozenset({"nodes", "dks"})),
    Action.POWER_ON: (frozenset(), frozenset({"nodes", "dks", "jitter_s"})),
    Action.LINK_ADMIN_DOWN: (frozenset({"segment"}), frozenset({"side"})),
    Action.LINK_ADMIN_UP: (frozenset({"segment"}), frozenset({"side"})),
    Action.LINK_CARRIER_DOWN: (frozenset({"segment"}), frozenset()),
    Action.LINK_CARRIER_UP: (frozenset({"segment"}), frozenset()),
    Action.LINK_BLACKHOLE: (frozenset({"segment"}), frozenset()),
    Action.LINK_HEAL: (frozenset({"segment"}), frozenset()),
    Action.LINK_NETEM: (
        frozenset({"segment"}),
        frozenset({"delay_ms", "jitter_ms", "loss_percent", "rate_mbps"}),
    ),
    Action.DKS_KILL: (frozenset(), frozenset()),
    Action.DKS_START: (frozenset(), frozenset()),
    Action.PARTITION: (frozenset({"groups"}), frozenset()),
    Action.HEAL: (frozenset(), frozenset()),
    Action.CLOCK_STEP: (frozenset({"node", "seconds"}), frozenset()),
    Action.ROUTER_REMOVE: (frozenset({"router"}), frozenset({"hand_to"})),
    Action.MARK: (frozenset({"name"}), frozenset()),
    Action.POLICY_STEP: (frozenset({"direction"}), frozenset({"at_once"})),
    Action.TAP: (frozenset({"segment"}), frozenset()),
    Action.INJECT: (frozenset({"segment", "frames"}), frozenset({"copies", "gap_s", "fresh"})),
    Action.REPLAY: (frozenset({"segment"}), frozenset({"tamper"})),
    Action.IMPERSONATE: (frozenset({"segment", "insider", "speaker", "payload"}), frozenset()),
    Action.IMPOSTOR: (frozenset({"segment", "victim", "router", "name", "key"}), frozenset()),
}


def check_plan(plan: Plan) -> None:
    """InputError for what the plan names and the topology does not have, or arguments that are wrong."""
    _one_of(plan.keying, keying_names(), "keying", "keying mode")
    for number, step in enumerate(plan.timeline):
        check_step(plan, step, f"timeline[{number}] ({step.action})")
    interfaces = known_interfaces(plan)
    if plan.captures != "all":
        for name in plan.captures:
            _one_of(name, interfaces, "captures", "interface")
    endpoints = [*plan.topology.routers, *plan.topology.hosts]
    for number, flow in enumerate(plan.flows):
        for name in (flow.src, flow.dst):
            _one_of(name, endpoints, f"flows[{number}]", "node")


def known_interfaces(plan: Plan) -> list[str]:
    """The label of every interface on a segment of the topology."""
    return [label(*member) for segment in plan.topology.segments.values() for member in segment.members]


def check_step(plan: Plan, step: Step, where: str) -> None:
    """InputError for a step that cannot be done on the plan's topology."""
    needed, optional = ARGUMENTS[step.action]
    for name in needed - step.args.keys():
        raise InputError(f"{step.action} needs {name!r}", where=where)
    for name in step.args.keys() - needed - optional:
        raise InputError(
            f"{step.action} takes no {name!r}",
            where=where,
            allowed=", ".join(sorted(needed | optional)) or "no arguments",
        )
    for name, value in step.args.items():
        _CHECKS[name](plan, step, value, where)


def chosen_nodes(plan: Plan, args: dict[str, Any]) -> list[str]:
    """The nodes that a power step means, in a fixed order. "all" is every router.

    The DKS is among them when `dks` is true or it is named; hosts when they are named.
    """
    named = args.get("nodes", [])
    nodes = list(plan.topology.routers) if named == "all" else list(named)
    if args.get("dks") and _DKS not in nodes:
        nodes.insert(0, _DKS)
    return nodes


def _one_of(value: Any, allowed: Iterable[str], where: str, what: str) -> None:
    names = list(allowed)
    if value not in names:
        raise InputError(f"there is no {what} {value!r}", where=where, allowed=", ".join(sorted(names)))


def _nodes(plan: Plan, _step: Step, value: Any, where: str) -> None:
    if value == "all":
        return
    if not isinstance(value, list | tuple):
        raise InputError(f"nodes is {value!r}", where=where, allowed='"all" or a list of nodes')
    for name in value:
        _one_of(name, [*plan.topology.routers, *plan.topology.hosts, _DKS], where, "node")


def _segment(plan: Plan, _step: Step, value: Any, where: str) -> None:
    _one_of(value, plan.topology.segments, where, "segment")


def _side(plan: Plan, step: Step, value: Any, where: str) -> None:
    _segment(plan, step, step.args.get("segment"), where)
    members = plan.topology.segments[step.args["segment"]].members
    _one_of(value, [*(node for node, _ in members), "both"], where, "side")


def _groups(plan: Plan, _step: Step, value: Any, where: str) -> None:
    if not isinstance(value, list | tuple):
        raise InputError("groups is no list", where=where, allowed="a list of lists of nodes")
    seen: set[str] = set()
    for group in value:
        _nodes(plan, _step, group, where)
        for name in group:
            if name in seen:
                raise InputError(f"{name!r} is in two groups", where=where)
            seen.add(name)


def _node(plan: Plan, _step: Step, value: Any, where: str) -> None:
    _one_of(value, [*plan.topology.routers, *plan.topology.hosts, _DKS, "all"], where, "node")


def _number(_plan: Plan, step: Step, value: Any, where: str) -> None:
    negative = step.action != Action.CLOCK_STEP
    if value is None and "rate_mbps" in step.args:
        return
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or (negative and value < 0):
        raise InputError(f"{value!r} is no number that {step.action} takes", where=where)


def _yes_or_no(_plan: Plan, _step: Step, value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise InputError(f"{value!r} is neither yes nor no", where=where, allowed="true, false")


def _text(_plan: Plan, _step: Step, value: Any, where: str) -> None:
    if not isinstance(value, str) or not value:
        raise InputError(f"name is {value!r}", where=where, allowed="a text")


def _direction(_plan: Plan, _step: Step, value: Any, where: str) -> None:
    _one_of(value, ["up", "back"], where, "direction")


def _count(_plan: Plan, _step: Step, value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{value!r} is no count", where=where, allowed="a whole number from 1")


def _router(plan: Plan, step: Step, value: Any, where: str) -> None:
    segment = step.args.get("segment")
    known = [name for name, _interface in plan.topology.segments[segment].members] if segment else plan.topology.routers
    _one_of(value, [name for name in known if name in plan.topology.routers], where, "router")


def _anywhere(plan: Plan, _step: Step, value: Any, where: str) -> None:
    _one_of(value, plan.topology.routers, where, "router")


def _frames(_plan: Plan, _step: Step, value: Any, where: str) -> None:
    for each in value if isinstance(value, list | tuple) else [value]:
        _octets(_plan, _step, each, where)


def _octets(_plan: Plan, _step: Step, value: Any, where: str) -> None:
    try:
        bytes.fromhex(value)
    except (TypeError, ValueError):
        raise InputError(f"{value!r} is no packet", where=where, allowed="octets in hexadecimal") from None


def _fresh(_plan: Plan, _step: Step, value: Any, where: str) -> None:
    pairs = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, list | tuple) and len(each) == 2 and min(each) >= 0 for each in pairs):
        raise InputError(f"fresh is {value!r}", where=where, allowed="a list of [place, octets]")


_CHECKS: dict[str, Callable[[Plan, Step, Any, str], None]] = {
    "nodes": _nodes,
    "dks": _yes_or_no,
    "jitter_s": _number,
    "segment": _segment,
    "side": _side,
    "groups": _groups,
    "delay_ms": _number,
    "jitter_ms": _number,
    "loss_percent": _number,
    "rate_mbps": _number,
    "node": _node,
    "router": _router,
    "hand_to": _router,
    "seconds": _number,
    "name": _text,
    "direction": _direction,
    "at_once": _count,
    "copies": _count,
    "gap_s": _number,
    "frames": _frames,
    "payload": _octets,
    "fresh": _fresh,
    "tamper": _yes_or_no,
    "insider": _anywhere,
    "speaker": _router,
    "victim": _router,
    "key": _text,
}
