"""The entries of IANA's "IKEv2 Parameters" that we use, as enums with the registry's names.

Knows numbers only: nothing of their encoding or use. Fields on the wire stay plain integers, since a peer may send
values that are not listed here.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class ExchangeType(IntEnum):
    """RFC 7296 §3.1, RFC 9242, RFC 9370, RFC 9838 §9.2."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    GSA_AUTH = 39
    GSA_REGISTRATION = 40
    GSA_REKEY = 41
    GSA_INBAND_REKEY = 42
    IKE_INTERMEDIATE = 43
    IKE_FOLLOWUP_KE = 44


def exchange_name(number: int) -> str:
    """The name of an exchange type; its number if we do not use it."""
    try:
        return ExchangeType(number).name
    except ValueError:
        return f"exchange {number}"


class Flag(IntFlag):
    """Header flags, RFC 7296 §3.1."""

    INITIATOR = 0x08
    VERSION = 0x10
    RESPONSE = 0x20


class PayloadType(IntEnum):
    """RFC 7296 §3.2, RFC 7383, RFC 9838 §9.2."""

    NONE = 0
    SA = 33
    KE = 34
    IDi = 35
    IDr = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR = 43
    TSi = 44
    TSr = 45
    SK = 46
    CP = 47
    EAP = 48
    GSPM = 49
    IDg = 50
    GSA = 51
    KD = 52
    SKF = 53
    PS = 54


class Protocol(IntEnum):
    """Security protocol identifiers, RFC 7296 §3.3.1, RFC 9838 §9.2."""

    NONE = 0
    IKE = 1
    AH = 2
    ESP = 3
    GIKE_UPDATE = 6


class TransformType(IntEnum):
    """RFC 7296 §3.3.2, RFC 9370, RFC 9838 §9.1."""

    ENCR = 1
    PRF = 2
    INTEG = 3
    KE = 4
    SN = 5
    ADDKE1 = 6
    ADDKE2 = 7
    ADDKE3 = 8
    ADDKE4 = 9
    ADDKE5 = 10
    ADDKE6 = 11
    ADDKE7 = 12
    KWA = 13
    GCAUTH = 14


class Encr(IntEnum):
    """Transform type 1."""

    NULL = 11
    AES_CBC = 12
    AES_CTR = 13
    AES_GCM_16 = 20
    NULL_AUTH_AES_GMAC = 21
    CHACHA20_POLY1305 = 28


class Prf(IntEnum):
    """Transform type 2."""

    HMAC_SHA2_256 = 5
    HMAC_SHA2_384 = 6
    HMAC_SHA2_512 = 7


class Integ(IntEnum):
    """Transform type 3."""

    NONE = 0
    HMAC_SHA2_256_128 = 12
    HMAC_SHA2_384_192 = 13
    HMAC_SHA2_512_256 = 14


class KeMethod(IntEnum):
    """Transform type 4 and the Key Exchange Method of a KE payload."""

    NONE = 0
    SECP256R1 = 19
    SECP384R1 = 20
    CURVE25519 = 31
    ML_KEM_768 = 36


class SequenceNumbers(IntEnum):
    """Transform type 5."""

    SEQUENTIAL_32 = 0
    PARTIALLY_TRANSMITTED_64 = 1
    UNSPECIFIED_32 = 2


class Kwa(IntEnum):
    """Key wrap algorithms, transform type 13, RFC 9838 §9.1."""

    KW_5649_128 = 1
    KW_5649_192 = 2
    KW_5649_256 = 3
    KW_ARX = 4


class GcAuth(IntEnum):
    """Group controller authentication, transform type 14, RFC 9838 §9.1."""

    IMPLICIT = 1
    DIGITAL_SIGNATURE = 2


class TransformAttribute(IntEnum):
    """Transform attribute types."""

    KEY_LENGTH = 14
    SIGNATURE_ALGORITHM_IDENTIFIER = 18


class IdType(IntEnum):
    """RFC 7296 §3.5."""

    IPV4_ADDR = 1
    FQDN = 2
    RFC822_ADDR = 3
    IPV6_ADDR = 5
    DER_ASN1_DN = 9
    DER_ASN1_GN = 10
    KEY_ID = 11
    NULL = 13


class CertEncoding(IntEnum):
    """RFC 7296 §3.6, RFC 7670 §3."""

    X509_SIGNATURE = 4
    RAW_PUBLIC_KEY = 15


class AuthMethod(IntEnum):
    """RFC 7296 §3.8, RFC 7427."""

    RSA_SIGNATURE = 1
    SHARED_KEY = 2
    ECDSA_256 = 9
    ECDSA_384 = 10
    ECDSA_521 = 11
    NULL = 13
    DIGITAL_SIGNATURE = 14


class HashAlgorithm(IntEnum):
    """Values of SIGNATURE_HASH_ALGORITHMS, RFC 7427 §7, RFC 8420."""

    SHA1 = 1
    SHA2_256 = 2
    SHA2_384 = 3
    SHA2_512 = 4
    IDENTITY = 5


class TsType(IntEnum):
    """Traffic selector types, RFC 7296 §3.13.1."""

    IPV4_ADDR_RANGE = 7
    IPV6_ADDR_RANGE = 8


class NotifyType(IntEnum):
    """RFC 7296 §3.10.1 and later; types below 16384 are errors."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44
    INVALID_GROUP_ID = 45
    AUTHORIZATION_FAILED = 46
    STATE_NOT_FOUND = 47
    TS_MAX_QUEUE = 48
    REGISTRATION_FAILED = 49
    INITIAL_CONTACT = 16384
    SET_WINDOW_SIZE = 16385
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    REKEY_SA = 16393
    ESP_TFC_PADDING_NOT_SUPPORTED = 16394
    MOBIKE_SUPPORTED = 16396
    CHILDLESS_IKEV2_SUPPORTED = 16418
    GROUP_SENDER = 16429
    IKEV2_FRAGMENTATION_SUPPORTED = 16430
    SIGNATURE_HASH_ALGORITHMS = 16431
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438
    ADDITIONAL_KEY_EXCHANGE = 16441


FIRST_PRIVATE_STATUS_NOTIFY = 40960
