"""The bound on a removal: what it is made of, and that its constants are those of the agents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import pytest

from agents.dks import core as dks
from agents.ikev2 import Retransmission
from agents.ipsec.protection import Mode
from agents.lks import dks_link, link
from agents.policy import bound, edit
from agents.policy.bound import Case, pair_bound, removal_bound
from agents.policy.cli import main
from agents.policy.document import Lease, Lifetimes, Reconnect
from agents.policy.domain import Domain, Settings
from agents.policy.errors import PolicyError
from agents.policy.store import PolicyStore
from testbed.simulation.network import Network, ring

CLOSE = Settings(
    lifetimes=Lifetimes(group_s=600, atd_s=2, dtd_s=5),
    lease=Lease(seconds=10_000, at_end="close"),
    reconnect=Reconnect(first_min_s=1, first_max_s=60, max_s=100, jitter=0.5),
)


def line(count: int) -> dict[str, tuple[str, str]]:
    names = [f"r{number}" for number in range(1, count + 1)]
    return {f"{a}--{b}": (a, b) for a, b in pairwise(names)}


def domain(segments: Mapping[str, Sequence[str]], settings: Settings = CLOSE) -> Domain:
    return edit.with_settings(Network(segments).domain, settings)


def totals(of: Domain, router: str, case: Case, **left: float) -> dict[str, float | None]:
    return {each.router: each.total_s for each in removal_bound(of, router, case, left)}


def whole(schedule: Retransmission) -> float:
    return sum(schedule.delay(number) for number in range(schedule.tries + 1))


def test_the_bounds_constants_are_those_that_the_agents_use() -> None:
    assert bound.DKS_POLL_S == dks.POLL_S
    assert pytest.approx(whole(link.RETRANSMISSION), abs=0.01) == bound.HOP_S
    assert pytest.approx(whole(dks_link.PATIENT), abs=0.01) == bound.VISIT_S
    core = Network(ring(3), dks=True)
    core.power_on("dks")
    running = core.nodes["dks"].core
    assert isinstance(running, dks.DksCore)
    assert pytest.approx(whole(running._endpoint.config.retransmission), abs=0.01) == bound.DKS_PUSH_S


def test_with_the_dks_the_push_decides_and_between_visits_the_next_visit() -> None:
    assert totals(domain(ring(4)), "r1", Case.DKS) == dict.fromkeys(("r2", "r4"), 2 + 2 * bound.DKS_PUSH_S + 7)
    assert totals(domain(ring(4)), "r1", Case.VISIT)["r2"] == 2 + 150 + 2 * bound.VISIT_S + 7


def test_without_the_dks_it_is_the_longest_way_around_the_removed_router() -> None:
    assert totals(domain(ring(6)), "r1", Case.NEIGHBORS)["r2"] == 4 * 2 * bound.HOP_S + 7
    found = {each.router: each.hops for each in removal_bound(domain(line(6)), "r2", Case.NEIGHBORS)}
    assert found == {"r1": None, "r3": 3}


def test_a_neighbour_that_hears_of_nobody_else_is_bounded_by_its_lease_alone() -> None:
    assert totals(domain(line(3)), "r2", Case.NEIGHBORS) == {"r1": 10_000, "r3": 10_000}
    assert totals(domain(ring(3)), "r1", Case.ISOLATED, r2=17) == {"r2": 17, "r3": 10_000}


def test_a_short_lease_ends_a_router_before_anybody_tells_it() -> None:
    assert totals(domain(ring(4)), "r1", Case.DKS, r2=3)["r2"] == 3


def test_nobody_is_given_more_than_the_whole_lease() -> None:
    assert totals(domain(ring(3)), "r1", Case.ISOLATED, r2=1e9)["r2"] == 10_000


def test_a_lease_that_ends_open_bounds_nothing() -> None:
    of = domain(ring(3), CLOSE.model_copy(update={"lease": Lease(seconds=100, at_end="open")}))
    assert totals(of, "r1", Case.ISOLATED) == {"r2": None, "r3": None}
    assert totals(of, "r1", Case.DKS)["r2"] == 2 + 2 * bound.DKS_PUSH_S + 7


def test_on_a_lan_the_removed_router_has_the_keys_of_others_until_they_expire() -> None:
    (first, *_rest) = removal_bound(domain({"lan": ("a", "b", "c")}), "a", Case.DKS)
    assert first.keys_s == 600 and first.total_s == 2 + 2 * bound.DKS_PUSH_S + 607


def test_where_no_key_is_asked_there_is_no_bound() -> None:
    of = edit.set_mode(domain(ring(3)), "r2", "r2-e0", Mode.PERMISSIVE)
    assert totals(of, "r1", Case.DKS)["r2"] is None and totals(of, "r1", Case.DKS)["r3"] is not None


def test_without_local_key_servers_neighbours_tell_nothing_whoever_makes_the_keys() -> None:
    by_dks = domain(ring(4), CLOSE.model_copy(update={"issuer": "dks"}))
    assert totals(by_dks, "r1", Case.NEIGHBORS) == totals(domain(ring(4)), "r1", Case.NEIGHBORS)
    central = domain(ring(4), CLOSE.model_copy(update={"issuer": "dks", "local_key_server": False}))
    assert totals(central, "r1", Case.NEIGHBORS)["r2"] == 10_000


def test_routers_that_have_a_pair_with_the_removed_one_are_bounded_too_and_drop_its_keys_at_once() -> None:
    of = edit.set_point(domain(line(4)), "r4", IPv4Address("10.4.4.4"))
    of = edit.set_sources(of, "r1", [IPv4Address("10.1.1.1")])
    (pair,) = pair_bound(of, "r1", Case.DKS)
    assert (pair.router, pair.keys_s, pair.delays_s) == ("r4", 0, 0)
    assert pair.total_s == 2 + 2 * bound.DKS_PUSH_S
    (handed,) = pair_bound(of, "r1", Case.NEIGHBORS)
    assert handed.total_s == 2 * 2 * bound.HOP_S and handed.hops == 2
    assert [each.total_s for each in pair_bound(of, "r1", Case.ISOLATED, {"r4": 9})] == [9]
    everybody = bound.explain(of, "r1")["cases"]["dks"]["neighbors"]
    assert [(each["router"], each["interface"]) for each in everybody] == [("r2", "r2-e0"), ("r4", "PIM pair")]
    (eased,) = pair_bound(edit.set_points_mode(of, Mode.PERMISSIVE), "r1", Case.DKS)
    assert eased.total_s is None and "no key" in eased.why
    assert bound.explain(edit.set_points_mode(of, Mode.PERMISSIVE), "r1")["cases"]["dks"]["total_s"] is None


def test_the_command_explains_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of = domain(ring(4))
    PolicyStore.create(tmp_path / "s", of).close()
    monkeypatch.setenv("POLICY_STORE", str(tmp_path / "s"))

    def run(*words: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(["router", "remove", *words])
        assert isinstance(end.value.code, int)
        return end.value.code

    assert run("r1", "--explain", "--lease-left", "r2=30", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cases"]["isolated"]["neighbors"][0]["total_s"] == 30
    assert found["cases"]["dks"]["total_s"] == totals(of, "r1", Case.DKS)["r4"]
    assert run("r1", "--explain") == 0
    assert "list 53.872 s" in capsys.readouterr().out
    assert PolicyStore(tmp_path / "s").draft() == of
    assert run("nobody", "--explain") == 2
    assert run("r1", "--explain", "--lease-left", "r2=soon") == 2
    with pytest.raises(PolicyError):
        removal_bound(of, "nobody", Case.DKS)
