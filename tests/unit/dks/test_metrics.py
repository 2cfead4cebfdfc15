"""What the DKS counts."""

from __future__ import annotations

import pytest

from agents.dks.core import DksCore
from agents.dks.status import as_text
from agents.policy.domain import Settings
from agents.runtime.control import CommandRefused
from testbed.simulation.network import Network, ring


def dks(network: Network) -> DksCore:
    core = network.nodes["dks"].core
    assert isinstance(core, DksCore)
    return core


def running() -> Network:
    network = Network(ring(3), settings=Settings(validity_s=1 << 33, issuer="dks", local_key_server=False), dks=True)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    return network


def test_metrics_say_what_the_record_says() -> None:
    pytest.importorskip("prometheus_client", reason="the layer `metrics` is not there; lab test makes it")
    network = running()
    lines = dks(network).command(["metrics"], network.now)["text"].splitlines()
    for exchange in ("IKE_SA_INIT", "GSA_AUTH", "GSA_REGISTRATION"):
        seen = len(network.seen("request", "dks", exchange=exchange))
        assert f'dks_requests_total{{exchange="{exchange}",retransmission="false"}} {seen}.0' in lines
    assert 'dks_registrations_total{kind="control"} 3.0' in lines
    assert 'dks_registrations_total{kind="group"} 24.0' in lines
    assert "dks_paced_total 0.0" in lines
    assert "dks_groups 12.0" in lines and "dks_connected_routers 3.0" in lines
    for line in lines:
        assert line.startswith(("# HELP dks_", "# TYPE dks_", "dks_"))


def test_status_names_groups_with_their_members() -> None:
    network = running()
    found = dks(network).command(["status"], network.now)
    assert found["connected"] == ["r1", "r2", "r3"]
    assert found["groups"]["example/r1/r1-e0/ospf"]["members"] == ["r1", "r2"]


def test_an_unknown_command_is_refused() -> None:
    network = running()
    with pytest.raises(CommandRefused):
        dks(network).command(["dance"], network.now)


def test_status_is_a_page_for_people_that_names_who_is_away() -> None:
    many = [f"r{number}" for number in range(20)]
    found = {
        "name": "dks", "domain": "example", "routers": 22, "connected": ["a", "b"], "not_connected": many,
        "revocation_version": 0, "ike_sas": 3, "half_open": 1, "confirmed": {"complete": 2, "of": 22},
        "groups": {"example/a/e0/ospf": {"generation": 4, "members": ["b"], "apart": ["c"]}},
        "workers": {"serving": 1, "of": 2},
    }  # fmt: skip
    page = as_text(found)
    assert "connected: 2 (a, b)" in page and "not connected: 20 (r0, " in page and "and 8 more)" in page
    assert "confirmed: 2 of 22" in page and "generation 4; members b, by GSA_REKEY c" in page
    assert "workers: 1 of 2 answer" in page and "revocation list none" in page
