"""The setting `post_quantum` with whole LKSs and the DKS: router by router into force, and where one cannot."""

from __future__ import annotations

from collections.abc import Collection
from itertools import permutations

import pytest

from agents.ikev2 import key_exchange
from agents.ikev2.config import PostQuantum
from agents.lks.retained import DOCUMENT
from agents.lks.status import as_text
from agents.policy import edit
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from testbed.simulation.network import Network
from tests.unit.lks.test_pairs import all_heard, start
from tests.unit.lks.test_pairs import network as with_pairs

REQUIRED, PREFERRED, OFF = PostQuantum.REQUIRED, PostQuantum.PREFERRED, PostQuantum.OFF
HYBRID, CLASSICAL = "x25519+mlkem768", "x25519"
PATH = {"a--b": ("a", "b"), "b--c": ("b", "c")}


def with_post_quantum(domain: Domain, asked: PostQuantum) -> Domain:
    return edit.with_settings(domain, domain.settings.model_copy(update={"post_quantum": asked}))


def settings(asked: PostQuantum, **changes: object) -> Settings:
    found = Settings(
        validity_s=1 << 33,
        lifetimes=Lifetimes(group_s=60),
        reconnect=Reconnect(first_min_s=1, first_max_s=3, max_s=5),
        post_quantum=asked,
    )
    return found.model_copy(update=changes)


def run_keyed(network: Network, seconds: float) -> None:
    """Let time pass in which no adjacency is lost for a moment."""
    until = network.now + seconds
    while network.now < until:
        network.run(network.now + 0.1)
        assert network.all_keyed(), f"an adjacency is lost at {network.now}"


def give(network: Network, asked: PostQuantum, routers: Collection[str]) -> None:
    """The setting is committed, and the DKS finds the documents of these routers."""
    if network.domain.settings.post_quantum is not asked:
        network.publish(with_post_quantum(network.domain, asked))
    network.fresh = [network.documents[each] for each in routers]


def used(network: Network, name: str) -> set[str | None]:
    """The key exchanges of this router's IKE SAs."""
    found = network.lks(name).command(["status"], network.now)
    neighbors = [each for interface in found["interfaces"] for each in interface["neighbors"]]
    dks = [found["dks"]] if found["dks"]["connected"] else []
    return {each["key_exchange"] for each in (*neighbors, *dks, *found["pairs"])}


def complaints(network: Network) -> list[str]:
    return [each.fields["detail"] for each in network.seen("error", what="key_exchange")]


