"""Runs the symbolic model in Maude: a scenario, the defences that are there, and a bad state to search for.

Knows how to call Maude; what a scenario means stands in the modules and docs/models.md.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parent
REGISTRATION = (
    "sign", "transcript", "pin", "state", "group", "allowed", "floor", "messageId", "groupOfSession",
    "rekeySign", "rekeyId", "label", "router", "version",
)  # fmt: skip
CENTRAL = (*REGISTRATION, "aim", "control", "owner", "report", "issuer", "signed", "root", "oneIdentity")
DEFENCES = {"REGISTRATION": REGISTRATION, "CENTRAL": CENTRAL}
"""Of each module: registration.maude, and central.maude, which builds on it."""
SCENARIOS = {
    "pair": ("REGISTRATION", "init0(1, a, b) resp0(2, b) who(a) who(e) know(outside)"),
    "both ways": (
        "REGISTRATION",
        "init0(1, a, b) resp0(2, b) init0(3, b, a) resp0(4, a) who(a) who(b) who(e) know(outside)",
    ),
    "twice": ("REGISTRATION", "init0(1, a, b) resp0(2, b) init0(3, a, b) resp0(4, b) who(a) who(e) know(outside)"),
    "mirror": ("REGISTRATION", "init0(1, a, b) resp0(2, a) who(a) who(e) know(outside)"),
    "member": ("REGISTRATION", "init0(1, a, b) resp0(2, b) who(e) know(outside, sig(b, st(grp(b), 1)))"),
    "insider": ("REGISTRATION", "init0(1, a, e) who(e) know(outside, gk(b, 1), sig(b, st(grp(b), 1)))"),
    "multicast": (
        "REGISTRATION",
        "all(a, 1, 1, 2) know(sig(d, gr(1, 1)), sig(d, gr(2, 2)), sig(d, gr(3, 3)), sig(e, gr(4, 4)))",
    ),
    "policy": (
        "REGISTRATION",
        "policy(a, 2, 2) know(sig(ps, doc(a, 1)), sig(ps, doc(a, 3)), sig(ps, doc(b, 4)), sig(ps, lst(a, 5)))",
    ),
    "dks": ("CENTRAL", "c0(1, a) d0(2) who(e) who(a) link(a, b, linkKey) know(outside, word(e))"),
    "dks, insider": (
        "CENTRAL",
        "c0(1, a) d0(2) who(e) link(e, b, ownKey) know(outside, word(e), word(a), sig(e, stv(grp(a), 5, 5, e)))",
    ),
    "dks or neighbour": ("CENTRAL", "init0(1, a, b) d0(2) who(e) know(outside)"),
    "neighbour or dks": ("CENTRAL", "c0(1, a) resp0(2, b) who(e) know(outside)"),
    "lying dks": (
        "CENTRAL",
        "link(a, b, linkKey) policy(a, 2, 2) know(outside, dksKey, sig(ps, doc(a, 1)), sig(ps, doc(a, 3)))",
    ),
    "possession": ("CENTRAL", "init0(1, a, e) resp0(2, b) know(outside)"),
}
"""Which module, and the sessions by number; e is the intruder. `mirror`: nobody but a is there. `member`: e has b's
signed state. `insider`: e is a neighbour of a, and a member of b's group. `dks, insider`: e is a router of the domain,
a neighbour of b, and has old words of a. `dks or neighbour`, and the reverse: who is there is not the one that is
meant."""
_loaded: set[tuple[str, frozenset[str]]] = set()


@dataclass(frozen=True)
class Found:
    """A bad state and the rules that lead to it, or none; `states`: how many were looked at; `terms`: the state after
    each rule."""

    bad: bool
    states: int
    steps: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()


def search(scenario: str, goal: str, without: Collection[str] = ()) -> Found:
    """Look for a state in which `goal` holds. `without`: defences taken out. ValueError for an unknown one."""
    import maude

    kind, sessions = SCENARIOS[scenario]
    if unknown := set(without) - set(DEFENCES[kind]):
        raise ValueError(f"no such defence: {', '.join(sorted(unknown))}; there are {', '.join(DEFENCES[kind])}")
    module = _module(kind, frozenset(without))
    start = module.parseTerm(sessions)
    pattern = module.parseTerm("C:Conf")
    condition = maude.EqualityCondition(module.parseTerm(f"{goal}(C:Conf)"), module.parseTerm("true"))
    for _term, _substitution, path, _number in start.search(maude.ANY_STEPS, pattern, [condition]):
        way = path()
        steps = tuple(str(each.getLabel()) for each in way if isinstance(each, maude.Rule))
        return Found(True, 0, steps, tuple(str(each) for each in way[1:] if not isinstance(each, maude.Rule)))
    return Found(False, _states(start))


def _module(kind: str, without: frozenset[str]):  # type: ignore[no-untyped-def]
    import maude

    if not _loaded:
        maude.init()
        for each in DEFENCES:
            maude.load(str(MODELS / f"{each.lower()}.maude"))
    name = f"{kind}-WITHOUT" + "".join(f"-{each}" for each in sorted(without))
    if (kind, without) not in _loaded:
        switches = "\n".join(f"  eq on({each}) = {'false' if each in without else 'true'} ." for each in DEFENCES[kind])
        if not maude.input(f"mod {name} is including {kind} .\n{switches}\nendm"):
            raise RuntimeError(f"Maude does not take {name}")
        _loaded.add((kind, without))
    return maude.getModule(name)


def _states(start) -> int:  # type: ignore[no-untyped-def]
    import maude

    return sum(1 for _ in start.search(maude.ANY_STEPS, start.symbol().getModule().parseTerm("C:Conf")))
