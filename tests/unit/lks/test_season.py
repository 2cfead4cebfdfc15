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
    found = Network(ROW, settings=SETTINGS, dks=dks)
    found.power_on_all()
    found.run(found.now + 120)
    assert found.all_keyed()
    return found


def later(found: Network, days: float) -> None:
    """So much time has passed by all clocks on the wall. What ran has seen none of it pass."""
    found.wall_offset += days * DAY


def away(found: Network, days: int) -> None:
    """`a` is off for so long. The Policy Server signs documents anew meanwhile, the last time ten days ago."""
    found.power_off("a")
    for passed in (days - 10, 10):
        later(found, passed)
        if passed != 10:
            found.renew()
            found.run(found.now + 60)


@pytest.mark.parametrize("days", [91, 400])
def test_a_router_that_was_off_takes_the_newer_document_and_is_heard(days: int) -> None:
    found = network()
    away(found, days)
    newest = found.documents["a"].version
    assert found.lks("b").document.version == found.documents["b"].version > 1, "the others had each one in its time"
    found.power_on("a")
    assert found.lks("a").document.expires_at <= found.wall_offset + found.now, "its own document has ended"
    found.run(found.now + 120)
    assert found.lks("a").document.version == newest and found.all_keyed()


@pytest.mark.parametrize("days", [91, 400])
def test_so_does_one_whose_clock_says_1970(days: int) -> None:
    found = network()
    away(found, days)
    found.wall_offset = -found.now  # the clocks of all routers begin anew
    found.power_on("a")
    found.run(found.now + 120)
    assert found.lks("a").document.version == found.documents["a"].version and found.all_keyed()


def test_and_one_that_comes_to_a_network_whose_own_documents_have_ended() -> None:
    found = network()
    found.power_off("a")
    found.renew()
    later(found, 400)  # and nobody has renewed anything since
    found.power_on("a")
    found.run(found.now + 120)
    assert found.lks("a").document.version == found.documents["a"].version
    assert found.documents["a"].expires_at < found.wall_offset + found.now and found.all_keyed()


def test_a_renewed_document_changes_nothing_of_the_keys_in_use() -> None:
    found = network()
    before = {name: found.nodes[name].kernel for name in found.routers}
    found.renew()
    found.run(found.now + 60)
    assert {name: found.lks(name).document.version for name in found.routers} == dict.fromkeys(found.routers, 2)
    assert found.all_keyed()
    for name, kernel in before.items():
        now = found.nodes[name].kernel
        assert kernel is not None and now is not None and kernel.sas == now.sas


def test_a_router_without_a_way_to_the_dks_has_a_lease_again_from_the_document_that_it_is_given() -> None:
    found = network(dks=False)
    found.power_off("a")
    later(found, 91)
    found.power_on("a")
    found.run(found.now + 120)
    assert found.lks("a").command(["status"], found.now)["lease_left_s"] == 0 and not found.hears("a", "b")
    found.renew()
    found.lks("a").take_document(found.signed["a"], found.now)
    found.run(found.now + 120)
    assert found.lks("a").command(["status"], found.now)["lease_left_s"] > 29 * DAY and found.hears("a", "b")


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
    found = network(dks=False)
    found.power_off("a")
    later(found, 91)
    found.power_on("a")
    found.run(found.now + 10)
    found.power_off("a")
    found.wall_offset = 0.0  # set back to when the document was signed
    found.power_on("a")
    found.run(found.now + 60)
    assert found.lks("a").command(["status"], found.now)["lease_left_s"] == 0 and not found.hears("a", "b")


def test_a_document_put_into_the_folder_while_the_router_was_down_gives_one() -> None:
    found = network(dks=False)
    found.power_off("a")
    later(found, 91)
    found.renew()
    found.nodes["a"].files[DOCUMENT] = found.signed["a"]
    found.power_on("a")
    found.run(found.now + 60)
    assert found.lks("a").command(["status"], found.now)["lease_left_s"] > 29 * DAY and found.hears("a", "b")
