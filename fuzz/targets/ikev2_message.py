"""A whole IKEv2 message in clear: header, chain of payloads. What is taken comes out again as it went in."""

from __future__ import annotations

from collections.abc import Iterator

from agents.ikev2 import IkeError, encode_payloads, parse_payloads
from agents.ikev2.codec.header import HEADER_LENGTH, encode_header, parse_header
from fuzz.harness import Target, promise
from fuzz.samples import handshake


def run(data: bytes) -> object:
    header = parse_header(data)
    promise(parse_header(encode_header(header) + data[HEADER_LENGTH:]) == header, "the header changes")
    payloads = parse_payloads(header.next_payload, data, HEADER_LENGTH)
    first, inner = encode_payloads(payloads)
    promise(parse_payloads(first, inner) == payloads, "the payloads change when they are encoded again")
    return payloads


def seeds() -> Iterator[bytes]:
    yield from handshake()


TARGET = Target(run, (IkeError,), seeds)
