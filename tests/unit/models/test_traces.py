"""The models' counterexamples, played on the real cores: each step that a missing defence would allow is refused.

The names of the tests say which switch of which model gave the trace.
"""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from agents.gikev2 import KeyServer, UnusableGroup
from agents.gikev2.rekey import KEYMAT_OCTETS, RekeyReceiver, RekeySa, RekeySender
from agents.ikev2 import IntegrityFailure, NotifyPayload
from agents.ipsec.protection import RoutingProtocol
from agents.policy.domain import Settings
from agents.policy.errors import PolicyError
from agents.policy.revocation import FILE as REVOCATION
from agents.policy.revocation import make_list, sign_list
from agents.runtime.control import CommandRefused
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key
from testbed.simulation.wires import Passing

LINK = {"a--b": ("a", "b")}
LAN = {"lan": ("a", "b", "c")}
OSPF = (RoutingProtocol.OSPF,)


def keyed(network: Network) -> Network:
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    network.run(network.now + 2)
    return network


def generations(network: Network, name: str) -> set[int]:
    return {sa.generation for _when, kernel in network.nodes[name].kernels for sa in kernel.sas if sa.outbound}


@pytest.mark.parametrize("effect", range(0, 16, 3))
def test_epochs_no_reserve_and_no_disk_first_power_fails_at_a_step_and_no_generation_comes_again(effect: int) -> None:
    network = Network(LINK, protocols=OSPF)
    network.nodes["a"].crash_at = effect
    network.power_on_all()
    network.run(3)
    if network.nodes["a"].core is not None:
        network.power_off("a")
    before = generations(network, "a")
    network.nodes["a"].kernels.clear()
    network.power_on("a")
    assert network.run(20, network.all_keyed)
    assert not before & generations(network, "a")


