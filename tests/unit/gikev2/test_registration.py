"""From a member's request to the keys it installs, through the octets of every payload."""

from __future__ import annotations

import itertools

import pytest

from agents.gikev2 import GroupKeys, GroupMember, GroupRefused, KeyServer, UnusableGroup, notifies
from agents.gikev2.keys import check_speaker, make_group_keys, suite_transforms, transforms_suite
from agents.gikev2.member import parse_delete
from agents.gikev2.server import SpeakerRequest
from agents.ikev2 import (
    DeletePayload,
    Identification,
    IdPayload,
    IntegrityFailure,
    MalformedMessage,
    Payload,
    encode_payloads,
    parse_payloads,
)
from agents.ikev2.registry import NotifyType, PayloadType, Protocol
from agents.ipsec.protection import RoutingProtocol, Suite
from agents.policy.errors import PolicyError
from agents.policy.group import GroupState, SignedState
from agents.policy.names import GroupId, SpeakerId
from tests.unit.policy import samples

KWK = bytes(range(32))
GROUP = GroupId.of("example", "r1", "r1-eth0", RoutingProtocol.OSPF)
DOCUMENT = samples.document("r1")


def counter_random():
    numbers = itertools.count(1)
    return lambda count: next(numbers).to_bytes(count, "big")


def keys_of(generation: int = 5, document=DOCUMENT, signer: str = "r1"):
    state = SignedState.sign(GroupState.of(GROUP, document.version, generation, "lks"), samples.private_key(signer))
    return make_group_keys(document, counter_random(), state)


def over_the_wire(payloads: list[Payload]) -> list[Payload]:
    first, octets = encode_payloads(payloads)
    return parse_payloads(first, octets)


def member(minimum: tuple[int, int] = (0, 0)) -> GroupMember:
    return GroupMember(
        [Suite.ESP_AES128_SHA256],
        lambda group, _issuer: samples.private_key(group.router).public_key(),
        at_least(minimum),
    )


def at_least(minimum: tuple[int, int]):
    def check(state: GroupState) -> None:
        if state.counters < minimum:
            raise PolicyError(f"older than {minimum}")

    return check


def test_a_request_says_group_suites_and_that_the_member_sends() -> None:
    request = KeyServer.read(over_the_wire(member().request(GROUP, sender=True)))
    assert request is not None and request.group == GROUP and request.sender and not request.leaving
    assert request.supports(Suite.ESP_AES128_SHA256) and not request.supports(Suite.ESP_AES256_SHA256)


def test_a_request_without_a_group_is_none_and_a_strange_name_is_malformed() -> None:
    assert KeyServer.read([]) is None
    group = member().request(GROUP)[0]
    with pytest.raises(MalformedMessage):
        KeyServer.read([group, group])


def test_leaving_is_seen() -> None:
    request = KeyServer.read(over_the_wire(member().leave(GROUP)))
    assert request is not None and request.leaving


def test_a_member_gets_the_multicast_keys_and_its_own_pair_key_with_floors() -> None:
    keys = keys_of().with_floors(lambda sa: 700)
    got = member().answer(GROUP, over_the_wire(KeyServer.answer(keys, "r2", KWK)), KWK)
    assert got.generation == 5 and [sa.keymat for sa in got.sas] == [sa.keymat for sa in keys.sas]
    assert {str(sa.destination) for sa in got.sas} == {"224.0.0.5", "224.0.0.6", "10.1.0.2"}
    assert all(sa.replay_floor == 700 for sa in got.sas)
    installed = got.group_sas("r2-eth0", outbound=False, until=60.0)
    assert len({sa.spi for sa in installed}) == 3
    peer = samples.document("r2")
    check_speaker(got, peer.interfaces[0], peer.interfaces[0].neighbors[0], peer)


def test_a_pair_key_goes_to_its_member_only() -> None:
    assert {sa.member for sa in keys_of().for_member("r3").sas} == {None}
    assert {sa.member for sa in keys_of().for_member("r1").sas} == {None, "r2"}


def test_a_rekey_names_its_group_by_its_signed_state() -> None:
    got = member().rekey(over_the_wire(KeyServer.rekey(keys_of(6), "r2", KWK)), KWK)
    assert got.group == GROUP and got.generation == 6


def test_a_state_older_than_one_had_is_refused() -> None:
    answer = over_the_wire(KeyServer.answer(keys_of(5), "r2", KWK))
    member((3, 5)).answer(GROUP, answer, KWK)
    with pytest.raises(UnusableGroup, match="older"):
        member((3, 6)).answer(GROUP, answer, KWK)


def test_a_state_that_another_signed_is_refused() -> None:
    answer = over_the_wire(KeyServer.answer(keys_of(signer="r2"), "r2", KWK))
    with pytest.raises(UnusableGroup, match="signature"):
        member().answer(GROUP, answer, KWK)


def test_keys_under_another_wrap_key_are_refused() -> None:
    answer = over_the_wire(KeyServer.answer(keys_of(), "r2", KWK))
    with pytest.raises(IntegrityFailure):
        member().answer(GROUP, answer, bytes(32))


def test_an_answer_without_transport_mode_is_refused() -> None:
    answer = [item for item in KeyServer.answer(keys_of(), "r2", KWK) if getattr(item, "type", 0) != 16391]
    with pytest.raises(UnusableGroup, match="tunnel"):
        member().answer(GROUP, over_the_wire(answer), KWK)


