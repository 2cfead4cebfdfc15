"""nftables by netlink: one table of family inet, replaced in one transaction and compared, or all tables deleted.

Only the part of nftables that drops packets of given protocols at a device's ingress: a chain for each device, a rule
for each match. Messages and attributes are those of linux/netfilter/nf_tables.h. Works in the network namespace of the
caller. Knows nothing of routing protocols.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.runtime.netlink import (
    ATTRIBUTE,
    ERROR,
    F_ACK,
    F_CREATE,
    F_REQUEST,
    MalformedReply,
    attribute,
    attributes,
    dump,
    error_code,
    message,
    parts,
    strict,
)

_NETFILTER, _SUBSYSTEM, _INET = 12, 10, 1
_F_APPEND = 0x800
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _GET_CHAIN, _NEW_RULE, _GET_RULE = 0, 2, 3, 4, 6, 7
_NEW_GENERATION, _GET_GENERATION = 15, 16
_GENERIC = struct.Struct("!BBH")
_NESTED = 0x8000
_INGRESS, _ACCEPT, _DROP, _REGISTER, _VERDICT_REGISTER = 5, 1, 0, 1, 0
_NETWORK_HEADER = 1
_META_NFPROTO, _META_L4PROTO = 15, 16
_DESTINATION: dict[int, tuple[int, int]] = {socket.AF_INET: (16, 4), socket.AF_INET6: (24, 16)}
"""The offset and length of the destination in an IP header."""
_NFPROTO: dict[int, int] = {socket.AF_INET: 2, socket.AF_INET6: 10}
_RECEIVE_BYTES = 1 << 16
_TIMEOUT_S = 1.0
_SO_SNDBUFFORCE, _USUAL_BYTES = 32, 1 << 16
"""Larger messages need a larger buffer first; a transaction cannot be divided."""

UNTOUCHED = 1
"""The generation of a network namespace in which nftables was never changed."""


class NftablesError(OSError):
    """The kernel refused."""


@dataclass(frozen=True, slots=True)
class Match:
    """Packets to drop: of an address family and an IP protocol, perhaps to one destination only."""

    family: int
    protocol: int
    destination: bytes = b""


def generation() -> int | None:
    """How often nftables was changed in this namespace, by any program; None when the kernel does not say."""
    try:
        with _connected() as kernel:
            kernel.send(_message(_SUBSYSTEM << 8 | _GET_GENERATION, F_REQUEST, 1, family=0))
            return _generation_in(kernel.recv(_RECEIVE_BYTES))
    except (OSError, MalformedReply):
        return None


@strict
def _generation_in(data: bytes) -> int | None:
    for kind, _flags, _number, body in parts(data):
        if kind == _SUBSYSTEM << 8 | _NEW_GENERATION and (generation := _attributes(body[_GENERIC.size :]).get(1)):
            return int.from_bytes(generation)
    return None


def replace(table: str, chains: Mapping[str, Sequence[Match]], priority: int) -> None:
    """Replace the table with one chain at each device's ingress, or delete it without chains. All or nothing.

    NftablesError (ENOENT: no such device).
    """
    name = _text(1, table)
    # Adding first makes the deletion valid whether the table existed or not.
    jobs = [(_NEW_TABLE, F_CREATE, name), (_DEL_TABLE, 0, name)]
    if chains:
        jobs.append((_NEW_TABLE, F_CREATE, name))
    for number, (device, matches) in enumerate(chains.items()):
        chain = f"ingress_{number}"
        hook = _u32(1, _INGRESS) + _u32(2, priority) + _text(3, device)
        body = name + _text(3, chain) + _nested(4, hook) + _u32(5, _ACCEPT) + _text(7, "filter")
        jobs.append((_NEW_CHAIN, F_CREATE, body))
        for match in matches:
            expressions = b"".join(attribute(1 | _NESTED, each) for each in _expressions(match))
            jobs.append((_NEW_RULE, F_CREATE | _F_APPEND, name + _text(2, chain) + _nested(4, expressions)))
    _transact(jobs)


def delete_all() -> None:
    """Every table of this namespace. NftablesError."""
    _transact([(_DEL_TABLE, 0, b"")], family=0)


def holds(table: str, chains: Mapping[str, Sequence[Match]]) -> bool:
    """True if the table is exactly the one that `replace` makes of these chains. NftablesError, MalformedReply."""
    wanted = {device: sorted(map(_plain_rule, map(_expressions, each))) for device, each in chains.items()}
    return _devices_and_rules(table) == wanted


@strict
def _devices_and_rules(table: str) -> dict[str, Any] | None:
    """By device, the rules in a comparable form; None if the table contains anything else."""
    devices: dict[str, str] = {}
    rules: dict[str, list[Any]] = {}
    for chain in _dump(_GET_CHAIN, _NEW_CHAIN):
        if _string(chain, 1) != table:
            continue
        hook = _attributes(chain.get(4, b""))
        if hook.get(1) != _number(_INGRESS) or 3 not in hook or chain.get(5) != _number(_ACCEPT):
            return None
        devices[_string(chain, 3)] = _string(hook, 3)
        rules[_string(hook, 3)] = []
    for rule in _dump(_GET_RULE, _NEW_RULE):
        if _string(rule, 1) == table:
            expressions = (value for kind, value in attributes(rule.get(4, b"")) if kind == 1)
            rules.get(devices.get(_string(rule, 2), ""), []).append(_plain_rule(expressions))
    if len(rules) != len(devices):
        return None
    return {device: sorted(each) for device, each in rules.items()}


# -- rules -----------------------------------------------------------------------------------------------------------


def _expressions(match: Match) -> Iterator[bytes]:
    yield _expression("meta", _u32(1, _REGISTER) + _u32(2, _META_NFPROTO))
    yield _equal(bytes([_NFPROTO[match.family]]))
    yield _expression("meta", _u32(1, _REGISTER) + _u32(2, _META_L4PROTO))
    yield _equal(bytes([match.protocol]))
    if match.destination:
        offset, length = _DESTINATION[match.family]
        field = _u32(1, _REGISTER) + _u32(2, _NETWORK_HEADER) + _u32(3, offset) + _u32(4, length)
        yield _expression("payload", field)
        yield _equal(match.destination)
    verdict = _nested(2, _nested(2, _u32(1, _DROP)))
    yield _expression("immediate", _u32(1, _VERDICT_REGISTER) + verdict)


def _equal(value: bytes) -> bytes:
    return _expression("cmp", _u32(1, _REGISTER) + _u32(2, 0) + _nested(3, attribute(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return _text(1, name) + _nested(2, data)


def _plain_rule(expressions: Iterator[bytes]) -> tuple[tuple[str, tuple[bytes, ...]], ...]:
    """The effect of a rule, whatever the order of its attributes."""
    return tuple(_plain(_attributes(each)) for each in expressions)


def _plain(expression: Mapping[int, bytes]) -> tuple[str, tuple[bytes, ...]]:
    name, data = _string(expression, 1), _attributes(expression.get(2, b""))
    inner = {"cmp": 3, "immediate": 2}.get(name)
    if inner is not None:
        data[inner] = b"".join(value for _kind, value in sorted(_attributes(data.get(inner, b"")).items()))
    if name == "immediate":
        data[2] = data[2][: ATTRIBUTE.size + 4]  # the verdict's code, without the target of a jump
    return name, tuple(value for _kind, value in sorted(data.items()))


# -- netlink ---------------------------------------------------------------------------------------------------------


def _transact(jobs: Sequence[tuple[int, int, bytes]], family: int = _INET) -> None:
    """Send all of these (message, flags, attributes) or none. The last one's answer comes after every error."""
    last = len(jobs)
    data = [_message(_BATCH_BEGIN, F_REQUEST, 0, family=0, resource=_SUBSYSTEM)]
    for number, (kind, flags, body) in enumerate(jobs, 1):
        flags |= F_REQUEST | (F_ACK if number == last else 0)
        data.append(_message(_SUBSYSTEM << 8 | kind, flags, number, body, family=family))
    data.append(_message(_BATCH_END, F_REQUEST, last + 1, family=0, resource=_SUBSYSTEM))
    whole = b"".join(data)
    with _connected(len(whole)) as kernel:
        kernel.send(whole)
        while True:
            for number, code in _errors_in(kernel.recv(_RECEIVE_BYTES)):
                if code:
                    raise NftablesError(code, os.strerror(code))
                if number == last:
                    return


