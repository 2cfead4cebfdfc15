"""Registration and inband rekey over two real IKE endpoints, with keys from their own SK_d."""

from __future__ import annotations

import random
from collections.abc import Callable

from agents.gikev2 import GroupMember, KeyServer
from agents.gikev2.keys import make_group_keys
from agents.ikev2 import (
    AuthRequest,
    Datagram,
    Established,
    Event,
    Identification,
    IkeConfig,
    IkeEndpoint,
    LocalIdentity,
    PeerAddress,
    PeerKey,
    Request,
    RequestReceived,
    ResponseReceived,
    Send,
)
from agents.ikev2.registry import ExchangeType
from agents.ipsec.protection import RoutingProtocol, Suite
from agents.policy.group import GroupState, SignedState
from agents.policy.names import GroupId, parse_party_id, party_id
from tests.unit.policy import samples

ADDRESS = {"r1": PeerAddress("10.1.0.1", 848), "r2": PeerAddress("10.1.0.2", 848)}


def source(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def endpoint(name: str, seed: int) -> IkeEndpoint:
    """A party that knows the keys of r1 and r2."""

    def authenticate(peer: Identification, credential: object, address: PeerAddress) -> PeerKey:
        return PeerKey(samples.private_key(parse_party_id(peer.data)[1]).public_key())

    identity = LocalIdentity(Identification.key_id(party_id("example", name)), samples.private_key(name))
    config = IkeConfig(hop_limit=255)
    return IkeEndpoint(identity, authenticate, random=source(seed), config=config, auth_exchange=ExchangeType.GSA_AUTH)


def exchange(parties: dict[str, IkeEndpoint], handle: Callable[[str, Event], None]) -> None:
    """Carry datagrams and hand out events until nothing is under way."""
    busy = True
    while busy:
        busy = False
        for name, other in (("r1", "r2"), ("r2", "r1")):
            for effect in parties[name].take():
                busy = True
                if isinstance(effect, Send):
                    parties[other].receive(Datagram(effect.data, ADDRESS[name], 255), 0.0)
                else:
                    handle(name, effect)


def test_a_neighbour_registers_for_two_groups_and_is_rekeyed() -> None:
    parties = {"r1": endpoint("r1", 1), "r2": endpoint("r2", 2)}
    document = samples.document("r1")
    ospf, pim = (GroupId.of("example", "r1", "r1-eth0", each) for each in (RoutingProtocol.OSPF, RoutingProtocol.PIM))
    member = GroupMember(
        [Suite.ESP_AES128_SHA256],
        lambda group, _issuer: samples.private_key(group.router).public_key(),
        lambda group: (0, 0),
    )
    keys = {}
    for generation in (1, 2):
        for group in (ospf, pim):
            state = GroupState.of(group, document.version, generation, "lks")
            signed = SignedState.sign(state, samples.private_key("r1"))
            keys[group, generation] = make_group_keys(document, source(generation), signed)
    got = []
    sas = {}

    def handle(name: str, event: Event) -> None:
        if isinstance(event, AuthRequest | RequestReceived) and name == "r1":
            request = KeyServer.read(event.payloads)
            assert request is not None and document.may_join(request.group, "r2")
            kwk = event.sa.key_wrap_key()
            parties["r1"].respond(event.token, KeyServer.answer(keys[request.group, 1], "r2", kwk), 0.0)
        elif isinstance(event, Established):
            sas[name] = event.sa
            if name == "r2":
                got.append(member.answer(ospf, event.payloads, event.sa.key_wrap_key()))
                parties["r2"].request(event.sa, ExchangeType.GSA_REGISTRATION, Request(member.request(pim)), 0.0)
        elif isinstance(event, ResponseReceived) and name == "r2":
            got.append(member.answer(pim, event.payloads, event.sa.key_wrap_key()))
            rekey = KeyServer.rekey(keys[ospf, 2], "r2", sas["r1"].key_wrap_key())
            parties["r1"].request(sas["r1"], ExchangeType.GSA_INBAND_REKEY, Request(rekey), 0.0)
        elif isinstance(event, RequestReceived):
            got.append(member.rekey(event.payloads, event.sa.key_wrap_key()))
            parties["r2"].respond(event.token, [], 0.0)

    expected = Identification.key_id(party_id("example", "r1"))
    parties["r2"].connect(ADDRESS["r1"], expected, member.request(ospf), 0.0)
    exchange(parties, handle)
    assert [(each.group, each.generation) for each in got] == [(ospf, 1), (pim, 1), (ospf, 2)]
    for each in got:
        sent = keys[each.group, each.generation].for_member("r2")
        assert [sa.keymat for sa in each.sas] == [sa.keymat for sa in sent.sas]
