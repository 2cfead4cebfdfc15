"""What an endpoint gives back: datagrams to send and things that happened.

Values only. Secrets do not show in a repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from agents.ikev2.child import ChildSa
from agents.ikev2.codec.payloads import Identification, Payload
from agents.ikev2.model import PeerAddress
from agents.ikev2.request import FailureReason, Request

if TYPE_CHECKING:
    from agents.ikev2.handle import SaHandle


class CloseReason(Enum):
    """Why an IKE SA is gone."""

    DELETED_BY_US = "deleted by us"
    DELETED_BY_PEER = "deleted by peer"
    TIMEOUT = "no answer"
    AUTHENTICATION_FAILED = "authentication failed"
    REFUSED = "refused by peer"
    NO_PROPOSAL_CHOSEN = "no proposal chosen"
    INVALID_SYNTAX = "invalid syntax"
    INITIAL_CONTACT = "peer started anew"
    HALF_OPEN_TIMEOUT = "half-open for too long"
    MESSAGE_IDS_EXHAUSTED = "no Message ID is left"
    FAULT = "a fault of ours"


@dataclass(frozen=True, slots=True)
class Send:
    """Send these octets to that peer from its local address; UDP, no marker of port 4500 in front."""

    data: bytes = field(repr=False)
    peer: PeerAddress
    retransmission: bool = False


class Event:
    """Base of everything that is not a datagram."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Established(Event):
    """An IKE SA is up and its peer authenticated. `payloads`: what came in the peer's AUTH message."""

    sa: SaHandle
    peer_id: Identification
    peer: PeerAddress
    payloads: tuple[Payload, ...]
    initiator: bool
    initial_contact: bool


@dataclass(frozen=True, slots=True)
class AuthRequest(Event):
    """Responder, GSA_AUTH: the peer is authenticated; answer with respond(token, payloads).

    `payloads` holds what came beside IDi, IDr, AUTH and certificates.
    """

    token: int
    sa: SaHandle
    peer_id: Identification
    peer: PeerAddress
    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class RequestReceived(Event):
    """A protected request for the layer above; answer with respond(token, payloads)."""

    token: int
    sa: SaHandle
    exchange: int
    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class ResponseReceived(Event):
    """The answer to this request, which acts on it."""

    sa: SaHandle
    request: Request
    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class RequestFailed(Event):
    """This request will have no answer."""

    sa: SaHandle
    request: Request
    reason: FailureReason


@dataclass(frozen=True, slots=True)
class Notified(Event):
    """Payloads that came in an INFORMATIONAL request which the endpoint has answered itself."""

    sa: SaHandle
    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class Closed(Event):
    """An IKE SA, established or not, is gone with all its Child SAs. `notify`: the peer's error, if any."""

    sa: SaHandle
    reason: CloseReason
    notify: int | None = None


@dataclass(frozen=True, slots=True)
class IkeSaRekeyed(Event):
    """The handle now stands for a new IKE SA: new SPIs, new SK_d, same peer."""

    sa: SaHandle


@dataclass(frozen=True, slots=True)
class ChildEstablished(Event):
    """Install these SAs; `replaces`: the Child SA that this one rekeys."""

    sa: SaHandle
    child: ChildSa
    replaces: ChildSa | None = None


@dataclass(frozen=True, slots=True)
class ChildClosed(Event):
    """Remove these SAs."""

    sa: SaHandle
    child: ChildSa


@dataclass(frozen=True, slots=True)
class ChildFailed(Event):
    """A Child SA was refused or could not be rekeyed; `notify` is the peer's error, if it gave one."""

    sa: SaHandle
    notify: int | None


@dataclass(frozen=True, slots=True)
class MessageSeen(Event):
    """A message came in whose ICV is right, the repeat of one octet for octet that is answered again, or one of
    IKE_SA_INIT for which an SA is kept: anybody may send that (statistics)."""

    exchange: int
    request: bool
    retransmission: bool
    peer: PeerAddress


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """A datagram was dropped without an answer (statistics)."""

    reason: str
    peer: PeerAddress


@dataclass(frozen=True, slots=True)
class Faulted(Event):
    """Something was raised that nobody expected. If it was for an authentic message or a timer of an SA, that SA is
    closed; nothing else is touched."""

    what: str
    cause: BaseException


@dataclass(frozen=True, slots=True)
class KeysDerived(Event):
    """Experiments only (config.log_keys): a line of Wireshark's ikev2_decryption_table, and our comment with GSK_w
    where a key wrap algorithm was agreed."""

    line: str = field(repr=False)
    key_wrap_line: str | None = field(default=None, repr=False)
