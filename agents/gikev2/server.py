"""The key server's side: reading a member's requests, and GSA, KD and Delete as answers and rekeys.

RFC 9838 §2.3 and §2.4. The caller (DKS, LKS) decides by signed policy who may have which keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from agents.gikev2 import notifies
from agents.gikev2.gsa import GroupWidePolicy, GsaPayload
from agents.gikev2.kd import KdPayload
from agents.gikev2.keys import GroupKeys, suite_transforms, to_payloads
from agents.gikev2.rekey_sa import RekeyGrant, add_rekey_sa
from agents.ikev2 import DeletePayload, IdPayload, MalformedMessage, NotifyPayload, Payload, Proposal, SaPayload
from agents.ikev2.codec.transforms import parse_proposals
from agents.ikev2.registry import IdType, NotifyType, PayloadType, Protocol
from agents.ipsec.protection import Suite
from agents.policy.errors import PolicyError
from agents.policy.group import claimed_group
from agents.policy.names import GroupId, SpeakerId, decode_idg


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """A member's request. `leaving`: the member leaves the group."""

    group: GroupId
    sender: bool
    leaving: bool
    capabilities: SaPayload | None
    payloads: tuple[Payload, ...]

    def supports(self, suite: Suite) -> bool:
        """True if the member supports this suite, or did not say (SAg is optional)."""
        if self.capabilities is None:
            return True
        if 0 < len(self.capabilities.octets) <= _SHORT:
            return _remembered(self.capabilities.octets, suite)
        return _supports(self.capabilities.proposals, suite)


_SHORT, _REMEMBERED = 1024, 64
"""The longest SAg, in octets, and the most of them for which it is remembered whether they have a suite: all members of
one kind send the same."""


def _supports(proposals: Sequence[Proposal], suite: Suite) -> bool:
    offered: dict[int, set[object]] = {}
    for proposal in proposals:
        if proposal.protocol == Protocol.ESP:
            offered.setdefault(proposal.number, set()).update(proposal.transforms)
    wanted = set(suite_transforms(suite))
    return any(wanted <= transforms for transforms in offered.values())


@lru_cache(maxsize=_REMEMBERED)
def _remembered(octets: bytes, suite: Suite) -> bool:
    return _supports(parse_proposals(octets), suite)


@dataclass(frozen=True, slots=True)
class SpeakerRequest:
    """A member's request for all groups of a speaker at once. RFC 9838 §2.3 has one IDg in a request and does not say
    what a group contains; its GSA has a policy for each SA. So one exchange registers all groups."""

    speaker: SpeakerId
    whole: RegistrationRequest
    """The request as if for any one of the groups."""

    def of(self, group: GroupId) -> RegistrationRequest:
        """The request for one of the groups: of the states that the member sent, only that group's."""
        kept = tuple(each for each in self.whole.payloads if not _shows_another(each, group))
        return replace(self.whole, group=group, payloads=kept)


def _shows_another(item: Payload, group: GroupId) -> bool:
    for signed in notifies.find_group_reports([item]):
        try:
            return claimed_group(signed) != group
        except PolicyError:
            return True
    return False


@dataclass(frozen=True, slots=True)
class MemberRekeySa:
    """A Rekey SA, the address and port that its messages go to, and its signature key."""

    grant: RekeyGrant
    address: tuple[str, int]
    key: bytes
    """The key as SubjectPublicKeyInfo."""


