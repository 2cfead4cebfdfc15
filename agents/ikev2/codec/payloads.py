"""Payloads of RFC 7296 §3.3 to §3.13 as values, and chains of them.

Every parser raises MalformedMessage and nothing else. Knows octets only. SK and SKF (agents.ikev2.protect) and the
bodies of GSA and KD (agents.gikev2) are read elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, ClassVar, TypeVar

from agents.ikev2.codec.header import encode_generic, parse_generic
from agents.ikev2.codec.transforms import Proposal, encode_proposals, parse_proposals
from agents.ikev2.errors import MalformedMessage, UnsupportedCriticalPayload
from agents.ikev2.registry import IdType, PayloadType, TsType

MAX_PAYLOADS = 64
MIN_NONCE, MAX_NONCE = 16, 256

_NOTIFY = struct.Struct("!BBH")
_SELECTOR = struct.Struct("!BBHHH")
_TS_TYPES = frozenset(int(kind) for kind in TsType)


@dataclass(frozen=True, slots=True)
class Identification:
    """A party's identity: an ID type and its octets (RFC 7296 §3.5)."""

    type: int
    data: bytes

    @classmethod
    def key_id(cls, name: str | bytes) -> Identification:
        """An opaque name, as our own parties have: KEY_ID "domain/router"."""
        return cls(IdType.KEY_ID, name.encode() if isinstance(name, str) else name)

    @classmethod
    def fqdn(cls, name: str) -> Identification:
        return cls(IdType.FQDN, name.encode())

    def __str__(self) -> str:
        if self.type in (IdType.FQDN, IdType.RFC822_ADDR, IdType.KEY_ID):
            return self.data.decode("utf-8", "backslashreplace")
        return f"{self.type}:{self.data.hex()}"


P = TypeVar("P", bound="Payload")


