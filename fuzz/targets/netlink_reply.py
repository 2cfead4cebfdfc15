"""What the kernel answers on netlink: SAs, policies, defaults, errors. First octet: which."""

from __future__ import annotations

from collections.abc import Iterator

from agents.ipsec import messages, xfrm
from agents.ipsec.plan import wanted_state
from agents.runtime import netlink
from fuzz.harness import Target
from fuzz.samples import network_samples


def _name(index: int) -> str:
    return f"if{index}"


_READERS = (
    lambda data: messages.decode_sa(data, _name),
    lambda data: messages.decode_policy(data, _name),
    lambda data: list(netlink.parts(data)),
    lambda data: xfrm._extended_text(int.from_bytes(data[:2], "little"), data[2:]),
)


def run(data: bytes) -> object:
    return _READERS[data[0] % len(_READERS)](data[1:]) if data else None


def seeds() -> Iterator[bytes]:
    kernel = network_samples().nodes["a"].kernel
    assert kernel is not None
    wanted = wanted_state(kernel.interfaces, kernel.sas)
    for sa in wanted.associations[:4]:
        yield b"\x00" + messages.encode_sa(sa, lambda name: 1)
    for policy in wanted.policies:
        yield b"\x01" + messages.encode_policy(policy, lambda name: 1)
    yield b"\x02\x01\x02\x01"
    yield b"\x04\x00\x03" + bytes.fromhex("eaffffff 14000000 02000000 01000000 00000000 0900 0100 6e6f7065 00000000")
    yield b"\x03" + bytes.fromhex("14000000 02000000 01000000 00000000 00000000")


TARGET = Target(run, (netlink.MalformedReply,), seeds)
