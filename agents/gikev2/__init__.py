"""G-IKEv2 (RFC 9838) on top of agents.ikev2: group policies, key bags, registration and rekey.

Sans-IO like the layer below: payloads in, payloads and values out.
"""

from agents.gikev2.errors import GroupRefused, UnusableGroup
from agents.gikev2.gsa import GroupPolicy, GroupWidePolicy, GsaPayload
from agents.gikev2.kd import GroupKeyBag, KdPayload, MemberKeyBag, WrappedKey
from agents.gikev2.keys import DataSa, GroupKeys
from agents.gikev2.member import GroupDelete, GroupMember
from agents.gikev2.registry import PrivateNotify
from agents.gikev2.server import KeyServer, RegistrationRequest

__all__ = [
    "DataSa",
    "GroupDelete",
    "GroupKeyBag",
    "GroupKeys",
    "GroupMember",
    "GroupPolicy",
    "GroupRefused",
    "GroupWidePolicy",
    "GsaPayload",
    "KdPayload",
    "KeyServer",
    "MemberKeyBag",
    "PrivateNotify",
    "RegistrationRequest",
    "UnusableGroup",
    "WrappedKey",
]
