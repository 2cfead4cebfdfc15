"""dks.toml: where the DKS's files and its address are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.runtime.settings import Table


@dataclass(frozen=True)
class DksConfig:
    """`documents`: a folder with every router's signed document, ROUTER.cose each."""

    name: str
    domain: str
    identity: Path
    policy_server_key: Path
    documents: Path
    state_dir: Path
    listen: str = ""
    port: int = 848
    socket: Path | None = None
    events: Path | None = None
    clock: Path | None = None


def read_config(path: Path) -> DksConfig:
    """From TOML. ConfigError."""
    table = Table(path)
    config = DksConfig(
        name=table.text("name", "dks"),
        domain=table.text("domain"),
        identity=table.path("identity"),
        policy_server_key=table.path("policy_server_key"),
        documents=table.path("documents"),
        state_dir=table.path("state_dir"),
        listen=table.text("listen", ""),
        port=table.number("port", 848, 1, 65535),
        socket=table.optional_path("socket"),
        events=table.optional_path("events"),
        clock=table.optional_path("clock"),
    )
    table.finish()
    return config
