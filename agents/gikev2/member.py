"""The group member's side: requests to a key server, and reading of its answers and rekeys.

RFC 9838 §2.3 and §2.4.2. Keeps no state and knows no transport: the caller owns the IKE SA and gives its key-wrap key.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.gikev2 import notifies
from agents.gikev2.errors import GroupRefused, UnusableGroup
from agents.gikev2.gsa import GroupPolicy, GsaPayload
from agents.gikev2.kd import KdPayload
from agents.gikev2.keys import GroupKeys, from_payloads, suite_transforms
from agents.gikev2.registry import PrivateNotify
from agents.gikev2.rekey_sa import RekeyGrant, granted
from agents.ikev2 import (
    DeletePayload,
    Identification,
    IdPayload,
    MalformedMessage,
    NotifyPayload,
    Payload,
    Proposal,
    RawPayload,
    SaPayload,
    Transform,
    transform,
)
from agents.ikev2.registry import Kwa, NotifyType, PayloadType, Protocol, TransformType
from agents.ipsec.protection import Suite
from agents.policy.errors import PolicyError
from agents.policy.group import GroupState, Issuer, SignedState, claimed_group, verify_issued_state
from agents.policy.names import GroupId, SpeakerId

IssuerKey = Callable[[GroupId, Issuer], Ed25519PublicKey | None]
"""The key with which an issuer of this kind signs for a group; None when it may not speak for the group."""
Check = Callable[[GroupState], None]
"""PolicyError unless this state, whose signature is valid, may be accepted."""


@dataclass(frozen=True, slots=True)
class GroupDelete:
    """SAs to delete (RFC 9838 §2.4.3). `everything`: all Data-Security SAs that came over this IKE SA."""

    spis: frozenset[int]
    everything: bool = False
    excluded: bool = False
    """The Rekey SA is deleted: the member is excluded, and registers again after a random wait."""


class GroupMember:
    """Builds requests and reads answers for one party. `suites`: those it supports, best first."""

    def __init__(self, suites: Sequence[Suite], issuer_key: IssuerKey, check: Check) -> None:
        self._suites = tuple(suites)
        self._issuer_key = issuer_key
        self._check = check

    def request(self, group: GroupId, *, sender: bool = False, extra: Sequence[Payload] = ()) -> list[Payload]:
        """IDg, SAg and GROUP_SENDER: the payloads of GSA_REGISTRATION, or the group's payloads in GSA_AUTH."""
        payloads: list[Payload] = [idg(group)]
        if not group.is_control:
            payloads.append(self._capabilities())
        if sender:
            payloads.append(notifies.group_sender())
        return [*payloads, *extra]

    def request_all(self, speaker: SpeakerId, *, extra: Sequence[Payload] = ()) -> list[Payload]:
        """The same payloads for all groups of a speaker."""
        return [idg(speaker), self._capabilities(), *extra]

    @staticmethod
    def split(groups: Collection[GroupId], payloads: Sequence[Payload]) -> dict[GroupId, list[Payload]]:
        """The answer to `request_all`, as answers of single groups for `answer`: of the `groups` for which it has a
        state and SAs. UnusableGroup, MalformedMessage."""
        octets = _only(payloads, PayloadType.GSA)
        if octets is None:
            return {}
        gsa, by_group = GsaPayload.parse(octets), {}
        apart = (PayloadType.GSA, PrivateNotify.GROUP_STATE)
        rest = [each for each in payloads if not {each.payload_type, getattr(each, "type", None)} & set(apart)]
        for signed in notifies.find_group_states(payloads)[: len(groups)]:
            try:
                group = claimed_group(signed)
            except PolicyError as error:
                raise UnusableGroup(str(error)) from error
            policies = tuple(each for each in gsa.policies if group in groups and _is_of(each, group))
            if policies:
                by_group[group] = [GsaPayload(policies, gsa.group_wide), *rest, notifies.group_state(signed)]
        return by_group

    def leave(self, group: GroupId, *, no_proposal: bool = False) -> list[Payload]:
        """A GSA_REGISTRATION by which the member leaves the group."""
        kind = NotifyType.NO_PROPOSAL_CHOSEN if no_proposal else NotifyType.REGISTRATION_FAILED
        return [idg(group), NotifyPayload(kind)]

    def answer(self, group: GroupId, payloads: Sequence[Payload], kwk: bytes) -> GroupKeys:
        """The keys in the answer to `request`.

        GroupRefused when it is an error. UnusableGroup when it cannot be used, or when its state is not signed, of
        another group, or older than one accepted before. MalformedMessage; IntegrityFailure.
        """
        for item in payloads:
            if isinstance(item, NotifyPayload) and item.is_error:
                raise GroupRefused(item.type)
        if not any(isinstance(item, NotifyPayload) and item.type == NotifyType.USE_TRANSPORT_MODE for item in payloads):
            raise UnusableGroup(f"{group}: tunnel mode is not for routing protocols")
        return self._keys(group, payloads, kwk)

    def rekey(self, payloads: Sequence[Payload], kwk: bytes) -> GroupKeys:
        """The keys of a GSA_INBAND_REKEY; its signed state names the group. Raises as `answer`."""
        signed = notifies.find_group_state(payloads)
        if signed is None:
            raise UnusableGroup("a rekey without a group state")
        try:
            group = claimed_group(signed)
        except PolicyError as error:
            raise UnusableGroup(str(error)) from error
        return self._keys(group, payloads, kwk)

    def _keys(self, group: GroupId, payloads: Sequence[Payload], kwk: bytes) -> GroupKeys:
        gsa, kd = _only(payloads, PayloadType.GSA), _only(payloads, PayloadType.KD)
        if gsa is None or kd is None:
            raise UnusableGroup(f"{group}: no GSA or no KD")
        signed = notifies.find_group_state(payloads)
        if signed is None:
            raise UnusableGroup(f"{group}: no group state")
        try:
            state = verify_issued_state(signed, lambda issuer: self._issuer_key(group, issuer), group)
            self._check(state)
        except PolicyError as error:
            raise UnusableGroup(str(error)) from error
        return from_payloads(SignedState(state, signed), GsaPayload.parse(gsa), KdPayload.parse(kd), kwk)

    def _capabilities(self) -> SaPayload:
        """SAg: the supported suites. Proposals with one number belong together (RFC 9838 §4.2)."""
        kwa = Proposal(1, Protocol.GIKE_UPDATE, b"", (transform(TransformType.KWA, Kwa.KW_5649_256),))
        transforms: list[Transform] = []
        for suite in self._suites:
            transforms += [item for item in suite_transforms(suite) if item not in transforms]
        esp = Proposal(1, Protocol.ESP, b"", tuple(sorted(transforms, key=lambda item: item.type)))
        return SaPayload((kwa, esp))


