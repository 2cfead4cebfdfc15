"""The counterexamples of the model of shortened lists, played on the code by machine: a Policy Server's store removes a
router and later leaves its entry out, and another router takes documents and lists in the order of Spin's run.

Lists have room for some ten entries here, so that the removal of as many other routers makes an entry leave.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from agents.policy import edit, revocation, store
from agents.policy.compile import compile_documents
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.errors import PolicyError
from agents.policy.keys import spki
from agents.policy.revocation import Revocations, Revoked, RevokedRouter, shortened, verify_list
from agents.policy.store import PolicyStore
from models.spin import verifier
from models.table import WITHOUT, Expected
from testbed.simulation.network import Network
from testbed.simulation.parties import POLICY_SERVER, key

DAY_S = 86_400
LIFE = 2
"""Days that a document is valid, as in the model."""
OTHERS = 24
"""Routers that are there to be removed."""
_STEP = re.compile(r"^\s*STEP ([a-z]+)(?:_(\d))?$", re.MULTILINE)
BROKEN = [each for each in WITHOUT if each.model == "lists"]
OWN, REMOVED = "a", "b"


class Play:
    """One run on the code."""

    def __init__(self, folder: Path, room: Callable[[int], None]) -> None:
        self._room = room
        room(1024)
        domain = Network({"a--b": (OWN, REMOVED)}).domain
        domain = domain.model_copy(update={"settings": domain.settings.model_copy(update={"validity_s": LIFE * DAY_S})})
        for number in range(OTHERS):
            domain = edit.add_router(domain, f"other{number}", spki(key(f"other {number}")), approved=True)
        self._store = PolicyStore.create(folder / "store", domain, POLICY_SERVER)
        self._day, self._gone = 1, 0
        self._commit()
        self._remove_others(1)
        self.lists = {1: self._newest()}
        """The model's lists by number."""
        self.refused = 0
        """How often the Policy Server did not do what the run has it do."""
        self._held, self._heard = Revocations(domain.name, self._store.public_key), False
        self._document = self._newest_document()
        self._held.take(self.lists[1])

    @property
    def _at(self) -> int:
        return self._day * DAY_S

    def _commit(self) -> None:
        self._store.commit("admin", "the run goes on", self._at)

    def _newest(self) -> bytes:
        signed = self._store.revocation()
        assert signed is not None
        return signed

    def _newest_document(self) -> PolicyDocument:
        return verify_document(self._store.documents()[OWN], self._store.public_key, domain="example")

    def _remove_others(self, count: int) -> None:
        draft = self._store.draft()
        for number in range(self._gone, self._gone + count):
            draft = edit.remove_router(draft, f"other{number}")
        self._store.edit(draft)
        self._commit()
        self._gone += count

    def step(self, what: str, number: str) -> None:
        match what:
            case "tick":
                self._day += 1
            case "remove":
                self._store.edit(edit.remove_router(self._store.draft(), REMOVED))
                self._commit()
                self.lists[2] = self._newest()
            case "shorten" | "more":
                self._later(3 if what == "shorten" else 4)
            case "document":
                self._document = self._newest_document()
            case "list":
                with contextlib.suppress(KeyError):  # of a list that was refused
                    self._take(int(number))
            case _:
                raise ValueError(f"the run does {what}, which nobody here can play")
        assert not (self._heard and self._accepts()), f"{what} {number}: the removed router is accepted again"

    def _later(self, number: int) -> None:
        """Removals until the entry of the model's router has left; for the list after that, one more, for which there
        is room."""
        self._room(1024 if number == 3 else 4096)
        try:
            self._remove_others(1)
            while number == 3 and self._names_it():
                self._remove_others(1)
        except PolicyError:  # they do not fit, and documents that name the oldest are valid yet
            self.refused += 1
            return
        self.lists[number] = self._newest()

    def _names_it(self) -> bool:
        newest = verify_list(self._newest(), self._store.public_key, domain="example")
        return REMOVED in {each.name for each in newest.routers}

    def _take(self, number: int) -> None:
        self._held.take(self.lists[number])
        self._heard = self._heard or number > 1

    def _accepts(self) -> bool:
        document = self._held.without_revoked(self._document)
        return any(each.neighbors for each in document.interfaces)

    def end(self) -> None:
        """In contact again, the router is not left alone."""
        self._document = self._newest_document()
        self._held.take(self._newest())
        assert not self._held.outdated(self._document)
        assert not self._accepts()


def played(expected: Expected, folder: Path, room: Callable[[int], None]) -> Play:
    verdict = verifier(expected.model, expected.switches).check(expected.claim, trace=True)
    assert not verdict.holds
    steps = _STEP.findall(verdict.trace)
    assert ("remove", "") in steps
    play = Play(folder, room)
    for each in steps:
        play.step(*each)
    play.end()
    return play


@pytest.fixture(name="room")
def octets_of_a_list(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda octets: monkeypatch.setattr(revocation, "MAX_OCTETS", octets)


@pytest.mark.parametrize("expected", BROKEN, ids=str)
def test_what_breaks_the_model_of_lists_does_the_code_no_harm(
    expected: Expected, tmp_path: Path, room: Callable[[int], None]
) -> None:
    play = played(expected, tmp_path, room)
    assert bool(play.refused) == (expected.switches == ("NO_WAIT",)), "an entry waits for the documents that name it"


def _at_once(
    routers: Iterable[RevokedRouter], administrators: Iterable[Revoked], now_s: int
) -> tuple[tuple[RevokedRouter, ...], int]:
    """`shortened` that waits for no document."""
    kept, before = shortened(routers, administrators, 1 << 40)
    return kept, min(before, now_s)


def _of_no_memory(self: PolicyStore, *words: Any) -> Any:
    last = _last_list(self, *words)
    return None if last is None else last.model_copy(update={"expired_before": 0})


def _never_anew(domain: Any, version: int, at: int, before: Any) -> dict[str, PolicyDocument]:
    """`compile_documents` that signs nothing anew whose content is the same."""
    dates = {"version": 0, "issued_at": 0, "expires_at": 0}
    made = compile_documents(domain, version, at, before)
    for name, each in made.items():
        known = _documents.get(name)
        if known is not None and known.model_copy(update=dates) == each.model_copy(update=dates):
            made[name] = known
    _documents.update(made)
    return made


_last_list, _take, _documents = PolicyStore._last_list, Revocations.take, dict[str, PolicyDocument]()


def _any_list(self: Revocations, signed: bytes) -> Any:
    self._held = None
    return _take(self, signed)


WITHOUT_IT: dict[str, tuple[Any, str, Any]] = {
    "NO_EXPIRED": (Revocations, "outdated", lambda _self, _document: False),
    "NO_WAIT": (store, "shortened", _at_once),
    "NO_KEEP": (PolicyStore, "_last_list", _of_no_memory),
    "NO_MONOTONE": (Revocations, "take", _any_list),
    "NO_RESIGN": (store, "compile_documents", _never_anew),
}
"""By defence of the model, what of the code is otherwise without it."""


@pytest.mark.parametrize("expected", BROKEN, ids=lambda each: each.switches[0])
def test_a_code_without_the_defence_comes_to_the_harm_that_the_model_tells_of(
    monkeypatch: pytest.MonkeyPatch, expected: Expected, tmp_path: Path, room: Callable[[int], None]
) -> None:
    _documents.clear()
    monkeypatch.setattr(*WITHOUT_IT[expected.switches[0]])
    with pytest.raises(AssertionError):
        played(expected, tmp_path, room)