class Payload:
    """Any payload of a message: a payload type and a body."""

    __slots__ = ()
    critical: ClassVar[bool] = False

    if TYPE_CHECKING:  # a class variable or a field, as the subclass needs

        @property
        def payload_type(self) -> int: ...

    def body(self) -> bytes:
        """The octets after the generic payload header."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RawPayload(Payload):
    """A payload whose body this package does not read (GSA, KD, CP, EAP, unknown ones)."""

    payload_type: int
    octets: bytes = field(repr=False)

    def body(self) -> bytes:
        return self.octets


@dataclass(frozen=True, slots=True)
class SaPayload(Payload):
    """Security Association: proposals. Also SAg of RFC 9838."""

    payload_type: ClassVar[int] = PayloadType.SA
    proposals: tuple[Proposal, ...]
    octets: bytes = field(default=b"", compare=False, repr=False)
    """The body that it was read from, if any."""

    def body(self) -> bytes:
        return encode_proposals(self.proposals)


@dataclass(frozen=True, slots=True)
class KePayload(Payload):
    """Key Exchange: method and public value."""

    payload_type: ClassVar[int] = PayloadType.KE
    method: int
    data: bytes

    def body(self) -> bytes:
        return struct.pack("!HH", self.method, 0) + self.data


@dataclass(frozen=True, slots=True)
class IdPayload(Payload):
    """IDi, IDr or IDg. `reserved` is kept as received, because AUTH covers it."""

    payload_type: int
    identification: Identification
    reserved: bytes = bytes(3)

    def body(self) -> bytes:
        return bytes((self.identification.type,)) + self.reserved + self.identification.data


@dataclass(frozen=True, slots=True)
class CertPayload(Payload):
    """A certificate or a raw public key (encoding 15: DER SubjectPublicKeyInfo)."""

    payload_type: ClassVar[int] = PayloadType.CERT
    encoding: int
    data: bytes

    def body(self) -> bytes:
        return bytes((self.encoding,)) + self.data


@dataclass(frozen=True, slots=True)
class CertRequestPayload(Payload):
    """A request for certificates: their encoding and authorities (SHA-1 of their keys)."""

    payload_type: ClassVar[int] = PayloadType.CERTREQ
    encoding: int
    authorities: bytes = b""

    def body(self) -> bytes:
        return bytes((self.encoding,)) + self.authorities


@dataclass(frozen=True, slots=True)
class AuthPayload(Payload):
    """The proof of identity: method and its data."""

    payload_type: ClassVar[int] = PayloadType.AUTH
    method: int
    data: bytes = field(repr=False)

    def body(self) -> bytes:
        return bytes((self.method, 0, 0, 0)) + self.data


@dataclass(frozen=True, slots=True)
class NoncePayload(Payload):
    """Ni or Nr, 16 to 256 octets."""

    payload_type: ClassVar[int] = PayloadType.NONCE
    nonce: bytes

    def body(self) -> bytes:
        return self.nonce


@dataclass(frozen=True, slots=True)
class NotifyPayload(Payload):
    """A notification: an error below 16384, else a status."""

    payload_type: ClassVar[int] = PayloadType.NOTIFY
    type: int
    data: bytes = b""
    protocol: int = 0
    spi: bytes = b""

    @property
    def is_error(self) -> bool:
        return self.type < 16384

    def body(self) -> bytes:
        return _NOTIFY.pack(self.protocol, len(self.spi), self.type) + self.spi + self.data


@dataclass(frozen=True, slots=True)
class DeletePayload(Payload):
    """SAs that the sender has deleted; no SPIs for the IKE SA itself."""

    payload_type: ClassVar[int] = PayloadType.DELETE
    protocol: int
    spis: tuple[bytes, ...] = ()

    def body(self) -> bytes:
        size = len(self.spis[0]) if self.spis else 0
        return _NOTIFY.pack(self.protocol, size, len(self.spis)) + b"".join(self.spis)


@dataclass(frozen=True, slots=True)
class VendorPayload(Payload):
    """A vendor ID."""

    payload_type: ClassVar[int] = PayloadType.VENDOR
    data: bytes

    def body(self) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """A range of addresses and ports of one IP protocol (0: any), RFC 7296 §3.13.1."""

    first: IPv4Address | IPv6Address
    last: IPv4Address | IPv6Address
    protocol: int = 0
    start_port: int = 0
    end_port: int = 65535

    def encode(self) -> bytes:
        kind, length = (TsType.IPV4_ADDR_RANGE, 16) if self.first.version == 4 else (TsType.IPV6_ADDR_RANGE, 40)
        head = _SELECTOR.pack(kind, self.protocol, length, self.start_port, self.end_port)
        return head + self.first.packed + self.last.packed

    @classmethod
    def parse(cls, data: bytes, offset: int = 0) -> tuple[TrafficSelector, int]:
        """One selector at `offset`, and the offset after it."""
        if len(data) - offset < 8:
            raise MalformedMessage("traffic selector is cut short")
        kind, protocol, length, start, stop = _SELECTOR.unpack_from(data, offset)
        wanted = {TsType.IPV4_ADDR_RANGE: 16, TsType.IPV6_ADDR_RANGE: 40}.get(kind)
        if wanted is None or length != wanted or length > len(data) - offset:
            raise MalformedMessage(f"traffic selector of type {kind} and length {length}")
        address, size = (IPv4Address, 4) if wanted == 16 else (IPv6Address, 16)
        first = address(data[offset + 8 : offset + 8 + size])
        last = address(data[offset + 8 + size : offset + length])
        return cls(first, last, protocol, start, stop), offset + length


@dataclass(frozen=True, slots=True)
class TsPayload(Payload):
    """TSi or TSr. Selectors of unknown types are left out, so the list may be empty."""

    payload_type: int
    selectors: tuple[TrafficSelector, ...]

    def body(self) -> bytes:
        return bytes((len(self.selectors), 0, 0, 0)) + b"".join(item.encode() for item in self.selectors)


def _parse_ke(body: bytes) -> Payload:
    if len(body) < 5:
        raise MalformedMessage("KE payload is cut short")
    return KePayload(int.from_bytes(body[:2], "big"), body[4:])


def _parse_id(kind: int) -> Callable[[bytes], Payload]:
    def parse(body: bytes) -> Payload:
        if len(body) < 4:
            raise MalformedMessage("ID payload is cut short")
        return IdPayload(kind, Identification(body[0], body[4:]), body[1:4])

    return parse


def _parse_cert(body: bytes) -> Payload:
    if len(body) < 2:
        raise MalformedMessage("CERT payload is cut short")
    return CertPayload(body[0], body[1:])


def _parse_certreq(body: bytes) -> Payload:
    if not body:
        raise MalformedMessage("CERTREQ payload is empty")
    return CertRequestPayload(body[0], body[1:])


def _parse_auth(body: bytes) -> Payload:
    if len(body) < 4:
        raise MalformedMessage("AUTH payload is cut short")
    return AuthPayload(body[0], body[4:])


def _parse_nonce(body: bytes) -> Payload:
    if not MIN_NONCE <= len(body) <= MAX_NONCE:
        raise MalformedMessage(f"nonce of {len(body)} octets")
    return NoncePayload(body)


def _parse_notify(body: bytes) -> Payload:
    if len(body) < 4 or len(body) < 4 + body[1]:
        raise MalformedMessage("Notify payload is cut short")
    end = 4 + body[1]
    return NotifyPayload(int.from_bytes(body[2:4], "big"), body[end:], body[0], body[4:end])


def _parse_delete(body: bytes) -> Payload:
    if len(body) < 4:
        raise MalformedMessage("Delete payload is cut short")
    protocol, size, count = _NOTIFY.unpack_from(body)
    if len(body) != 4 + size * count or (count and not size):
        raise MalformedMessage("Delete payload does not hold the SPIs it counts")
    return DeletePayload(protocol, tuple(body[4 + size * i : 4 + size * (i + 1)] for i in range(count)))


def _skip_selector(body: bytes, offset: int) -> int:
    """The offset after a selector of an unknown type: we cannot narrow to it, and ignore it (§3.13)."""
    length = int.from_bytes(body[offset + 2 : offset + 4], "big")
    if not 4 <= length <= len(body) - offset:
        raise MalformedMessage("traffic selector is cut short")
    return offset + length


def _parse_ts(kind: int) -> Callable[[bytes], Payload]:
    def parse(body: bytes) -> Payload:
        if len(body) < 4 or not body[0]:
            raise MalformedMessage("TS payload is cut short or empty")
        selectors, offset = [], 4
        for _ in range(body[0]):
            if body[offset : offset + 1] and body[offset] not in _TS_TYPES:
                offset = _skip_selector(body, offset)
                continue
            selector, offset = TrafficSelector.parse(body, offset)
            selectors.append(selector)
        if offset != len(body):
            raise MalformedMessage("octets behind the last traffic selector")
        return TsPayload(kind, tuple(selectors))

    return parse


_PARSERS: dict[int, Callable[[bytes], Payload]] = {
    PayloadType.SA: lambda body: SaPayload(parse_proposals(body), body),
    PayloadType.KE: _parse_ke,
    PayloadType.IDi: _parse_id(PayloadType.IDi),
    PayloadType.IDr: _parse_id(PayloadType.IDr),
    PayloadType.IDg: _parse_id(PayloadType.IDg),
    PayloadType.CERT: _parse_cert,
    PayloadType.CERTREQ: _parse_certreq,
    PayloadType.AUTH: _parse_auth,
    PayloadType.NONCE: _parse_nonce,
    PayloadType.NOTIFY: _parse_notify,
    PayloadType.DELETE: _parse_delete,
    PayloadType.VENDOR: VendorPayload,
    PayloadType.TSi: _parse_ts(PayloadType.TSi),
    PayloadType.TSr: _parse_ts(PayloadType.TSr),
}
_LISTED = frozenset(int(kind) for kind in PayloadType)


def parse_payload(payload_type: int, body: bytes) -> Payload:
    """The payload with this body; a RawPayload for types that are read elsewhere."""
    parser = _PARSERS.get(payload_type)
    return RawPayload(payload_type, body) if parser is None else parser(body)


def encode_payloads(payloads: Iterable[Payload]) -> tuple[int, bytes]:
    """The type of the first payload (0: none) and the octets of the whole chain."""
    items = list(payloads)
    out: list[bytes] = []
    following = 0
    for item in reversed(items):
        body = item.body()
        out += (body, encode_generic(following, len(body), item.critical))
        following = item.payload_type
    out.reverse()
    return int(following), b"".join(out)


def parse_payloads(first: int, data: bytes, offset: int = 0) -> list[Payload]:
    """The chain of payloads that fills `data` from `offset`, beginning with type `first`.

    Raises MalformedMessage; its subclass UnsupportedCriticalPayload for an unknown critical payload.
    """
    payloads: list[Payload] = []
    kind = first
    while kind:
        if len(payloads) >= MAX_PAYLOADS:
            raise MalformedMessage("too many payloads")
        following, critical, end = parse_generic(data, offset)
        if critical and kind not in _LISTED:
            raise UnsupportedCriticalPayload(kind)
        payloads.append(parse_payload(kind, data[offset + 4 : end]))
        kind, offset = following, end
    if offset != len(data):
        raise MalformedMessage("octets behind the last payload")
    return payloads


def notifies(payloads: Iterable[Payload], kind: int) -> list[NotifyPayload]:
    """All Notify payloads of one type."""
    return [item for item in payloads if isinstance(item, NotifyPayload) and item.type == kind]


def first_error(payloads: Iterable[Payload]) -> NotifyPayload | None:
    """The first Notify payload that is an error."""
    for item in payloads:
        if isinstance(item, NotifyPayload) and item.is_error:
            return item
    return None


def find(payloads: Iterable[Payload], kind: type[P], payload_type: int | None = None) -> P | None:
    """The first payload of a class (and of a type, if one class serves several)."""
    for item in payloads:
        if isinstance(item, kind) and (payload_type is None or item.payload_type == payload_type):
            return item
    return None
