"""The adversary finds nothing in the agents, and finds the defects that are put into them."""

from __future__ import annotations

import pytest

from testbed.faults.simulated import (
    FalseDocument,
    FalseList,
    Issuer,
    Lie,
    NewDocuments,
    OldFolder,
    OldLedger,
    Rekey,
    TornCounters,
)
from testbed.faults.steps import DksStart, Heal, Partition, PowerOff, PowerOn, RouterRemove, Step
from testbed.soak.faults import DKS_ALONE
from testbed.soak.seeds import run
from testbed.soak.witness import follows
from tests.unit.soak import mutations_more, mutations_unsealed  # noqa: F401  add their own to the table
from tests.unit.soak.mutations import MUTATIONS

UNSEALED = "no unsealed datagram changes anything"
AGAIN = "no older policy, list or (v, g)"
CAUGHT = {
    "mark not reserved": (0, "no generation above the mark"),
    "the DKS's generation not reserved": (1, "no generation above the mark"),
    "disk after kernel": (0, "no generation above the mark"),
    "mark one too low": (0, "no generation above the mark"),
    "floor not kept": (0, "floor on the disk"),
    "older document accepted": (6, AGAIN),
    "received keys never expire": (0, "every key ends in the kernel"),
    "old generations are accepted for ever": (0, "every key ends in the kernel"),
    "no rekey at the end of a lifetime": (0, "every key ends in the kernel"),
    "removed neighbours are kept": (0, "no unauthorised speaker"),
    "revocation list ignored": (0, "no unauthorised speaker"),
    "document not kept": (3, "mode as signed"),
    "list not kept": (1, "no agent dies"),
    "a reported generation not stored": (1, "the ledger matches the keys in use"),
    "the DKS's generation not stored": (1, "the ledger matches the keys in use"),
    "every boot counts generations from 1": (0, "one key for a generation"),
    "every interface open": (0, "mode as signed"),
    "the kernel ends no key by itself": (0, "every key ends in the kernel"),
    "the kernel ends a key before its time": (0, "every key ends in the kernel"),
    "each change restarts a key's lifetime": (0, "every key ends in the kernel"),
    "nothing guards the device": (3, "no cleartext"),
    "keys of the previous life used again": (0, "no key after a reboot"),
    "replay floor not sent": (0, "no packet is accepted twice"),
    "signature of a document not verified": (12, "only what the Policy Server signed"),
    "signature of a list not verified": (0, "only what the Policy Server signed"),
    "list not passed on": (0, "neighbours have one list"),
    "documents not shown to neighbours": (0, "neighbours have each other's documents"),
    "wait hint ignored": (5, "routers obey a wait hint"),
    "a window that notes a request before its check": (0, UNSEALED),
    "an answer to a header alone": (3, UNSEALED),
    "an attempt ended by a refusal in clear": (0, "no unsealed answer ends an attempt"),
    "a broken seal ends the SA": (1, UNSEALED),
    "an address trusted before the check": (0, UNSEALED),
    "a notification in clear is processed": (3, UNSEALED),
    "a forged answer uses up an attempt": (1, UNSEALED),
}
"""Which seed shows it, and as what."""
MOST_SEEDS = 16
"""What a seed comes to depends on every octet that anybody draws. When agents draw otherwise, another shows it."""
SCENES: dict[str, tuple[int, list[Step], str]] = {
    "a central speaker sends after the key's lifetime": (
        2,
        [Partition(at_s=16, groups=DKS_ALONE), Heal(at_s=136)],
        "no key after its lifetime",
    ),
    "routers do not show the DKS earlier generations": (
        2,
        [
            OldLedger(at_s=40),
            DksStart(at_s=41),
            PowerOff(at_s=60, nodes="all", dks=True),
            PowerOn(at_s=61, nodes="all", dks=True, jitter_s=0.6),
            OldLedger(at_s=100),
            DksStart(at_s=102.4),
        ],
        "one key for a generation",
    ),
    "parity of generations dropped": (
        2,
        [
            Issuer(at_s=20, issuer="lks"),
            *(Rekey(at_s=30 + 5 * number, router=who) for number, who in enumerate("abcabc")),
            Issuer(at_s=70, issuer="central"),
        ],
        "one key for a generation",
    ),
    "a neighbour may send any group": (
        1,
        [Lie(at_s=30 + 1.5 * number, router="c", for_s=15) for number in range(40)],
        "no unauthorised speaker",
    ),
    "a carried document not verified": (
        0,
        [Lie(at_s=16 + 1.5 * number, router="c", for_s=15) for number in range(40)],
        "only what the Policy Server signed",
    ),
    "an older document carried": (
        1,
        [
            NewDocuments(at_s=16, dtd_s=6),
            NewDocuments(at_s=22, dtd_s=7),
            *(Lie(at_s=30 + 1.5 * number, router="c", for_s=15) for number in range(60)),
        ],
        AGAIN,
    ),
    "the DKS gives keys to any router": (2, [Lie(at_s=16, router="c", for_s=180)], "keys for members only"),
    "neighbours do not show a router its own state": (
        3,
        [OldFolder(at_s=60, router="a", older=False)],
        "one key for a generation",
    ),
    "checksum not verified": (0, [TornCounters(at_s=60, router="b", how="mixed")], AGAIN),
    "older list accepted": (
        0,
        [
            RouterRemove(at_s=16, router="p"),
            RouterRemove(at_s=20, router="q"),
            FalseList(at_s=40, router="a", how="older"),
        ],
        AGAIN,
    ),
    "older document accepted from the DKS": (
        0,
        [NewDocuments(at_s=16, dtd_s=6), FalseDocument(at_s=40, router="b", how="older")],
        AGAIN,
    ),
}
"""Those that few seeds show: the faults that do."""


def test_every_mutation_is_in_the_tables() -> None:
    assert MUTATIONS.keys() == CAUGHT.keys() | SCENES.keys()


@pytest.mark.parametrize("seed", [3, 7, 13, 14, 175, 404])
def test_nothing_is_violated_under_faults(seed: int) -> None:
    outcome = run(seed)
    assert outcome.violated is None
    assert outcome.checked["adjacencies come back"] >= 3
    assert outcome.checked[UNSEALED]


def test_a_router_may_go_back_to_an_earlier_policy_of_a_speaker_only_where_it_has_not_seen_the_later_one() -> None:
    assert follows((6, 12), (6, 11), 1) and follows((7, 11), (6, 11), 9)
    assert follows((1, 21), (6, 11), 1), "the speaker's folder was put back, and it goes on above what it was shown"
    assert not follows((7, 10), (6, 11), 9), "no later version makes up for a lower generation"
    assert not follows((1, 21), (6, 11), 6) and not follows((1, 11), (6, 11), 1) and not follows((6, 10), (6, 11), 1)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_deliberate_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    likely, invariant = CAUGHT[name]
    MUTATIONS[name](monkeypatch)
    found = (run(seed).violated for seed in dict.fromkeys((likely, *range(MOST_SEEDS))))
    assert any(violated is not None and violated.invariant == invariant for violated in found)


@pytest.mark.parametrize("name", SCENES)
def test_a_deliberate_defect_is_found_in_a_scene_that_is_sound_without_it(name: str) -> None:
    seed, drawn, invariant = SCENES[name]
    assert run(seed, drawn=drawn).violated is None
    with pytest.MonkeyPatch.context() as patch:
        MUTATIONS[name](patch)
        violated = run(seed, drawn=drawn).violated
    assert violated is not None and violated.invariant == invariant
