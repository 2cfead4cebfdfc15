"""A conversation's datagrams, one after the other, as messages: decrypted where keys are known, reassembled from
fragments (RFC 7383), every payload described.

Accepts anything: a datagram that is not an IKE message is reported as such. Knows nothing of where datagrams come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from agents.decode.keyfile import KeyFile
from agents.decode.names import name
from agents.decode.payloads import Fields, Secrets, describe, payload_name
from agents.ikev2.codec.header import GENERIC_HEADER_LENGTH, HEADER_LENGTH, Header, parse_generic, parse_header
from agents.ikev2.codec.payloads import MAX_PAYLOADS
from agents.ikev2.errors import IkeError, IntegrityFailure, MalformedMessage
from agents.ikev2.fragments import Reassembler
from agents.ikev2.protect import Opened, find_encrypted, open_message
from agents.ikev2.registry import ExchangeType, PayloadType

MAX_FRAGMENTS = 1024


class Protection(Enum):
    """How a message was protected, and whether it could be opened."""

    CLEAR = "in clear"
    DECRYPTED = "decrypted"
    NO_KEYS = "no keys for this SA"
    WRONG_KEYS = "the keys for this SA do not open it"
    FRAGMENT = "a fragment of a message that is not whole yet"


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram. `problem`: why it is not an IKE message, or which part is malformed; the parts before it are still
    there."""

    header: Header | None
    octets: int
    protection: Protection = Protection.CLEAR
    payload_types: tuple[int, ...] = ()
    payloads: tuple[Fields, ...] = ()
    fragment: tuple[int, int] | None = None
    retransmitted: bool = False
    problem: str | None = None

    def as_json(self) -> Fields:
        """The whole message in JSON form."""
        fields: Fields = {"octets": self.octets}
        header = self.header
        if header is not None:
            fields |= {
                "spi_i": header.spi_i.hex(),
                "spi_r": header.spi_r.hex(),
                "exchange": name(ExchangeType, header.exchange),
                "exchange_type": header.exchange,
                "message_id": header.message_id,
                "flags": flags(header),
                "response": header.is_response,
                "protection": self.protection.name.lower(),
            }
        if self.fragment is not None:
            fields |= {"fragment": self.fragment[0], "fragments": self.fragment[1]}
        if self.retransmitted:
            fields["repeated"] = True
        fields["payloads"] = list(self.payloads)
        if self.problem is not None:
            fields["problem"] = self.problem
        return fields


def flags(header: Header) -> list[str]:
    """The set flags of a header by name; unknown bits as a number."""
    known = {0x08: "INITIATOR", 0x10: "VERSION", 0x20: "RESPONSE"}
    texts = [text for bit, text in known.items() if header.flags & bit]
    rest = header.flags & ~0x38
    return [*texts, f"{rest:#04x}"] if rest else texts


@dataclass(slots=True)
class SaReport:
    """Counts of the encrypted messages of one SA."""

    spi_i: bytes
    spi_r: bytes
    counts: Counter[Protection] = field(default_factory=Counter)

    def line(self) -> str:
        """In words."""
        opened = self.counts[Protection.DECRYPTED] + self.counts[Protection.FRAGMENT]
        parts = [f"{opened} decrypted"] if opened else []
        for kind in (Protection.NO_KEYS, Protection.WRONG_KEYS):
            if self.counts[kind]:
                parts.append(f"{self.counts[kind]} not: {kind.value}")
        return f"SA {self.spi_i.hex()} {self.spi_r.hex()}: {', '.join(parts)}"


