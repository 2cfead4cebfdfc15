"""A DKS that has a crowd wait: who was asked to stay away does, and comes back."""

from __future__ import annotations

from agents.policy import edit
from agents.policy.document import Lifetimes, Reconnect
from agents.policy.domain import Settings
from testbed.simulation.network import Network

SOON = Reconnect(first_min_s=1, first_max_s=3, max_s=5)
LINE = {"a--b": ("a", "b"), "b--c": ("b", "c")}


def paced(rate: float, burst: int, *, issuer: str = "lks", local_key_server: bool = True) -> Network:
    settings = Settings(
        validity_s=1 << 33,
        issuer=issuer,  # type: ignore[arg-type]
        local_key_server=local_key_server,
        lifetimes=Lifetimes(group_s=600),
        reconnect=SOON,
    )
    network = Network(LINE, settings=settings, dks=True)
    network.pace = (rate, burst)
    network.power_on_all()
    return network


def connected(network: Network) -> set[str]:
    return set(network.command("dks", "status")["connected"])


def test_a_router_that_had_to_wait_for_its_policy_asks_again_and_is_told_of_the_next_one() -> None:
    network = paced(0.1, 1)
    network.run(5)
    assert len(network.seen("paced")) == 2 and len(connected(network)) == 1
    network.run(60)
    assert connected(network) == {"a", "b", "c"}
    changed = network.domain.settings.model_copy(update={"lifetimes": Lifetimes(group_s=500)})
    network.publish(edit.with_settings(network.domain, changed))
    network.run(70)
    assert {network.lks(name).document.lifetimes.group_s for name in "abc"} == {500}


def test_groups_that_had_to_wait_are_not_asked_for_before_their_time() -> None:
    network = paced(2, 3, issuer="dks", local_key_server=False)
    assert network.run(60, network.all_keyed)
    asked = sorted([*network.seen("paced"), *network.seen("registered", "dks")], key=lambda each: each.t)
    waits: dict[tuple[str, str], float] = {}
    for each in asked:
        place = (each.fields["peer"], each.fields["group"])
        assert each.t >= waits.get(place, 0.0)
        if each.kind == "paced":
            waits[place] = each.t + each.fields["wait_s"] - 0.5
    assert waits


def test_a_wait_outlives_the_contact_in_which_it_was_asked_for() -> None:
    network = paced(0.05, 1)
    network.run(5)
    waiting = sorted({each.fields["peer"] for each in network.seen("paced")})
    asked = {each.fields["peer"]: each.t + each.fields["wait_s"] for each in network.seen("paced")}
    network.power_off("dks")
    network.power_on("dks")  # IKE SAs are gone, what was asked for is not
    network.run(200)
    for name in waiting:
        later = [each.t for each in network.seen("registered", "dks", peer=name)]
        assert later and min(later) >= asked[name] - 0.5
