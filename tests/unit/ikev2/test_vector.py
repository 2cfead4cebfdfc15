"""A real handshake with strongSwan 6.0.1, octet for octet: our initiator says what was said then."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.ikev2 import (
    Datagram,
    Established,
    Identification,
    IkeConfig,
    IkeEndpoint,
    KeysDerived,
    LocalIdentity,
    PeerAddress,
    PeerKey,
    Send,
)
from agents.ikev2.codec.header import parse_header
from agents.ikev2.codec.transforms import transform
from agents.ikev2.config import AES_GCM_256, CURVE25519, PRF_SHA2_256
from agents.ikev2.keys import initial_keys, key_wrap_key
from agents.ikev2.protect import open_message
from agents.ikev2.registry import HashAlgorithm, Kwa, TransformType
from agents.ikev2.suites import ike_suite

MSG1 = bytes.fromhex(
    "010203040506070800000000000000002120220800000000000000a42200002800000024010100030300000c01000014800e01000300"
    "000802000005000000080400001f28000028001f000007a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"
    "29000024404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f2900000c0000402f00050002000000080000"
    "402e"
)
MSG2 = bytes.fromhex(
    "0102030405060708bb828e714dc2fa152120222000000000000000b82200002800000024010100030300000c01000014800e01000300"
    "000802000005000000080400001f28000028001f000017cf97199d97bd1b7b75f3c13e7716a2a000460f23e9c642cb518c5acd497f12"
    "290000249ba172affe8f4570d618a96384fc6ec218d855f026908075cd09539f84cab66a290000080000402e290000100000402f0002"
    "00030004000529000008000040220000000800004014"
)
MSG3 = bytes.fromhex(
    "0102030405060708bb828e714dc2fa152e20230800000001000000ae23000092a0a1a2a3a4a5a6a795d8bfbcc98b6b1652ea052ac8cb"
    "9de2446fb3f7c93be9a552c35493bb51cecb3483bfa98f7be7b977ec7d0f4a46454302f5731e9f2fe74b55313870d16624c692bdb578"
    "82849abfb8b2cb6a21522f71bc72f8e39ffe1beec4c46a151f37760b2dbde32e550c1443e16ec175ddfe742247184fdffc847d57e12e"
    "e28d94267c9781cd22b6b3df"
)
MSG4 = bytes.fromhex(
    "0102030405060708bb828e714dc2fa152e202320000000010000009c24000080ba7ad3ea0ed1d159b413291ca31706cf1d102ad5c228"
    "d3009531653f5e5426450c8d2f0855399841b478360ffe50b73ac2927f6ad8b439409290a626d5bcee4d842945b24e7de584ca7521c2"
    "f78ab1a8e1200a7d45e503d096a572942eef4d22f423db49377c981b23bf0f41bcddf67a12bc33d521cc0b6ddffb2e81"
)
MSG3_INNER = bytes.fromhex(
    "240000120200000072312e6578616d706c652700001302000000646b732e6578616d706c65000000500e00000007300506032b65704d"
    "8fa6ef621ff852a628294568136672f10cf19dbbc2c4ced90d3e111ec0c812819bd6bd03653c78b4760e20dcf6da14dcee070fbb81e4"
    "73e8c5e4c2607e810e"
)
MSG4_INNER = bytes.fromhex(
    "2700001302000000646b732e6578616d706c65000000500e00000007300506032b6570b98a5d12b9c83bb608ee7c2fcb0b6c75df6bee"
    "0df61abba29bea300b4bbc828e9be66aca778669a378533740b0fe9dfc4d6c5ecda93f20efb0e842a7d64f1100"
)
SECRET = bytes.fromhex("15ba15c6d17559fd3444695a20c595c332416dab32fbc1054bb4a29fc408b745")
SK_D = bytes.fromhex("1293c62b11efabfabc174c1fb8705716d61c3c84f158d11431bcb2e4815b289d")
SK_EI = bytes.fromhex("f0e8d96366133419d10db236e5dac1ff14ff0176a717c28da379362f112daec01da83e75")
SK_ER = bytes.fromhex("f8a18a3fcb91905ea10d55e36caf6cb9f83b5de1d899c11c402cac53cf980657d1c33113")
SK_PI = bytes.fromhex("fa1d32ff3977c05eb459ff7efa711b9c7fe3072e7602ddc3ae7f3ee4bab9a73c")
SK_PR = bytes.fromhex("ab01b89a92979af8e9bbb925894411db8f66b81137499f2458eb118e714b80a7")
GSK_W = bytes.fromhex("40057e43710e5e9bff3b775b3e758cb2ee32c226c394f4044afe91ee124c9a01")
R1_SEED = bytes.fromhex("0ae47d8c443ce90f5fb81b442acdf7938455b2e762587ea4d2214cc45713e966")
DKS_PUBLIC = bytes.fromhex("f377edd1389adbe2fe857e5f433fdf120d3fc7f4e3841f3b87cdbfd9cdfc6b8e")
R1, DKS = Identification.fqdn("r1.example"), Identification.fqdn("dks.example")
PEER = PeerAddress("192.0.2.1", 500, "192.0.2.2", "eth0")
OFFER = (AES_GCM_256, PRF_SHA2_256, CURVE25519)


def scripted(*octets: bytes) -> Callable[[int], bytes]:
    """A random source that gives these octets in turn, and insists on the lengths."""
    left = list(octets)

    def random(length: int) -> bytes:
        value = left.pop(0)
        assert len(value) == length
        return value

    return random


def begin() -> IkeEndpoint:
    random = scripted(bytes(range(1, 33)), bytes(range(0x40, 0x60)), bytes(range(1, 9)), bytes(range(0xA0, 0xA8)))
    config = IkeConfig(
        offers=(OFFER,), signature_hashes=(HashAlgorithm.IDENTITY, HashAlgorithm.SHA2_256), log_keys=True
    )
    key = PeerKey(Ed25519PublicKey.from_public_bytes(DKS_PUBLIC))
    endpoint = IkeEndpoint(
        LocalIdentity(R1, Ed25519PrivateKey.from_private_bytes(R1_SEED)),
        lambda ident, credential, peer: key if ident == DKS else None,
        random=random,
        config=config,
    )
    endpoint.connect(PEER, DKS, [], 0.0, initial_contact=False)
    return endpoint


def sent(effects: list[object]) -> list[bytes]:
    return [item.data for item in effects if isinstance(item, Send)]


def test_the_initiator_reproduces_both_of_its_messages_and_accepts_both_answers() -> None:
    endpoint = begin()
    assert sent(endpoint.take()) == [MSG1]
    endpoint.receive(Datagram(MSG2, PEER), 0.1)
    assert sent(endpoint.take()) == [MSG3]
    endpoint.receive(Datagram(MSG4, PEER), 0.2)
    up = [item for item in endpoint.take() if isinstance(item, Established)]
    assert [(item.peer_id, item.initiator, item.payloads) for item in up] == [(DKS, True, ())]


def test_an_answer_with_one_bit_changed_is_not_accepted() -> None:
    for position in range(28, len(MSG4), 7):
        endpoint = begin()
        endpoint.receive(Datagram(MSG2, PEER), 0.1)
        endpoint.take()
        changed = MSG4[:position] + bytes((MSG4[position] ^ 1,)) + MSG4[position + 1 :]
        endpoint.receive(Datagram(changed, PEER), 0.2)
        assert not [item for item in endpoint.take() if isinstance(item, Established)]


def test_keys_are_those_of_the_recorded_handshake() -> None:
    suite = ike_suite((*OFFER, transform(TransformType.KWA, Kwa.KW_5649_256)))
    keys = initial_keys(suite, SECRET, MSG1[112:144], MSG2[112:144], MSG1[:8], MSG2[8:16])
    assert (keys.sk_d, keys.sk_ei, keys.sk_er, keys.sk_pi, keys.sk_pr) == (SK_D, SK_EI, SK_ER, SK_PI, SK_PR)
    assert keys.sk_ai == keys.sk_ar == b""
    assert key_wrap_key(suite, keys.sk_d) == GSK_W
    assert SK_D.hex() not in repr(keys) and SK_EI.hex() not in repr(keys)


def test_recorded_messages_open_with_the_recorded_keys() -> None:
    suite = ike_suite(OFFER)
    for message, key, inner, first in ((MSG3, SK_EI, MSG3_INNER, 35), (MSG4, SK_ER, MSG4_INNER, 36)):
        opened = open_message(message, parse_header(message), suite.protection(key, b"", lambda n: bytes(n)))
        assert (opened.first, opened.inner.hex()) == (first, inner.hex())


def test_the_key_log_has_the_form_that_wireshark_reads() -> None:
    endpoint = begin()
    endpoint.receive(Datagram(MSG2, PEER), 0.1)
    lines = [item.line for item in endpoint.take() if isinstance(item, KeysDerived)]
    assert lines == [
        f"0102030405060708,bb828e714dc2fa15,{SK_EI.hex()},{SK_ER.hex()},"
        '"AES-GCM-256 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"'
    ]
