"""The output of an endpoint: datagrams to send, and events.

Values only. Secrets are left out of every repr.
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
    """The reason why an IKE SA is gone."""

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
    """Send these octets to the peer from its local address, as UDP without the non-ESP marker of port 4500."""

    data: bytes = field(repr=False)
    peer: PeerAddress
    retransmission: bool = False


class Event:
    """Base of all events."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Established(Event):
    """An IKE SA is up and its peer authenticated. `payloads`: from the peer's AUTH message."""

    sa: SaHandle
    peer_id: Identification
    peer: PeerAddress
    payloads: tuple[Payload, ...]
    initiator: bool
    initial_contact: bool


@dataclass(frozen=True, slots=True)
class AuthRequest(Event):
    """Responder, GSA_AUTH: the peer is authenticated; answer with respond(token, payloads).

    `payloads` holds the payloads other than IDi, IDr, AUTH and certificates.
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
    """The answer to this request has come; the request acts on it."""

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
    """The payloads of an INFORMATIONAL request that the endpoint has answered itself."""

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
    """The handle now stands for a new IKE SA: new SPIs, new SK_d, the same peer."""

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
    """A Child SA was refused or could not be rekeyed; `notify` is the peer's error, if it sent one."""

    sa: SaHandle
    notify: int | None


@dataclass(frozen=True, slots=True)
class MessageSeen(Event):
    """A message with a valid ICV arrived, or an exact retransmission that is answered again, or a retransmitted
    IKE_SA_INIT of an existing SA, which anyone can send (statistics)."""

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
    """An unexpected exception was raised. If it came from an authentic message or a timer of an SA, that SA is closed;
    nothing else changes."""

    what: str
    cause: BaseException


@dataclass(frozen=True, slots=True)
class KeysDerived(Event):
    """Experiments only (config.log_keys): a line of Wireshark's ikev2_decryption_table, and our comment with GSK_w if a
    key wrap algorithm was agreed."""

    line: str = field(repr=False)
    key_wrap_line: str | None = field(default=None, repr=False)
