"""Registry names of the numbers in messages, and octets as text. Unknown numbers stay numbers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from math import isfinite
from typing import Any

from agents.gikev2.registry import PrivateNotify
from agents.ikev2.registry import (
    Encr,
    GcAuth,
    HashAlgorithm,
    Integ,
    KeMethod,
    Kwa,
    NotifyType,
    Prf,
    SequenceNumbers,
    TransformType,
)

FIRST_PRIVATE_NOTIFY = 40960

_ADDITIONAL: dict[int, type[IntEnum]] = {int(kind): KeMethod for kind in TransformType if kind.name.startswith("ADDKE")}
_TRANSFORM_IDS: dict[int, type[IntEnum]] = {
    TransformType.ENCR: Encr,
    TransformType.PRF: Prf,
    TransformType.INTEG: Integ,
    TransformType.KE: KeMethod,
    TransformType.SN: SequenceNumbers,
    TransformType.KWA: Kwa,
    TransformType.GCAUTH: GcAuth,
    **_ADDITIONAL,
}


def name(registry: type[IntEnum], number: int) -> str:
    """The registry's name of a number, or the number."""
    try:
        return registry(number).name
    except ValueError:
        return str(number)


def transform_id(kind: int, number: int) -> str:
    """The name of a transform's ID, whose registry is that of its type."""
    registry = _TRANSFORM_IDS.get(kind)
    return str(number) if registry is None else name(registry, number)


def notify_type(number: int) -> str:
    """The name of a notification, including ours of the private range."""
    return name(PrivateNotify if number >= FIRST_PRIVATE_NOTIFY else NotifyType, number)


def hash_algorithm(number: int) -> str:
    """The name of a hash of SIGNATURE_HASH_ALGORITHMS."""
    return name(HashAlgorithm, number)


def text_or_hex(octets: bytes) -> str:
    """Printable UTF-8 as text; anything else as hex digits, so that a message cannot control a terminal."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return octets.hex()
    return text if text.isprintable() else octets.hex()


def json_value(value: object) -> Any:
    """A CBOR value in JSON form: octets as hex digits, and no text that moves a cursor."""
    if isinstance(value, Mapping):
        return {str(json_value(key)): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return text_or_hex(value.encode("utf-8", "backslashreplace"))
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value
