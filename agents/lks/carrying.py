"""The signed policy documents that a router carries for its neighbours, beside its own.

These are the documents of the routers that its own document names (`carries`), and of others that an administrator
handed to a router while the DKS was out of reach; they travel this way to the routers that they concern. A document
holds no secret: names, addresses, public keys and modes. A router verifies each before keeping it and before passing it
on, also when it comes from the disk; the receiver verifies it again. Knows nothing of how documents travel
(agents.gikev2.courier) or take effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agents.gikev2.notifies import Held, WantedDocument
from agents.lks.context import Context
from agents.policy import carriage, cbor
from agents.policy.document import MAX_CARRIES, PolicyDocument
from agents.policy.errors import PolicyError
from agents.policy.group import MOST_VERSIONS_AHEAD
from agents.runtime.effects import Persist
from agents.runtime.pace import TokenBucket
from agents.runtime.storage import CorruptRecord, seal, unseal_any

CARRIED = "carried"
_STEM, _FORMAT = "router-keys/lks-carried", 1
_KIND = f"{_STEM}/{_FORMAT}"
MOST_HANDED = 64
"""The most documents of other routers that were handed over; beyond it the newest are kept."""
MOST_KEPT = MAX_CARRIES + MOST_HANDED
MOST_OCTETS = MOST_KEPT * (carriage.MAX_CARRIED + 64)
"""The format of the record."""
GIVEN_IN_A_SECOND, GIVEN_AT_ONCE = 8.0, 64
"""The most documents for one peer."""


class CarryingSide(Protocol):
    """The router's part in the handling of documents."""

    @property
    def policy_wanted(self) -> int:
        """True if a document of our own with at least this version would take effect."""

    def verified(self, signed: bytes, router: str | None, minimum_version: int) -> PolicyDocument:
        """The document, if its router may act on it. PolicyError."""

    def take_document(self, signed: bytes, now: float) -> None:
        """Act on our own newer document."""

    def carried(self, routers: Sequence[str], now: float) -> None:
        """These documents are new here: announce them to the neighbours."""

    def documents_missed(self, now: float) -> None:
        """A neighbour announced a newer document of our own and did not give it."""


@dataclass(frozen=True, slots=True)
class _Kept:
    signed: bytes
    version: int
    handed: bool


