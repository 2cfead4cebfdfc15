"""One payload: the first octet is its type, the rest its body."""

from __future__ import annotations

from collections.abc import Iterator

from agents.ikev2 import IkeError
from agents.ikev2.codec.payloads import parse_payload
from fuzz.harness import Target, promise
from fuzz.samples import exchanged


def run(data: bytes) -> object:
    kind, body = data[0] if data else 0, data[1:]
    payload = parse_payload(kind, body)
    promise(parse_payload(kind, payload.body()) == payload, "the payload changes when it is encoded again")
    return payload


def seeds() -> Iterator[bytes]:
    for payload in exchanged():
        yield bytes((int(payload.payload_type),)) + payload.body()


TARGET = Target(run, (IkeError,), seeds)
