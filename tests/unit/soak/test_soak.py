"""The adversary finds nothing in the agents, and finds the defects that are put into them."""

from __future__ import annotations

import pytest

from testbed.soak.run import run
from tests.unit.soak.mutations import MUTATIONS

CAUGHT = {
    "mark not reserved": (16, "no generation above the mark"),
    "the DKS's generation not reserved": (16, "no generation above the mark"),
    "disk after kernel": (16, "no generation above the mark"),
    "floor not kept": (16, "floor on the disk"),
    "older document acted on": (3, "no older policy, list or (v, g)"),
    "received keys never expire": (3, "no key after its life"),
    "old generations are heard for ever": (16, "no key after its life"),
    "neighbours that go are kept": (3, "no unauthorised speaker"),
    "document not kept": (3, "no agent dies"),
    "list not kept": (3, "no agent dies"),
    "nothing rekeyed at the end of a life": (16, "no key after its life"),
    "a reported generation not written down": (16, "the book is what is sent with"),
    "generations of all boots from one": (3, "one key for a generation"),
    "every interface open": (16, "mode as signed"),
    "keys of the last life used again": (3, "no key after a reboot"),
}


def test_every_mutation_is_in_the_table() -> None:
    assert MUTATIONS.keys() == CAUGHT.keys()


@pytest.mark.parametrize("seed", [3, 14, 16])
def test_nothing_is_violated_under_faults(seed: int) -> None:
    outcome = run(seed)
    assert outcome.violated is None
    assert outcome.checked["adjacencies come back"] >= 3


@pytest.mark.parametrize("name", CAUGHT)
def test_a_deliberate_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, invariant = CAUGHT[name]
    MUTATIONS[name](monkeypatch)
    violated = run(seed).violated
    assert violated is not None and violated.invariant == invariant
