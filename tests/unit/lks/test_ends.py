"""Every key that an LKS has in the kernel has an end there, and the lease is one of them."""

from __future__ import annotations

import pytest

from agents.ipsec.plan import GRACE_S
from agents.policy.document import Lease, Reconnect
from agents.policy.domain import Settings
from testbed.simulation.network import Network

PAIR = {"a--b": ("a", "b")}
LIFE_S, DTD_S = 60, 5


def ends(network: Network, name: str = "a") -> set[int]:
    """Seconds after which the kernel of this router ends each SA by itself, from when it was asked for."""
    kernel = network.nodes[name].kernel
    assert kernel is not None
    found = {each.lifetime.hard_add_s for each in kernel.wanted(network.now).associations}
    assert found
    return found


@pytest.fixture
def settings() -> Settings:
    plain = Settings(validity_s=1 << 33)
    lifetimes = plain.lifetimes.model_copy(update={"group_s": LIFE_S, "atd_s": 1, "dtd_s": DTD_S})
    return plain.model_copy(update={"lifetimes": lifetimes})


@pytest.mark.parametrize("issuer", ["lks", "dks", "central"])
def test_every_sa_of_a_router_ends_in_its_kernel_with_its_key_whatever_becomes_of_the_agent(
    settings: Settings, issuer: str
) -> None:
    update = {"issuer": "lks" if issuer == "lks" else "dks", "local_key_server": issuer != "central"}
    network = Network(PAIR, settings=settings.model_copy(update=update), dks=issuer != "lks")
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    for _ in range(40):  # over rekeys, too
        network.run(network.now + 5)
        for name in PAIR["a--b"]:
            assert max(ends(network, name)) <= LIFE_S + DTD_S + GRACE_S + 1
            assert min(ends(network, name)) >= GRACE_S


def test_an_orderly_stop_leaves_the_keys_for_the_next_start_and_their_ends_with_them(settings: Settings) -> None:
    network = Network(PAIR, settings=settings)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    before = network.nodes["a"].kernel
    core = network.nodes["a"].core
    assert core is not None
    core.stop(network.now)
    network.after(network.nodes["a"])
    assert network.nodes["a"].kernel is before
    assert max(ends(network)) <= LIFE_S + DTD_S + GRACE_S


SOON = Reconnect(first_min_s=90, first_max_s=91, max_s=100)


def test_a_lease_that_ends_closed_ends_every_sa_in_the_kernel_and_one_that_is_renewed_prolongs_them() -> None:
    settings = Settings(validity_s=1 << 33, lease=Lease(seconds=300, at_end="close"), reconnect=SOON)
    assert settings.lifetimes.group_s > 300
    network = Network(PAIR, settings=settings, dks=True)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    assert ends(network) <= {300 + GRACE_S, 299 + GRACE_S}
    network.run(80)
    assert ends(network) == {300 - 80 + GRACE_S}
    network.run(120)  # the DKS has been asked, and goes on being asked
    assert max(ends(network)) >= 300 - 20 + GRACE_S
    assert len(network.nodes["a"].kernels) < 30, "the kernel is told of a renewal, and nothing else"


def test_a_lease_that_ends_open_ends_no_key() -> None:
    settings = Settings(validity_s=1 << 33, lease=Lease(seconds=300, at_end="open"), reconnect=SOON)
    network = Network(PAIR, settings=settings)
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    assert min(ends(network)) > 300 + GRACE_S


@pytest.mark.parametrize("issuer", ["lks", "dks", "central"])
def test_sas_that_others_took_out_are_followed_by_new_generations_and_no_old_one_comes_back(
    settings: Settings, issuer: str
) -> None:
    update = {"issuer": "lks" if issuer == "lks" else "dks", "local_key_server": issuer != "central"}
    network = Network(PAIR, settings=settings.model_copy(update=update), dks=issuer != "lks")
    network.power_on_all()
    assert network.run(30, network.all_keyed)
    node = network.nodes["a"]
    assert node.kernel is not None
    before = {each.keymat for each in node.kernel.sas if each.outbound}
    network.lks("a").lost(network.now)
    network.after(node)
    kernels = len(node.kernels)
    assert network.run(network.now + 5, lambda: network.lks("a")._all_keyed() and network.all_keyed())
    sent = {each.keymat for _at, kernel in node.kernels[kernels - 1 :] for each in kernel.sas if each.outbound}
    assert sent and not sent & before
