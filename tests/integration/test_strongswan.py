"""Interoperability with strongSwan's charon, both ways, on real sockets and a real kernel's ESP."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import charon_lab as lab

from agents.ikev2 import (
    ChildClosed,
    ChildEstablished,
    ChildOffer,
    Closed,
    CloseReason,
    Established,
    IkeConfig,
    IkeSaRekeyed,
    KeysDerived,
    MessageSeen,
    NotifyPayload,
    Retransmission,
    TrafficSelector,
)
from agents.ikev2 import config as suites
from agents.ikev2.codec.transforms import Transform, transform
from agents.ikev2.config import PostQuantum, offers
from agents.ikev2.registry import ExchangeType, KeMethod, NotifyType, SequenceNumbers, TransformType

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(not Path(lab.CHARON_PROGRAM).exists(), reason="strongSwan is in the guest only"),
]

NO_ESN = transform(TransformType.SN, SequenceNumbers.SEQUENTIAL_32)
ESP = (suites.AES_GCM_128, NO_ESN)
ESP_PFS = (suites.AES_GCM_128, NO_ESN, suites.CURVE25519)


def host(text: str) -> TrafficSelector:
    return TrafficSelector(ip_address(text), ip_address(text))


def offer(esp: suites.Offer = ESP) -> ChildOffer:
    return ChildOffer((esp,), (host(lab.US),), (host(lab.CHARON),))


Start = Callable[..., tuple[lab.Us, lab.Charon]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts charon and our endpoint with new keys: start(config=…, esp=…, daemon=…, connection=…)."""
    stops: list[Callable[[], None]] = []

    def begin(
        config: IkeConfig | None = None, *, keys: tuple[str, str] = ("ed25519", "ed25519"),
        esp: suites.Offer = ESP, charon_esp: str = "aes128gcm16", **charon_options: Any,
    ) -> tuple[lab.Us, lab.Charon]:  # fmt: skip
        ours, theirs = lab.new_key(keys[0]), lab.new_key(keys[1])
        charon = lab.Charon(ours, theirs, esp=charon_esp, **charon_options)
        stops.append(charon.stop)
        us = lab.Us(ours, theirs, config, lambda ident, peer, local, remote: offer(esp))
        stops.append(us.stop)
        return us, charon

    yield begin
    for stop in reversed(stops):
        stop()


def connect(us: lab.Us, **options: Any) -> Established:
    """We begin; until it is up."""
    us.do("connect", us.peer, lab.CHARON_ID, options.pop("first", []), **options)
    us.serve(lambda: bool(us.all(Established)) or bool(us.all(Closed)))
    return us.last(Established)


def close(us: lab.Us, charon: lab.Charon) -> None:
    """Delete the newest SA on both sides; charon would otherwise use it for its own."""
    us.do("close", us.last(Established).sa)
    us.serve(lambda: "ESTABLISHED" not in charon.sas())


def test_we_initiate_without_a_child_sa(start: Start) -> None:
    us, charon = start()
    connect(us)
    assert "ESTABLISHED" in charon.sas()
    close(us, charon)


def test_charon_initiates_without_a_child_sa(start: Start) -> None:
    us, charon = start(connection="childless = force")
    us.serve_command(charon.begin("--initiate", "--ike", "us"))
    assert not us.last(Established).initiator
    us.serve_command(charon.begin("--terminate", "--ike", "us"))
    assert us.last(Closed).reason is CloseReason.DELETED_BY_PEER


@pytest.mark.parametrize("keys", [("p256", "p384"), ("p384", "p256"), ("ed25519", "p256")])
def test_ecdsa_keys_authenticate_both_ways(start: Start, keys: tuple[str, str]) -> None:
    us, charon = start(keys=keys, connection="childless = force")
    connect(us)
    close(us, charon)
    us.serve_command(charon.begin("--initiate", "--ike", "us"))
    assert [item.initiator for item in us.all(Established)] == [True, False]


