"""A router that was off for a season comes back, takes the newer document, and is heard; whatever had ended by then."""

from __future__ import annotations

import pytest

from agents.lks.lease import CLOCKS_DIFFER_S, Lease
from agents.lks.retained import DOCUMENT
from agents.policy.document import Lease as LeasePolicy
from agents.policy.document import Reconnect
from agents.policy.domain import Settings
from testbed.simulation.network import Network

DAY = 86400
ROW = {"one": ("a", "b"), "two": ("b", "c")}
SETTINGS = Settings(
    reconnect=Reconnect(first_min_s=5, first_max_s=20, max_s=100),
    lease=LeasePolicy(seconds=30 * DAY, at_end="close"),
    validity_s=90 * DAY,
)


def network(*, dks: bool = True) -> Network:
    net = Network(ROW, settings=SETTINGS, dks=dks)
    net.power_on_all()
    net.run(net.now + 120)
    assert net.all_keyed()
    return net


def later(net: Network, days: float) -> None:
    """So much time has passed by all clocks on the wall. What ran has seen none of it pass."""
    net.wall_offset += days * DAY


def away(net: Network, days: int) -> None:
    """`a` is off for so long. The Policy Server signs documents anew meanwhile, the last time ten days ago."""
    net.power_off("a")
    for passed in (days - 10, 10):
        later(net, passed)
        if passed != 10:
            net.renew()
            net.run(net.now + 60)


@pytest.mark.parametrize("days", [91, 400])
def test_a_router_that_was_off_takes_the_newer_document_and_is_heard(days: int) -> None:
    net = network()
    away(net, days)
    newest = net.documents["a"].version
    assert net.lks("b").document.version == net.documents["b"].version > 1, "the others had each one in its time"
    net.power_on("a")
    assert net.lks("a").document.expires_at <= net.wall_offset + net.now, "its own document has ended"
    net.run(net.now + 120)
    assert net.lks("a").document.version == newest and net.all_keyed()


@pytest.mark.parametrize("days", [91, 400])
def test_so_does_one_whose_clock_says_1970(days: int) -> None:
    net = network()
    away(net, days)
    net.wall_offset = -net.now  # the clocks of all routers begin anew
    net.power_on("a")
    net.run(net.now + 120)
    assert net.lks("a").document.version == net.documents["a"].version and net.all_keyed()


def test_and_one_that_comes_to_a_network_whose_own_documents_have_ended() -> None:
    net = network()
    net.power_off("a")
    net.renew()
    later(net, 400)  # and nobody has renewed anything since
    net.power_on("a")
    net.run(net.now + 120)
    assert net.lks("a").document.version == net.documents["a"].version
    assert net.documents["a"].expires_at < net.wall_offset + net.now and net.all_keyed()


def test_a_renewed_document_changes_nothing_of_the_keys_in_use() -> None:
    net = network()
    before = {name: net.nodes[name].kernel for name in net.routers}
    net.renew()
    net.run(net.now + 60)
    assert {name: net.lks(name).document.version for name in net.routers} == dict.fromkeys(net.routers, 2)
    assert net.all_keyed()
    for name, kernel in before.items():
        now = net.nodes[name].kernel
        assert kernel is not None and now is not None and kernel.sas == now.sas


def test_a_router_without_a_way_to_the_dks_has_a_lease_again_from_the_document_that_it_is_given() -> None:
    net = network(dks=False)
    net.power_off("a")
    later(net, 91)
    net.power_on("a")
    net.run(net.now + 120)
    assert net.lks("a").command(["status"], net.now)["lease_left_s"] == 0 and not net.hears("a", "b")
    net.renew()
    net.lks("a").take_document(net.signed["a"], net.now)
    net.run(net.now + 120)
    assert net.lks("a").command(["status"], net.now)["lease_left_s"] > 29 * DAY and net.hears("a", "b")


def lease(left_s: float, wall_s: float) -> Lease:
    made = Lease(None, first=True, seconds=left_s, wall=lambda: wall_s, emit=lambda _effect: None)
    made.start(0.0)
    return made


@pytest.mark.parametrize(
    ("issued_at", "left_s"),
    [
        (1000 * DAY, 30 * DAY),
        (990 * DAY, 20 * DAY),
        (971 * DAY, 5 * DAY),  # less than what is left
        (900 * DAY, 5 * DAY),  # older than a lease: a copy that somebody kept
        (1000 * DAY + CLOCKS_DIFFER_S, 30 * DAY),
        (1000 * DAY + CLOCKS_DIFFER_S + 1, 5 * DAY),  # later than our clock: it cannot tell how old that is
    ],
)
def test_a_document_gives_a_lease_from_when_it_was_signed_and_not_from_when_it_came(
    issued_at: int, left_s: int
) -> None:
    held = lease(5 * DAY, 1000 * DAY)
    held.granted(int(issued_at), 30 * DAY, 0.0)
    assert held.left(0.0) == left_s


def test_a_document_that_was_in_force_before_gives_no_lease_again_after_a_reboot() -> None:
    net = network(dks=False)
    net.power_off("a")
    later(net, 91)
    net.power_on("a")
    net.run(net.now + 10)
    net.power_off("a")
    net.wall_offset = 0.0  # set back to when the document was signed
    net.power_on("a")
    net.run(net.now + 60)
    assert net.lks("a").command(["status"], net.now)["lease_left_s"] == 0 and not net.hears("a", "b")


def test_a_document_put_into_the_folder_while_the_router_was_down_gives_one() -> None:
    net = network(dks=False)
    net.power_off("a")
    later(net, 91)
    net.renew()
    net.nodes["a"].files[DOCUMENT] = net.signed["a"]
    net.power_on("a")
    net.run(net.now + 60)
    assert net.lks("a").command(["status"], net.now)["lease_left_s"] > 29 * DAY and net.hears("a", "b")
