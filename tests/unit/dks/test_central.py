"""Keys from the DKS: `issuer: dks` without Local Key Servers."""

from __future__ import annotations

from collections import Counter

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.dks.store import GenerationLedger
from agents.gikev2 import GroupKeys, UnusableGroup
from agents.ikev2.registry import ExchangeType
from agents.ipsec.protection import GroupSa, RoutingProtocol
from agents.lks.central import CentralGroups
from agents.lks.core import LksCore
from agents.policy import cose, edit
from agents.policy.document import Lifetimes
from agents.policy.domain import Settings
from agents.policy.group import LABEL, MOST_AHEAD, GroupState, SignedState
from agents.policy.names import GroupId
from testbed.simulation.network import Network, ring
from testbed.simulation.wires import Passing
from tests.unit.lks.test_issuing import one_key_each

CENTRAL = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False)


def central(settings: Settings = CENTRAL, loss: float = 0.0, seed: int = 1) -> Network:
    return Network(ring(5), settings=settings, dks=True, loss=loss, seed=seed)


def test_every_router_gets_all_its_keys_from_the_dks() -> None:
    network = central()
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    assert len(network.seen("registered", "dks")) == 5 * (1 + 4 + 4)


def test_a_rekey_that_a_member_cannot_use_is_refused_and_the_dks_does_not_take_it_to_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = central()
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    genuine = CentralGroups.check

    def check(self: CentralGroups, keys: GroupKeys) -> None:
        if self._context.document.router == "r2" and keys.group.router == "r1":
            raise UnusableGroup("not by this member")
        genuine(self, keys)

    with monkeypatch.context() as patch:
        patch.setattr(CentralGroups, "check", check)
        network.command("dks", "rekey", "r1")
        network.run(network.now + 5)
    assert network.seen("error", "r2", what="rekey") and not network.seen("fault")
    known = [each for each in network.nodes["dks"].core._groups._groups.values() if each.keys.group.router == "r1"]
    newest = {each.keys.generation for each in known}
    assert all(each.has.get("r2") not in newest for each in known if "r2" in each.members)
    assert any(generation in newest for each in known for name, generation in each.has.items() if name != "r2")


def test_the_word_on_a_generation_is_verified_once_by_whoever_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[bytes] = Counter()
    genuine = cose.verify

    def verify(label: str, data: bytes, key: Ed25519PublicKey) -> bytes:
        seen[data] += label == LABEL
        return genuine(label, data, key)

    monkeypatch.setattr(cose, "verify", verify)
    network = Network({"a--b": ("a", "b")}, settings=CENTRAL, dks=True)
    network.power_on_all()
    assert network.run(5, network.all_keyed)
    # Each group's state goes to its speaker and to one receiver.
    assert seen and max(seen.values()) == 2


def test_without_the_dks_nobody_gets_a_key_and_it_is_asked_until_it_is_there() -> None:
    network = central()
    for name in network.routers:
        network.power_on(name)
    network.run(100)
    assert not any(node.kernel.sas for node in network.nodes.values() if node.kernel)
    network.power_on("dks")
    assert network.run(104, network.all_keyed)


def test_keys_arrive_although_every_fifth_datagram_is_lost() -> None:
    network = central(loss=0.2, seed=3)
    network.power_on_all()
    assert network.run(60, network.all_keyed)


def test_one_synced_transaction_serves_all_groups_that_ask_after_the_power_returned() -> None:
    """The others write down numbers that it set aside."""
    network = central()
    synced: list[str] = []
    network.ledger._connection.set_trace_callback(lambda sql: synced.append(sql) if sql == "COMMIT" else None)
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    written = len(synced)
    assert (
        len(network.ledger.entries()) == 4 * len(network.routers) and written == 1 and network.ledger.spent.count == 2
    )


def test_a_speaker_that_registers_again_gets_a_new_generation_that_the_others_hear() -> None:
    network = central()
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    before = {(sa.spi, sa.keymat) for sa in network.nodes["r1"].kernel.sas if sa.outbound}
    network.power_off("r1")
    network.run(5)
    network.power_on("r1")
    assert network.run(6, lambda: network.nodes["r1"].kernel is not None and network.all_keyed())
    after = {(sa.spi, sa.keymat) for sa in network.nodes["r1"].kernel.sas if sa.outbound}
    assert not before & after
    assert network.seen("rekeyed", "dks", reason="sender registered")


