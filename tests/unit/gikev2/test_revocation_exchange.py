"""What the answer to an INFORMATIONAL says of the revocation list."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.gikev2 import notifies
from agents.gikev2.notifies import Held, PolicySummary, WantedDocument
from agents.gikev2.revocation_exchange import Spread
from agents.ikev2 import Identification, IkeEndpoint, LocalIdentity, Payload
from agents.policy.names import party_id


class List:
    """The list of a party; what a peer brings is of no use to it."""

    version, policy_version = 4, 7
    digest, signed = bytes(32), b"list"

    def offer(self, signed: bytes, source: str, now: float) -> None:
        raise AssertionError(f"{source} brought a list")

    def doubt(self, source: str, what: str) -> None:
        raise AssertionError(f"{source}: {what}")


def summary(revocation: int) -> Payload:
    return notifies.policy_summary(PolicySummary(7, revocation, bytes(32)))


ASKED = notifies.document_wanted(WantedDocument("r2", 0))


@pytest.mark.parametrize(
    ("payloads", "with_list"),
    [
        ([], True),
        ([summary(3)], True),
        ([summary(4)], False),
        ([notifies.documents_held([Held("r2", 1)], whole=True)], True),
        ([ASKED], False),
        ([summary(3), ASKED], False),
    ],
)
def test_the_list_answers_an_older_one_but_never_a_question_for_a_document(
    payloads: Sequence[Payload], with_list: bool
) -> None:
    identity = LocalIdentity(Identification.key_id(party_id("example", "r2")), Ed25519PrivateKey.generate())
    endpoint = IkeEndpoint(identity, lambda *_claimed: None, random=bytes)
    answer = Spread(endpoint, List()).answer(payloads, "r1", 0.0)
    assert notifies.find_policy_summary(answer) == PolicySummary(7, 4, bytes(32))
    assert notifies.find_revocation(answer) == (b"list" if with_list else None)
