"""dks.toml: where the DKS's files and its address are."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from agents.runtime.settings import ConfigError, Table

MAX_WORKERS = 64


@dataclass(frozen=True)
class DksConfig:
    """`documents`: a folder with every router's signed document, ROUTER.cose each. `policy_url`, `policy_token` (a
    file) and `policy_ca`: where the Policy Server's API is asked for them, if it is. `rate`, `burst`: how many
    registrations are served in a second, and at once; others are told to come back. `workers`: how many processes
    serve them."""

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
    policy_url: str = ""
    policy_token: Path | None = None
    policy_ca: Path | None = None
    rate: int = 500
    burst: int = 2000
    workers: int = 1


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
        policy_url=table.text("policy_url", ""),
        policy_token=table.optional_path("policy_token"),
        policy_ca=table.optional_path("policy_ca"),
        rate=table.number("rate", 500, 1, 1_000_000),
        burst=table.number("burst", 2000, 1, 1_000_000),
        workers=table.number("workers", 1, 1, MAX_WORKERS),
    )
    table.finish()
    if bool(config.policy_url) != (config.policy_token is not None):
        raise ConfigError(f"{path}: policy_url and policy_token are given both or not at all")
    if config.listen:
        try:
            ip_address(config.listen)
        except ValueError as error:
            raise ConfigError(f"{path}: listen is {config.listen!r}\n  allowed: an IPv4 or IPv6 address") from error
    return config
