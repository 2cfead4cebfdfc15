"""dks.toml: where things are, and how fast routers may come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.runtime.settings import Table


@dataclass(frozen=True)
class DksConfig:
    """`rate`: registrations a second; `burst`: how many at once. `documents`: a folder of ROUTER.cose."""

    name: str
    domain: str
    identity: Path
    policy_server_key: Path
    state_dir: Path
    documents: Path
    listen: str = ""
    events: Path | None = None
    clock: Path | None = None
    port: int = 848
    rate: int = 200
    burst: int = 1000


def read_config(path: Path) -> DksConfig:
    """From TOML. ConfigError."""
    table = Table(path)
    config = DksConfig(
        name=table.text("name", "dks"),
        domain=table.text("domain"),
        identity=table.path("identity"),
        policy_server_key=table.path("policy_server_key"),
        state_dir=table.path("state_dir"),
        documents=table.path("documents"),
        listen=table.text("listen", ""),
        events=table.optional_path("events"),
        clock=table.optional_path("clock"),
        port=table.number("port", 848, 1, 65535),
        rate=table.number("rate", 200, 1, 1_000_000),
        burst=table.number("burst", 1000, 1, 1_000_000),
    )
    table.finish()
    return config
