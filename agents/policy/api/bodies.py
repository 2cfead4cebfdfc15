"""What the API takes: every body with its bounds. Knows nothing of what is done with it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy.steps import MAX_STEPS, EditStep
from agents.policy.store import MAX_REASON

Why = Annotated[str, Field(min_length=1, max_length=MAX_REASON)]
Version = Annotated[int, Field(ge=0, lt=1 << 63)]
Words = Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=10_000)]
Without = Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=1000)]
AtOnce = Annotated[int, Field(ge=1, le=100_000)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Edits(_Body):
    """`draft`: the digest that GET /v1/draft gave; without it, whatever the draft is now."""

    steps: Annotated[tuple[EditStep, ...], Field(min_length=1, max_length=MAX_STEPS)]
    draft: Digest | None = None


class Commit(_Body):
    """`expected`: the version that must be the last one now. `draft`: the digest of the draft that was looked at."""

    why: Why
    expected: Version
    draft: Digest | None = None


class Problem(BaseModel):
    """An error. `allowed`: values that are accepted. `next_command`: the verb of `policy` to try next, on the server.
    `details`: the fields of a request that are not valid. `held` and `waiting_for`: of a step that waits for
    confirmations. `problems`: a sentence each."""

    error: str
    allowed: str | None = None
    next_command: str | None = None
    details: tuple[dict[str, str], ...] | None = None
    held: bool | None = None
    waiting_for: dict[str, Any] | None = None
    problems: tuple[str, ...] | None = None


class Rollback(_Body):
    """Which version the draft shall be."""

    version: Version


class Plan(_Body):
    """What to deploy: routers or ROUTER:INTERFACE; everything when empty."""

    segments: Words = ()
    to: Mode = Mode.REQUIRED
    protocols: tuple[RoutingProtocol, ...] = Field(
        default=(), max_length=len(RoutingProtocol), description="These alone; all when empty."
    )
    at_once: AtOnce = 1


class Start(Plan):
    """`without`: routers that are not waited for."""

    without: Without = ()


class Next(_Body):
    """The next step."""

    without: Without = ()


class Back(Next):
    """Turn round."""

    to: Mode = Mode.CLEAR
    at_once: AtOnce | None = None