class Carrying:
    """One router's documents. `own`: its own signed document; `record`: the record of others' on the disk."""

    def __init__(self, record: bytes | None, own: bytes, context: Context, side: CarryingSide) -> None:
        self._context, self._side, self._own = context, side, own
        self._record = record
        self._loaded: dict[str, _Kept] | None = None
        self._dirty = False
        self._paces: dict[str, TokenBucket] = {}
        self.asked_for: set[str] = set()

    # -- what is kept ----------------------------------------------------------------------------------

    @property
    def _kept(self) -> dict[str, _Kept]:
        """Verified when first asked for: at a boot, keys come first."""
        if self._loaded is None:
            self._loaded = {}
            whole = True
            for signed, handed in self._read():
                try:
                    document = self._verified(signed)
                except PolicyError as error:
                    self._context.event("error", what="documents", detail=f"on the disk: {error}")
                    whole = False
                    continue
                if self._has_place(Held(document.router, document.version, handed)):
                    self._put(document, signed, handed)
            self._dirty = not whole
        return self._loaded

    def _read(self) -> Iterator[tuple[bytes, bool]]:
        """The documents in the record; none when it is damaged, since neighbours have the same ones."""
        record, self._record = self._record, None
        if record is None:
            return
        try:
            value = cbor.decode(unseal_any(_STEM, _FORMAT, record)[1], most_octets=MOST_OCTETS)
            if not isinstance(value, list) or len(value) > MOST_KEPT:
                raise PolicyError("it has another form")
            for entry in value:
                if not isinstance(entry, list) or [type(each) for each in entry] != [bytes, bool]:
                    raise PolicyError("it has another form")
                yield carriage.unpacked(entry[0]), entry[1]
        except (CorruptRecord, PolicyError) as error:
            self._context.event("error", what="documents", detail=f"on the disk: {error}")

    def _verified(self, signed: bytes) -> PolicyDocument:
        document = self._side.verified(signed, None, 0)
        self.check_ahead(document)
        return document

    def check_ahead(self, document: PolicyDocument) -> None:
        """PolicyError for a version that cannot have been reached yet."""
        if document.version > self._context.document.version + MOST_VERSIONS_AHEAD:
            raise PolicyError(f"version {document.version} of {document.router} is too far ahead")

    def _put(self, document: PolicyDocument, signed: bytes, handed: bool) -> None:
        kept = self._kept
        kept[document.router] = _Kept(signed, document.version, handed)
        over = self._handed()
        if len(over) > MOST_HANDED:
            self._release(over[0][1])
        self._dirty = True

    def _handed(self) -> list[tuple[int, str]]:
        """The documents that take a place of MOST_HANDED, in the order in which they are dropped: the same at every
        router."""
        return sorted((each.version, router) for router, each in self._kept.items() if each.handed)

    def _release(self, router: str) -> None:
        kept = self._kept[router]
        if router in self._context.document.carried:
            self._kept[router] = replace(kept, handed=False)
        else:
            del self._kept[router]

    def _has_place(self, entry: Held) -> bool:
        if entry.router in self._context.document.carried:
            return True
        if not entry.handed:
            return False
        handed = self._handed()
        if len(handed) < MOST_HANDED or any(router == entry.router for _version, router in handed):
            return True
        return (entry.version, entry.router) > handed[0]

    def adopted(self, own: bytes, now: float) -> None:
        """This document of our own is in force now; it may name other documents to carry."""
        self._own = own
        carried = self._context.document.carried
        for router in [each for each, kept in self._kept.items() if not kept.handed and each not in carried]:
            del self._kept[router]
            self._dirty = True
        self._side.carried([self._context.document.router], now)

    def look_again(self) -> None:
        """A revocation list has arrived: drop the documents that it makes invalid."""
        for router, each in list(self._kept.items()):
            try:
                self._verified(each.signed)
            except PolicyError as error:
                del self._kept[router]
                self._dirty = True
                self._context.event("error", what="documents", router=router, detail=str(error))

    def status(self) -> dict[str, int]:
        """The version of each router's document that is kept."""
        return {router: each.version for router, each in sorted(self._kept.items())}

    def keep(self) -> None:
        """Write changes to the disk. Only what we can give others depends on it."""
        if self._dirty:
            self._dirty = False
            entries = [[carriage.packed(each.signed), each.handed] for each in self._kept.values()]
            self._context.effects.append(Persist(CARRIED, seal(_KIND, cbor.encode(entries)), binding=False))

    def hand(self, document: PolicyDocument, signed: bytes, now: float) -> bool:
        """An administrator hands us a document of another router, which was verified. False when a newer one is
        here."""
        if self.version(document.router) > document.version:
            return False
        self._take(document, signed, True, "administrator", now)
        return True

    def _take(self, document: PolicyDocument, signed: bytes, handed: bool, source: str, now: float) -> None:
        self._put(document, signed, handed)
        self._context.event("carried", router=document.router, version=document.version, origin=source, handed=handed)
        self._side.carried([document.router], now)

    # -- for the courier (DocumentHolder) --------------------------------------------------------------

    def held(self, peer: str) -> Sequence[Held]:
        """As DocumentHolder.held."""
        document = self._context.document
        others = [Held(router, each.version, each.handed) for router, each in self._kept.items()]
        return [Held(document.router, document.version), *others]

    def version(self, router: str) -> int:
        """As DocumentHolder.version."""
        if router == self._context.document.router:
            return self._side.policy_wanted - 1
        kept = self._kept.get(router)
        return 0 if kept is None else kept.version

    def wants(self, entry: Held) -> bool:
        """As DocumentHolder.wants."""
        if entry.version <= self.version(entry.router):
            return False
        return entry.router == self._context.document.router or self._has_place(entry)

    def held_by_peer(self, entry: Held, now: float) -> None:
        """As DocumentHolder.held_by_peer: a document that we carry was handed over elsewhere, and propagates through
        us."""
        kept = self._kept.get(entry.router)
        if kept is None or kept.handed or not entry.handed or kept.version != entry.version:
            return
        if len(self._handed()) < MOST_HANDED:
            self._kept[entry.router] = replace(kept, handed=True)
            self._dirty = True
            self._side.carried([entry.router], now)

    def given(self, wanted: WantedDocument, peer: str, now: float) -> bytes | int | None:
        """As DocumentHolder.given."""
        document = self._context.document
        own = wanted.router == document.router
        version = document.version if own else self.version(wanted.router)
        if version <= wanted.above:
            return None
        pace = self._paces.setdefault(peer, TokenBucket(GIVEN_IN_A_SECOND, GIVEN_AT_ONCE))
        if not pace.take(now):
            return max(1, math.ceil(pace.next_s(now)))
        return self._own if own else self._kept[wanted.router].signed

    def offer(self, signed: bytes, asked: Held, source: str, now: float) -> None:
        """As DocumentHolder.offer."""
        router = asked.router
        if router == self._context.document.router:
            self._side.take_document(signed, now)
            return
        try:
            document = self._verified(signed)
            if document.router != router:
                raise PolicyError(f"the document is of {document.router}, but that of {router} was requested")
        except PolicyError as error:
            self.doubt(source, str(error))
            return
        if self.wants(Held(router, document.version, asked.handed)):
            self._take(document, signed, asked.handed, source, now)

    def missed(self, asked: Held, source: str, now: float) -> None:
        """As DocumentHolder.missed."""
        if asked.router == self._context.document.router:
            self._side.documents_missed(now)

    def doubt(self, source: str, what: str) -> None:
        """As DocumentHolder.doubt."""
        self._context.event("error", what="documents", peer=source, detail=what)