def test_a_dks_that_restarts_uses_no_generation_twice() -> None:
    network = central()
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.power_off("dks")
    network.run(5)
    network.power_on("dks")
    network.run(200)
    assert network.all_keyed()
    made = [(each.fields["group"], each.fields["generation"]) for each in network.seen("rekeyed", "dks")]
    assert len(made) == len(set(made))
    assert (
        min(
            each.fields["generation"]
            for each in network.seen("registered", "dks")
            if each.t > 5 and each.fields["generation"]
        )
        > 1
    )


@pytest.mark.parametrize("away_s", [5, 900])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_dks_that_restarts_makes_nobody_deaf(away_s: int, loss: float) -> None:
    network = central(loss=loss, seed=2)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    network.run(100)
    network.power_off("dks")
    network.run(100 + away_s)
    network.power_on("dks")
    before = {name: network.nodes[name].kernel for name in network.routers}
    for half in range(2 * (100 + away_s), 2 * (100 + away_s + 250)):
        network.run(half / 2)
        assert network.all_keyed(), half / 2
    for name in network.routers:
        old, new = before[name], network.nodes[name].kernel
        assert old is not None and new is not None
        assert {sa.keymat for sa in new.sas if sa.outbound and sa.active}.isdisjoint({sa.keymat for sa in old.sas})


def test_a_speaker_that_only_lost_its_ike_sa_keeps_its_keys() -> None:
    network = central()
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    before = {(sa.spi, sa.keymat) for sa in network.nodes["r1"].kernel.sas}
    link = network.lks("r1")._dks
    assert link is not None and link.sa is not None
    link._endpoint.abandon(link.sa, network.now)
    assert network.run(10, lambda: len(network.seen("dks_contact", "r1", ok=True)) == 2)
    network.run(12)
    assert {(sa.spi, sa.keymat) for sa in network.nodes["r1"].kernel.sas} == before
    assert not network.seen("rekeyed", "dks")


def test_a_dks_whose_ledger_is_lost_goes_on_above_what_speakers_still_send_with() -> None:
    network = central()
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    for _time in range(3):
        network.power_off("r1")
        network.power_on("r1")
        assert network.run(network.now + 5, network.all_keyed)
    network.power_off("dks")
    network.ledger = GenerationLedger(":memory:")
    network.power_on("dks")
    network.run(network.now + 250)
    assert network.all_keyed()


def test_keys_are_renewed_before_they_expire_and_nobody_goes_deaf() -> None:
    settings = CENTRAL.model_copy(update={"lifetimes": Lifetimes(group_s=100)})
    network = central(settings)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    for second in range(2, 300):
        network.run(second)
        assert network.all_keyed(), second
    assert network.seen("rekeyed", "dks", reason="lifetime")


def test_a_router_that_is_taken_out_loses_the_next_generation_of_its_neighbours() -> None:
    network = central()
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.publish(edit.deny(network.domain, *(end.router_interface for end in _ends(network, "r1", "r2"))))
    network.run(12)
    assert not network.hears("r1", "r2")
    assert not network.hears("r2", "r1")
    assert network.all_keyed()


def _ends(network: Network, a: str, b: str):  # type: ignore[no-untyped-def]
    found = next(each for each in network.domain.adjacencies if {each.a.router, each.b.router} == {a, b})
    return found.a, found.b


def test_a_revoked_router_has_none_of_the_others_next_keys_whatever_their_documents_say() -> None:
    lan = Network({"lan": ("a", "b", "c", "d")}, settings=CENTRAL, dks=True)
    lan.power_on_all()
    assert lan.run(1, lan.all_keyed)
    had = sending(lan, "a", "b", "c")
    lan.remove("d")
    lan.fresh = []  # the list alone has come
    lan.run(lan.now + 10)
    rekeyed = {str(each.fields["group"]) for each in lan.seen("rekeyed", "dks", reason="revocation")}
    assert rekeyed == {str(group) for name in ("a", "b", "c") for group in lan.documents[name].own_groups()}
    now = sending(lan, "a", "b", "c")
    assert now and not now & had
    kernel = lan.nodes["d"].kernel
    assert kernel is not None and not now & {(sa.spi, sa.keymat) for sa in kernel.sas}
    assert all(lan.hears(to, by) for to in "abc" for by in "abc" if to != by)


