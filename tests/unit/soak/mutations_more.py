"""More deliberate defects: of what is signed, of what lists do, of numbers and of the DKS. As `mutations`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from pytest import MonkeyPatch

from agents.dks import groups as dks_groups
from agents.dks.store import GenerationLedger
from agents.gikev2.courier import Courier
from agents.gikev2.notifies import Held
from agents.gikev2.revocation_exchange import Spread
from agents.ipsec import plan
from agents.ipsec.model import UNLIMITED, Lifetime
from agents.lks import listener as lks_listener
from agents.lks import retained as lks_retained
from agents.lks.carrying import Carrying
from agents.lks.central import CentralGroups
from agents.lks.context import Context
from agents.lks.core import LksCore
from agents.lks.dks_link import DksLink
from agents.lks.generations import Sending
from agents.lks.retained import Retained
from agents.policy import cose, document, revocation
from agents.policy.names import GroupId
from agents.policy.revocation import RevocationList, Revocations, _Held, verify_list
from tests.unit.soak.mutations import _acts_on_any, _any_list, _nothing, _unsealed, mutation, replaced

_UNSIGNED = SimpleNamespace(
    sign=cose.sign, verifier=cose.verifier, verify=lambda _label, data, _key: cose.unverified_payload(data)
)


def _sends_no_documents(self: Courier, name: str, request: Any, now: float) -> bool:
    return False


def _any_version(self: Carrying, shown: Held) -> bool:
    return shown.router in self._context.document.carried and shown.version != self.version(shown.router)


def _unverified(self: Carrying, signed: bytes) -> document.PolicyDocument:
    _delegation, own = document.split(signed)
    return document.decode_document(cose.unverified_payload(own))


def _without_parity(self: Context, in_use: Iterable[int] = (), above: int = 0) -> int:
    self._generation = max(self._generation, above) + 1
    self.retained.reserve(self._generation, self.document.generation_block)
    return self._generation


def _mark_too_low(self: Retained, generation: int, block: int) -> None:
    if generation > self._reserved + 1:
        self._reserved = generation + block - 1
        self._write()


def _unwritten(
    self: GenerationLedger, group: GroupId, version: int, *, key: bytes = b"", ahead: int = 0, **_others: Any
) -> int:
    generation = self.last(group, key)[1] + 1 + ahead
    return generation + generation % 2


replaced("mark one too low", Retained, "reserve", _mark_too_low)
replaced("the DKS's generation not stored", GenerationLedger, "next", _unwritten)
replaced("checksum not verified", lks_retained, "unseal_any", _unsealed)
replaced("signature of a document not verified", document, "cose", _UNSIGNED)
replaced("signature of a list not verified", revocation, "cose", _UNSIGNED)
replaced("revocation list ignored", Revocations, "without_revoked", lambda self, document: document)
replaced("replay floor not sent", Sending, "floors", lambda self, keys, sequence: keys)
replaced("wait hint ignored", DksLink, "put_off", lambda self, group, payloads, now: False)
replaced("a neighbour may send any group", lks_listener, "check_speaker", _nothing)
replaced("a central speaker sends after the key's lifetime", CentralGroups, "_end", lambda self, group: math.inf)
replaced("the DKS gives keys to any router", dks_groups.Groups, "_may", lambda self, speaker, group, router: True)
replaced("the kernel ends no key by itself", plan, "lifetime", lambda until, now: UNLIMITED)
replaced("the kernel ends a key before its time", plan, "lifetime", lambda until, now: Lifetime(hard_add_s=5))
replaced("each change restarts a key's lifetime", plan, "lifetime", lambda until, now: Lifetime(hard_add_s=86400))
replaced("nothing guards the device", plan, "_guards", lambda interfaces: ())


replaced("documents not shown to neighbours", Courier, "_send", _sends_no_documents)
replaced("a carried document not verified", Carrying, "_verified", _unverified)
replaced("an older document carried", Carrying, "wants", _any_version)


@mutation("list not passed on")
def _not_spread(patch: MonkeyPatch) -> None:
    def answer(self: Spread, payloads: Any, peer: str, now: float) -> Any:
        self.heard(payloads, peer, now)
        return self.hello()

    patch.setattr(Spread, "push", _nothing)
    patch.setattr(Spread, "answer", answer)


@mutation("older list accepted")
def _older_list(patch: MonkeyPatch) -> None:
    def take(self: Revocations, signed: bytes) -> RevocationList | None:
        if self._held is not None and signed == self._held.signed:
            return None
        found = verify_list(signed, self._root, domain=self._domain)
        keys = frozenset(each.key for each in found.routers)
        self._held = _Held(signed, found, keys, frozenset(each.key for each in found.administrators))
        return found

    patch.setattr(Revocations, "take", take)
    patch.setattr(Retained, "acts_on_revocation", _any_list)


@mutation("older document accepted from the DKS")
def _older_document(patch: MonkeyPatch) -> None:
    def take_document(self: LksCore, signed: bytes, now: float) -> None:
        here = self._context.document
        fresh = document.verify_document(signed, self._policy_server_key, domain=here.domain, router=here.router)
        if fresh.version != here.version:
            self._pending = (fresh, signed)

    patch.setattr(LksCore, "take_document", take_document)
    patch.setattr(Retained, "acts_on", _acts_on_any)


@mutation("routers do not show the DKS earlier generations")
def _nothing_shown(patch: MonkeyPatch) -> None:
    """And the DKS begins where its ledger ends: to begin at a place of its own is enough by itself."""
    patch.setattr(dks_groups, "PLACES", 1)
    patch.setattr(Context, "mark", _nothing)
    patch.setattr(CentralGroups, "held", _nothing)
    patch.setattr(Retained, "signed_state", _nothing)


@mutation("parity of generations dropped")
def _parity_dropped(patch: MonkeyPatch) -> None:
    """And nobody shows the DKS what there was, nor does it begin at a place of its own: either is enough by itself."""
    _nothing_shown(patch)
    patch.setattr(Context, "next_generation", _without_parity)
