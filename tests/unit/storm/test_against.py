"""The computed storm against guests of 4, 10, 20 and 50 routers, as it was measured and is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.setup.paths import PROJECT

KEPT: list[dict[str, Any]] = json.loads((PROJECT / "results" / "storm_at_scale" / "against.json").read_text())
SIZES = (4, 10, 20, 50)
REPEAT_S = 3.0
"""A datagram that finds no DKS yet is lost in one and waits for its address in the other: a router's longest wait."""
LKS_S = 0.1


def of(keying: str, routers: int) -> list[dict[str, Any]]:
    return [each for each in KEPT if (each["keying"], each["routers"]) == (keying, routers)]


@pytest.mark.parametrize("routers", SIZES)
def test_without_local_key_servers_the_dks_is_asked_the_same_and_routers_are_keyed_as_soon(routers: int) -> None:
    rows = of("central-mgmt", routers)
    assert rows
    for each in rows:
        assert each["guest"]["asked"] == each["computed"]["asked"]
        assert each["guest"]["asked"]["GSA_REGISTRATION"] == 8 * routers
        assert each["guest"]["keyed"] == each["computed"]["keyed"] == routers
        assert each["apart_s"]["most"] <= REPEAT_S


@pytest.mark.parametrize("routers", SIZES)
def test_with_local_key_servers_nobody_asks_in_the_first_minute_and_routers_are_keyed_as_soon(routers: int) -> None:
    rows = of("lks", routers)
    assert rows
    for each in rows:
        guest, computed = each["guest"], each["computed"]
        assert guest["first_60s"] == computed["first_60s"] == 0
        assert guest["asked"]["IKE_SA_INIT"] == computed["asked"]["IKE_SA_INIT"] == routers
        # In fragments in the guest, whose longer names make a router's state larger.
        assert computed["asked"]["GSA_AUTH"] % routers == guest["asked"]["GSA_AUTH"] % routers == 0
        assert guest["keyed"] == computed["keyed"] == routers
        assert each["apart_s"]["most"] <= LKS_S
