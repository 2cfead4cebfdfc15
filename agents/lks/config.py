"""lks.toml. The signed document says what the router does; this file only names paths and addresses."""

from __future__ import annotations

from pathlib import Path

from agents.policy.document import DomainName, RouterName
from agents.runtime.settings import Address, FilePath, Port, Settings, read_settings


class LksConfig(Settings):
    """`clock`: a laboratory's file with the wall clock's offset. `socket`: where `status` is answered. `timings`:
    record how long the kernel's changes take. `metrics_port`, `metrics_address`: where Prometheus may ask over HTTP; no
    port, no metrics."""

    name: RouterName
    domain: DomainName
    identity: FilePath
    policy_server_key: FilePath
    state_dir: FilePath
    socket: FilePath | None = None
    events: FilePath | None = None
    clock: FilePath | None = None
    port: Port = 848
    timings: bool = False
    metrics_port: Port | None = None
    metrics_address: Address = "127.0.0.1"


def read_config(path: Path) -> LksConfig:
    """From TOML. ConfigError."""
    return read_settings(path, LksConfig)
