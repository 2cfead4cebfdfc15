"""The body of a GSA payload."""

from __future__ import annotations

from collections.abc import Iterator

from agents.gikev2 import GsaPayload
from agents.ikev2 import IkeError
from fuzz.harness import Target, promise
from fuzz.samples import exchanged


def run(data: bytes) -> object:
    gsa = GsaPayload.parse(data)
    promise(GsaPayload.parse(gsa.body()) == gsa, "the payload changes when it is encoded again")
    return [policy.lifetime_s for policy in gsa.policies]


def seeds() -> Iterator[bytes]:
    return (payload.body() for payload in exchanged() if isinstance(payload, GsaPayload))


TARGET = Target(run, (IkeError,), seeds)
