"""A router's signed word: what is taken, what is not, and what is missing against its document."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ipsec.protection import Mode
from agents.policy import cbor, cose
from agents.policy.confirmation import (
    LABEL,
    MAX_OCTETS,
    Confirmation,
    InForce,
    claimed_router,
    missing,
    sign_confirmation,
    verify_confirmation,
)
from agents.policy.document import LABEL as DOCUMENT_LABEL
from agents.policy.errors import PolicyError
from agents.policy.exact import plain

NAMES = st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z")


def word(**changes: object) -> Confirmation:
    state = InForce(name="r1-eth0", mode=Mode.REQUIRED, keyed=("r2",))
    given = {"domain": "example", "router": "r1", "version": 3, "at": 1000, "interfaces": (state,), **changes}
    return Confirmation.model_validate(given)


@given(
    version=st.integers(1, 1 << 40),
    at=st.integers(0, 1 << 40),
    states=st.lists(
        st.tuples(NAMES, st.sampled_from([None, *Mode]), st.sets(NAMES, max_size=5)),
        max_size=6,
        unique_by=lambda s: s[0],
    ),
)
def test_what_is_signed_comes_back_the_same(
    samples: ModuleType, version: int, at: int, states: list[tuple[str, Mode | None, set[str]]]
) -> None:
    interfaces = tuple(InForce(name=n, mode=m, keyed=tuple(sorted(k))) for n, m, k in states)
    said = word(version=version, at=at, interfaces=interfaces)
    signed = sign_confirmation(said, samples.private_key("r1"))
    public = samples.private_key("r1").public_key()
    assert verify_confirmation(signed, public, domain="example", router="r1") == said
    assert claimed_router(signed) == "r1"


@given(data=st.binary(max_size=300))
def test_octets_of_no_meaning_are_refused_and_nothing_else_happens(samples: ModuleType, data: bytes) -> None:
    with pytest.raises(PolicyError):
        verify_confirmation(data, samples.private_key("r1").public_key(), domain="example", router="r1")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(changed=st.sampled_from(["domain", "router", "version", "at", "interfaces", "more"]), value=_VALUES)
def test_a_router_that_signs_anything_makes_nothing_but_a_confirmation_or_an_error(
    samples: ModuleType, changed: str, value: object
) -> None:
    """The signer is a router, and may be hostile: a signature says nothing about what is in the payload."""
    fields = {**plain(word()), changed: value}  # type: ignore[dict-item]
    try:
        payload = cbor.encode(fields)
    except PolicyError:
        return
    signed = cose.sign(LABEL, payload, samples.private_key("r1"))
    try:
        said = verify_confirmation(signed, samples.private_key("r1").public_key(), domain="example", router="r1")
    except PolicyError:
        return
    assert plain(said) == fields


@pytest.mark.parametrize("changes", [{"version": "3"}, {"at": 1000.0}, {"version": True}, {"domain": b"example"}])
def test_a_value_in_another_form_than_its_own_is_refused(samples: ModuleType, changes: dict[str, object]) -> None:
    fields = {**plain(word()), **changes}  # type: ignore[dict-item]
    signed = cose.sign(LABEL, cbor.encode(fields), samples.private_key("r1"))
    with pytest.raises(PolicyError):
        verify_confirmation(signed, samples.private_key("r1").public_key(), domain="example", router="r1")


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_one_bit_changed_anywhere_makes_it_worthless(samples: ModuleType, place: int, bit: int) -> None:
    key = samples.private_key("r1")
    signed = bytearray(sign_confirmation(word(), key))
    signed[place % len(signed)] ^= 1 << bit
    with pytest.raises(PolicyError):
        verify_confirmation(bytes(signed), key.public_key(), domain="example", router="r1")


def test_it_is_of_its_router_domain_and_kind(samples: ModuleType) -> None:
    key = samples.private_key("r1")
    signed = sign_confirmation(word(), key)
    for domain, router in (("other", "r1"), ("example", "r2")):
        with pytest.raises(PolicyError, match="is of example/r1"):
            verify_confirmation(signed, key.public_key(), domain=domain, router=router)
    with pytest.raises(PolicyError, match="signature"):
        verify_confirmation(signed, samples.private_key("r2").public_key(), domain="example", router="r1")
    other = cose.sign(DOCUMENT_LABEL, cbor.encode(plain(word())), key)
    with pytest.raises(PolicyError, match=LABEL):
        verify_confirmation(other, key.public_key(), domain="example", router="r1")


def test_one_that_is_too_long_is_neither_signed_nor_read(samples: ModuleType) -> None:
    key = samples.private_key("r1")
    names = tuple(sorted(f"a-router-of-a-long-name-{number:03}" for number in range(30)))
    whole = word(interfaces=tuple(InForce(name=f"eth{n}", mode=None, keyed=names) for n in range(256)))
    with pytest.raises(PolicyError, match=str(MAX_OCTETS)):
        sign_confirmation(whole, key)
    with pytest.raises(PolicyError, match=str(MAX_OCTETS)):
        verify_confirmation(bytes(MAX_OCTETS + 1), key.public_key(), domain="example", router="r1")


def test_what_is_missing_is_said_of_each_interface(samples: ModuleType) -> None:
    document = samples.document("r1", version=3)
    (policy,) = document.interfaces
    (neighbor,) = policy.neighbors
    full = InForce(name=policy.name, mode=policy.mode, keyed=(neighbor.router,))

    def lacks(said: Confirmation | None) -> str:
        return "; ".join(missing(document, said))

    assert lacks(word(interfaces=(full,))) == ""
    assert lacks(None) == "r1 has confirmed nothing"
    assert lacks(word(version=2, interfaces=(full,))) == "r1 has confirmed version 2, and not yet 3"
    assert lacks(word(interfaces=())) == f"r1:{policy.name} has no policy in force"
    other = full.model_copy(update={"mode": Mode.LISTEN})
    assert lacks(word(interfaces=(other,))) == f"r1:{policy.name} is listen, not {policy.mode.value}"
    alone = full.model_copy(update={"keyed": ()})
    assert lacks(word(interfaces=(alone,))) == f"r1:{policy.name} is not keyed with {neighbor.router}"
    assert missing(document, word(interfaces=(alone,)), interfaces=["another"]) == []
