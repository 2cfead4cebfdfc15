"""GSA and KD (RFC 9838 §4.4, §4.5) as named fields: policies of group SAs and bags of wrapped keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agents.decode.names import name, transform_id
from agents.gikev2.gsa import GroupPolicy, GsaPayload
from agents.gikev2.kd import KdPayload, WrappedKey, unwrap_key
from agents.gikev2.registry import GsaAttribute
from agents.ikev2.codec.payloads import TrafficSelector
from agents.ikev2.codec.transforms import Attribute, Transform
from agents.ikev2.errors import IntegrityFailure
from agents.ikev2.registry import Protocol, TransformType

Fields = dict[str, Any]


def selector(value: TrafficSelector) -> str:
    """A traffic selector in one line: addresses, IP protocol, ports."""
    addresses = str(value.first) if value.first == value.last else f"{value.first}-{value.last}"
    protocol = "any protocol" if value.protocol == 0 else f"protocol {value.protocol}"
    ports = "" if (value.start_port, value.end_port) == (0, 65535) else f" ports {value.start_port}-{value.end_port}"
    return f"{addresses} {protocol}{ports}"


def transforms(values: Iterable[Transform]) -> list[str]:
    """Each transform as TYPE=ID, with its key length in bits."""
    texts = []
    for item in values:
        text = f"{name(TransformType, item.type)}={transform_id(item.type, item.id)}"
        texts.append(text if item.key_bits is None else f"{text}/{item.key_bits}")
    return texts


def gsa_fields(body: bytes) -> Fields:
    """The policies of a GSA payload. MalformedMessage."""
    payload = GsaPayload.parse(body)
    fields: Fields = {"policies": [_policy(item) for item in payload.policies]}
    wide = payload.group_wide
    if wide is not None:
        fields["group_wide_policy"] = {"activation_delay_s": wide.atd_s, "deactivation_delay_s": wide.dtd_s}
        if wide.sender_id_bits is not None:
            fields["group_wide_policy"]["sender_id_bits"] = wide.sender_id_bits
    return fields


def _policy(policy: GroupPolicy) -> Fields:
    fields: Fields = {
        "protocol": name(Protocol, policy.protocol),
        "spi": policy.spi.hex(),
        "source": selector(policy.source),
        "destination": selector(policy.destination),
        "transforms": transforms(policy.transforms),
    }
    if policy.lifetime_s is not None:
        fields["lifetime_s"] = policy.lifetime_s
    others = [item for item in policy.attributes if item.type != GsaAttribute.GSA_KEY_LIFETIME]
    for item in others:
        _add(fields, name(GsaAttribute, item.type).removeprefix("GSA_").lower(), _value(item))
    return fields


def _value(attribute: Attribute) -> int | str:
    if isinstance(attribute.value, int):
        return attribute.value
    if attribute.type == GsaAttribute.GSA_INITIAL_MESSAGE_ID:
        return int.from_bytes(attribute.value, "big")
    return attribute.value.hex()


def _add(fields: Fields, key: str, value: int | str) -> None:
    """An attribute that may occur several times (GSA_NEXT_SPI): its field is then a list."""
    if key in fields:
        known = fields[key]
        fields[key] = [*known, value] if isinstance(known, list) else [known, value]
    else:
        fields[key] = value


def kd_fields(body: bytes, show: bool, key_wrap_keys: Sequence[bytes]) -> Fields:
    """The bags of a KD payload. MalformedMessage."""
    payload = KdPayload.parse(body)
    bags: list[Fields] = []
    for bag in payload.bags:
        fields: Fields = {
            "protocol": name(Protocol, bag.protocol),
            "spi": bag.spi.hex(),
            "keys": [_key(key, show, key_wrap_keys) for key in bag.keys],
        }
        if bag.replay_floor is not None:
            fields["replay_floor"] = bag.replay_floor
        bags.append(fields)
    decoded: Fields = {"group_key_bags": bags}
    member = payload.member
    if member is not None:
        decoded["member_key_bag"] = {"wrap_keys": [_key(key, show, key_wrap_keys) for key in member.wrap_keys]}
        if member.auth_key is not None:
            decoded["member_key_bag"]["auth_key"] = member.auth_key.hex()
        if member.sender_ids:
            decoded["member_key_bag"]["sender_ids"] = list(member.sender_ids)
    return decoded


def _key(key: WrappedKey, show: bool, key_wrap_keys: Sequence[bytes]) -> Fields:
    fields: Fields = {"key_id": key.key_id, "kwk_id": key.kwk_id, "wrapped_octets": len(key.octets)}
    if not show:
        return fields
    fields["wrapped"] = key.octets.hex()
    for kwk in key_wrap_keys:
        try:
            return {**fields, "key": unwrap_key(kwk, key).hex()}
        except IntegrityFailure:
            continue
    return fields
