"""Code points of RFC 9838 §9.1 outside the IKEv2 registry, and our own in the private ranges.

Knows numbers only.
"""

from __future__ import annotations

from enum import IntEnum


class GsaAttribute(IntEnum):
    """Attributes of a group SA policy, RFC 9838 §4.4.2.2."""

    GSA_KEY_LIFETIME = 1
    GSA_INITIAL_MESSAGE_ID = 2
    GSA_NEXT_SPI = 3


class GwAttribute(IntEnum):
    """Attributes of the group-wide policy, RFC 9838 §4.4.3."""

    GWP_ATD = 1
    GWP_DTD = 2
    GWP_SENDER_ID_BITS = 3


class GroupKeyAttribute(IntEnum):
    """Attributes of a group key bag, RFC 9838 §4.5.2."""

    SA_KEY = 1
    REPLAY_FLOOR = 16384
    """Private: 4 octets, the highest sequence number that the speaker has used with this SA."""


class MemberKeyAttribute(IntEnum):
    """Attributes of the member key bag, RFC 9838 §4.5.3."""

    WRAP_KEY = 1
    AUTH_KEY = 2
    GM_SENDER_ID = 3


class PrivateNotify(IntEnum):
    """Status notifications of the private range. A peer that does not know them ignores them."""

    POLICY_DOCUMENT = 40960
    """A signed policy document (COSE_Sign1)."""
    GROUP_STATE = 40961
    """A signed group state (COSE_Sign1) of the group whose keys are in the same message."""
    GROUP_REPORT = 40962
    """To the DKS: a signed group state that an LKS made while the DKS was away. One notification for each group."""
    RECONNECT_HINT = 40963
    """The seconds (4 octets) for which the receiver must wait before its next attempt."""
    POLICY_SUMMARY = 40964
    """The policy that the sender has: version (8), revocation version (8), SHA-256 of the revocation list (32)."""
    REKEY_ORDER = 40965
    """The DKS orders an LKS to make a new generation of a group: the group's name."""
    CONFIRMATION = 40966
    """To the DKS: a router's signed confirmation of the policy in force there (COSE_Sign1)."""
    REVOCATION = 40967
    """A signed revocation list (COSE_Sign1)."""
    DOCUMENTS_HELD = 40968
    """The policy documents that the sender can give: a router and a version each."""
    DOCUMENT_WANTED = 40969
    """Ask for a router's policy document that is newer than the version (8) before the router's name."""
    CARRIED_DOCUMENT = 40970
    """The requested signed policy document (COSE_Sign1), of any router."""
