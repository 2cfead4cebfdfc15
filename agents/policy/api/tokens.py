"""Who may use the API: bearer tokens of 256 random bits, of which only the SHA-256 is kept.

A token has a name, which stands in the history for whoever uses it, and one role. A plain hash will do, because
nobody guesses 256 bits. Knows nothing of HTTP.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from agents.policy.errors import PolicyError
from agents.policy.keys import check_secret
from agents.policy.numbered import format_of
from agents.runtime import invalid
from agents.runtime.storage import open_regular, write_atomic

FILE = "tokens.json"
PREFIX = "rkp_"
MAX_TOKENS = 1000
MAX_OCTETS = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}\Z")


class Role(Enum):
    """What a token is for."""

    READ = "read"
    """See everything; change nothing."""
    WRITE = "write"
    """READ, and edit, commit, deploy."""
    CONFIRM = "confirm"
    """A DKS: fetch documents, hand in routers' confirmations; nothing else."""


class Token(BaseModel):
    """What is kept of one. `digest`: SHA-256 of the token, hex. Times: Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$")
    role: Role
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    made_at: int = Field(ge=0)


FORMAT = 2
"""Of the file; 1 was the list alone."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    tokens: tuple[Token, ...]


_LIST = TypeAdapter(tuple[Token, ...])


class TokenStore:
    """The tokens of one store's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def all(self) -> tuple[Token, ...]:
        """Those that count. PolicyError for a damaged file, or one that others may read."""
        try:
            with open_regular(self._path) as file:
                status = os.fstat(file.fileno())
                data = file.read(MAX_OCTETS)
        except FileNotFoundError:
            return ()
        check_secret(self._path, status, "tokens' file")
        try:
            if format_of(self._path, data, FORMAT) < FORMAT:
                return _LIST.validate_json(data)
            return _File.model_validate_json(data).tokens
        except ValidationError as error:
            reason = invalid.sentence(error.errors()[0], value=False)
            raise PolicyError(f"{self._path} holds no tokens: {reason}\n  next:    policy check") from error

    def add(self, name: str, role: Role, at: int) -> str:
        """A new token, shown this once. PolicyError when the name is taken or is none."""
        if not _NAME.match(name):
            raise PolicyError(f"{name!r} cannot be a token's name: letters, digits and . _ @ -, up to 63")
        with self._locked():
            known = self.all()
            if any(each.name == name for each in known):
                raise PolicyError(f"there is a token {name!r} already; the next step is: policy token revoke {name}")
            if len(known) >= MAX_TOKENS:
                raise PolicyError(f"there are {MAX_TOKENS} tokens already")
            token = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            self._write((*known, Token(name=name, role=role, digest=_digest(token), made_at=at)))
        return token

    def revoke(self, name: str) -> None:
        """It counts no more, at once. PolicyError when there is none."""
        with self._locked():
            known = self.all()
            kept = tuple(each for each in known if each.name != name)
            if len(kept) == len(known):
                raise PolicyError(f"there is no token {name!r}")
            self._write(kept)

    def find(self, given: str) -> Token | None:
        """Whose token this is. All are compared, each in constant time."""
        digest = _digest(given)
        token = None
        for each in self.all():
            if hmac.compare_digest(each.digest, digest):
                token = each
        return token

    def _write(self, tokens: tuple[Token, ...]) -> None:
        write_atomic(self._path, _File(tokens=tokens).model_dump_json(indent=1).encode(), 0o600)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