def test_a_refusal_gives_its_notification() -> None:
    with pytest.raises(GroupRefused) as caught:
        member().answer(GROUP, over_the_wire(KeyServer.reject(NotifyType.AUTHORIZATION_FAILED)), KWK)
    assert caught.value.notify == 46


def test_keys_for_another_speaker_or_from_outside_its_block_are_refused() -> None:
    peer = samples.document("r2")
    interface = peer.interfaces[0]
    wrong = interface.neighbors[0].model_copy(update={"address": interface.address})
    with pytest.raises(UnusableGroup, match="not an SA of this neighbour"):
        check_speaker(keys_of(), interface, wrong, peer)
    outside = interface.neighbors[0].model_copy(update={"spi": samples.BLOCKS["r2"]})
    with pytest.raises(UnusableGroup, match="SPI"):
        check_speaker(keys_of(), interface, outside, peer)


def test_every_suite_has_its_own_transforms() -> None:
    for suite in Suite:
        assert transforms_suite(suite_transforms(suite)) is suite


def test_deletes_name_spis_or_everything() -> None:
    some = parse_delete(over_the_wire(KeyServer.delete([0x10001, 0x10041])))
    assert some is not None and some.spis == {0x10001, 0x10041} and not some.everything
    every = parse_delete(over_the_wire([DeletePayload(Protocol.ESP, (bytes(4),))]))
    assert every is not None and every.everything and not every.spis
    assert parse_delete([]) is None


def test_keys_do_not_show_in_a_repr() -> None:
    keys = make_group_keys(DOCUMENT, lambda count: b"\xab" * count, keys_of(1).state)
    assert "\\xab" not in repr(keys) and "abab" not in repr(keys)


SPEAKER = SpeakerId("example", "r1", "r1-eth0")
GROUPS = DOCUMENT.own_groups()


def all_keys(generation: int = 5) -> list[GroupKeys]:
    found = []
    for group in GROUPS:
        state = SignedState.sign(GroupState.of(group, DOCUMENT.version, generation, "lks"), samples.private_key("r1"))
        found.append(make_group_keys(DOCUMENT, counter_random(), state))
    return found


def test_all_groups_of_a_speaker_are_asked_for_and_given_in_one_exchange() -> None:
    assert [each.protocol for each in GROUPS] == ["ospf", "ospf6", "pim"]
    shown = [notifies.group_report(each.state.octets) for each in all_keys(3)]
    request = KeyServer.read(over_the_wire(member().request_all(SPEAKER, extra=shown)))
    assert isinstance(request, SpeakerRequest) and request.speaker == SPEAKER
    for group, report in zip(GROUPS, shown, strict=True):
        one = request.of(group)
        assert one.group == group and one.supports(Suite.ESP_AES128_SHA256)
        assert notifies.find_group_reports(one.payloads) == notifies.find_group_reports([report])

    keys = all_keys()
    answer = over_the_wire(KeyServer.together([KeyServer.answer(each, "r2", KWK) for each in keys]))
    assert sum(each.payload_type == PayloadType.GSA for each in answer) == 1, "RFC 9838 §2.3 has one GSA and one KD"
    parts = GroupMember.split(GROUPS, answer)
    got = [member().answer(group, over_the_wire(part), KWK) for group, part in parts.items()]
    assert [(each.group, {sa.keymat for sa in each.sas}) for each in got] == [
        (each.group, {sa.keymat for sa in each.for_member("r2").sas}) for each in keys
    ]


def test_what_a_speaker_refuses_is_left_out_and_nothing_but_refusals_is_a_refusal() -> None:
    refusal = KeyServer.reject(NotifyType.AUTHORIZATION_FAILED)
    ospf, _ospf6, pim = (KeyServer.answer(each, "r2", KWK) for each in all_keys())
    assert list(GroupMember.split(GROUPS, over_the_wire(KeyServer.together([ospf, refusal, pim])))) == [
        GROUPS[0], GROUPS[2],
    ]  # fmt: skip
    assert KeyServer.together([refusal, refusal]) == refusal and GroupMember.split(GROUPS, refusal) == {}
    assert KeyServer.together([]) == KeyServer.reject(NotifyType.INVALID_GROUP_ID)


def test_an_answer_gives_no_group_the_keys_of_another_nor_one_that_was_not_asked_for() -> None:
    ospf, ospf6, pim = all_keys()
    answer = KeyServer.together([KeyServer.answer(each, "r2", KWK) for each in (ospf, pim)])
    assert list(GroupMember.split(GROUPS[:1], over_the_wire(answer))) == [GROUPS[0]]
    crossed = [each for each in answer if each.payload_type in (PayloadType.GSA, PayloadType.KD)]
    crossed += [notifies.group_state(ospf6.state.octets)]
    assert GroupMember.split(GROUPS, crossed) == {}, "a state without an SA of its protocol"
    forged = SignedState.sign(GroupState.of(GROUPS[0], 3, 9, "lks"), samples.private_key("r2")).octets
    wrong = [*KeyServer.answer(ospf, "r2", KWK)[:3], notifies.group_state(forged)]
    with pytest.raises(UnusableGroup):
        member().answer(GROUPS[0], GroupMember.split(GROUPS, wrong)[GROUPS[0]], KWK)


@pytest.mark.parametrize("name", [b"a/b", b"a//eth0", b"a/r1/eth0\n", b"/r1/eth0", b"a/b/c/d/e", b"\xff/r/e"])
def test_an_idg_that_names_neither_a_group_nor_a_speaker_is_malformed(name: bytes) -> None:
    with pytest.raises(MalformedMessage):
        KeyServer.read([IdPayload(PayloadType.IDg, Identification.key_id(name))])
