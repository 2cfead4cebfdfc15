"""The faults of a run: steps of a timeline, drawn from its seed, so that a run can be done again with fewer. Does none
of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Literal, get_args

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.policy.names import DKS_NAME
from testbed.faults.simulated import (
    AlterDatagrams,
    CrashAtEffect,
    Deafen,
    FalseDocument,
    FalseList,
    HandDocuments,
    HandList,
    Issuer,
    Lie,
    LinkDeny,
    LoseWrite,
    NewDocuments,
    Noise,
    OldFile,
    OldFolder,
    OldLedger,
    Rekey,
    ReplayDatagrams,
    SegmentMode,
    TornCounters,
)
from testbed.faults.steps import (
    ClockStep,
    DksKill,
    DksStart,
    Heal,
    LinkAllow,
    LinkBlackhole,
    LinkHeal,
    Partition,
    PowerOff,
    PowerOn,
    RouterRemove,
    Step,
)

SEGMENTS = {"a--b": ("a", "b"), "lan": ("b", "c", "x")}
REMOVED = "x"
PHANTOMS = ("p", "q")
"""Routers that are on no segment: their removal makes revocation lists that concern nobody here."""
ISSUERS: tuple[Literal["lks", "dks", "central"], ...] = ("lks", "dks", "central")
BEGIN_S, END_S = 15.0, 150.0


def with_issuer(settings: Settings, issuer: str) -> Settings:
    """These settings with keys by `lks`, `dks` (an LKS takes over where it cannot be reached) or `central`."""
    return settings.model_copy(
        update={"issuer": "lks" if issuer == "lks" else "dks", "local_key_server": issuer != "central"}
    )


def settings_of(seed: int) -> Settings:
    """The policy of this seed's domain: issuers take turns."""
    settings = Settings(
        validity_s=1 << 33,
        lifetimes=Lifetimes(group_s=60),
        reconnect=Reconnect(first_min_s=1, first_max_s=3, max_s=5),
    )
    return with_issuer(settings, ISSUERS[seed % 3])


def pace_of(seed: int) -> tuple[float, int]:
    """Registrations that this seed's DKS serves in a second, and at once: some have every crowd wait."""
    return (4.0, 3) if seed // 3 % 4 == 1 else (500.0, 2000)


Draw = Callable[[float, str, float], Iterable[Step]]
"""Steps from a moment, a router or a segment, and a size from 0 to 25, which is of what each makes of it."""
DKS_ALONE = ((DKS_NAME,),)


def _unreached(at: float, for_s: float) -> list[Step]:
    """The DKS is out of everybody's reach."""
    return [Partition(at_s=at, groups=DKS_ALONE), Heal(at_s=at + for_s)]


def _outage(at: float, _who: str, size: float) -> list[Step]:
    """The power goes everywhere, and comes back bit by bit."""
    return [PowerOff(at_s=at, nodes="all", dks=True), PowerOn(at_s=at + 1, nodes="all", dks=True, jitter_s=size / 5)]


def _worst(at: float, who: str, size: float) -> list[Step]:
    """Rekey, new documents and a power failure within some effects of each other: when the DKS looks."""
    later = at + 2 * (size % 1)
    return [
        *_documents(at, who, size),
        Rekey(at_s=at, router=who),
        Rekey(at_s=later, router=who),
        CrashAtEffect(at_s=later, router=who, effect=int(size)),
    ]


def _documents(at: float, _who: str, size: float) -> list[Step]:
    return [NewDocuments(at_s=at, dtd_s=5 + int(size) % 3)]


def _denied(at: float, _who: str, size: float) -> list[Step]:
    """Neighbours no more, for some time."""
    return [LinkDeny(at_s=at, segment="a--b"), LinkAllow(at_s=at + 2 + size, segment="a--b")]


