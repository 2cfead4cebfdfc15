"""Which unchanged documents are signed again, and when the next is due.

While the DKS is away, a document's age is a router's only news of the Policy Server: a newer one gives it a lease from
its signature on. A signer's delegation may also end. Knows nothing of stores, keys or callers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from agents.policy.document import PolicyDocument

DAY_S = 86400
DELEGATION_LEFT_S = 30 * DAY_S
"""How long before a delegation's end its documents are signed again, and its administrator is warned."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A document in force. `until`: Unix seconds at which its signer's delegation ends; infinite for the root key."""

    document: PolicyDocument
    until: float


def due_at(signed: Signed, signer_until: float) -> float:
    """Unix seconds from which on this document must be signed again, by a signer who may sign until `signer_until`.

    At the age of half a lease, but not daily where leases are short, and at the latest at a third of its validity.
    Earlier if its delegation ends and the signer's ends later.
    """
    document = signed.document
    third = (document.expires_at - document.issued_at) / 3
    age = min(third, max(document.lease.seconds / 2, DAY_S))
    ends = signed.until - DELEGATION_LEFT_S if signer_until > signed.until else math.inf
    return min(document.issued_at + age, ends)


def due(documents: Mapping[str, Signed], signer_until: float, at: int) -> frozenset[str]:
    """The routers whose documents are due at the Unix time `at`."""
    return frozenset(name for name, each in documents.items() if due_at(each, signer_until) <= at)


def warning(administrator: str, until: float, at: int) -> str | None:
    """The warning about a delegation that ends soon; None when it does not."""
    left = until - at
    if left > DELEGATION_LEFT_S:
        return None
    days = max(0, int(left // DAY_S))
    return (
        f"the delegation of administrator {administrator} ends in {days} days, and routers then reject documents of "
        f"its key; the next step is: policy admin delegate {administrator}"
    )
