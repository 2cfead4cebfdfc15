"""A removed router: how its neighbours come to know, what it can do meanwhile, and what survives a power failure."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from agents.gikev2 import notifies
from agents.ikev2 import Request
from agents.lks.core import LksCore
from agents.lks.retained import DOCUMENT
from agents.policy import edit
from agents.policy.bound import Case, removal_bound
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from agents.policy.errors import PolicyError
from agents.policy.revocation import FILE, Revocations, make_list, sign_list
from agents.runtime.control import CommandRefused
from testbed.simulation.network import Network, ring
from testbed.simulation.parties import POLICY_SERVER, key
from testbed.simulation.wires import Passing

SETTINGS = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=5, first_max_s=20))
LATE = Settings(validity_s=1 << 33, reconnect=Reconnect(first_min_s=5000, first_max_s=9000))
LAN = {"lan": ("a", "b", "c", "d")}


def line(count: int, *last: str) -> dict[str, tuple[str, str]]:
    names = [*(f"r{number}" for number in range(1, count + 1)), *last]
    return {f"{a}--{b}": (a, b) for a, b in pairwise(names)}


def keyed(network: Network) -> Network:
    network.power_on_all()
    assert network.run(2, network.all_keyed)
    return network


def out(network: Network, removed: str) -> Callable[[], bool]:
    """Whether no router accepts anything of `removed` any more."""
    return lambda: not any(network.hears(name, removed) for name in network.routers if name != removed)


def versions(network: Network, *names: str) -> list[int]:
    return [network.command(name, "status")["revocation_version"] for name in names]


# -- spreading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuer", ["lks", "dks"])
def test_without_the_dks_a_list_passes_a_line_of_six_and_the_last_drops_the_removed_router(issuer: str) -> None:
    network = keyed(Network(line(6, "x"), settings=LATE.model_copy(update={"issuer": issuer})))
    (limit,) = (each.total_s for each in removal_bound(network.domain, "x", Case.NEIGHBORS))
    assert limit is not None
    began = network.now
    network.hand_over("r1", network.remove("x"))
    assert network.run(began + limit, out(network, "x"))
    assert network.now - began < 0.2  # five steps of two milliseconds and their answers
    network.run(network.now + 1)
    assert versions(network, *(f"r{number}" for number in range(1, 7))) == [1] * 6
    others = [pair for pair in network.adjacencies() if "x" not in pair]
    assert all(network.hears(a, b) and network.hears(b, a) for a, b in map(sorted, others))


@pytest.mark.parametrize("seed", range(6))
def test_a_list_passes_through_loss_and_disorder_within_the_bound(seed: int) -> None:
    network = Network(line(6, "x"), settings=LATE, loss=0.2, duplicate=0.1, overtake=0.1, seed=seed)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    (limit,) = (each.total_s for each in removal_bound(network.domain, "x", Case.NEIGHBORS))
    assert limit is not None
    network.hand_over("r1", network.remove("x"))
    assert network.run(network.now + limit, out(network, "x"))


def test_the_list_goes_around_the_removed_router_and_not_through_it() -> None:
    network = keyed(Network(ring(6), settings=LATE))
    # r1 is removed and keeps everything that reaches it.
    network.hand_over("r2", network.remove("r1"))
    assert network.run(network.now + 1, out(network, "r1"))
    assert versions(network, "r1") == [0] and versions(network, "r6") == [1]


def test_the_dks_pushes_a_list_to_whoever_is_connected_and_refuses_the_removed() -> None:
    network = keyed(Network(ring(4), settings=SETTINGS, dks=True))
    network.run(60)
    assert len(network.command("dks", "status")["connected"]) == 4
    began = network.now
    network.remove("r1")
    assert network.run(began + 3, out(network, "r1"))
    network.run(began + 300)
    assert network.command("dks", "status")["connected"] == ["r2", "r3", "r4"]
    assert versions(network, "r2", "r3", "r4") == [1, 1, 1]
    assert not network.seen("revocation", "r1", origin="dks")


def test_a_router_that_visits_the_dks_later_gets_the_list_with_its_policy() -> None:
    network = keyed(Network(line(2, "x"), settings=SETTINGS, dks=True))
    network.power_off("dks")
    network.remove("x")
    network.power_on("dks")
    assert network.run(60, out(network, "x"))
    assert network.run(60, lambda: bool(network.seen("revocation", "r2", version=1)))


def test_a_dks_that_missed_a_removal_learns_it_from_a_router_and_keeps_it() -> None:
    network = keyed(Network(line(2, "x"), settings=SETTINGS, dks=True))
    signed = network.remove("x")
    network.revocation, network.fresh = None, []  # an old folder
    network.hand_over("r1", signed)
    network.run(60)
    assert network.command("dks", "status")["revocation_version"] == 1
    network.power_off("dks")
    network.power_on("dks")
    assert network.command("dks", "status")["revocation_version"] == 1
    network.run(400)
    assert "x" not in network.command("dks", "status")["connected"]


def test_a_router_that_was_off_during_a_removal_hears_of_it_from_its_first_neighbour() -> None:
    network = keyed(Network({**line(2, "x")}, settings=LATE))
    network.power_off("r2")
    network.hand_over("r1", network.remove("x"))
    network.power_on("r2")
    began = network.now
    assert network.run(began + 2, lambda: network.hears("r2", "r1") and out(network, "x")())
    network.run(began + 30)
    assert out(network, "x")()


def test_on_a_lan_the_others_stay_keyed_and_every_key_that_the_removed_router_had_is_gone() -> None:
    network = keyed(Network(LAN, settings=LATE))
    had = {(sa.spi, sa.keymat) for sa in network.nodes["d"].kernel.sas}  # type: ignore[union-attr]
    limit = max(each.delays_s for each in removal_bound(network.domain, "d", Case.NEIGHBORS))
    network.hand_over("a", network.remove("d"))
    network.run(network.now + 1 + limit)
    for name in ("a", "b", "c"):
        kernel = network.nodes[name].kernel
        assert kernel is not None and not had & {(sa.spi, sa.keymat) for sa in kernel.sas}
    assert all(network.hears(a, b) for a in "abc" for b in "abc" if a != b)
    assert not network.seen("error", what="revocation")


def test_a_removed_router_that_gets_the_list_itself_hears_nobody() -> None:
    network = keyed(Network(line(1, "x", "r2"), settings=LATE))
    network.hand_over("x", network.remove("x"))
    network.run(network.now + 1)
    assert network.command("x", "status")["revoked"]
    kernel = network.nodes["x"].kernel
    assert kernel is not None and not [sa for sa in kernel.sas if not sa.outbound]


# -- a removed router that does its worst -----------------------------------------------------------------------------


def test_a_removed_router_is_not_let_in_again_however_often_it_starts() -> None:
    network = keyed(Network(line(2, "x"), settings=LATE))
    network.hand_over("r2", network.remove("x"))
    network.run(network.now + 1)
    for _start in range(3):
        network.power_off("x")
        network.power_on("x")
        network.run(network.now + 20)
        assert not network.hears("r2", "x") and not network.hears("x", "r2")
    began = network.now - 59
    assert not [each for each in network.seen("member", "r2", peer="x") if each.t > began]


def test_a_removed_router_that_relays_old_documents_and_lists_changes_nothing() -> None:
    """It keeps the IKE SA to a neighbour that has not heard, and feeds it what it has."""
    network = keyed(Network(line(2, "x"), settings=LATE))
    old_list = network.list_of(edit.remove_router(network.domain, "r1"))
    assert old_list is not None
    network.domain = edit.remove_router(network.domain, "r1")
    network.hand_over("r2", old_list)  # version 1: r1
    network.run(network.now + 1)
    signed = network.remove("x")  # version 2: r1 and x
    core = network.nodes["x"].core
    assert isinstance(core, LksCore)
    link = next(iter(core.link.values()))
    sa = link._endpoint.sas(core._context.party("r2"))[0]
    forged = sign_list(make_list("example", 9, 0, ()), key("x"))
    for data in (old_list, forged, network.signed["r2"], b"", signed[:-1]):
        link._endpoint.request(sa, 37, Request([notifies.revocation(data)]), network.now)
        link._drain(network.now)
        network.after(network.nodes["x"])
        network.run(network.now + 1)
    assert versions(network, "r2") == [1] and network.hears("r2", "x")
    assert len(network.seen("error", "r2", what="revocation")) == 4
    network.hand_over("r2", signed)
    network.run(network.now + 1)
    assert not network.hears("r2", "x")


def test_a_lower_list_and_a_second_one_of_the_same_version_are_refused_and_said() -> None:
    network = keyed(Network(ring(4), settings=LATE))
    first = network.remove("r1")
    second = network.remove("r3")
    network.hand_over("r2", second)
    with pytest.raises(CommandRefused, match="rejected: "):
        network.hand_over("r2", first)
    other = network.list_of(edit.remove_router(edit.remove_router(Network(ring(4)).domain, "r1"), "r4"))
    assert other is not None
    with pytest.raises(CommandRefused, match="rejected: "):
        network.hand_over("r2", other)
    network.run(network.now + 1)
    assert network.seen("error", "r2", what="revocation", peer="administrator")
    with pytest.raises(CommandRefused, match="base64"):
        network.command("r2", "revocation", "!")


def test_two_neighbours_with_different_lists_of_one_version_both_say_so() -> None:
    network = Network({"a--b": ("a", "b"), "b--c": ("b", "c"), "a--d": ("a", "d")}, settings=LATE)
    domain = network.domain
    for name, gone in (("a", "c"), ("b", "d")):
        signed = network.list_of(edit.remove_router(domain, gone))
        assert signed is not None
        network.nodes[name].files[FILE] = signed
    network.power_on_all()
    network.run(3)
    assert network.seen("error", "a", what="revocation", peer="b")
    assert network.seen("error", "b", what="revocation", peer="a")


def test_an_altered_list_on_its_way_is_not_taken() -> None:
    """IKE would notice; the signature does too, should a neighbour alter it."""
    network = keyed(Network(line(3, "x"), settings=LATE))
    signed = bytearray(network.remove("x"))
    signed[-1] ^= 1
    with pytest.raises(CommandRefused):
        network.command("r1", "revocation", base64.b64encode(signed).decode())
    assert versions(network, "r1", "r2", "r3") == [0, 0, 0]


# -- power ------------------------------------------------------------------------------------------------------------


def effects_of_a_removal() -> int:
    network = keyed(Network(line(3, "x"), settings=LATE))
    before = network.nodes["r3"].effects
    network.hand_over("r1", network.remove("x"))
    network.run(network.now + 1)
    return network.nodes["r3"].effects - before


@pytest.mark.parametrize("effect", range(effects_of_a_removal()))
def test_power_that_fails_between_any_two_steps_of_a_removal_lets_nobody_back_in(effect: int) -> None:
    network = keyed(Network(line(3, "x"), settings=LATE))
    node = network.nodes["r3"]
    node.crash_at = node.effects + effect
    network.hand_over("r1", network.remove("x"))
    network.run(network.now + 1)
    if node.core is None:
        network.power_on("r3")
        if FILE in node.files:
            assert versions(network, "r3") == [1]
    node.crash_at = None
    assert network.run(network.now + 30, lambda: network.hears("r3", "r2") and network.hears("r2", "r3"))
    network.run(network.now + 1)
    assert versions(network, "r3") == [1] and out(network, "x")()
    since = network.now
    network.run(since + 30)
    assert not any(
        sa.speaker.exploded.endswith("2") and sa.interface == "r3-e1" and not sa.outbound
        for when, kernel in node.kernels
        if when > since
        for sa in kernel.sas
    )


def test_a_list_is_on_the_disk_before_the_kernel_or_a_neighbour_notices() -> None:
    network = keyed(Network(line(2, "x"), settings=LATE))
    core = network.nodes["r2"].core
    assert isinstance(core, LksCore)
    core.command(["revocation", base64.b64encode(network.remove("x")).decode()], network.now)
    kinds = [type(each).__name__ for each in core.take()]
    assert kinds.index("Persist") == 0 and "Kernel" in kinds
    assert kinds.index("Kernel") > max(place for place, kind in enumerate(kinds) if kind == "Persist")


@pytest.mark.parametrize("left", ["older", "none"])
def test_a_list_that_was_put_back_to_an_older_one_or_taken_away_stops_the_router(left: str) -> None:
    network = keyed(Network(ring(4), settings=LATE))
    first = network.remove("r1")
    network.hand_over("r3", network.remove("r2"))
    network.power_off("r3")
    files = network.nodes["r3"].files
    if left == "older":
        files[FILE] = first
    else:
        del files[FILE]
    with pytest.raises(PolicyError, match="version 2 was in force"):
        network.power_on("r3")


def test_an_old_document_with_a_newer_list_has_no_removed_neighbour() -> None:
    network = keyed(Network(ring(3), settings=LATE))
    before = network.nodes["r2"].files[DOCUMENT]
    network.hand_over("r2", network.remove("r1"))
    network.power_off("r2")
    assert network.nodes["r2"].files[DOCUMENT] == before
    network.power_on("r2")
    assert [each.router for each in network.lks("r2").document.interfaces[0].neighbors] == []


def test_a_short_cut_in_the_line_delays_a_list_and_does_not_lose_it() -> None:
    network = keyed(Network(line(4, "x"), settings=LATE))
    network.wires.cut.add("r2--r3")
    network.hand_over("r1", network.remove("x"))
    network.run(network.now + 100)
    assert network.hears("r4", "x") and versions(network, "r2", "r3") == [1, 0]
    network.wires.cut.clear()
    assert network.run(network.now + 5, out(network, "x"))


# -- keys from the DKS ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("documents", [True, False])
def test_with_keys_from_the_dks_a_removed_router_is_out_and_the_others_get_new_keys(documents: bool) -> None:
    """Also where the list comes without new documents, as it does from a router."""
    central = {"issuer": "dks", "local_key_server": False, "lifetimes": Lifetimes(group_s=3600)}
    settings = SETTINGS.model_copy(update=central)
    network = Network(LAN, settings=settings, dks=True)
    network.power_on_all()
    assert network.run(10, network.all_keyed)
    had = {(sa.spi, sa.keymat) for sa in network.nodes["d"].kernel.sas}  # type: ignore[union-attr]
    began = network.now
    network.remove("d")
    if not documents:
        network.fresh = []
    network.run(began + 20)
    assert out(network, "d")()
    for name in ("a", "b", "c"):
        kernel = network.nodes[name].kernel
        assert kernel is not None and not had & {(sa.spi, sa.keymat) for sa in kernel.sas}
    assert all(network.hears(a, b) for a in "abc" for b in "abc" if a != b)


def test_a_tapped_summary_of_another_length_is_said_and_costs_nothing() -> None:
    held = Revocations("example", POLICY_SERVER.public_key())
    assert held.version == 0
    network = Network({"a--b": ("a", "b")}, settings=LATE)
    seen: list[Passing] = []
    network.wires.tap = lambda passing: seen.append(replace(passing)) or passing
    network.power_on_all()
    assert network.run(2, network.all_keyed)
    core = network.nodes["b"].core
    assert isinstance(core, LksCore)
    link = next(iter(core.link.values()))
    sa = link._endpoint.sas(core._context.party("a"))[0]
    payload = notifies.policy_summary(notifies.PolicySummary(1, 0, bytes(32)))
    short = replace(payload, data=payload.data[:-1])
    link._endpoint.request(sa, 37, Request([short]), network.now)
    link._drain(network.now)
    network.after(network.nodes["b"])
    network.run(network.now + 1)
    assert network.seen("error", "a", what="revocation", peer="b") and network.all_keyed()
