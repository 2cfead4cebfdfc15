"""dks.toml: the DKS's files and addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic import AfterValidator, model_validator

from agents.dks.policy_http import PolicyServerError, address_of
from agents.policy.document import DomainName, RouterName
from agents.runtime.settings import Address, FilePath, Port, Settings, read_settings

MAX_WORKERS = 64
MAX_RATE = 1_000_000


def _url(text: str) -> str:
    if text:
        try:
            address_of(text)
        except PolicyServerError as error:
            raise ValueError(f"https://HOST[:PORT], or http:// to a loopback address ({error})") from error
    return text


class DksConfig(Settings):
    """`documents`: a folder with every router's signed document, ROUTER.cose each. `policy_url`, `policy_token` (a
    file) and `policy_ca`: the Policy Server's API, if the DKS fetches documents from it. `rate`, `burst`: registrations
    served in a second, and at once; further ones are deferred. `workers`: the number of serving processes.
    `metrics_port`, `metrics_address`: where Prometheus may ask over HTTP; no port, no metrics."""

    name: RouterName = "dks"
    domain: DomainName
    identity: FilePath
    policy_server_key: FilePath
    documents: FilePath
    state_dir: FilePath
    listen: Address = ""
    port: Port = 848
    metrics_port: Port | None = None
    metrics_address: Address = "127.0.0.1"
    socket: FilePath | None = None
    events: FilePath | None = None
    clock: FilePath | None = None
    policy_url: Annotated[str, AfterValidator(_url)] = ""
    policy_token: FilePath | None = None
    policy_ca: FilePath | None = None
    rate: Annotated[int, Ge(1), Le(MAX_RATE)] = 500
    burst: Annotated[int, Ge(1), Le(MAX_RATE)] = 2000
    workers: Annotated[int, Ge(1), Le(MAX_WORKERS)] = 1

    @model_validator(mode="after")
    def _whole(self) -> DksConfig:
        if bool(self.policy_url) != (self.policy_token is not None):
            raise ValueError("policy_url and policy_token need each other")
        return self


def read_config(path: Path) -> DksConfig:
    """From TOML. ConfigError."""
    return read_settings(path, DksConfig)