@pytest.mark.parametrize(
    ("ike", "wanted"),
    [
        ("aes128gcm16-prfsha256-ecp256", (suites.AES_GCM_128, suites.PRF_SHA2_256, suites.SECP256R1)),
        ("aes256gcm16-prfsha384-ecp384", (suites.AES_GCM_256, suites.PRF_SHA2_384, suites.SECP384R1)),
        ("chacha20poly1305-prfsha512-x25519", (suites.CHACHA20_POLY1305, suites.PRF_SHA2_512, suites.CURVE25519)),
        (
            "aes128-sha256-x25519",
            (suites.AES_CBC_128, suites.HMAC_SHA2_256_128, suites.PRF_SHA2_256, suites.CURVE25519),
        ),
        (
            "aes256-sha512-x25519",
            (suites.AES_CBC_256, suites.HMAC_SHA2_512_256, suites.PRF_SHA2_512, suites.CURVE25519),
        ),
    ],
)
def test_suites_agree(start: Start, ike: str, wanted: suites.Offer) -> None:
    us, charon = start(IkeConfig(offers=(wanted,)), ike=ike, connection="childless = force")
    connect(us)
    close(us, charon)
    us.serve_command(charon.begin("--initiate", "--ike", "us"))
    assert len(us.all(Established)) == 2


def test_we_initiate_with_a_child_sa_whose_esp_carries_a_ping(start: Start) -> None:
    us, charon = start()
    connect(us, child=offer())
    child = us.last(ChildEstablished).child
    lab.install(child)
    lab.ping()
    assert lab.esp_packets(child.spi_out, lab.US, lab.CHARON) == 3
    assert lab.esp_packets(child.spi_in, lab.CHARON, lab.US) == 3
    assert "INSTALLED, TRANSPORT" in charon.sas()


def test_charon_initiates_with_a_child_sa_whose_esp_carries_a_ping(start: Start) -> None:
    us, charon = start()
    us.serve_command(charon.begin("--initiate", "--child", "ping"))
    child = us.last(ChildEstablished).child
    assert not child.initiator
    lab.install(child)
    lab.ping()
    assert lab.esp_packets(child.spi_out, lab.US, lab.CHARON) == 3


@pytest.mark.parametrize("esp", [ESP, ESP_PFS], ids=["plain", "forward secrecy"])
def test_child_sas_are_rekeyed_from_either_side_and_carry_on(start: Start, esp: suites.Offer) -> None:
    us, charon = start(esp=esp, charon_esp="aes128gcm16-x25519" if esp is ESP_PFS else "aes128gcm16")
    connect(us, child=offer(esp))
    lab.install(us.last(ChildEstablished).child)
    lab.ping()
    sa = us.last(Established).sa
    for number, rekey in enumerate(
        (
            lambda: us.do("rekey_child", sa, sa.children[0]),
            lambda: us.serve_command(charon.begin("--rekey", "--child", "ping")),
        ),
        2,
    ):
        rekey()
        us.serve(lambda: len(us.all(ChildEstablished)) == number and len(us.all(ChildClosed)) == number - 1)  # noqa: B023
        child = us.last(ChildEstablished).child
        assert sa.children == (child,)
        lab.install(child, policies=False)
        lab.ping()
        assert lab.esp_packets(child.spi_in, lab.CHARON, lab.US) == 3


def test_the_ike_sa_is_rekeyed_from_either_side_and_works_on(start: Start) -> None:
    us, charon = start()
    connect(us, child=offer())
    sa = us.last(Established).sa
    before = sa.derive(b"", 16)
    us.do("rekey_ike", sa)
    us.serve(lambda: len(us.all(IkeSaRekeyed)) == 1)
    us.serve_command(charon.begin("--rekey", "--ike", "us"))
    us.serve(lambda: len(us.all(IkeSaRekeyed)) == 2)
    assert sa.derive(b"", 16) != before and sa.children
    us.do("rekey_child", sa, sa.children[0])
    us.serve(lambda: len(us.all(ChildClosed)) == 1)
    assert charon.sas().count("ESTABLISHED") == 1
    close(us, charon)


def test_charon_brings_our_cookie_back_and_we_bring_back_its(start: Start) -> None:
    us, charon = start(
        IkeConfig(cookie_threshold=0), daemon="cookie_threshold = 1\n cookie_threshold_ip = 1",
        connection="childless = force",
    )  # fmt: skip
    us.serve_command(charon.begin("--initiate", "--ike", "us"))
    cookie = NotifyType.COOKIE.to_bytes(2, "big")
    assert cookie in us.sent[0] and cookie in us.received[1]
    # charon counts a cookie's age from its start minus a random offset, unsigned: it takes none in
    # the first seconds after the machine's boot.
    us.serve_for(max(0.1, 30.0 - time.monotonic()))
    # The first of our two handshakes is left half-open at charon, so the second meets a cookie.
    stuck = us.do("connect", us.peer, lab.CHARON_ID, [])
    us.do("abandon", stuck)
    seen = len(us.received)
    us.do("connect", us.peer, lab.CHARON_ID, [])
    us.serve(lambda: len(us.all(Established)) == 2)
    assert any(cookie in data for data in us.received[seen:])


