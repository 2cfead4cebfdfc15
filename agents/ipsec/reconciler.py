"""Brings the kernel from its present to the wanted content, in an order that never sends in clear.

Each `apply` reads the kernel, so the next one repairs a crash between any two messages. It remembers which SAs it has
installed: an SA that has disappeared has lost its counters, and a (key, sequence number) pair must not occur twice. It
changes only objects with its marks, the request id of SAs and the priorities of policies, and another owner's policy
only if a wanted one has the same selector and direction. `plan` decides about the wanted content.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from agents.ipsec.model import (
    Action,
    Algorithm,
    Direction,
    Guard,
    IpsecProtocol,
    Mark,
    Policy,
    SaDirection,
    SecurityAssociation,
    Selector,
    Wanted,
)
from agents.ipsec.plan import OWN_PRIORITIES, OWN_REQIDS
from agents.ipsec.port import Change, ChangeKind, SasLost
from agents.ipsec.protection import IPAddress
from agents.ipsec.xfrm import Request, Xfrm, XfrmError

_T = TypeVar("_T", Policy, SecurityAssociation)
_Policies = dict[tuple[Selector, Direction, Mark | None, int | None], Policy]
_Associations = dict[tuple[IPAddress, int, IpsecProtocol], SecurityAssociation]
_Identity = tuple[IPAddress, int, IpsecProtocol]
_Keys = tuple[Algorithm | None, ...]
_RACES = frozenset({errno.EEXIST, errno.ESRCH, errno.ENOENT})
_ATTEMPTS = 4
TOLERANCE_S = 2
"""An SA whose end differs by no more is left alone: both sides round to seconds."""
MOST_COUNTED = 4096
"""The most removed SAs whose counters are remembered, in case they come back."""


class GuardPort(Protocol):
    """The port that drops cleartext at the device: `agents.ipsec.guard.NftGuard` is the real one."""

    def apply(self, guards: tuple[Guard, ...]) -> bool:
        """Put exactly these guards in force; True when something had to change."""


class Reconciler:
    """Makes one network namespace hold the wanted content. Not for use by two threads at once."""

    def __init__(self, xfrm: Xfrm, guard: GuardPort | None = None, wall: Callable[[], float] = time.time) -> None:
        """`wall`: Unix seconds of the clock by which the kernel counts lifetimes."""
        self._xfrm = xfrm
        self._guard = guard
        self._wall = wall
        self._memory = _Memory()

    def apply(self, wanted: Wanted) -> list[Change]:
        """Make the kernel hold exactly `wanted` of our objects; empty when it already did.

        When another program changes the same objects meanwhile, it looks again. XfrmError when something could not be
        done (a missing interface, an SPI that another program holds), SasLost when installed SAs are gone; everything
        else is done even then.
        """
        changes: list[Change] = []
        if self._guard is not None and self._guard.apply(wanted.guards):
            changes.append(Change(ChangeKind.REPLACED, "guard", f"{len(wanted.guards)} devices"))
        for attempt in range(1, _ATTEMPTS + 1):
            with self._xfrm.one_look():
                steps = _Steps(self._xfrm, wanted, self._memory, self._wall())
            self._memory.remove(steps.removed)
            try:
                self._xfrm.submit(steps.requests)
            except XfrmError as error:
                if error.errno not in _RACES or attempt == _ATTEMPTS:
                    raise
                changes += steps.changes
                continue
            changes += steps.changes
            self._memory.placed = steps.placed
            if steps.lost:
                raise SasLost(steps.lost)
            if steps.failure is not None:
                raise steps.failure
            break
        return changes

    def sequence(self, spi: int, destination: IPAddress) -> int:
        """See `Xfrm.sequence`."""
        return self._xfrm.sequence(spi, destination)


class _Memory:
    """The SAs that were installed and must exist, and the counters of removed ones."""

    def __init__(self) -> None:
        self.placed: dict[_Identity, _Keys] = {}
        self._counted: dict[tuple[_Identity, _Keys], int] = {}

    def remove(self, removed: Iterable[SecurityAssociation]) -> None:
        """These are removed, and may come back."""
        for association in removed:
            key = (association.identity, _keys(association))
            self._counted.pop(key, None)
            self._counted[key] = association.sequence
        while len(self._counted) > MOST_COUNTED:
            del self._counted[next(iter(self._counted))]

    def counted(self, association: SecurityAssociation) -> int:
        """The last sequence number of this SA when it was in the kernel before; else its initial one."""
        key = (association.identity, _keys(association))
        return max(association.sequence, self._counted.get(key, 0))


class _Steps:
    """The difference between the present and the wanted content, as requests in a safe order.

    1. Missing policies, and open ones that must close: fail closed first. The specific before the
       general, so that a `clear` neighbour is accepted before the rest is dropped.
    2. Missing SAs: inbound, then outbound.
    3. Policies that change from a closed form: a new SPI is named when its SA exists.
    4. Unwanted policies: the general before the specific.
    5. Unwanted SAs, which no policy names by now.
    """

    def __init__(self, xfrm: Xfrm, wanted: Wanted, memory: _Memory, wall_s: float) -> None:
        self._xfrm, self._memory, self._wall_s = xfrm, memory, wall_s
        self.placed: dict[_Identity, _Keys] = {}
        self.removed: list[SecurityAssociation] = []
        self.lost = 0
        self.requests: list[Request] = []
        self.changes: list[Change] = []
        self.failure: XfrmError | None = None
        policies = {policy.identity: policy for policy in xfrm.dump_policies()}
        present = {sa.identity: sa for sa in xfrm.dump_sas()}
        self._policies_first_and_later(wanted, policies)
        self._policies(self._first)
        self._add_associations(wanted, present)
        self._policies(self._later)
        self._remove_policies(wanted, policies)
        self._remove_associations(wanted, present)

    def _ask(self, make: Callable[[_T], Request], what: _T, kind: ChangeKind) -> None:
        try:
            self.requests.append(make(what))
        except XfrmError as error:  # an interface that does not exist
            self.failure = self.failure or error
            return
        if isinstance(what, Policy):
            self.changes.append(Change(kind, "policy", str(what)))
        else:
            self.changes.append(Change(kind, "sa", str(what), what.spi, what.destination))

    def _policies_first_and_later(self, wanted: Wanted, present: _Policies) -> None:
        self._first: list[tuple[Policy, ChangeKind]] = []
        self._later: list[tuple[Policy, ChangeKind]] = []
        for policy in sorted(wanted.policies, key=lambda p: p.priority):
            existing = present.get(policy.identity)
            if existing is None:
                self._first.append((policy, ChangeKind.ADDED))
            elif existing != policy:
                closing = _open(existing) and not _open(policy)
                step = self._first if closing else self._later
                step.append((policy, ChangeKind.REPLACED))

    def _policies(self, chosen: Iterable[tuple[Policy, ChangeKind]]) -> None:
        for policy, kind in chosen:
            self._ask(self._xfrm.update_policy_request, policy, kind)

    def _add_associations(self, wanted: Wanted, present: _Associations) -> None:
        outbound_last = sorted(wanted.associations, key=lambda sa: sa.direction is SaDirection.OUT)
        for association in outbound_last:
            existing = present.get(association.identity)
            placed = self._memory.placed.get(association.identity) == _keys(association)
            if placed and (existing is None or _keys(existing) != _keys(association)):
                self.lost += 1
                self.placed[association.identity] = _keys(association)  # lost for as long as it is wanted
                if existing is not None and _is_own(existing):
                    self._ask(self._xfrm.delete_sa_request, existing, ChangeKind.REMOVED)
                continue
            if existing is None or _is_own(existing):
                self.placed[association.identity] = _keys(association)
            if existing is None:
                association = replace(association, sequence=self._memory.counted(association))
                self._ask(self._xfrm.add_sa_request, association, ChangeKind.ADDED)
            elif _but_for_its_end(existing) == _but_for_its_end(association):
                self._end(association, existing)
            elif _is_own(existing):
                # The kernel changes no selector or key in place. With the same key the counters continue: a (key,
                # sequence number) pair is never used or accepted twice. Another key has counters of its own, or its
                # first packets would be rejected as replays.
                if _keys(existing) == _keys(association):
                    counted = max(existing.sequence, association.sequence)
                    association = replace(association, sequence=counted)
                self.requests.append(self._xfrm.delete_sa_request(existing))
                self._ask(self._xfrm.add_sa_request, association, ChangeKind.REPLACED)
            else:
                conflict = XfrmError(errno.EEXIST, "add", str(association), "not ours to replace")
                self.failure = self.failure or conflict

    def _end(self, association: SecurityAssociation, existing: SecurityAssociation) -> None:
        """Make the kernel end it at its time, counted from its creation by the kernel's wall clock."""
        wanted_s, held_s = association.lifetime.hard_add_s, existing.lifetime.hard_add_s
        age_s = round(self._wall_s) - existing.added_s
        if not (wanted_s or held_s) or (wanted_s and held_s and abs(held_s - age_s - wanted_s) <= TOLERANCE_S):
            return
        ends_s = max(1, age_s + wanted_s) if wanted_s else 0
        lifetime = replace(association.lifetime, hard_add_s=ends_s)
        self._ask(self._xfrm.update_sa_request, replace(association, lifetime=lifetime), ChangeKind.REPLACED)

    def _remove_policies(self, wanted: Wanted, present: _Policies) -> None:
        keep = {policy.identity for policy in wanted.policies}
        general_first = sorted(present.values(), key=lambda p: -p.priority)
        for policy in general_first:
            if policy.identity not in keep and policy.priority in OWN_PRIORITIES:
                self._ask(self._xfrm.delete_policy_request, policy, ChangeKind.REMOVED)

    def _remove_associations(self, wanted: Wanted, present: _Associations) -> None:
        keep = {association.identity for association in wanted.associations}
        for association in present.values():
            if association.identity not in keep and _is_own(association):
                self.removed.append(association)
                self._ask(self._xfrm.delete_sa_request, association, ChangeKind.REMOVED)


def _open(policy: Policy) -> bool:
    """True when a packet may pass this policy unprotected."""
    return policy.action is Action.ALLOW and all(each.optional for each in policy.templates)


def _but_for_its_end(association: SecurityAssociation) -> SecurityAssociation:
    return replace(association, lifetime=replace(association.lifetime, hard_add_s=0))


def _keys(association: SecurityAssociation) -> _Keys:
    return association.encryption, association.integrity, association.aead


def _is_own(association: SecurityAssociation) -> bool:
    return association.reqid in OWN_REQIDS