def _modes(at: float, segment: str, size: float) -> list[Step]:
    """All of a segment go down by some steps, one at a time, and up again: all protocols, or one of them."""
    down = [Mode.PERMISSIVE, Mode.LISTEN, Mode.CLEAR][: 1 + int(size) % 3]
    which = ((), (RoutingProtocol.OSPF,), (RoutingProtocol.PIM,))[int(size) // 3 % 3]
    return [
        SegmentMode(at_s=at + number * (3 + size / 5), segment=segment, mode=mode, protocols=which)
        for number, mode in enumerate([*down, *reversed(down[:-1]), Mode.REQUIRED])
    ]


def _removed(at: float, who: str, size: float) -> list[Step]:
    """A router is removed; half of them will not have it."""
    return [*([Deafen(at_s=at, router=who)] if int(size) % 2 else []), RouterRemove(at_s=at, router=who)]


def _removed_by_hand(at: float, who: str, size: float) -> list[Step]:
    """The DKS is out of reach, and one router is handed the list: the others have it from each other."""
    first = ("a", "b", "c")[int(size) % 3]
    return [*_unreached(at, 60 + 3 * size), *_removed(at, who, size), HandList(at_s=at, router=first)]


def _handed(at: float, who: str, size: float) -> list[Step]:
    """New documents while the DKS is out of reach, and one router is handed them all."""
    return [*_unreached(at, 20 + 2 * size), *_documents(at, who, size + 1), HandDocuments(at_s=at, router=who)]


def _torn(at: float, who: str, size: float) -> list[Step]:
    how: tuple[Literal["cut", "mixed", "altered"], ...] = ("cut", "mixed", "altered")
    return [TornCounters(at_s=at, router=who, how=how[int(size) % 3], part=size / 26)]


def _false_list(at: float, who: str, size: float) -> list[Step]:
    how: tuple[Literal["forged", "altered", "older"], ...] = ("forged", "altered", "older")
    return [FalseList(at_s=at, router=who, how=how[int(size) % 3])]


def _lie(at: float, who: str, size: float) -> list[Step]:
    return [Lie(at_s=at, router=who, for_s=3 * size)]


def _folder(at: float, who: str, size: float) -> list[Step]:
    return [OldFolder(at_s=at, router=who, older=size > 8)]


def _false_document(at: float, who: str, size: float) -> list[Step]:
    how = get_args(FalseDocument.model_fields["how"].annotation)
    return [FalseDocument(at_s=at, router=who, how=how[int(size) % 6])]


def _cut(at: float, segment: str, size: float) -> list[Step]:
    return [LinkBlackhole(at_s=at, segment=segment), LinkHeal(at_s=at + 3 * size, segment=segment)]


DRAWS: tuple[Draw, ...] = (
    lambda at, _who, size: [Noise(at_s=at, for_s=size)],
    _cut,
    lambda at, _who, size: _unreached(at, 3 * size),
    lambda at, _who, size: [ReplayDatagrams(at_s=at, count=1 + int(size))],
    lambda at, _who, size: [AlterDatagrams(at_s=at, count=1 + int(size))],
    lambda at, who, size: [CrashAtEffect(at_s=at, router=who, effect=int(size))],
    lambda at, who, _size: [LoseWrite(at_s=at, router=who)],
    _outage,
    _torn,
    lambda at, who, _size: [OldFile(at_s=at, router=who)],
    lambda at, _who, size: [DksKill(at_s=at), DksStart(at_s=at + size)],
    lambda at, _who, size: [OldLedger(at_s=at), DksStart(at_s=at + size / 5)],
    lambda at, _who, size: [ClockStep(at_s=at, node="all", seconds=1000.0 * (size - 12.0))],
    _documents,
    _worst,
    _denied,
    _modes,
    lambda at, _who, size: [Issuer(at_s=at, issuer=ISSUERS[int(size) % 3])],
    lambda at, _who, size: [RouterRemove(at_s=at, router=PHANTOMS[int(size) % 2])],
    lambda at, who, _size: [Rekey(at_s=at, router=who)],
    _false_list,
    _false_document,
    _lie,
)
OF_SEGMENT = (_cut, _modes)
ONCE: tuple[Draw, ...] = (_removed, _removed_by_hand)
APART: dict[str, Draw] = {"folders": _folder, "handed": _handed}
"""Drawn for themselves, so that the others of each seed are what they were without them."""


def faults_of(seed: int) -> tuple[Step, ...]:
    """Some faults, in the order of time."""
    chance, drawn = random.Random(f"faults {seed}"), list[Step]()

    def moment() -> float:
        return round(chance.uniform(BEGIN_S, END_S), 3)

    def size() -> float:
        return round(chance.uniform(0, 25), 3)

    if chance.random() < 0.6:
        draw = chance.choice(ONCE)
        drawn += draw(moment(), REMOVED, size())
    liar = chance.choice(["c", "x"])
    for _each in range(chance.randint(6, 14)):
        draw, who = chance.choice(DRAWS), chance.choice(["a", "b", "c"])
        if draw in OF_SEGMENT:
            who = chance.choice(list(SEGMENTS))
        drawn += draw(moment(), liar if draw is _lie else who, size())
    for name, draw in APART.items():
        chance = random.Random(f"{name} {seed}")
        for _each in range(chance.choice((0, 0, 1, 2))):
            who, much = chance.choice(["a", "b", "c"]), size()
            drawn += draw(moment(), who, much)
    return tuple(sorted(drawn, key=lambda each: each.at_s))