class Decoder:
    """Call it with datagrams in the order of their capture."""

    def __init__(self, keys: KeyFile | None = None, *, show_keys: bool = False) -> None:
        """`show_keys`: wrapped keys as octets, and unwrapped where the key log has GSK_w."""
        self._keys = keys or KeyFile()
        self._show = show_keys
        self._fragments: dict[tuple[bytes, bool], Reassembler] = {}
        self._seen: set[bytes] = set()
        self._reports: dict[bytes, SaReport] = {}

    def reports(self) -> list[SaReport]:
        """One for each SA that sent something encrypted, in the order of their first."""
        return list(self._reports.values())

    def message(self, data: bytes) -> Message:
        """One UDP payload (without the non-ESP marker of port 4500)."""
        try:
            header = parse_header(data)
        except IkeError as error:
            return Message(None, len(data), problem=str(error))
        digest = sha256(data).digest()
        retransmitted = digest in self._seen
        self._seen.add(digest)
        try:
            return self._read(data, header, retransmitted)
        except IkeError as error:
            return Message(header, len(data), retransmitted=retransmitted, problem=str(error))

    def _read(self, data: bytes, header: Header, retransmitted: bool) -> Message:
        try:
            encrypted = find_encrypted(data, header)
        except MalformedMessage:
            encrypted = None  # the chain is broken somewhere: the payloads before are shown
        if encrypted is None:
            clear = _Chain(header.next_payload, data, HEADER_LENGTH, Secrets())
            return Message(header, len(data), Protection.CLEAR, *clear.decoded(), None, retransmitted, clear.problem)
        kind, _first, offset = encrypted
        spis = header.spi_i + header.spi_r
        protection, opened = self._open(data, header, spis)
        report = self._reports.setdefault(spis, SaReport(header.spi_i, header.spi_r))
        # The payloads before SK are in clear.
        before = _Chain(header.next_payload, data[:offset], HEADER_LENGTH, Secrets(), stop=(kind,))
        fragment = _fragment(data, offset) if kind == PayloadType.SKF else None
        whole = opened
        if opened is not None and opened.total:
            queue = self._fragments.setdefault((spis, header.from_initiator), Reassembler(MAX_FRAGMENTS))
            whole = queue.add(header.is_response, header.message_id, opened)
            protection = Protection.FRAGMENT if whole is None else Protection.DECRYPTED
        report.counts[protection] += 1
        types, payloads = before.decoded()
        if whole is None:
            fields = {"payload": payload_name(kind), "type": kind, "octets": len(data) - offset}
            return Message(
                header,
                len(data),
                protection,
                (*types, kind),
                (*payloads, fields),
                fragment,
                retransmitted,
                before.problem,
            )
        inner = _Chain(whole.first, whole.inner, 0, Secrets(self._show, self._keys.key_wrap_keys(spis)))
        more_types, more = inner.decoded()
        return Message(
            header, len(data), protection, (*types, kind, *more_types), (*payloads, *more), fragment, retransmitted,
            before.problem or inner.problem,
        )  # fmt: skip

    def _open(self, data: bytes, header: Header, spis: bytes) -> tuple[Protection, Opened | None]:
        tables = self._keys.tables(spis)
        for entry in tables:
            try:
                return Protection.DECRYPTED, open_message(data, header, entry.protection(header.from_initiator))
            except IntegrityFailure:
                continue
        return (Protection.WRONG_KEYS if tables else Protection.NO_KEYS), None


def _fragment(data: bytes, offset: int) -> tuple[int, int] | None:
    """Number and total of an SKF payload, which are in clear."""
    start = offset + GENERIC_HEADER_LENGTH
    if len(data) < start + 4:
        return None
    return int.from_bytes(data[start : start + 2], "big"), int.from_bytes(data[start + 2 : start + 4], "big")


class _Chain:
    """A chain of payloads, up to the first malformed one."""

    def __init__(self, first: int, data: bytes, offset: int, secrets: Secrets, stop: tuple[int, ...] = ()) -> None:
        self.problem: str | None = None
        self._types: list[int] = []
        self._payloads: list[Fields] = []
        try:
            for kind, critical, body in _walk(first, data, offset, stop):
                fields: Fields = {"payload": payload_name(kind), "type": kind}
                if critical:
                    fields["critical"] = True
                self._types.append(kind)
                self._payloads.append({**fields, **describe(kind, body, secrets)})
        except IkeError as error:
            self.problem = str(error)

    def decoded(self) -> tuple[tuple[int, ...], tuple[Fields, ...]]:
        return tuple(self._types), tuple(self._payloads)


def _walk(first: int, data: bytes, offset: int, stop: tuple[int, ...]) -> Iterator[tuple[int, bool, bytes]]:
    """Type, critical bit and body of each payload. MalformedMessage."""
    kind = first
    for _ in range(MAX_PAYLOADS):
        if kind == 0 or kind in stop:
            return
        following, critical, end = parse_generic(data, offset)
        yield kind, critical, data[offset + GENERIC_HEADER_LENGTH : end]
        kind, offset = following, end
    raise IkeError(f"more than {MAX_PAYLOADS} payloads")
