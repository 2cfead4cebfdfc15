"""A router whose key is revoked and that a rollback brought back into the draft can be removed, or given a new key."""

from __future__ import annotations

from ipaddress import IPv6Address
from types import ModuleType

import pytest
from pydantic import ValidationError

from agents.policy import edit, steps
from agents.policy.domain import Domain
from agents.policy.keys import spki
from tests.unit.policy.test_domain import lan_domain


def rolled_back(samples: ModuleType) -> Domain:
    before = lan_domain(samples)
    return before.model_copy(update={"revoked_routers": edit.remove_router(before, "r1").revoked_routers})


def test_it_is_revoked_once_however_often_it_is_removed(samples: ModuleType) -> None:
    assert len(edit.remove_router(rolled_back(samples), "r1").revoked_routers) == 1


def test_it_is_revoked_once_when_it_gets_a_new_key(samples: ModuleType) -> None:
    again = edit.replace_router(rolled_back(samples), "r1", spki(samples.private_key("another")))
    assert len(again.revoked_routers) == 1


def test_a_link_local_address_with_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="without %eth0"):
        steps.AddInterface(
            at=steps.End(router="r1", interface="x"), address=None, link_local=IPv6Address("fe80::1%eth0")
        )