def test_messages_in_fragments_are_understood_both_ways(start: Start) -> None:
    us, charon = start(IkeConfig(max_datagram=500), connection="fragmentation = force", daemon="fragment_size = 300")
    large = [NotifyPayload(41000 + n, bytes(700)) for n in range(3)]
    connect(us, first=large)
    assert sum(data[16] == 53 for data in us.sent) >= 5
    assert max(map(len, us.sent)) <= 500
    close(us, charon)
    us.serve_command(charon.begin("--initiate", "--child", "ping"))
    assert any(data[16] == 53 for data in us.received), "charon fragmented too"
    assert us.all(ChildEstablished)


def test_liveness_is_answered_and_asked(start: Start) -> None:
    us, charon = start(connection="dpd_delay = 2s\n childless = force")
    us.serve_command(charon.begin("--initiate", "--ike", "us"))
    sa = us.last(Established).sa
    us.events.clear()
    us.serve_for(7)
    asked = [item for item in us.all(MessageSeen) if item.exchange == ExchangeType.INFORMATIONAL and item.request]
    assert len(asked) >= 2 and "ESTABLISHED" in charon.sas()
    us.do("check_liveness", sa)
    us.serve(lambda: any(i.exchange == ExchangeType.INFORMATIONAL and not i.request for i in us.all(MessageSeen)))


def test_a_dead_charon_is_noticed(start: Start) -> None:
    us, _charon = start(IkeConfig(liveness_s=2, retransmission=Retransmission(first_s=0.5, cap_s=1, tries=3)))
    connect(us)
    lab.run("ip", "link", "set", "ike-us", "down")
    lab.run("ip", "link", "set", "ike-us", "up")
    lab.run("ip", "-n", lab.NAMESPACE, "link", "set", "ike-sw", "down")
    us.serve(lambda: bool(us.all(Closed)))
    assert us.last(Closed).reason is CloseReason.TIMEOUT


def test_child_sas_are_deleted_from_either_side(start: Start) -> None:
    us, charon = start()
    connect(us, child=offer())
    sa = us.last(Established).sa
    us.do("create_child", sa, offer())
    us.serve(lambda: len(us.all(ChildEstablished)) == 2)
    us.do("delete_child", sa, sa.children[0])
    us.serve(lambda: len(us.all(ChildClosed)) == 1)
    us.serve_command(charon.begin("--terminate", "--child", "ping"))
    assert len(us.all(ChildClosed)) == 2 and sa.established and not sa.children


def test_another_group_that_charon_wants_is_taken(start: Start) -> None:
    us, _charon = start(ike="aes256gcm16-prfsha256-ecp256")
    connect(us)
    assert sum(data[18] == ExchangeType.IKE_SA_INIT for data in us.sent) == 2


def test_wrong_keys_are_refused_both_ways(start: Start) -> None:
    us, _charon = start(connection="childless = force")
    us.endpoint._party.identity = type(us.endpoint._party.identity)(lab.OUR_ID, lab.new_key())
    us.do("connect", us.peer, lab.CHARON_ID, [])
    us.serve(lambda: bool(us.all(Closed)))
    assert us.last(Closed).reason is CloseReason.AUTHENTICATION_FAILED and not us.all(Established)


@pytest.mark.parametrize("ike", ["aes256gcm16-prfsha256-x25519", "aes128-sha256-x25519"])
def test_tshark_decrypts_our_exchanges_with_the_key_log(start: Start, ike: str, tmp_path: Path) -> None:
    offers = {
        "aes256gcm16-prfsha256-x25519": suites.PLAIN,
        "aes128-sha256-x25519": (suites.AES_CBC_128, suites.HMAC_SHA2_256_128, suites.PRF_SHA2_256, suites.CURVE25519),
    }
    us, charon = start(IkeConfig(log_keys=True, offers=(offers[ike],)), ike=ike)
    capture = lab.Capture(tmp_path / "ike.pcap")
    connect(us, child=offer())
    us.do("rekey_ike", us.last(Established).sa)
    us.serve(lambda: bool(us.all(IkeSaRekeyed)))
    close(us, charon)
    capture.stop()
    lines = [item.line for item in us.all(KeysDerived)]
    assert len(lines) == 2
    text = capture.read(lines)
    assert "us.example" in text and "charon.example" in text and "Security Association" in text
    assert text.count("Payload: Delete") >= 1 and text.count("Payload: Traffic Selector - Initiator") == 2
    assert "us.example" not in capture.read([])


