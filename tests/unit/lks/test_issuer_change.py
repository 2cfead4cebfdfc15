"""Policy has another party make the keys, while all goes on: no generation has two keys, and none is left behind."""

from __future__ import annotations

from itertools import permutations

import pytest

from agents.policy import edit
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from testbed.simulation.network import Network
from testbed.soak.faults import ISSUERS, with_issuer
from testbed.soak.judge_keys import sent_with
from tests.unit.lks.test_issuing import one_key_each

START = Settings(
    validity_s=1 << 33, lifetimes=Lifetimes(group_s=60), reconnect=Reconnect(first_min_s=1, first_max_s=3, max_s=5)
)


def change(network: Network, issuer: str) -> None:
    network.publish(edit.with_settings(network.domain, with_issuer(network.domain.settings, issuer)))
    network.run(network.now + 3)
    assert network.run(network.now + 60, network.all_keyed)
    network.run(network.now + 100)
    assert network.all_keyed()


@pytest.mark.parametrize(("first", "second"), list(permutations(ISSUERS, 2)))
def test_no_generation_has_two_keys_when_the_issuer_changes_there_and_back(first: str, second: str) -> None:
    network = Network({"a--b": ("a", "b")}, settings=with_issuer(START, first), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    network.run(130)
    change(network, second)
    change(network, first)
    one_key_each(network)


def test_the_ledger_goes_on_above_what_an_lks_had_come_to() -> None:
    network = Network({"a--b": ("a", "b")}, settings=with_issuer(START, "lks"), dks=True)
    network.power_on_all()
    network.run(30)
    for _each in range(5):
        network.command("a", "rekey")
        network.run(network.now + 3)
    before = max(sa.generation for sa in network.nodes["a"].kernel.sas if sa.outbound)  # type: ignore[union-attr]
    change(network, "central")
    assert all(sa.generation > before for sa in sent_with(network.nodes["a"].kernel.sas))  # type: ignore[union-attr]


@pytest.mark.parametrize("issuer", ["lks", "dks"])
def test_a_dks_goes_on_with_no_group_that_policy_has_taken_from_it(issuer: str) -> None:
    network = Network({"a--b": ("a", "b")}, settings=with_issuer(START, "central"), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    change(network, issuer)
    before = len(network.seen("rekeyed", "dks"))
    network.run(network.now + 200)
    assert len(network.seen("rekeyed", "dks")) == before
    assert network.all_keyed()
