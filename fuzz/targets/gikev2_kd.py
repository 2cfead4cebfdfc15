"""The body of a KD payload; each wrapped key is opened."""

from __future__ import annotations

from collections.abc import Iterator

from agents.gikev2 import GroupKeyBag, KdPayload
from agents.gikev2.kd import unwrap_key, wrap_key
from agents.ikev2 import IkeError
from agents.ikev2.registry import Protocol
from fuzz.harness import Target, promise
from fuzz.samples import exchanged


def run(data: bytes) -> object:
    kd = KdPayload.parse(data)
    promise(KdPayload.parse(kd.body()) == kd, "the payload changes when it is encoded again")
    for bag in kd.bags:
        for key in bag.keys:
            unwrap_key(bytes(32), key)
    return kd


def seeds() -> Iterator[bytes]:
    yield from (payload.body() for payload in exchanged() if isinstance(payload, KdPayload))
    yield KdPayload((GroupKeyBag(Protocol.ESP, bytes(3) + b"\x01", (wrap_key(bytes(32), bytes(48)),), 7),)).body()


TARGET = Target(run, (IkeError,), seeds)
