"""Every check of the tables as one list, short or full. Knows the tables and who runs which; prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models import symbolic, table
from models.spin import verifier


@dataclass(frozen=True)
class Check:
    """`run` gives whether the property holds, and how many states were looked at (of an invariant: steps and parts; of
    a run that breaks it: its length); `holds`: what is expected."""

    name: str
    holds: bool
    run: Callable[[], tuple[bool, int]]


def all_checks(*, full: bool) -> Iterator[Check]:
    """Properties of the whole models, then those that must fail. `full`: within the larger bounds too."""
    for each in table.SYMBOLIC:
        yield _symbolic(each.scenario, each.goal)
        yield _symbolic(each.scenario, each.goal, each.without)
    for scenario, goal in table.SYMBOLIC_FULL if full else ():
        yield _symbolic(scenario, goal)
    bounds: tuple[tuple[str, ...], ...] = (table.SHORT, table.NEWER, *(table.FULL if full else ()))
    for switches in bounds:
        for claim in table.EPOCHS:
            yield _spin(table.Expected("epochs", switches, claim, holds=True))
    for claim in table.LKS_ALONE:
        yield _spin(table.Expected("epochs", ("LKS_ONLY", *table.SHORT), claim, holds=True))
    if full:
        rolled = ("ROLLBACK_S", "FAULTS=2", "POLICIES=1", "REKEYS=1")
        yield _spin(table.Expected("epochs", rolled, "all_keyed", holds=True))
        for claim in ("all_keyed", "one_key_taken", "no_older"):
            yield _spin(table.Expected("epochs", ("ROLLBACK_S", "FAULTS=2"), claim, holds=True))
    for switches in table.REMOVAL_BOUNDS if full else table.REMOVAL_BOUNDS[:1]:
        for claim in table.REMOVAL:
            yield _spin(table.Expected("removal", switches, claim, holds=True))
    for model, claims in (("marks", table.MARKS), ("lists", table.LISTS)):
        for claim in claims:
            yield _spin(table.Expected(model, (), claim, holds=True))
        for claim in claims if full else ():
            yield _spin(table.Expected(model, ("FAULTS=4",), claim, holds=True))
    for expected in (*table.WITHOUT, *table.BEYOND):
        yield _spin(expected)
    for name, defences in table.UNBOUNDED.items():
        yield _kept(name)
        for defence in defences:
            yield _without(name, defence)


def _symbolic(scenario: str, goal: str, without: tuple[str, ...] = ()) -> Check:
    def run() -> tuple[bool, int]:
        result = symbolic.search(scenario, goal, without)
        return not result.bad, result.states

    words = f" without {', '.join(without)}" if without else ""
    return Check(f"registration, {scenario}: never {goal}{words}", not without, run)


def _kept(name: str) -> Check:
    def run() -> tuple[bool, int]:
        from models.invariants import SYSTEMS, broken

        system = SYSTEMS[name]
        return not broken(system), len(system.steps) * len(system.invariant)

    return Check(f"{name}: every step keeps the invariant, without bounds", True, run)


def _without(name: str, defence: str) -> Check:
    def run() -> tuple[bool, int]:
        from models.invariants import SYSTEMS, counterexample

        trace = counterexample(SYSTEMS[name], defence)
        return trace is None, len(trace or ())

    return Check(f"{name}: its claims without {defence}", False, run)


def _spin(expected: table.Expected) -> Check:
    def run() -> tuple[bool, int]:
        verdict = verifier(expected.model, expected.switches).check(expected.claim)
        return verdict.holds, verdict.states

    words = f" with {', '.join(expected.switches)}" if expected.switches else ""
    return Check(f"{expected.model}: {expected.claim}{words}", expected.holds, run)
