"""Signed objects: as they come, and with a good signature over whatever. First octet: which kind, and which of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agents.lks.retained import DOCUMENT
from agents.policy import confirmation, cose, document, group, revocation
from agents.policy.errors import PolicyError
from agents.policy.names import GroupId
from fuzz.harness import Target, promise
from fuzz.samples import network_samples
from testbed.simulation.parties import POLICY_SERVER, key

_GROUP = GroupId("example", "a", "a-e0", "ospf")
_ROUTER = key("a")
_KINDS: tuple[tuple[str, bool, Callable[[bytes], object]], ...] = (
    (document.LABEL, True, lambda data: document.verify_document(
        data, POLICY_SERVER.public_key(), domain="example", router="a")),
    (revocation.LABEL, True, lambda data: revocation.verify_list(data, POLICY_SERVER.public_key(), domain="example")),
    (group.LABEL, False, lambda data: group.verify_group_state(data, _ROUTER.public_key(), _GROUP)),
    (group.LABEL, False, group.claimed_group),
    (confirmation.LABEL, False, lambda data: confirmation.verify_confirmation(
        data, _ROUTER.public_key(), domain="example", router="a")),
    (confirmation.LABEL, False, confirmation.claimed_router),
)  # fmt: skip


def run(data: bytes) -> object:
    if not data:
        return None
    label, by_server, verify = _KINDS[data[0] % len(_KINDS)]
    body = data[1:]
    if data[0] & 0x80:
        body = cose.sign(label, body, POLICY_SERVER if by_server else _ROUTER)
    verified = verify(body)
    if isinstance(verified, document.PolicyDocument):
        promise(document.decode_document(document.encode_document(verified)) == verified, "the document changes")
    return verified


def seeds() -> Iterator[bytes]:
    network = network_samples()
    signed = network.nodes["a"].files[DOCUMENT]
    payload = cose.unverified_payload(signed)
    yield b"\x00" + signed
    yield bytes((0x80 - 0x80 % len(_KINDS) + len(_KINDS),)) + payload
    states = [speaker.sending.active for speaker in network.lks("a").link["a-e0"].speakers.values()]
    for number in range(1, len(_KINDS)):
        for keys in states:
            assert keys is not None
            yield bytes((number,)) + keys.state.octets
            first = next(each for each in range(0x80, 0x100) if each % len(_KINDS) == number)
            yield bytes((first,)) + cose.unverified_payload(keys.state.octets)


TARGET = Target(run, (PolicyError,), seeds)
