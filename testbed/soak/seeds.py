"""One seed from beginning to end, its shrinking, and many seeds. Knows nothing of how it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.policy.bound import Case, removal_bound
from testbed.faults.steps import Step
from testbed.soak.adversary import do, liars_of
from testbed.soak.faults import END_S, REMOVED, faults_of
from testbed.soak.verdict import Violated
from testbed.soak.world import World

START_S = 60.0
"""By then a domain is keyed for the first time, also by a DKS that has a crowd wait."""
CALM_S = 120.0
"""After faults have stopped, legitimate neighbours hear each other within this time: two lives of a key."""


@dataclass
class Outcome:
    """What a seed came to. `violated`: None when everything held."""

    seed: int
    faults: tuple[Step, ...]
    violated: Violated | None = None
    steps: int = 0
    checked: Counter[str] = field(default_factory=Counter)


def run(seed: int, kept: Sequence[int] | None = None, *, drawn: Sequence[Step] | None = None) -> Outcome:
    """This seed's domain with all of its faults, or those `drawn` instead, or with those of these numbers only."""
    drawn = faults_of(seed) if drawn is None else tuple(drawn)
    faults = drawn if kept is None else tuple(drawn[number] for number in kept)
    outcome = Outcome(seed, faults)
    world = World(seed)
    world.judge.liars |= liars_of(faults)
    try:
        _live(world, faults)
    except Violated as violated:
        outcome.violated = violated
    except Exception as error:  # an agent that dies of a fault is a finding as well
        outcome.violated = Violated("no agent dies", world.now, f"{type(error).__name__}: {error}")
        outcome.violated.__cause__ = error
    outcome.steps, outcome.checked = world.steps, world.judge.checked
    world.ledger.close()
    return outcome


def _live(world: World, faults: Sequence[Step]) -> None:
    judge = world.judge
    world.power_on_all()
    judge.back(world.run(START_S, world.all_keyed))
    for fault in faults:
        world.at(fault.at_s, lambda fault=fault: do(world, fault))  # type: ignore[misc]
    for second in range(1, int(END_S + 80 + 2 * CALM_S)):
        world.at(float(second), world.second)
    world.run(END_S + 80)
    world.stop_faults()
    calm = world.now
    judge.back(world.run(calm + CALM_S, world.all_keyed))
    if world.removed_at is not None:
        bounds = [each.total_s for each in removal_bound(world.before_removal, REMOVED, Case.VISIT)]
        world.run(calm + max((each for each in bounds if each is not None), default=CALM_S))
        judge.out(REMOVED)
    world.run(calm + CALM_S + 60)
    judge.back(world.run(world.now + 20, world.all_keyed))
    world.run(world.now + 40, lambda: _recorded(world))
    judge.ledger()


def _recorded(world: World) -> bool:
    try:
        world.judge.ledger()
    except Violated:
        return False
    return True


def shrink(seed: int, invariant: str, look: Callable[[int, Sequence[int]], Outcome] = run) -> list[int]:
    """Numbers of fewer faults of this seed that still break this invariant: leaves out halves, quarters, ..., one."""
    kept = list(range(len(faults_of(seed))))
    size = max(1, len(kept) // 2)
    while size:
        start = 0
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            violated = look(seed, fewer).violated
            if violated is not None and violated.invariant == invariant:
                kept = fewer
            else:
                start += size
        size //= 2
    return kept