@pytest.mark.parametrize("shown", [True, False])
def test_epochs_rollback_s_no_floor_no_shown_keys_of_a_folder_that_was_put_back_are_refused(
    monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    if not shown:
        monkeypatch.setattr("agents.lks.retained.Retained.signed_state", lambda _self, _group: None)
    network = Network(LINK, protocols=OSPF, settings=Settings(validity_s=1 << 33, generation_block=1))
    before = dict(network.nodes["a"].files)
    keyed(network)
    for _time in range(4):
        network.command("a", "rekey")
        network.run(network.now + 2)
    network.power_off("a")
    network.nodes["a"].files = before
    network.power_on("a")
    network.run(network.now + 5)
    refused = network.seen("error", "b", what="registration")
    assert network.hears("b", "a") is shown
    assert not refused if shown else "older" in refused[-1].fields["detail"]


def test_epochs_no_ack_a_speaker_keeps_its_generation_until_the_member_has_the_next() -> None:
    network = keyed(Network(LINK, protocols=OSPF))
    network.wires.tap = lambda passing: None if passing.sender == "a" else passing
    network.command("a", "rekey")
    network.run(network.now + 3)
    assert network.hears("b", "a")
    network.wires.tap = None
    network.run(network.now + 5)
    assert network.hears("b", "a")


def test_epochs_no_retire_a_member_hears_the_old_generation_while_its_acknowledgement_is_lost() -> None:
    network = keyed(Network(LINK, protocols=OSPF))
    network.wires.tap = lambda passing: None if passing.sender == "b" else passing
    network.command("a", "rekey")
    network.run(network.now + 3)
    heard = {sa.generation for sa in network.nodes["b"].kernel.sas if not sa.outbound}  # type: ignore[union-attr]
    assert len(heard) == 2
    assert network.hears("b", "a")


def test_epochs_no_reregister_a_member_that_was_given_up_comes_back() -> None:
    network = keyed(Network(LINK, protocols=OSPF))
    network.wires.cut = {"a--b"}
    network.command("a", "rekey")
    network.run(network.now + 60)
    network.wires.cut = set()
    assert network.run(network.now + 60, network.all_keyed)


def test_registration_no_pin_a_party_with_another_key_in_the_neighbours_place_is_not_heard() -> None:
    network = Network(LINK, keys=lambda name: key("e" if name == "b" else name))
    network.power_on_all()
    network.run(10)
    assert not network.hears("a", "b") and not network.hears("b", "a")
    assert not network.seen("registered")


def test_registration_mirror_a_router_that_hears_its_own_words_registers_at_nobody() -> None:
    network = Network(LINK)

    def mirror(passing: Passing) -> None:
        peer = replace(passing.datagram.peer, ip="10.0.0.2", local_ip="10.0.0.1", interface="a-e0")
        reflected = replace(passing.datagram, peer=peer)
        network.at(network.now + 0.001, lambda: network.deliver("a", reflected))

    network.wires.tap = mirror
    network.power_on_all()
    network.run(10)
    assert network.nodes["a"].sent > 10
    assert not network.seen("registered") and not network.seen("member")


def test_registration_group_of_session_an_insider_cannot_give_keys_for_anothers_group() -> None:
    network = keyed(Network(LAN, protocols=OSPF))
    (link,) = network.lks("a").link.values()
    (theirs,) = next(iter(network.lks("b").link.values())).speakers.values()
    listener = link.listeners["c"]
    assert listener.sa is not None and theirs.sending.active is not None
    # c is a member of b's group: it has b's signed state, and may put what keys it likes beside it.
    stolen = replace(theirs.sending.active, sas=tuple(replace(sa, keymat=bytes(len(sa.keymat)))
                                                      for sa in theirs.sending.active.sas))  # fmt: skip
    payloads = tuple(KeyServer.rekey(stolen, "a", listener.sa.key_wrap_key()))
    with pytest.raises(UnusableGroup, match=r"whose word counts|is not its issuer"):
        listener.rekey(payloads, listener.sa, network.now)
    with pytest.raises(UnusableGroup):  # nor over b's own session: keys are wrapped for one IKE SA
        link.listeners["b"].rekey(payloads[:1], listener.sa, network.now)


def test_registration_rekey_sign_and_rekey_id_a_member_forges_and_repeats_no_gsa_rekey() -> None:
    sa = RekeySa(bytes(range(1, 17)), bytes(KEYMAT_OCTETS))
    receiver = RekeyReceiver(sa, key("dks").public_key())
    first = RekeySender(sa, key("dks"), lambda count: bytes(count)).message([NotifyPayload(40965)])
    assert receiver.open(first)
    with pytest.raises(IntegrityFailure, match="replay"):
        receiver.open(first)
    with pytest.raises(IntegrityFailure, match="signature"):
        receiver.open(RekeySender(sa, key("e"), lambda count: bytes(count)).message([NotifyPayload(40965)]))


@pytest.mark.parametrize("trace", ["label", "router", "version", "signature"])
def test_registration_policy_what_is_not_a_newer_document_of_ours_changes_nothing(trace: str) -> None:
    network = keyed(Network(LINK, protocols=OSPF))
    old = network.signed["a"]
    revocation = sign_list(make_list("example", 9, 0, ()), POLICY_SERVER)
    offered = {"label": revocation, "router": network.signed["b"], "version": old, "signature": old[:-1] + b"\0"}[trace]
    before = network.lks("a").document
    network.lks("a").take_document(offered, network.now)
    network.lks("a").tick(network.now)
    assert network.lks("a").document == before
    if trace != "version":
        network.lks("a").tick(network.now)
        network.after(network.nodes["a"])
        assert network.seen("error", "a", what="policy")


def test_removal_no_monotone_and_no_signature_older_and_made_up_lists_are_refused() -> None:
    network = keyed(Network(LAN, protocols=OSPF))
    older = network.remove("c")
    network.hand_over("a", older)
    newer = sign_list(make_list("example", 7, 0, ()), key("c"))
    for signed in (sign_list(make_list("example", 1, 1, ()), POLICY_SERVER), newer):
        with pytest.raises(CommandRefused):
            network.command("a", "revocation", base64.b64encode(signed).decode())
    network.run(network.now + 5)
    assert not network.hears("a", "c") and not network.hears("b", "c") and network.hears("a", "b")


def test_removal_put_back_a_list_that_was_taken_away_stops_the_router() -> None:
    network = keyed(Network(LAN, protocols=OSPF))
    network.hand_over("a", network.remove("c"))
    network.run(network.now + 5)
    network.power_off("a")
    del network.nodes["a"].files[REVOCATION]
    with pytest.raises(PolicyError, match="was in force"):
        network.power_on("a")


def test_removal_no_disk_first_the_list_is_kept_when_power_fails_after_it_is_acted_on() -> None:
    network = keyed(Network(LAN, protocols=OSPF))
    network.hand_over("a", network.remove("c"))
    network.power_off("a")  # at once
    network.power_on("a")
    network.run(network.now + 5)
    assert not network.hears("a", "c") and network.hears("a", "b")


@pytest.mark.parametrize("pause_s", [0.0, 0.004, 0.05, 1.0])
def test_epochs_a_member_that_starts_again_while_a_rekey_waits_for_it_hears_the_next_generation(pause_s: float) -> None:
    network = keyed(Network(LINK, protocols=OSPF))
    network.wires.tap = lambda passing: None if passing.sender == "b" else passing
    network.command("a", "rekey")
    network.run(network.now + pause_s)
    network.power_off("b")
    network.wires.tap = None
    network.power_on("b")
    assert network.run(network.now + 40, network.all_keyed)
    network.run(network.now + 40)
    assert network.all_keyed()