def sending(network: Network, *names: str) -> set[tuple[int, object]]:
    """What these routers send with."""
    kernels = [kernel for name in names if (kernel := network.nodes[name].kernel) is not None]
    return {(sa.spi, sa.keymat) for kernel in kernels for sa in kernel.sas if sa.outbound and sa.active}


def test_every_request_is_on_record_and_says_whether_it_is_a_repetition() -> None:
    network = central()
    network.power_on_all()
    network.run(1, network.all_keyed)
    exchanges = {each.fields["exchange"] for each in network.seen("request", "dks")}
    assert exchanges == {"IKE_SA_INIT", "IKE_INTERMEDIATE", "GSA_AUTH", "GSA_REGISTRATION"}
    assert {each.fields["retransmission"] for each in network.seen("request", "dks")} == {False}


def test_a_speaker_that_the_dks_gives_no_new_keys_stops_with_the_old_ones_at_the_end_of_their_life() -> None:
    network = central(CENTRAL.model_copy(update={"lifetimes": Lifetimes(group_s=60)}))
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.power_off("dks")
    network.run(62)
    for name in network.routers:
        kernel = network.nodes[name].kernel
        assert kernel is not None and not any(sa.outbound for sa in kernel.sas)
    network.power_on("dks")
    assert network.run(200, network.all_keyed)


def put_back(network: Network, group: GroupId, mark: tuple[int, int]) -> None:
    """The DKS has the ledger of before, which came to this mark of a group."""
    network.ledger._set(group, *mark, "made")
    network.ledger._connection.execute("DELETE FROM set_aside")


def test_a_receiver_that_comes_to_a_dks_with_an_older_ledger_before_the_speaker_shows_it_how_far_it_was() -> None:
    network = Network({"a--b": ("a", "b")}, settings=CENTRAL, dks=True)
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    group = GroupId.of("example", "a", "a-e0", RoutingProtocol.OSPF)
    old = network.ledger.last(group)
    network.command("dks", "rekey", "a")
    network.run(network.now + 5)
    assert network.ledger.last(group) > old and network.all_keyed()
    network.power_off("dks")
    put_back(network, group, old)
    network.wires.tap = lambda passing: None if "a" in (passing.sender, passing.receiver) else passing
    network.power_on("dks")
    assert network.run(network.now + 200, lambda: network.ledger.last(group) > old)
    network.run(network.now + 5)
    network.wires.tap = None
    network.run(network.now + 200)
    assert network.all_keyed()
    one_key_each(network)


@pytest.mark.parametrize("late", ["a", "b"])
def test_after_an_outage_routers_show_a_dks_with_an_older_ledger_how_far_it_was(late: str) -> None:
    network = Network({"a--b": ("a", "b")}, settings=CENTRAL, dks=True)
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    group = GroupId.of("example", "a", "a-e0", RoutingProtocol.OSPF)
    for name in network.nodes:
        network.power_off(name)
    network.ledger._connection.execute("DELETE FROM marks")
    network.ledger._connection.execute("DELETE FROM set_aside")
    for name in network.nodes:
        if name != late:
            network.power_on(name)
    network.run(network.now + 5)
    network.power_on(late)
    assert network.run(network.now + 30, network.all_keyed)
    network.run(network.now + 60)
    assert network.ledger.last(group)[1] > 2 and network.all_keyed()
    one_key_each(network)


