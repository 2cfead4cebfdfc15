"""IKEv2 (RFC 7296) without sockets, clocks or randomness of its own.

`IkeEndpoint` holds all IKE SAs of one party. Carries the payloads of the layer above; knows nothing of G-IKEv2's
payloads, of the kernel or of the laboratory.
"""

from agents.ikev2.child import ChildKeys, ChildOffer, ChildPolicy, ChildSa
from agents.ikev2.codec.header import Header
from agents.ikev2.codec.payloads import (
    AuthPayload,
    CertPayload,
    CertRequestPayload,
    DeletePayload,
    Identification,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    RawPayload,
    SaPayload,
    TrafficSelector,
    TsPayload,
    VendorPayload,
    encode_payloads,
    parse_payloads,
)
from agents.ikev2.codec.transforms import (
    Attribute,
    Proposal,
    Transform,
    encode_attributes,
    encode_transforms,
    parse_attributes,
    parse_transforms,
    transform,
)
from agents.ikev2.config import IkeConfig, Offer
from agents.ikev2.endpoint import IkeEndpoint
from agents.ikev2.errors import (
    IkeError,
    IntegrityFailure,
    MalformedMessage,
    UnknownSa,
    UnsupportedAlgorithm,
    UnsupportedCriticalPayload,
)
from agents.ikev2.events import (
    AuthRequest,
    ChildClosed,
    ChildEstablished,
    ChildFailed,
    Closed,
    CloseReason,
    Dropped,
    Established,
    Event,
    IkeSaRekeyed,
    KeysDerived,
    MessageSeen,
    Notified,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    Send,
)
from agents.ikev2.handle import SaHandle
from agents.ikev2.model import Authenticate, Datagram, LocalIdentity, PeerAddress, PeerCredential, PeerKey
from agents.ikev2.request import FailureReason, Request
from agents.ikev2.round_trip import Retransmission

__all__ = [
    "Attribute", "AuthPayload", "AuthRequest", "Authenticate", "CertPayload", "CertRequestPayload", "ChildClosed",
    "ChildEstablished", "ChildFailed", "ChildKeys", "ChildOffer", "ChildPolicy", "ChildSa", "CloseReason", "Closed",
    "Datagram", "DeletePayload", "Dropped", "Established", "Event", "FailureReason", "Header", "IdPayload",
    "Identification", "IkeConfig", "IkeEndpoint", "IkeError", "IkeSaRekeyed", "IntegrityFailure", "KePayload",
    "KeysDerived", "LocalIdentity", "MalformedMessage", "MessageSeen", "NoncePayload", "Notified", "NotifyPayload",
    "Offer", "Payload", "PeerAddress", "PeerCredential", "PeerKey", "Proposal", "RawPayload", "Request",
    "RequestFailed", "RequestReceived", "ResponseReceived", "Retransmission", "SaHandle", "SaPayload", "Send",
    "TrafficSelector", "Transform", "TsPayload", "UnknownSa", "UnsupportedAlgorithm", "UnsupportedCriticalPayload",
    "VendorPayload", "encode_attributes", "encode_payloads", "encode_transforms", "parse_attributes", "parse_payloads",
    "parse_transforms", "transform",
]  # fmt: skip
