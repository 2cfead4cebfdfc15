"""Routers as far from each other as a topology can say, with loss and reordering: keyed, rekeyed, booted again."""

from __future__ import annotations

import pytest

from agents.ikev2.registry import Flag
from agents.policy.domain import Settings
from testbed.simulation.network import Network
from testbed.simulation.parties import key
from testbed.simulation.wires import Passing

PAIR = {"ab": ("a", "b")}
LAN = {"lan": ("a", "b", "c", "d")}
EXCHANGES = 3
"""Until two neighbours with two protocols hear each other: IKE_SA_INIT, IKE_INTERMEDIATE, GSA_AUTH for all groups."""
AFTER_REBOOT = 6.5 / EXCHANGES
"""Whoever stayed learns of a neighbour's boot from its GSA_AUTH, and then begins itself."""


def far(network: Network, delay_s: float, jitter: float = 0.0) -> Network:
    network.wires.delay_s, network.wires.jitter = delay_s, jitter
    return network


def bound_s(delay_s: float, loss: float, jitter: float = 0.0) -> float:
    """Until all are keyed: three round trips and half a second. Loss costs further ones of the later exchanges."""
    longest_s = 2 * delay_s * (1 + jitter)
    return EXCHANGES * longest_s + 0.5 + (loss > 0) * (10 + 6 * longest_s)


@pytest.mark.parametrize("delay_s", [0.001, 0.1, 0.3, 1, 3, 6, 9.999])
@pytest.mark.parametrize("segments", [PAIR, LAN], ids=["pair", "lan"])
def test_keyed_after_three_round_trips(segments: dict[str, tuple[str, ...]], delay_s: float) -> None:
    network = far(Network(segments), delay_s)
    network.power_on_all()
    assert network.run(bound_s(delay_s, 0), network.all_keyed), network.now
    assert not network.seen("ike", state="timeout")


@pytest.mark.parametrize("delay_s", [0.001, 0.3, 3, 10])
@pytest.mark.parametrize("loss", [0.1, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_keyed_in_spite_of_loss_and_reordering(delay_s: float, loss: float, seed: int) -> None:
    network = far(Network(PAIR, seed=seed, loss=loss), delay_s, jitter=0.5)
    network.power_on_all()
    assert network.run(bound_s(delay_s, loss, 0.5), network.all_keyed), network.now


@pytest.mark.parametrize("delay_s", [1, 6, 10])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_rekeys_and_reboots_over_a_long_way(delay_s: float, loss: float) -> None:
    network = far(Network(PAIR, loss=loss, seed=3), delay_s, jitter=0.2)
    network.power_on_all()
    bound = bound_s(delay_s, loss, 0.2)
    assert network.run(bound, network.all_keyed)
    for _time in range(5):
        network.command("a", "rekey")
        began = network.now
        while network.now < began + 2 * bound:
            network.run(network.now + delay_s)
            assert network.hears("b", "a"), "the old generation is sent with until the neighbour has the new one"
    network.power_off("b")
    network.run(network.now + 5)
    network.power_on("b")
    assert network.run(network.now + AFTER_REBOOT * bound, network.all_keyed)
    network.run(network.now + 400)
    assert network.all_keyed()


def test_the_second_handshake_knows_how_long_the_way_is() -> None:
    network = far(Network(PAIR), 6)
    network.power_on_all()
    network.run(200, network.all_keyed)
    for _time in range(6):
        network.command("a", "rekey")
        network.run(network.now + 60)
    network.power_off("b")
    network.run(network.now + 1)
    requests: list[Passing] = []

    def note(passing: Passing) -> Passing:
        if passing.sender == "a" and not passing.datagram.data[19] & Flag.RESPONSE:
            requests.append(passing)
        return passing

    network.wires.tap = note
    network.power_on("b")
    began = network.now
    assert network.run(began + AFTER_REBOOT * bound_s(6, 0), network.all_keyed)
    assert len(requests) <= 30, "a router that knows nothing of the way sends 100"


def test_a_way_that_becomes_long_is_measured_anew() -> None:
    network = far(Network(PAIR), 0.002)
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    network.wires.delay_s = 10
    network.command("a", "rekey")
    network.run(400)
    network.command("b", "rekey")
    network.run(800)
    assert network.all_keyed()
    timeouts = len(network.seen("ike", state="timeout"))
    network.command("a", "rekey")
    network.run(1200)
    assert network.all_keyed() and len(network.seen("ike", state="timeout")) == timeouts


def test_a_router_with_many_far_neighbours_has_room_for_their_handshakes() -> None:
    names = tuple(f"r{number}" for number in range(1, 9))
    network = far(Network({"lan": names}, loss=0.2), 5, jitter=0.5)
    network.power_on_all()
    assert network.run(bound_s(5, 0.2, 0.5), network.all_keyed), network.now


@pytest.mark.parametrize("issuer", ["dks", "lks"])
def test_routers_far_from_the_dks_get_its_policy(issuer: str) -> None:
    settings = Settings.model_validate(
        {"validity_s": 1 << 33, "issuer": issuer, "reconnect": {"first_min_s": 1, "first_max_s": 5}}
    )
    network = far(Network(PAIR, settings=settings, dks=True, loss=0.1), 10, jitter=0.2)
    network.power_on_all()
    assert network.run(300, lambda: len(network.seen("dks_contact", ok=True)) == 2)


@pytest.mark.parametrize(("delay_s", "after_s"), [(0.002, 0.1), (0.1, 0.8), (0.4, 3.2)])
def test_a_boot_waits_for_the_keys_of_a_neighbour_that_is_far(delay_s: float, after_s: float) -> None:
    network = far(Network(PAIR), delay_s)
    network.power_on_all()
    assert network.run(10, lambda: len(network.seen("ready", keyed=True)) == 2)
    assert network.now <= after_s + 0.01


def test_a_boot_waits_a_second_for_a_neighbour_that_is_off() -> None:
    network = far(Network(LAN), 0.002)
    for name in "abc":
        network.power_on(name)
    network.run(20)
    assert {each.t for each in network.seen("ready")} == {1.0}


def test_a_neighbour_that_is_refused_holds_a_boot_up_no_longer_than_its_attempt_lasts() -> None:
    network = far(Network(LAN), 0.002)
    network.keys = lambda name: key("another") if name == "b" else key(name)
    network.power_on_all()
    network.run(20)
    assert len(network.seen("ready")) == 4 and max(each.t for each in network.seen("ready")) < 2.5


@pytest.mark.parametrize(
    ("local_key_server", "delay_s", "loss"),
    [(False, 0.002, 0.0), (False, 10, 0.0), (False, 10, 0.3), (True, 0.002, 0.0), (True, 10, 0.0), (True, 10, 0.1)],
)
def test_keys_of_a_dks_far_away_follow_each_other_without_a_gap(
    local_key_server: bool, delay_s: float, loss: float
) -> None:
    settings = Settings.model_validate(
        {
            **{"validity_s": 1 << 33, "issuer": "dks", "local_key_server": local_key_server},
            **{"lifetimes": {"group_s": 600}, "reconnect": {"first_min_s": 1, "first_max_s": 5}},
        }
    )
    network = far(Network({"lan": ("a", "b", "c")}, settings=settings, dks=True, loss=loss), delay_s, jitter=0.2)
    network.power_on_all()
    assert network.run(400, network.all_keyed)
    end = network.now + 3 * 600
    while network.now < end:
        network.run(network.now + 5)
        assert network.all_keyed()
    assert len(network.seen("issued" if local_key_server else "rekeyed", "dks")) >= 3 * 6