class KeyServer:
    """Reads requests and builds answers. Keeps no state."""

    @staticmethod
    def read(payloads: Sequence[Payload]) -> RegistrationRequest | SpeakerRequest | None:
        """The request in GSA_AUTH or GSA_REGISTRATION; None when it names no group. MalformedMessage.

        An IDg that names no group or speaker of ours raises MalformedMessage too: answer INVALID_GROUP_ID.
        """
        names = [item for item in payloads if isinstance(item, IdPayload) and item.payload_type == PayloadType.IDg]
        if not names:
            return None
        if len(names) > 1 or names[0].identification.type != IdType.KEY_ID:
            raise MalformedMessage("two IDg payloads, or one that is not a KEY_ID")
        try:
            named = decode_idg(names[0].identification.data)
        except PolicyError as error:
            raise MalformedMessage(str(error)) from error
        capabilities = [item for item in payloads if isinstance(item, SaPayload)]
        if len(capabilities) > 1:
            raise MalformedMessage("two SAg payloads")
        request = RegistrationRequest(
            group=named if isinstance(named, GroupId) else GroupId.control(named.domain, named.router),
            sender=notifies.find_group_sender(payloads) is not None,
            leaving=any(isinstance(item, NotifyPayload) and item.type in _LEAVING for item in payloads),
            capabilities=capabilities[0] if capabilities else None,
            payloads=tuple(payloads),
        )
        return SpeakerRequest(named, request) if isinstance(named, SpeakerId) else request

    @staticmethod
    def answer(
        keys: GroupKeys,
        member: str,
        kwk: bytes,
        extra: Sequence[Payload] = (),
        *,
        rekey_sa: MemberRekeySa | None = None,
    ) -> list[Payload]:
        """GSA and KD for this member (a router's name) in transport mode, with the group's signed state and perhaps a
        Rekey SA."""
        gsa, kd = to_payloads(keys.for_member(member), kwk)
        if rekey_sa is not None:
            gsa, kd = add_rekey_sa(gsa, kd, rekey_sa.grant, rekey_sa.address, rekey_sa.key, kwk)
        return [
            gsa,
            kd,
            NotifyPayload(NotifyType.USE_TRANSPORT_MODE),
            notifies.group_state(keys.state.octets),
            *extra,
        ]

    @staticmethod
    def together(answers: Sequence[list[Payload]]) -> list[Payload]:
        """The answers of several groups as one, with the longest of their delays. Refusals are left out if any group
        gives keys."""
        given = [each for each in answers if any(isinstance(item, GsaPayload) for item in each)]
        if len(given) < 2:
            return (given or list(answers) or [KeyServer.reject(NotifyType.INVALID_GROUP_ID)])[0]
        items = [item for each in given for item in each]
        policies = [item for item in items if isinstance(item, GsaPayload)]
        wide = [each.group_wide for each in policies if each.group_wide is not None]
        longest = GroupWidePolicy(max(each.atd_s for each in wide), max(each.dtd_s for each in wide)) if wide else None
        return [
            GsaPayload(tuple(policy for each in policies for policy in each.policies), longest),
            KdPayload(tuple(bag for item in items if isinstance(item, KdPayload) for bag in item.bags)),
            NotifyPayload(NotifyType.USE_TRANSPORT_MODE),
            *map(notifies.group_state, notifies.find_group_states(items)),
        ]

    @staticmethod
    def rekey(keys: GroupKeys, member: str, kwk: bytes, extra: Sequence[Payload] = ()) -> list[Payload]:
        """GSA_INBAND_REKEY for this member."""
        return [*to_payloads(keys.for_member(member), kwk), notifies.group_state(keys.state.octets), *extra]

    @staticmethod
    def control_answer(document: bytes, extra: Sequence[Payload] = ()) -> list[Payload]:
        """The answer to a registration at the router's own control group: its signed policy document, and no keys."""
        return [notifies.policy_document(document), *extra]

    @staticmethod
    def reject(kind: NotifyType) -> list[Payload]:
        """An answer without keys: INVALID_GROUP_ID, AUTHORIZATION_FAILED, REGISTRATION_FAILED, NO_PROPOSAL_CHOSEN."""
        return [NotifyPayload(kind)]

    @staticmethod
    def delete(spis: Iterable[int]) -> list[Payload]:
        """Tell members to delete these Data-Security SAs."""
        return [DeletePayload(Protocol.ESP, tuple(spi.to_bytes(4, "big") for spi in sorted(spis)))]

    @staticmethod
    def exclude() -> list[Payload]:
        """Under a Rekey SA: exclude the member (RFC 9838 §2.4.3: Rekey SA, SPI 0)."""
        return [DeletePayload(Protocol.GIKE_UPDATE, (bytes(16),))]


_LEAVING = frozenset({int(NotifyType.REGISTRATION_FAILED), int(NotifyType.NO_PROPOSAL_CHOSEN)})
