"""Signed documents and group states: what is accepted, and everything that is not."""

from __future__ import annotations

from types import ModuleType

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.ikev2.config import PostQuantum
from agents.policy import cbor, cose
from agents.policy.document import decode_document, encode_document, sign_document, verify_document
from agents.policy.errors import PolicyError
from agents.policy.exact import plain
from agents.policy.group import GroupState, claimed_group, sign_group_state, verify_group_state
from agents.policy.names import GroupId, parse_party_id, party_id

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def test_a_signed_document_comes_back_as_it_was(samples: ModuleType) -> None:
    document = samples.document()
    data = sign_document(document, samples.SERVER)
    assert verify_document(data, samples.SERVER.public_key(), domain="example", router="r1", wall_s=1500) == document


def test_a_setting_that_older_documents_have_not_is_left_out_where_it_has_its_default(samples: ModuleType) -> None:
    older = samples.document()
    assert b"post_quantum" not in encode_document(older)  # what an agent without the setting reads, and signed
    assert decode_document(encode_document(older)).key_exchange is PostQuantum.PREFERRED
    for asked in (PostQuantum.REQUIRED, PostQuantum.OFF):
        newer = samples.document(post_quantum=asked)
        assert decode_document(encode_document(newer)) == newer != older
    spelt_out = cbor.encode({**plain(older), "post_quantum": "preferred"})  # type: ignore[dict-item]
    with pytest.raises(PolicyError, match="preferred is the default"):
        decode_document(spelt_out)


def test_another_key_domain_router_or_version_is_refused_and_the_time_does_not_count(samples: ModuleType) -> None:
    data, key = sign_document(samples.document(), samples.SERVER), samples.SERVER.public_key()
    with pytest.raises(PolicyError, match="signature"):
        verify_document(data, samples.private_key("r1").public_key(), domain="example")
    for wrong in (
        {"domain": "other"},
        {"domain": "example", "router": "r2"},
        {"domain": "example", "minimum_version": 4},
    ):
        with pytest.raises(PolicyError):
            verify_document(data, key, **wrong)
    assert verify_document(data, key, domain="example", wall_s=2000.0).expires_at == 2000


def test_a_signature_over_one_kind_of_object_is_worth_nothing_for_another(samples: ModuleType) -> None:
    data = cose.sign("something/else", encode_document(samples.document()), samples.SERVER)
    with pytest.raises(PolicyError, match="not a signed"):
        verify_document(data, samples.SERVER.public_key(), domain="example")


def test_the_signature_is_that_of_rfc_9052(samples: ModuleType) -> None:
    tag = cbor2.loads(cose.sign("label", b"payload", samples.SERVER))
    protected, unprotected, payload, signature = tag.value
    assert (tag.tag, unprotected, payload) == (18, {}, b"payload")
    assert cbor2.loads(protected) == {1: -8, 16: "label"}
    samples.SERVER.public_key().verify(signature, cbor2.dumps(["Signature1", protected, b"", payload]))


@ANY
@given(st.data())
def test_any_changed_octet_is_refused(samples: ModuleType, data: st.DataObject) -> None:
    octets = bytearray(sign_document(samples.document(), samples.SERVER))
    position = data.draw(st.integers(0, len(octets) - 1))
    octets[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PolicyError):
        verify_document(bytes(octets), samples.SERVER.public_key(), domain="example")


@given(st.binary(max_size=300))
def test_no_octets_raise_anything_but_a_policy_error(data: bytes) -> None:
    for parse in (cbor.decode, cose.unverified_payload, decode_document, GroupId.decode, parse_party_id):
        try:
            parse(data)
        except PolicyError:
            continue


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.binary() | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(-9, 9), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_cbor_values_come_back_or_are_refused(value: object) -> None:
    octets = cbor.encode(value)
    try:
        assert cbor.encode(cbor.decode(octets)) == octets
    except PolicyError as error:
        assert "deep" in str(error)


@pytest.mark.parametrize(
    "octets", ["1800", "5f4101ff", "a2616101616102", "a2616202616101", "fb3ff0000000000000", "0000"]
)
def test_every_other_encoding_of_a_value_is_refused(octets: str) -> None:
    with pytest.raises(PolicyError):
        cbor.decode(bytes.fromhex(octets))


def test_deep_and_lying_cbor_is_refused_at_once() -> None:
    for octets in (
        b"\x81" * 60_000 + b"\x00",
        bytes.fromhex("9b00ffffffffffffff"),
        bytes.fromhex("bb00ffffffffffffff"),
    ):
        with pytest.raises(PolicyError):
            cbor.decode(octets)


def test_a_value_in_another_spelling_is_refused(samples: ModuleType) -> None:
    fields = plain(samples.document())
    assert isinstance(fields, dict)
    for changes in ({"version": "3"}, {"local_key_server": 1}, {"unknown": 1}, {"version": -1}, {"issuer": "me"}):
        with pytest.raises(PolicyError):
            decode_document(cbor.encode(fields | changes))


