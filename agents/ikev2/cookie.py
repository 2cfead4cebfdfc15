"""Stateless cookies against floods of half-open SAs (RFC 7296 §2.6).

Knows the octets that a cookie binds, and nothing of the messages that carry them.
"""

from __future__ import annotations

import hmac

from agents.ikev2.model import RandomSource


class CookieJar:
    """Makes and checks cookies. The secret changes every `rotation_s` seconds; the previous one is valid `grace_s`
    longer."""

    __slots__ = ("_changed_at", "_grace_s", "_previous", "_random", "_rotation_s", "_secret", "_version")

    def __init__(self, random: RandomSource, rotation_s: float, grace_s: float) -> None:
        self._random = random
        self._rotation_s = rotation_s
        self._grace_s = grace_s
        self._version = 0
        self._secret: bytes | None = None
        self._previous: bytes | None = None
        self._changed_at = 0.0

    def _current(self, now: float) -> bytes:
        if self._secret is None or now - self._changed_at >= self._rotation_s:
            self._previous, self._secret = self._secret, self._random(32)
            self._version = (self._version + 1) & 0xFF
            self._changed_at = now
        return self._secret

    @staticmethod
    def _tag(secret: bytes, version: int, address: str, spi_i: bytes) -> bytes:
        bound = b"".join((bytes((version,)), spi_i, address.encode()))
        return bytes((version,)) + hmac.digest(secret, bound, "sha256")[:23]

    def make(self, address: str, spi_i: bytes, now: float) -> bytes:
        """A cookie of 24 octets; the address is text with port.

        The nonce, which RFC 7296 proposes to include, is left out. Otherwise a copy of the request with another nonce
        would make the initiator retry with a cookie that does not fit its own nonce.
        """
        return self._tag(self._current(now), self._version, address, spi_i)

    def check(self, cookie: bytes, address: str, spi_i: bytes, now: float) -> bool:
        """True if we made this cookie recently, for this address and SPI."""
        secret = self._current(now)
        if hmac.compare_digest(cookie, self._tag(secret, self._version, address, spi_i)):
            return True
        if self._previous is None or now - self._changed_at > self._grace_s:
            return False
        older = self._tag(self._previous, (self._version - 1) & 0xFF, address, spi_i)
        return hmac.compare_digest(cookie, older)
