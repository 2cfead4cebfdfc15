"""Who asks, whether they may, and the store that is asked: what every address of the API depends on.

Knows no address.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from agents.policy import confirmation_folder
from agents.policy.api.tokens import Role, Token, TokenStore
from agents.policy.deploy import Deployer, Held, from_folder
from agents.policy.errors import PolicyError
from agents.policy.store import PolicyStore, Signer, VersionConflict

MAY = {
    Role.READ: frozenset({"read", "documents"}),
    Role.WRITE: frozenset({"read", "documents", "write"}),
    Role.CONFIRM: frozenset({"documents", "confirm"}),
}


def bearer(tokens: TokenStore, authorization: str) -> Token | None:
    """Whose token an Authorization header bears. PolicyError when the tokens cannot be read."""
    scheme, _, given = authorization.partition(" ")
    return tokens.find(given.strip()) if scheme.lower() == "bearer" else None


_BEARER = HTTPBearer(auto_error=False, description="A token of `policy token add`; the server keeps its SHA-256 alone.")


def _token(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Token:
    """What the guard found before it read the body."""
    token = request.state.token
    assert isinstance(token, Token)
    return token


def permit(token: Token, what: str) -> Token:
    """The token again, if its role allows this. HTTPException."""
    if what not in MAY[token.role]:
        raise HTTPException(403, f"a token of role {token.role.value} may not do that")
    return token


def _may(what: str) -> Callable[[Token], Token]:
    def check(token: Annotated[Token, Depends(_token)]) -> Token:
        return permit(token, what)

    return check


Reader = Annotated[Token, Depends(_may("read"))]
Fetcher = Annotated[Token, Depends(_may("documents"))]
Confirmer = Annotated[Token, Depends(_may("confirm"))]
Writer = Annotated[Token, Depends(_may("write"))]


def _folder(request: Request) -> Path:
    return Path(request.app.state.folder)


Folder = Annotated[Path, Depends(_folder)]


def opened(folder: Path) -> closing[PolicyStore]:
    """The store, for one request: SQLite's connections stay with their threads."""
    return closing(PolicyStore(folder))


def status_of(error: PolicyError) -> int:
    """Of an answer that says it."""
    return 409 if isinstance(error, VersionConflict | Held) else 422


def _signer(request: Request) -> Signer | None:
    signer: Signer | None = request.app.state.signer
    return signer


SignedBy = Annotated[Signer | None, Depends(_signer)]
"""Who signs what is committed over the API: None for the root key."""


def deployer(store: PolicyStore, signer: Signer | None = None) -> Deployer:
    """With the confirmations that came in over the API."""
    return Deployer(store, from_folder(store.folder / confirmation_folder.FOLDER), signer)
