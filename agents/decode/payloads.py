"""One payload as a tree of named fields, for every payload of IKEv2 and G-IKEv2 that we use.

A field is text, a number, a list or a mapping of fields. Secrets are shown as lengths unless they are asked for. Knows
nothing of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from agents.decode import notifications as notification
from agents.decode.groups import gsa_fields, kd_fields, selector, transforms
from agents.decode.names import hash_algorithm, name, text_or_hex
from agents.ikev2.auth import ED25519_IDENTIFIER
from agents.ikev2.codec.payloads import (
    AuthPayload,
    CertPayload,
    CertRequestPayload,
    DeletePayload,
    Identification,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    RawPayload,
    SaPayload,
    TsPayload,
    VendorPayload,
    parse_payload,
)
from agents.ikev2.errors import IkeError
from agents.ikev2.registry import AuthMethod, CertEncoding, IdType, KeMethod, NotifyType, PayloadType, Protocol

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Secrets:
    """Whether keys are shown, and the key-wrap keys that unwrap them."""

    show: bool = False
    key_wrap_keys: Sequence[bytes] = ()


def payload_name(kind: int) -> str:
    """The RFC's name of a payload type."""
    return name(PayloadType, kind)


def describe(kind: int, body: bytes, secrets: Secrets) -> Fields:
    """The fields of a payload; `malformed` says why there are none."""
    try:
        if kind == PayloadType.GSA:
            return gsa_fields(body)
        if kind == PayloadType.KD:
            return kd_fields(body, secrets.show, secrets.key_wrap_keys)
        payload = parse_payload(kind, body)
    except IkeError as error:
        return {"malformed": str(error), "octets": body.hex()}
    return _WRITERS[type(payload)](payload)


def _sa(payload: Any) -> Fields:
    return {
        "proposals": [
            {
                "number": item.number,
                "protocol": name(Protocol, item.protocol),
                **({"spi": item.spi.hex()} if item.spi else {}),
                "transforms": transforms(item.transforms),
            }
            for item in payload.proposals
        ]
    }


def _identity(value: Identification) -> str:
    if value.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR) and len(value.data) in (4, 16):
        return str(ip_address(value.data))
    if value.type in (IdType.FQDN, IdType.RFC822_ADDR, IdType.KEY_ID):
        return text_or_hex(value.data)
    return value.data.hex()


def _id(payload: Any) -> Fields:
    identification = payload.identification
    return {"id_type": name(IdType, identification.type), "id": _identity(identification)}


def _auth(payload: Any) -> Fields:
    fields: Fields = {"method": name(AuthMethod, payload.method)}
    data: bytes = payload.data
    if payload.method == AuthMethod.DIGITAL_SIGNATURE and data and len(data) > data[0]:
        identifier = data[1 : 1 + data[0]]
        fields["algorithm"] = "Ed25519" if identifier == ED25519_IDENTIFIER else identifier.hex()
        data = data[1 + data[0] :]
    return {**fields, "data": data.hex()}


def _notify(payload: Any) -> Fields:
    fields: Fields = {"notification": notification.title(payload.type), "number": payload.type}
    if payload.protocol or payload.spi:
        fields["protocol"] = name(Protocol, payload.protocol)
        fields["spi"] = payload.spi.hex()
    if payload.type == NotifyType.SIGNATURE_HASH_ALGORITHMS and len(payload.data) % 2 == 0:
        pairs = [payload.data[at : at + 2] for at in range(0, len(payload.data), 2)]
        return {**fields, "hashes": [hash_algorithm(int.from_bytes(pair, "big")) for pair in pairs]}
    return {**fields, **notification.fields(payload.type, payload.data)}


_WRITERS: dict[type[Payload], Callable[[Any], Fields]] = {
    SaPayload: _sa,
    KePayload: lambda it: {"method": name(KeMethod, it.method), "public_value": it.data.hex()},
    IdPayload: _id,
    CertPayload: lambda it: {"encoding": name(CertEncoding, it.encoding), "data": it.data.hex()},
    CertRequestPayload: lambda it: {"encoding": name(CertEncoding, it.encoding), "authorities": it.authorities.hex()},
    AuthPayload: _auth,
    NoncePayload: lambda it: {"nonce": it.nonce.hex()},
    NotifyPayload: _notify,
    DeletePayload: lambda it: {"protocol": name(Protocol, it.protocol), "spis": [spi.hex() for spi in it.spis]},
    VendorPayload: lambda it: {"vendor_id": text_or_hex(it.data)},
    TsPayload: lambda it: {"selectors": [selector(each) for each in it.selectors]},
    RawPayload: lambda it: {"octets": it.octets.hex()},
}