NO_ML_KEM = pytest.mark.skipif(not lab.ML_PLUGIN.exists(), reason="Debian's charon is built without ML-KEM")
FURTHER = [  # any method takes the same way (RFC 9370)
    pytest.param("ecp384", transform(TransformType.ADDKE1, KeMethod.SECP384R1), id="ecp384"),
    pytest.param("mlkem768", suites.ADD_ML_KEM_768, id="mlkem768", marks=NO_ML_KEM),
]


def with_further(start: Start, name: str, method: Transform) -> tuple[lab.Us, lab.Charon]:
    only = (suites.AES_GCM_256, suites.PRF_SHA2_256, suites.CURVE25519, method)
    return start(IkeConfig(offers=(only,)), ike=f"aes256gcm16-prfsha256-x25519-ke1_{name}")


def exchanges(datagrams: list[bytes], exchange: int) -> int:
    return len({data[16:24] for data in datagrams if data[18] == exchange})


@pytest.mark.parametrize(("name", "method"), FURTHER)
def test_an_additional_key_exchange_agrees_whoever_begins(start: Start, name: str, method: Transform) -> None:
    us, charon = with_further(start, name, method)
    connect(us, child=offer())
    lab.install(us.last(ChildEstablished).child)
    lab.ping()
    assert exchanges(us.sent, ExchangeType.IKE_INTERMEDIATE) and "KE1_" in charon.sas()
    close(us, charon)
    us.serve_command(charon.begin("--initiate", "--child", "ping"))
    lab.install(us.last(ChildEstablished).child, policies=False)
    lab.ping()
    assert len(us.all(Established)) == 2 and us.last(Established).sa.current.suite.additional_ke == (method.id,)


@pytest.mark.parametrize(("name", "method"), FURTHER)
def test_an_ike_sa_of_several_key_exchanges_is_rekeyed_from_either_side(
    start: Start, name: str, method: Transform
) -> None:
    us, charon = with_further(start, name, method)
    connect(us, child=offer())
    sa = us.last(Established).sa
    for number, rekey in enumerate(
        (lambda: us.do("rekey_ike", sa), lambda: us.serve_command(charon.begin("--rekey", "--ike", "us"))), 1
    ):
        before = sa.derive(b"", 16)
        rekey()
        us.serve(lambda: len(us.all(IkeSaRekeyed)) == number)  # noqa: B023
        assert sa.derive(b"", 16) != before and sa.current.suite.additional_ke == (method.id,)
        assert exchanges(us.sent if number == 1 else us.received, ExchangeType.IKE_FOLLOWUP_KE)
        us.do("rekey_child", sa, sa.children[0])  # under the new keys
        us.serve(lambda: len(us.all(ChildClosed)) == number)  # noqa: B023
    us.serve(lambda: charon.sas().count("ESTABLISHED") == 1)
    close(us, charon)


@NO_ML_KEM
@pytest.mark.parametrize("ike", ["x25519-ke1_mlkem768", "x25519", "x25519-ke1_mlkem768-ke1_none"])
def test_what_a_domain_prefers_charon_takes_as_far_as_it_can(start: Start, ike: str) -> None:
    us, charon = start(IkeConfig(offers=offers(PostQuantum.PREFERRED)), ike=f"aes256gcm16-prfsha256-{ike}")
    wanted = "x25519" if ike == "x25519" else "x25519+mlkem768"
    connect(us, child=offer())
    assert us.last(Established).sa.key_exchange == wanted
    close(us, charon)
    us.serve_command(charon.begin("--initiate", "--child", "ping"))
    assert us.last(Established).sa.key_exchange == wanted


def test_additional_key_exchanges_in_ike_intermediate_agree(start: Start) -> None:
    more = (transform(TransformType.ADDKE1, KeMethod.SECP384R1), transform(TransformType.ADDKE2, KeMethod.SECP256R1))
    offer = (suites.AES_GCM_256, suites.PRF_SHA2_256, suites.CURVE25519, *more)
    us, charon = start(
        IkeConfig(offers=(offer,)),
        ike="aes256gcm16-prfsha256-x25519-ke1_ecp384-ke2_ecp256",
        connection="childless = force",
    )
    connect(us)
    assert sum(data[18] == ExchangeType.IKE_INTERMEDIATE for data in us.sent) == 2
    close(us, charon)
    us.serve_command(charon.begin("--initiate", "--ike", "us"))
    assert len(us.all(Established)) == 2
