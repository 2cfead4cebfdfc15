"""Deliberate defects of the agents, each one function replaced: the adversary and its invariants find them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pytest import MonkeyPatch

from agents.dks.store import GenerationLedger
from agents.ipsec.protection import Mode
from agents.lks import core as lks_core
from agents.lks import speaker as lks_speaker
from agents.lks.context import Context
from agents.lks.core import LksCore
from agents.lks.generations import Hearing
from agents.lks.link import Link
from agents.lks.retained import Retained
from agents.policy.group import SignedState
from agents.runtime.effects import Event, Kernel, KeyLines, Persist, Send

Mutation = Callable[[MonkeyPatch], None]
MUTATIONS: dict[str, Mutation] = {}


def mutation(name: str) -> Callable[[Mutation], Mutation]:
    def keep(apply: Mutation) -> Mutation:
        MUTATIONS[name] = apply
        return apply

    return keep


def replaced(name: str, owner: Any, attribute: str, by: Any) -> None:
    MUTATIONS[name] = lambda patch: patch.setattr(owner, attribute, by)


def _unreserved(self: Context, in_use: Sequence[int] = (), above: int = 0) -> int:
    self._generation += 2
    return self._generation - 1


def _persist_last(self: LksCore) -> list[Any]:
    if self._context.kernel_dirty and self._started:
        self._context.kernel_dirty = False
        self._kernel()
    effects, self._context.effects[:] = list(self._context.effects), []
    return [each for kind in (Kernel, Send, Event, KeyLines, Persist) for each in effects if isinstance(each, kind)]


def _nothing(*_args: Any, **_named: Any) -> None:
    return None


def _forget_floor(self: Retained, taken: SignedState) -> None:
    """Not kept."""


def _acts_on_any(self: Retained, version: int, signer: bytes = b"") -> None:
    self._versions[""] = version
    self._write()


def _any_list(self: Retained, version: int) -> None:
    self._revocation = version
    self._write()


def _unsealed(_stem: str, newest: int, record: bytes) -> tuple[int, bytes]:
    return newest, record[4 + 32 :] if len(record) > 36 else b""


def _no_expiry(self: Hearing, keys: Any, now: float) -> None:
    self.current, self.expires_at = keys, None


def _follow_for_ever(self: Hearing, keys: Any, now: float) -> None:
    if self.current is not None and self.current.generation != keys.generation:
        self.expires_at = None
        self._retire(math.inf)
    self._set(keys, now)


_protected = lks_core.protected


replaced("mark not reserved", Context, "next_generation", _unreserved)
replaced("the DKS's generation not reserved", Context, "given_generation", _nothing)
replaced("disk after kernel", LksCore, "take", _persist_last)
replaced("floor not kept", Retained, "took", _forget_floor)
replaced("older document accepted", Retained, "acts_on", _acts_on_any)
replaced("received keys never expire", Hearing, "_set", _no_expiry)
replaced("old generations are accepted for ever", Hearing, "follow", _follow_for_ever)
replaced("removed neighbours are kept", Link, "adopt", lambda self, policy, now: True)
replaced("document not kept", Retained, "document", lambda self, signed, version, signer: self.acts_on(version, signer))
replaced("list not kept", Retained, "revocation", lambda self, signed, version: self.acts_on_revocation(version))
replaced("neighbours do not show a router its own state", Retained, "signed_state", lambda self, group: None)
replaced("no rekey at the end of a lifetime", lks_speaker, "REKEY_FRACTION", 1e6)
replaced("a reported generation not stored", GenerationLedger, "all_reported", lambda *_args: [])


@mutation("every boot counts generations from 1")
def _from_one(patch: MonkeyPatch) -> None:
    genuine = Retained.__init__

    def begin(self: Retained, *args: Any, **named: Any) -> None:
        genuine(self, *args, **named)
        self.generation_floor = self._reserved = 0

    patch.setattr(Retained, "__init__", begin)


@mutation("every interface open")
def _open(patch: MonkeyPatch) -> None:
    from dataclasses import replace

    modes = [mode for mode in Mode if mode is not Mode.REQUIRED]
    patch.setattr(lks_core, "protected", lambda each: (replace(p, mode=modes[0]) for p in _protected(each)))


@mutation("keys of the previous life used again")
def _derived(patch: MonkeyPatch) -> None:
    import hashlib

    genuine = Context.__init__

    def begin(self: Context, *args: Any, **named: Any) -> None:
        genuine(self, *args, **named)
        count = [0]

        def known(octets: int) -> bytes:
            count[0] += 1
            return hashlib.shake_128(f"{self.document.router} {count[0]}".encode()).digest(octets)

        self.random = known

    patch.setattr(Context, "__init__", begin)
