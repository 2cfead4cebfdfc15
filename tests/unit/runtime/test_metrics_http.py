"""What Prometheus reads of a daemon, and what keeps whoever asks from holding it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agents.dks.core import DksCore
from agents.lks.core import LksCore
from agents.policy.domain import Settings
from agents.runtime.control import CommandRefused
from agents.runtime.effects import Event
from agents.runtime.metrics import MOST_SERIES, Counts, kernel, page
from agents.runtime.metrics_http import MAX_CLIENTS, MetricsServer
from testbed.simulation.network import Network, ring

pytest.importorskip("prometheus_client", reason="the layer `metrics` is not there; lab test makes it")
from prometheus_client.parser import text_string_to_metric_families


def sampled(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """All samples of a page, read as Prometheus does."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def network() -> Network:
    made = Network(ring(3), settings=Settings(validity_s=1 << 33, issuer="lks"), dks=True)
    made.power_on_all()
    assert made.run(2, made.all_keyed)
    return made


def core(network: Network, name: str) -> Any:
    found = network.nodes[name].core
    assert isinstance(found, LksCore | DksCore)
    return found


NAMED = {
    "r1": [
        "lks_build_info", "lks_neighbor_keyed", "lks_lease_left_seconds", "lks_group_age_seconds", "lks_rekeys_total",
        "lks_ike_sas", "lks_policy_version", "lks_revocation_version", "lks_dks_connected",
    ],
    "dks": [
        "dks_build_info", "dks_requests_total", "dks_ike_sas", "dks_half_open", "dks_transaction_seconds_total",
        "dks_confirmations_missing", "dks_router_list_version", "dks_router_document_version",
    ],
}  # fmt: skip


def test_a_page_has_what_the_issue_names_and_a_neighbour_that_goes_away_is_not_keyed() -> None:
    world = network()
    core(world, "r1").command(["rekey"], world.now)
    world.run(2)
    r1 = sampled(page(core(world, "r1").families(world.now)))
    assert set(r1["lks_neighbor_keyed"].values()) == {1.0} and len(r1["lks_neighbor_keyed"]) == 2
    assert all(0 <= age < 5 for age in r1["lks_group_age_seconds"].values())
    assert core(world, "r1").ailments(world.now) == []
    world.power_off("r2")
    world.run(600)
    r1 = sampled(page(core(world, "r1").families(world.now)))
    away = {dict(labels)["neighbor"] for labels, value in r1["lks_neighbor_keyed"].items() if not value}
    assert away == {"r2"}
    for name, names in NAMED.items():
        found = sampled(page(core(world, name).families(world.now)))
        assert set(names) <= set(found), set(names) - set(found)


def test_no_page_holds_more_series_than_its_bound_whatever_peers_say() -> None:
    counts = Counts("x", {"dropped": ("dropped_total", ("reason",), "Dropped.")})
    for number in range(10 * MOST_SERIES):
        counts.observe(Event("dropped", {"reason": f'{"long" * 100}\n{number}"\\'}))
        counts.observe(Event("dropped", {"reason": f'{number}"\n\\', "suppressed": 3}))
    (family,) = counts.families()
    assert len(family.samples) == MOST_SERIES + 1 and sum(value for _l, value in family.samples) == 40 * MOST_SERIES
    assert sum(sampled(page([family]))["x_dropped_total"].values()) == 40 * MOST_SERIES


def test_the_kernels_counters_are_shown_by_name(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("XfrmInError             \t2\nXfrmOutNoStates \t0\n")
    found = sampled(page(kernel("lks", tmp_path / "stat")))["lks_xfrm_errors_total"]
    assert found == {(("counter", "XfrmInError"),): 2.0, (("counter", "XfrmOutNoStates"),): 0.0}
    assert kernel("lks", tmp_path / "none") == []


def served(job: Callable[[int], Awaitable[None]], made: Callable[[], Awaitable[str]], wrong: list[str]) -> None:
    async def ailing() -> list[str]:
        return wrong

    async def all_of_it() -> None:
        server = MetricsServer("127.0.0.1", 0, made, ailing)
        port = await server.start()
        try:
            await job(port)
        finally:
            server.stop()

    asyncio.run(asyncio.wait_for(all_of_it(), 20))


async def asked(port: int, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    answer = await reader.read()
    writer.close()
    return answer


async def one() -> str:
    return "x 1\n"


def test_it_answers_two_addresses_and_refuses_all_else() -> None:
    wrong: list[str] = []

    async def job(port: int) -> None:
        end = b" HTTP/1.1\r\nHost: x\r\n\r\n"
        assert (await asked(port, b"GET /metrics?a=1" + end)).endswith(b"\r\n\r\nx 1\n")
        assert (await asked(port, b"GET /healthz" + end)).endswith(b"\r\n\r\nok\n")
        wrong.append("the lease is over")
        answer = await asked(port, b"GET /healthz" + end)
        assert answer.startswith(b"HTTP/1.1 503 ") and answer.endswith(b"the lease is over\n")
        assert (await asked(port, b"GET /etc/passwd" + end)).startswith(b"HTTP/1.1 404 ")
        assert (await asked(port, b"POST /metrics" + end)).startswith(b"HTTP/1.1 405 ")
        assert (await asked(port, b"HEAD /metrics" + end)).endswith(b"\r\n\r\n")
        assert await asked(port, b"A" * 100_000) == b""

    served(job, one, wrong)


def test_a_page_that_cannot_be_made_is_unavailable_and_not_the_end() -> None:
    async def none() -> str:
        raise CommandRefused("prometheus_client is not installed")

    async def job(port: int) -> None:
        for _ in range(2):
            answer = await asked(port, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 503 ") and b"not installed" in answer

    served(job, none, [])


def test_many_askers_cost_one_page_and_more_than_that_are_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    async def slow() -> str:
        nonlocal made
        made += 1
        return "x 1\n"

    monkeypatch.setattr("agents.runtime.metrics_http.PATIENCE_S", 0.5)

    async def job(port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CLIENTS)]
        assert (await asked(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        for reader, _writer in idle:
            assert await reader.read() == b""  # it was not waited for longer
        for _ in range(20):
            assert (await asked(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for _reader, writer in idle:
            writer.close()

    began = time.monotonic()
    served(job, slow, [])
    assert made <= 2 + (time.monotonic() - began)
