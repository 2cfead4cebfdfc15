"""The first rule of the edge, as an oracle: a datagram without a right integrity check changes nothing.

Reads the whole state of a core, whatever it is made of, and gives a digest. Left out is what may change: counters for
the record, the secrets of cookies, pacing, and what is computed once and kept.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from copy import deepcopy
from enum import Enum
from typing import Any

from agents.ikev2.codec.header import parse_header
from agents.ikev2.errors import MalformedMessage
from agents.ikev2.registry import ExchangeType
from agents.runtime.drops import Drops
from agents.runtime.metrics import Counts

_LEFT_OUT = frozenset(
    {
        ("Boundary", "*"),
        ("CookieJar", "*"),
        ("Drops", "*"),
        ("Metrics", "*"),
        ("Pending", "*"),
        ("_Seen", "retransmitted_at"),
        ("Responder", "_retransmitted_at"),
        ("Responder", "_ke"),
        ("Responder", "_keys"),
        ("Party", "effects"),
        ("Party", "_counter"),
        ("Context", "effects"),
        ("DksCore", "_effects"),
        ("LksCore", "_now"),
    }
)
_PLAIN = (bytes, str, int, float, type(None))


def claims_to_be_sealed(data: bytes) -> bool:
    """Whether a datagram belongs to an SA that stands or comes about: all that begins none by itself."""
    try:
        header = parse_header(data)
    except MalformedMessage:
        return True
    return header.exchange != ExchangeType.IKE_SA_INIT


def digest(core: Any) -> bytes:
    """Of all that the object holds, as far as it can be reached; equal before and after when nothing changed."""
    hash_ = hashlib.sha256()
    for text, _item in _reached(core):
        hash_.update(text.encode())
    return hash_.digest()


@contextmanager
def uncounted(core: Any) -> Iterator[None]:
    """Datagrams that the core drops meanwhile leave its counters as they were."""
    kept = [(each, _kept(each)) for _text, each in _reached(core) if isinstance(each, Drops | Counts)]
    try:
        yield
    finally:
        for counters, values in kept:
            vars(counters).update(values)


def _kept(counters: Drops | Counts) -> dict[str, Any]:
    return {name: deepcopy(value) if isinstance(value, dict) else value for name, value in vars(counters).items()}


def _reached(core: Any) -> Iterator[tuple[str, Any]]:
    """All that the object holds, each as text; objects once, with a number in place of what they hold."""
    numbers: dict[int, int] = {}
    waiting: list[Any] = [core]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _PLAIN):
            yield repr(item), item
            continue
        if isinstance(item, Enum):
            yield str(item), item
            continue
        known = numbers.setdefault(id(item), len(numbers))
        yield f"{type(item).__name__} {known};", item
        if known != len(numbers) - 1:
            continue
        waiting.extend(_parts(item))


def _parts(item: Any) -> list[Any]:
    if isinstance(item, Mapping):
        return [part for pair in item.items() for part in pair]
    if isinstance(item, list | tuple | deque):
        return [len(item), *item]
    if isinstance(item, Set):
        return sorted(item, key=repr) if all(isinstance(each, _PLAIN) for each in item) else [len(item)]
    name = type(item).__name__
    if not type(item).__module__.startswith(("agents.", "testbed.", "tests.")) or (name, "*") in _LEFT_OUT:
        return []
    slots = [slot for kind in type(item).__mro__ for slot in getattr(kind, "__slots__", ())]
    names = [*vars(item)] if hasattr(item, "__dict__") else []
    return [
        getattr(item, each)
        for each in dict.fromkeys([*names, *slots])
        if not each.startswith("__") and (name, each) not in _LEFT_OUT and hasattr(item, each)
    ]
