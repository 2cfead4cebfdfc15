"""Canonical CBOR: what is taken is the only encoding of its value."""

from __future__ import annotations

from collections.abc import Iterator

from agents.policy import cbor
from agents.policy.errors import PolicyError
from fuzz.harness import Target, promise
from fuzz.samples import network_samples


def run(data: bytes) -> object:
    value = cbor.decode(data)
    if not _tagged(value):
        promise(cbor.encode(value) == data, "two encodings of one value")
    return value


def _tagged(value: object) -> bool:
    """A tag comes as a tuple, which is not encoded again."""
    if isinstance(value, tuple):
        return True
    if isinstance(value, dict):
        return any(_tagged(each) for each in value.values())
    return isinstance(value, list) and any(_tagged(each) for each in value)


def seeds() -> Iterator[bytes]:
    yield from network_samples().signed.values()
    yield cbor.encode({"a": [1, -1, True, None, 1.5, b"x", "y", {}], 2: [[[]]]})


TARGET = Target(run, (PolicyError,), seeds)
