"""Runs the symbolic model in Maude: a scenario, the defences that are there, and a bad state to search for.

Knows how to call Maude; what a scenario means stands in registration.maude and docs/models.md.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).parent / "registration.maude"
DEFENCES = (
    "sign", "transcript", "pin", "state", "group", "allowed", "floor", "messageId", "groupOfSession",
    "rekeySign", "rekeyId", "label", "router", "version",
)  # fmt: skip
SCENARIOS = {
    "pair": "init0(1, a, b) resp0(2, b) who(a) who(e) know(outside)",
    "both ways": "init0(1, a, b) resp0(2, b) init0(3, b, a) resp0(4, a) who(a) who(b) who(e) know(outside)",
    "twice": "init0(1, a, b) resp0(2, b) init0(3, a, b) resp0(4, b) who(a) who(e) know(outside)",
    "mirror": "init0(1, a, b) resp0(2, a) who(a) who(e) know(outside)",
    "member": "init0(1, a, b) resp0(2, b) who(e) know(outside, sig(b, st(grp(b), 1)))",
    "insider": "init0(1, a, e) who(e) know(outside, gk(b, 1), sig(b, st(grp(b), 1)))",
    "multicast": "all(a, 1, 1, 2) know(sig(d, gr(1, 1)), sig(d, gr(2, 2)), sig(d, gr(3, 3)), sig(e, gr(4, 4)))",
    "policy": "policy(a, 2, 2) know(sig(ps, doc(a, 1)), sig(ps, doc(a, 3)), sig(ps, doc(b, 4)), sig(ps, lst(a, 5)))",
}
"""Sessions by number; e is the intruder. `mirror`: nobody but a is there. `member`: e has b's signed state.
`insider`: e is a neighbour of a, and a member of b's group."""
_loaded: set[frozenset[str]] = set()


@dataclass(frozen=True)
class Found:
    """A bad state and the rules that lead to it, or none; `states`: how many were looked at."""

    bad: bool
    states: int
    steps: tuple[str, ...] = ()


def search(scenario: str, goal: str, without: Collection[str] = ()) -> Found:
    """Look for a state in which `goal` holds. `without`: defences taken out. ValueError for an unknown one."""
    import maude

    if unknown := set(without) - set(DEFENCES):
        raise ValueError(f"no such defence: {', '.join(sorted(unknown))}; there are {', '.join(DEFENCES)}")
    module = _module(frozenset(without))
    start = module.parseTerm(SCENARIOS[scenario])
    pattern = module.parseTerm("C:Conf")
    condition = maude.EqualityCondition(module.parseTerm(f"{goal}(C:Conf)"), module.parseTerm("true"))
    for _term, _substitution, path, _number in start.search(maude.ANY_STEPS, pattern, [condition]):
        steps = tuple(str(each.getLabel()) for each in path() if isinstance(each, maude.Rule))
        return Found(True, 0, steps)
    return Found(False, _states(start))


def _module(without: frozenset[str]):  # type: ignore[no-untyped-def]
    import maude

    if not _loaded:
        maude.init()
        maude.load(str(MODEL))
    name = "WITHOUT" + "".join(f"-{each}" for each in sorted(without))
    if without not in _loaded:
        switches = "\n".join(f"  eq on({each}) = {'false' if each in without else 'true'} ." for each in DEFENCES)
        if not maude.input(f"mod {name} is including REGISTRATION .\n{switches}\nendm"):
            raise RuntimeError(f"Maude does not take {name}")
        _loaded.add(without)
    return maude.getModule(name)


def _states(start) -> int:  # type: ignore[no-untyped-def]
    import maude

    return sum(1 for _ in start.search(maude.ANY_STEPS, start.symbol().getModule().parseTerm("C:Conf")))
