"""lks.toml. What the router does is in its signed document; here is only where things are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.runtime.settings import Table


@dataclass(frozen=True)
class LksConfig:
    """`clock`: a laboratory's file with the wall clock's offset. `socket`: where `status` is answered.
    `timings`: put on record how long the kernel's changes take."""

    name: str
    domain: str
    identity: Path
    policy_server_key: Path
    state_dir: Path
    socket: Path | None = None
    events: Path | None = None
    clock: Path | None = None
    port: int = 848
    timings: bool = False


def read_config(path: Path) -> LksConfig:
    """From TOML. ConfigError."""
    table = Table(path)
    config = LksConfig(
        name=table.text("name"),
        domain=table.text("domain"),
        identity=table.path("identity"),
        policy_server_key=table.path("policy_server_key"),
        state_dir=table.path("state_dir"),
        socket=table.optional_path("socket"),
        events=table.optional_path("events"),
        clock=table.optional_path("clock"),
        port=table.number("port", 848, 1, 65535),
        timings=table.flag("timings"),
    )
    table.finish()
    return config
