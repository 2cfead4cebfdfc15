"""The faults of a run as values, drawn from its seed, so that a run can be done again with fewer. Does none of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings

SEGMENTS = {"a--b": ("a", "b"), "lan": ("b", "c", "x")}
REMOVED = "x"
PHANTOMS = ("p", "q")
"""Routers that are on no segment: their removal makes revocation lists that concern nobody here."""
ISSUERS = ("lks", "dks", "central")
BEGIN_S, END_S = 15.0, 150.0


class Kind(StrEnum):
    NOISE = "loss, duplicates, overtaking"
    CUT = "silent cut"
    DKS_CUT = "DKS out of reach"
    REPLAY = "datagrams replayed"
    FORGE = "datagrams altered"
    CRASH = "power lost at an effect"
    LOST_WRITE = "power lost between write and fsync"
    OUTAGE = "power lost everywhere"
    TORN = "restart with torn counters"
    OLD_FILES = "restart with an older document or list"
    FOLDER = "restart with an older folder, or none"
    DKS_CRASH = "DKS restarted"
    OLD_LEDGER = "DKS restarted with an older ledger"
    CLOCK = "wall clock jumps"
    POLICY = "new documents"
    WORST = "new documents and power lost amid a rekey"
    DENY = "adjacency denied, and allowed again"
    MODE = "modes go down by steps, and up again"
    ISSUER = "another issuer"
    REMOVE = "router removed"
    REMOVE_BY_HAND = "router removed without the DKS"
    REVOKE = "key of an absent router revoked"
    REKEY = "rekey ordered"
    FALSE_LIST = "altered or older revocation list given"
    FALSE_DOCUMENT = "DKS gives a false document"
    LIE = "insider lies"
    HAND = "documents handed to a router without the DKS"


ONCE = frozenset({Kind.REMOVE, Kind.REMOVE_BY_HAND})
APART = frozenset({Kind.FOLDER, Kind.HAND})
"""Drawn for themselves, so that the others of each seed are what they were without them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `who`: a router or a segment; `size`: seconds, an effect or a number, as the kind says."""

    at_s: float
    kind: Kind
    who: str
    size: float


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


def faults_of(seed: int) -> tuple[Fault, ...]:
    """Some faults, in the order of time."""
    chance = random.Random(f"faults {seed}")
    faults = []
    kinds = [kind for kind in Kind if kind not in ONCE | APART]
    if chance.random() < 0.6:
        kind = chance.choice(sorted(ONCE))
        faults.append(Fault(round(chance.uniform(BEGIN_S, END_S), 3), kind, REMOVED, round(chance.uniform(0, 25), 3)))
    liar = chance.choice(["c", "x"])
    for _each in range(chance.randint(6, 14)):
        kind = chance.choice(kinds)
        who = chance.choice(["a", "b", "c"])
        if kind in (Kind.CUT, Kind.MODE):
            who = chance.choice(list(SEGMENTS))
        elif kind is Kind.LIE:
            who = liar
        faults.append(Fault(round(chance.uniform(BEGIN_S, END_S), 3), kind, who, round(chance.uniform(0, 25), 3)))
    chance = random.Random(f"folders {seed}")
    for _each in range(chance.choice((0, 0, 1, 2))):
        who, size = chance.choice(["a", "b", "c"]), round(chance.uniform(0, 25), 3)
        faults.append(Fault(round(chance.uniform(BEGIN_S, END_S), 3), Kind.FOLDER, who, size))
    chance = random.Random(f"handed {seed}")
    for _each in range(chance.choice((0, 0, 1, 2))):
        who, size = chance.choice(["a", "b", "c"]), round(chance.uniform(0, 25), 3)
        faults.append(Fault(round(chance.uniform(BEGIN_S, END_S), 3), Kind.HAND, who, size))
    return tuple(sorted(faults, key=lambda each: each.at_s))
