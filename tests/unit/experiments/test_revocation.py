"""Whom the experiment `revocation` removes, and when it says that nobody accepts a router any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import networkx
import pytest

from agents.policy.domain import Domain, Settings
from experiments.revocation import Choice, Revocation, accepted_until
from testbed.errors import InputError
from testbed.keying.provision import domain_of
from testbed.runner.experiment import Measures, Table
from testbed.topology.load import load


def sa(t: int, spi: int, change: str, direction: str = "in") -> dict[str, Any]:
    return {"t": t, "spi": f"{spi:#010x}", "destination": "224.0.0.5", "direction": direction, "change": change}


def run_with(*events: dict[str, Any]) -> Any:
    return SimpleNamespace(where=lambda *_words: list(events), folder="run")


@pytest.fixture(scope="module")
def domain() -> Domain:
    topology = load("ring:6")
    return domain_of(topology, 1, topology.dks.address, Settings(validity_s=1 << 33))


@pytest.mark.parametrize("spec", ["abilene", "ring:6"])
def test_the_network_hangs_together_without_each_router_that_is_removed(spec: str) -> None:
    topology = load(spec)
    try:
        chosen = Choice(topology)
    except InputError:
        assert spec == "ring:6"  # without one router a ring is a line, and only its ends can be spared
        return
    graph = networkx.Graph(topology.graph())
    for name in (chosen.first, chosen.second):
        graph.remove_node(name)
        assert networkx.is_connected(graph.subgraph(set(topology.routers) & set(graph)))
    assert graph.has_edge(chosen.third, chosen.friend)
    assert topology.dks.router not in (*chosen.removed().values(), chosen.friend)
    assert len({*chosen.removed().values(), chosen.friend, *chosen.rest}) == len(topology.routers)


def test_a_router_is_accepted_until_the_last_of_its_sas_leaves_the_kernel(domain: Domain) -> None:
    spi = domain.router("r1").spi.base
    run = run_with(sa(1, spi, "added"), sa(2, spi + 1, "added"), sa(50, spi, "removed"), sa(70, spi + 1, "removed"))
    assert accepted_until(run, domain, "r1", "r2", 10) == 70


def test_sas_of_others_and_outbound_ones_do_not_count(domain: Domain) -> None:
    spi, other = domain.router("r1").spi.base, domain.router("r3").spi.base
    mine = (sa(1, spi, "added"), sa(50, spi, "removed"))
    run = run_with(*mine, sa(60, other, "added"), sa(61, spi + 2, "added", "out"))
    assert accepted_until(run, domain, "r1", "r2", 10) == 50


def test_an_sa_that_stays_or_comes_back_is_never_given_up(domain: Domain) -> None:
    spi = domain.router("r1").spi.base
    run = run_with(sa(1, spi, "added"), sa(50, spi, "removed"), sa(60, spi, "added"))
    assert accepted_until(run, domain, "r1", "r2", 10) is None


def test_a_neighbour_that_never_heard_the_removed_router_is_no_evidence(domain: Domain) -> None:
    with pytest.raises(InputError, match="never heard"):
        accepted_until(run_with(), domain, "r1", "r2", 10)


@pytest.mark.parametrize(("seen", "ok"), [(5.0, True), (11.0, False), (None, False)])
def test_it_is_judged_by_the_bound(seen: float | None, ok: bool) -> None:
    names = ("DKS reachable", "DKS down", "isolated")
    extra: dict[str, float | None] = {}
    for name in names:
        extra |= {f"{name}, s": seen, f"bound, {name}, s": 10.0}
    table = Table({"lks": [Measures(seen, 1, 1, extra=extra)]})
    assert [each.ok for each in Revocation().judge(table)] == [ok] * 3
