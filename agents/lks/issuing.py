"""Generations from the DKS (`issuer: dks`) for groups whose keys this router's LKS hands to the neighbours itself.

Carries a speaker's order to the DKS and the answer back. An LKS that gets no answer makes its own generation and
says so later. Knows nothing of when a rekey is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agents.gikev2 import GroupKeys
from agents.lks.dks_link import DksLink
from agents.lks.link import Link
from agents.policy.names import GroupId


class Issuing:
    """The `Orders` of every speaker of one router. `dks`: the contact of now, if there is any."""

    def __init__(self, links: Mapping[str, Link], dks: Callable[[], DksLink | None]) -> None:
        self._links, self._dks = links, dks

    def order(self, group: GroupId, held: bytes, now: float) -> bool:
        """As Orders.order."""
        dks = self._dks()
        return dks is not None and dks.order(group, held, now)

    def answer_within_s(self) -> float:
        """As Orders.answer_within_s."""
        dks = self._dks()
        return dks.sa.answer_within_s if dks is not None and dks.sa is not None else 0.0

    def report(self, now: float) -> None:
        """As Orders.report."""
        dks = self._dks()
        if dks is not None:
            dks.report_soon(now)

    def ordered(self, groups: Sequence[GroupId], now: float) -> None:
        """The DKS orders new generations (REKEY_ORDER)."""
        for group in groups:
            link = self._links.get(group.interface)
            if link is not None:
                link.rekey_group(group, now, "ordered")
        self.report(now)

    def answered(self, group: GroupId, keys: GroupKeys | None, version: int, now: float) -> None:
        """The DKS's answer: keys under a version of the policy, or none. UnusableGroup for keys that policy or time
        forbid."""
        link = self._links.get(group.interface)
        if link is None or group not in link.speakers:
            return
        if keys is None:
            link.not_given(group, now)
        else:
            link.given(keys, version, now)
