"""Who is signed in at a browser: short sessions, each begun with a token and dead as soon as the token is.

Kept in memory, so an end of the server ends them all. Times in seconds of a monotonic clock. Knows nothing of HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from agents.policy.api.tokens import Token, TokenStore

IDLE_S = 15 * 60.0
"""A session that nobody uses for so long ends."""
MOST_S = 4 * 3600.0
"""And any session after so long."""
EACH, ALL = 10, 1000
"""Sessions of one token, and of all: one more ends the oldest."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What the next page says was done, and where one goes from there: a page of ours, and what it is called."""

    text: str = ""
    target: str = ""
    label: str = ""


@dataclass
class Session:
    """One browser's. `csrf`: what its forms must bring along."""

    token: Token
    csrf: str
    began: float
    used: float
    notice: Notice = Notice()

    def left_s(self, now: float) -> float:
        """How long it lives if nobody uses it."""
        return min(self.used + IDLE_S, self.began + MOST_S) - now

    def brings(self, csrf: str) -> bool:
        """Whether a form is one that this session was shown."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode(errors="replace"))


class Sessions:
    """Those of one server."""

    def __init__(self, tokens: TokenStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens, self.clock = tokens, clock
        self._known: dict[str, Session] = {}  # the oldest first
        self._lock = threading.Lock()

    def begin(self, token: Token) -> str:
        """A new session; the secret that names it, for its browser alone."""
        secret, now = secrets.token_urlsafe(32), self.clock()
        with self._lock:
            for key in [key for key, each in self._known.items() if each.left_s(now) <= 0]:
                del self._known[key]
            mine = [key for key, each in self._known.items() if each.token.digest == token.digest]
            if len(mine) >= EACH or len(self._known) >= ALL:
                del self._known[mine[0] if len(mine) >= EACH else next(iter(self._known))]
            self._known[_key(secret)] = Session(token, secrets.token_urlsafe(32), now, now)
        return secret

    def find(self, secret: str, *, use: bool = True) -> Session | None:
        """The session of this secret, if it lives and its token still counts. `use`: it lives on from now."""
        now = self.clock()
        with self._lock:
            session = self._known.get(_key(secret))
            if session is None:
                return None
            current = next((each for each in self._tokens.all() if each.digest == session.token.digest), None)
            if current is None or session.left_s(now) <= 0:
                del self._known[_key(secret)]
                return None
            session.token = current
            if use:
                session.used = now
            return session

    def count(self, token: Token) -> int:
        """How many sessions of this token live."""
        now = self.clock()
        with self._lock:
            return sum(each.token.digest == token.digest and each.left_s(now) > 0 for each in self._known.values())

    def end(self, secret: str) -> None:
        """This one ends."""
        with self._lock:
            self._known.pop(_key(secret), None)

    def end_all(self, token: Token) -> None:
        """All of this token end."""
        with self._lock:
            for key in [key for key, each in self._known.items() if each.token.digest == token.digest]:
                del self._known[key]


def _key(secret: str) -> str:
    """What is kept of a secret, and what is looked up: how long that takes tells nothing of the secret."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