def test_inconsistent_documents_cannot_be_made(samples: ModuleType) -> None:
    one = samples.document().interfaces[0]
    for changes in (
        {"interfaces": (one, one)},
        {"expires_at": 5},
        {"suite": "esp-aes128-gcm16"},
        {"local_key_server": False},
    ):
        with pytest.raises(ValueError):
            samples.document(**changes)


def test_only_an_allowed_neighbour_may_join_a_group(samples: ModuleType) -> None:
    document = samples.document()
    (group, *_) = document.own_groups()
    assert document.may_join(group, "r2") is not None
    assert document.may_join(group, "r3") is None
    assert document.may_join(GroupId("example", "r2", "r2-eth0", "ospf"), "r2") is None
    clear = samples.interface("r1", 1, samples.neighbor("r2", 2), mode="clear")
    silent = samples.document(interfaces=(clear,))
    assert silent.may_join(group, "r2") is None and not silent.own_groups() and not silent.neighbor_groups()


def test_a_router_speaks_and_hears_in_the_groups_of_its_document_and_in_no_others(samples: ModuleType) -> None:
    clear = ({"protocol": "pim", "mode": "clear"},)
    document = samples.document(
        interfaces=(
            samples.interface("r1", 1, samples.neighbor("r2", 2), modes=clear),
            *samples.document().interfaces[1:],
        )
    )
    own, heard = set(document.own_groups()), {group for _interface, _neighbor, group in document.neighbor_groups()}
    assert own and heard
    every = {
        GroupId(domain, router, interface, protocol)
        for domain in ("example", "other")
        for router in ("r1", "r2", "r3")
        for interface in {each.interface for each in own | heard} | {"eth9"}
        for protocol in ("ospf", "ospf6", "pim")
    } | {GroupId.control("example", "r1")}
    assert own | heard <= every
    assert {group for group in every if document.speaks(group)} == own
    assert {group for group in every if document.hears(group)} == heard


def test_group_names_come_back_and_strange_ones_are_refused() -> None:
    for group in (GroupId("example", "r1", "r1-eth0", "ospf"), GroupId.control("example", "r1")):
        assert GroupId.decode(group.encode()) == group
    for octets in (b"a/b/c", b"a/b/c/d/e", b"a/b/eth0/bgp", b"/r1/eth0/ospf", b"a/r1/eth0\n/ospf", b"\xff/r/e/ospf"):
        for _again in range(2):  # what is wrong is not remembered as right
            with pytest.raises(PolicyError):
                GroupId.decode(octets)
    assert parse_party_id(party_id("example", "dks")) == ("example", "dks")


def test_a_group_state_is_bound_to_its_group_signer_and_counters(samples: ModuleType) -> None:
    group = GroupId("example", "r1", "r1-eth0", "ospf")
    other = GroupId("example", "r1", "r1-eth1", "ospf")
    key = samples.private_key("r1")
    data = sign_group_state(GroupState.of(group, 3, 7, "lks"), key)
    assert claimed_group(data) == group
    assert verify_group_state(data, key.public_key(), group, (3, 7)).counters == (3, 7)
    assert verify_group_state(data, key.public_key(), group, (2, 900)).g == 7
    for wrong_key, wrong_group, minimum in (
        (samples.SERVER, group, (0, 0)),
        (key, other, (0, 0)),
        (key, group, (3, 8)),
        (key, group, (4, 0)),
    ):
        with pytest.raises(PolicyError):
            verify_group_state(data, wrong_key.public_key(), wrong_group, minimum)


def test_a_protocol_may_have_a_mode_of_its_own_and_documents_without_one_are_as_they_were(samples: ModuleType) -> None:
    plain_document = samples.document()
    assert b"modes" not in encode_document(plain_document)
    other = ({"protocol": "pim", "mode": "clear"},)
    mixed = samples.document(interfaces=(samples.interface("r1", 1, samples.neighbor("r2", 2), modes=other),))
    (interface,) = mixed.interfaces
    assert {each.value: mode.value for each, mode in interface.by_protocol().items()} == {
        "ospf": "required", "ospf6": "required", "pim": "clear",
    }  # fmt: skip
    assert [each.protocol for each in mixed.own_groups()] == ["ospf", "ospf6"]
    assert mixed.may_join(plain_document.own_groups()[-1], "r2") is None
    assert decode_document(encode_document(mixed)) == mixed


@pytest.mark.parametrize(
    "modes",
    [
        (),
        ({"protocol": "pim6", "mode": "clear"},),
        ({"protocol": "pim", "mode": "required"},),
        ({"protocol": "ospf", "mode": "clear"},),
        ({"protocol": "pim", "mode": "clear"}, {"protocol": "ospf6", "mode": "clear"}),
    ],
)
def test_modes_have_one_form(samples: ModuleType, modes: tuple[dict[str, str], ...]) -> None:
    with pytest.raises(ValueError, match="mode"):
        samples.interface("r1", 1, samples.neighbor("r2", 2), modes=modes)