@strict
def _errors_in(data: bytes) -> list[tuple[int, int]]:
    """(sequence number, errno or 0) of the answers in a datagram."""
    return [(number, error_code(body)) for kind, _flags, number, body in parts(data) if kind == ERROR]


def _dump(question: int, answer: int) -> Iterator[dict[int, bytes]]:
    """The attributes of all chains or rules of family inet. OSError, MalformedReply."""
    with _connected() as kernel:
        for kind, body in dump(kernel, _SUBSYSTEM << 8 | question, _GENERIC.pack(_INET, 0, 0)):
            if kind == _SUBSYSTEM << 8 | answer:
                yield _attributes(body[_GENERIC.size :])


def _connected(octets: int = 0) -> socket.socket:
    """A socket that can send this many octets at once. OSError."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    kernel.settimeout(_TIMEOUT_S)
    if octets > _USUAL_BYTES:
        kernel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, octets)
    return kernel


def _message(kind: int, flags: int, number: int, body: bytes = b"", *, family: int = _INET, resource: int = 0) -> bytes:
    return message(kind, flags, number, _GENERIC.pack(family, 0, resource) + body)


def _attributes(data: bytes) -> dict[int, bytes]:
    return dict(attributes(data))


def _nested(kind: int, value: bytes) -> bytes:
    return attribute(kind | _NESTED, value)


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, _number(value))


def _number(value: int) -> bytes:
    return struct.pack("!I", value & 0xFFFFFFFF)


def _string(values: Mapping[int, bytes], kind: int) -> str:
    return values.get(kind, b"").rstrip(b"\0").decode("ascii", "replace")