def test_who_comes_to_a_dks_with_an_older_ledger_before_the_router_with_the_newest_keys_gets_no_number_of_it() -> None:
    network = Network({"lan": ("a", "b", "c")}, settings=CENTRAL, dks=True)
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    group = GroupId.of("example", "a", "a-e0", RoutingProtocol.OSPF)
    old = network.ledger.last(group)
    network.wires.tap = lambda passing: passing if "b" in (passing.sender, passing.receiver) else None
    network.command("dks", "rekey", "a")
    network.run(network.now + 5)
    assert network.ledger.last(group) > old
    for name in network.nodes:
        network.power_off(name)
    put_back(network, group, old)
    network.wires.tap = None
    for name in ("dks", "a", "c"):
        network.power_on(name)
    assert network.run(network.now + 30, lambda: network.hears("c", "a"))
    network.power_on("b")
    assert network.run(network.now + 30, network.all_keyed)
    one_key_each(network)


@pytest.mark.parametrize("liar", ["a", "b"])
def test_a_member_cannot_use_up_the_numbers_of_a_group(liar: str) -> None:
    network = Network({"a--b": ("a", "b")}, settings=CENTRAL, dks=True)
    group = GroupId.of("example", "a", "a-e0", RoutingProtocol.OSPF)
    network.nodes[liar].build = lambda node: claiming(network.make_lks(node), group)
    network.power_on_all()
    network.run(10)
    assert network.hears("a", "b") and 0 < network.ledger.last(group)[1] < MOST_AHEAD
    if liar == "a":
        assert "says that there was generation" in network.seen("error", "dks")[0].fields["detail"]


def claiming(core: LksCore, group: GroupId) -> LksCore:
    state = GroupState.of(group, 1, 1 << 40, "lks")
    core._context.retained.took(SignedState.sign(state, core._context.private_key))
    return core


def test_keys_that_a_speaker_gave_up_while_it_registered_are_not_begun_again() -> None:
    settings = CENTRAL.model_copy(update={"lifetimes": Lifetimes(group_s=600)})
    network = Network({"lan": ("a", "b", "c")}, settings=settings, dks=True)
    network.power_on_all()
    assert network.run(10, network.all_keyed)

    def only_rekey_messages(passing: Passing) -> Passing | None:
        told = passing.sender == "dks" and passing.datagram.data[18] == ExchangeType.GSA_REKEY
        return passing if told or "b" not in (passing.sender, passing.receiver) else None

    network.wires.tap = only_rekey_messages
    network.publish(edit.deny(network.domain, ("b", "b-e0"), ("c", "c-e0")))
    assert network.run(network.now + 150, lambda: bool(network.seen("dks_contact", "b", ok=False)))
    network.wires.tap = None
    network.run(network.now + 300)
    assert network.hears("a", "b") and network.hears("b", "a")
    held: set[bytes] = set()
    gone: set[bytes] = set()
    for _when, kernel in network.nodes["b"].kernels:
        now = {sa.keymat for sa in kernel.sas if sa.outbound}
        gone |= held - now
        held = now
        assert not gone & now
    assert gone


@pytest.mark.parametrize("local", [False, True], ids=["the DKS alone", "Local Key Servers"])
def test_a_rebooted_receiver_has_a_floor_from_a_local_key_server_and_none_where_the_dks_makes_the_keys(
    local: bool,
) -> None:
    # As security.md says under "What is not protected". Where the DKS is to tell a floor one day, this is what changes.
    network = central(Settings(validity_s=1 << 33) if local else CENTRAL)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    speaker = network.nodes["r2"]
    assert speaker.kernel is not None
    speaker.sequences.update({(sa.spi, sa.destination): 100 for sa in speaker.kernel.sas if sa.outbound})
    before = {sa.spi for sa in inbound(network, "r1", "r2")}
    network.power_off("r1")
    network.run(network.now + 5)
    network.power_on("r1")
    assert network.run(network.now + 30, network.all_keyed)
    same = [sa for sa in inbound(network, "r1", "r2") if sa.spi in before]
    assert same and {sa.replay_floor >= 100 for sa in same} == {local}


def inbound(network: Network, receiver: str, speaker: str) -> list[GroupSa]:
    """What `receiver` hears this speaker with."""
    kernel, addresses = network.nodes[receiver].kernel, {a for a, _ in network.nodes[speaker].interfaces.values()}
    assert kernel is not None
    return [sa for sa in kernel.sas if not sa.outbound and str(sa.speaker) in addresses]