@pytest.mark.parametrize("issuer", ["lks", "dks", "central"])
@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
def test_from_off_to_required_and_back_router_by_router_no_adjacency_is_lost(
    order: tuple[str, ...], issuer: str
) -> None:
    maker = {"issuer": "dks" if issuer == "central" else issuer, "local_key_server": issuer != "central"}
    network = Network(PATH, settings=settings(OFF, **maker), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    run_keyed(network, 10)
    assert used(network, "b") <= {CLASSICAL, None}
    for asked in (PREFERRED, REQUIRED, PREFERRED, OFF):
        for router in order:
            give(network, asked, [router])
            run_keyed(network, 12)
            assert network.lks(router).command(["status"], network.now)["post_quantum"] == asked.value
        if asked is REQUIRED:
            assert all(used(network, each) <= {HYBRID, None} for each in "abc")
            run_keyed(network, 70)  # over the life of a key
    assert complaints(network) == []


def test_all_at_once_is_one_step_too() -> None:
    network = Network(PATH, settings=settings(OFF), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    for asked in (PREFERRED, REQUIRED):
        give(network, asked, "abc")
        run_keyed(network, 30)
    assert all(used(network, each) == {HYBRID} for each in "abc") and complaints(network) == []


def test_from_off_to_required_at_once_is_mended_when_both_have_it() -> None:
    network = Network(PATH, settings=settings(OFF), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    give(network, REQUIRED, ["a"])
    network.run(network.now + 30)
    assert any("post-quantum key exchange that policy requires" in each for each in complaints(network))
    give(network, REQUIRED, ["b", "c"])
    assert network.run(network.now + 200, lambda: network.all_keyed() and used(network, "b") == {HYBRID})


def test_a_router_that_was_off_while_all_the_others_came_to_require_it_gets_its_document_from_the_dks() -> None:
    network = Network(PATH, settings=settings(OFF), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    network.power_off("c")
    for asked in (PREFERRED, REQUIRED):
        give(network, asked, "abc")
        network.run(network.now + 30)
    network.power_on("c")
    # Anybody may say that no proposal is taken, so the first attempt has its whole minute.
    assert network.run(network.now + 90, lambda: network.lks("c").document.key_exchange is REQUIRED)
    assert network.run(network.now + 60, lambda: network.all_keyed() and used(network, "c") == {HYBRID})


def test_pairs_speak_it_and_keep_their_keys_when_it_comes() -> None:
    network = with_pairs(settings=settings(OFF))
    start(network)
    assert network.run(60, lambda: all_heard(network))
    for asked in (PREFERRED, REQUIRED):
        network.publish(with_post_quantum(network.domain, asked))
        for name in network.routers:
            network.lks(name).take_document(network.signed[name], network.now)
        until = network.now + 30
        while network.now < until:
            network.run(network.now + 0.5)
            assert all_heard(network)
    assert all(each["key_exchange"] == HYBRID for each in network.lks("c").command(["status"], network.now)["pairs"])


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines whose `cryptography` is too old."""
    monkeypatch.setattr(key_exchange, "has_ml_kem", lambda: False)


@pytest.mark.usefixtures("without")
def test_machines_without_ml_kem_are_keyed_without_where_it_is_preferred_and_say_so() -> None:
    network = Network(PATH, settings=settings(PREFERRED), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    network.run(network.now + 10)
    assert used(network, "a") == {CLASSICAL}
    assert {each.node for each in network.seen("error", what="key_exchange")} == {"a", "b", "c", "dks"}
    assert all("has no ML-KEM-768" in each for each in complaints(network))


@pytest.mark.usefixtures("without")
def test_a_machine_without_ml_kem_does_not_begin_under_a_policy_that_requires_it() -> None:
    network = Network(PATH, settings=settings(REQUIRED), dks=True)
    with pytest.raises(PolicyError, match=r"policy version 1: a post-quantum key exchange is required, and .*OpenSSL"):
        network.power_on("a")
    with pytest.raises(PolicyError, match="a post-quantum key exchange is required"):
        network.power_on("dks")


def test_a_policy_that_requires_what_the_machine_cannot_do_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(PATH, settings=settings(OFF), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    run_keyed(network, 5)
    monkeypatch.setattr(key_exchange, "has_ml_kem", lambda: False)
    give(network, REQUIRED, "abc")
    run_keyed(network, 80)
    refused = network.seen("error", what="policy")
    assert refused and all("a post-quantum key exchange is required" in each.fields["detail"] for each in refused)
    assert any("is required" in each.fields["detail"] for each in network.seen("error", "dks", what="key_exchange"))
    assert {network.lks(each).document.version for each in "abc"} == {1}


def test_status_says_which_key_exchange_each_neighbour_and_the_dks_have() -> None:
    network = Network(PATH, settings=settings(PREFERRED), dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    network.run(network.now + 10)
    found = network.lks("b").command(["status"], network.now)
    assert found["post_quantum"] == "preferred" and found["dks"]["key_exchange"] == HYBRID
    text = as_text(found)
    assert "post-quantum key exchange preferred" in text and f"DKS: connected (IKE: {HYBRID})" in text
    assert text.count(f"(IKE: {HYBRID})") == 3


def test_one_router_without_among_others_that_prefer_it_is_keyed_all_the_same() -> None:
    network = Network(PATH, settings=settings(PREFERRED), dks=True)
    older = with_post_quantum(network.domain, OFF)
    network.publish(older)
    network.nodes["b"].files[DOCUMENT] = network.signed["b"]  # as good as a machine that cannot
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    assert used(network, "b") <= {CLASSICAL, None} and used(network, "a") <= {CLASSICAL, HYBRID, None}