def _is_of(policy: GroupPolicy, group: GroupId) -> bool:
    """True if this SA is of the group's protocol."""
    protocol, source = group.routing_protocol, policy.source
    family = socket.AF_INET if source.first.version == 4 else socket.AF_INET6
    return (source.protocol, family) == (protocol.ip_protocol, protocol.family)


def idg(group: GroupId | SpeakerId) -> IdPayload:
    """The IDg payload of a group, or of all groups of a speaker."""
    return IdPayload(PayloadType.IDg, Identification.key_id(group.encode()))


def rekey_sa(payloads: Sequence[Payload], key: Ed25519PublicKey, kwk: bytes) -> RekeyGrant | None:
    """The Rekey SA in the answer to a registration, whose messages are signed with `key`; None when it has none.

    UnusableGroup, IntegrityFailure, MalformedMessage.
    """
    gsa, kd = _only(payloads, PayloadType.GSA), _only(payloads, PayloadType.KD)
    return None if gsa is None or kd is None else granted(GsaPayload.parse(gsa), KdPayload.parse(kd), key, kwk)


def parse_delete(payloads: Sequence[Payload]) -> GroupDelete | None:
    """The SAs that the Delete payloads of a rekey message delete; None without any. MalformedMessage."""
    spis: set[int] = set()
    everything = excluded = deletes = False
    for item in payloads:
        if not isinstance(item, DeletePayload):
            continue
        deletes = True
        if item.protocol == 0:
            everything = excluded = True
        elif item.protocol == Protocol.GIKE_UPDATE:
            if any(len(spi) != 16 for spi in item.spis):
                raise MalformedMessage("Delete of a Rekey SA with a short SPI")
            excluded = excluded or bytes(16) in item.spis
        elif item.protocol in (Protocol.AH, Protocol.ESP):
            if any(len(spi) != 4 for spi in item.spis):
                raise MalformedMessage("Delete of a Data-Security SA with a wrong SPI")
            numbers = {int.from_bytes(spi, "big") for spi in item.spis}
            everything = everything or 0 in numbers
            spis |= numbers - {0}
        else:
            raise MalformedMessage(f"Delete of protocol {item.protocol}")
    return GroupDelete(frozenset(spis), everything, excluded) if deletes else None


def _only(payloads: Sequence[Payload], kind: int) -> bytes | None:
    matching = [item for item in payloads if item.payload_type == kind]
    if len(matching) > 1:
        raise MalformedMessage(f"payload of type {kind} occurs {len(matching)} times")
    if not matching:
        return None
    item = matching[0]
    return item.octets if isinstance(item, RawPayload) else item.body()
