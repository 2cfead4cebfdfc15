"""The lease: what counts, what survives a reboot, and what its end does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.lks.lease import _KIND, LEASE, WRITE_FRACTION, Lease
from agents.policy import cbor
from agents.policy.document import Lease as LeasePolicy
from agents.policy.document import Reconnect
from agents.policy.domain import Settings
from agents.runtime.effects import Persist
from agents.runtime.storage import seal
from testbed.simulation.network import Network

PAIR = {"a--b": ("a", "b")}
WHOLE = 1000
SLACK = WHOLE * WRITE_FRACTION
CLOSE = Settings(
    validity_s=1 << 33,
    lease=LeasePolicy(seconds=WHOLE, at_end="close"),
    reconnect=Reconnect(first_min_s=3, first_max_s=5, max_s=10),
)
ALONE = CLOSE.model_copy(
    update={"reconnect": Reconnect(first_min_s=WHOLE // 2, first_max_s=WHOLE // 2, max_s=WHOLE // 2)}
)


def left(network: Network, name: str = "a") -> float:
    return float(network.command(name, "status")["lease_left_s"])


def alone(settings: Settings = ALONE) -> Network:
    network = Network(PAIR, settings=settings)
    network.power_on_all()
    assert network.run(2, network.all_keyed)
    return network


# -- one life ---------------------------------------------------------------------------------------------------------


def test_a_lease_that_ends_closed_takes_every_key_out_of_the_kernel() -> None:
    network = alone()
    network.run(WHOLE - 1)
    assert network.all_keyed()
    network.run(WHOLE + 1)
    kernel = network.nodes["a"].kernel
    assert kernel is not None and not kernel.sas and kernel.interfaces
    assert network.seen("error", "a", what="lease")


def test_a_lease_that_ends_open_is_an_alarm_and_nothing_else() -> None:
    network = alone(ALONE.model_copy(update={"lease": LeasePolicy(seconds=WHOLE, at_end="open")}))
    network.run(WHOLE + 10)
    assert network.seen("error", "a", what="lease") and network.all_keyed()


def test_a_router_that_stays_connected_to_the_dks_keeps_its_lease_for_ever() -> None:
    network = Network(PAIR, settings=CLOSE, dks=True)
    network.power_on_all()
    for moment in range(100, 5 * WHOLE, 100):
        network.run(moment)
        assert left(network) > WHOLE * 0.9
    assert network.all_keyed() and not network.seen("error", what="lease")


def test_a_dks_that_dies_unnoticed_renews_nothing() -> None:
    network = Network(PAIR, settings=CLOSE, dks=True)
    network.power_on_all()
    network.run(500)
    network.power_off("dks")
    network.run(500 + WHOLE)
    assert left(network) == 0 and not network.all_keyed()
    network.power_on("dks")
    assert network.run(network.now + 60, network.all_keyed)


# -- several lives ----------------------------------------------------------------------------------------------------


def test_time_without_power_counts_by_the_wall_clock() -> None:
    network = alone()
    network.run(300)
    network.stop("a")
    network.run(500)
    network.power_on("a")
    assert WHOLE - 502 <= left(network) <= WHOLE - 500


def test_a_power_failure_costs_no_less_than_the_uptime_since_the_last_record() -> None:
    network = alone()
    network.run(300)
    network.power_off("a")
    network.power_on("a")
    assert WHOLE - 300 - SLACK - 2 <= left(network) <= WHOLE - 300


@pytest.mark.parametrize("step", [-1e6, -200.0, 0.0])
def test_a_clock_set_back_prolongs_no_lease(step: float) -> None:
    network = alone()
    network.run(300)
    network.stop("a")
    network.wall_offset += step
    network.run(310)
    network.power_on("a")
    assert left(network) <= WHOLE - 300


def test_a_clock_set_forward_ends_the_lease() -> None:
    network = alone()
    network.stop("a")
    network.wall_offset += WHOLE
    network.power_on("a")
    network.run(network.now + 1)
    kernel = network.nodes["a"].kernel
    assert left(network) == 0 and kernel is not None and not kernel.sas


def test_a_router_that_fails_again_and_again_under_a_clock_that_stands_still_runs_out_of_lease() -> None:
    network = alone()
    lived = 0.0
    for _life in range(200):
        network.power_off("a")
        network.power_on("a")
        network.wall_offset -= 3
        network.run(network.now + 3)
        lived += 3
        assert left(network) <= max(0.0, WHOLE - lived)
        if left(network) == 0:
            return
    pytest.fail("the lease never ended")


def test_damaged_or_missing_records_are_a_lease_that_is_over() -> None:
    for record in (b"", b"nonsense", None):
        network = alone()
        network.power_off("a")
        if record is None:
            del network.nodes["a"].files[LEASE]
        else:
            network.nodes["a"].files[LEASE] = record
        network.power_on("a")
        assert left(network) == 0


def test_a_lease_that_is_over_stays_over_through_a_reboot_until_the_dks_answers() -> None:
    network = Network(PAIR, settings=CLOSE, dks=True)
    network.power_on("a")
    network.run(WHOLE + 10)
    network.power_off("a")
    network.power_on("a")
    assert left(network) == 0
    network.power_on("dks")
    network.power_on("b")
    assert network.run(network.now + 60, network.all_keyed)
    assert left(network) > 900


def test_a_lease_is_written_a_few_dozen_times_at_most() -> None:
    written: list[Persist] = []
    lease = Lease(None, first=True, seconds=WHOLE, wall=lambda: 0.0, emit=written.append)
    lease.start(0.0)
    now = 0.0
    while (when := lease.next_timer()) is not None:
        now = when
        lease.tick(now)
    assert now == WHOLE and lease.over and len(written) <= 2 + 1 / WRITE_FRACTION


# -- records of any kind ----------------------------------------------------------------------------------------------


def reborn(record: bytes, wall_s: float) -> float:
    return Lease(record, first=False, seconds=WHOLE, wall=lambda: wall_s, emit=lambda _effect: None).left(0.0)


@given(record=st.binary(max_size=100), wall_s=st.floats(0, 1e12))
def test_octets_of_any_kind_are_no_lease(record: bytes, wall_s: float) -> None:
    assert reborn(record, wall_s) == 0.0


@given(
    values=st.dictionaries(
        st.sampled_from(["left_s", "slack_s", "wall_s", "x"]), st.integers() | st.booleans() | st.text(max_size=3)
    ),
    wall_s=st.floats(0, 1e12),
)
def test_a_sealed_record_of_any_form_is_a_lease_at_most(values: dict[str, object], wall_s: float) -> None:
    assert 0.0 <= reborn(seal(_KIND, cbor.encode(values)), wall_s) <= WHOLE


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(st.floats(0, 300), st.floats(-1e4, 1e4), st.booleans()), max_size=12))
def test_no_order_of_lives_stops_and_clock_steps_makes_more_uptime_than_the_lease(
    steps: list[tuple[float, float, bool]],
) -> None:
    """`steps`: seconds that a life lasts, the clock's step after it, whether it ends in order."""
    now, offset, record, lived = 0.0, 1e6, None, 0.0
    for length, step, in_order in steps:
        kept: list[bytes] = []
        lease = Lease(
            record,
            first=record is None,
            seconds=WHOLE,
            wall=lambda: now + offset,  # noqa: B023
            emit=lambda effect: kept.append(effect.data),  # noqa: B023
        )
        lease.start(now)
        end = now + length
        while not lease.over and (when := lease.next_timer()) is not None and when <= end:
            lived += when - now
            now = when
            lease.tick(now)
        if not lease.over:
            lived += end - now
        now = end
        if in_order:
            lease.stop(now)
        offset += step
        record = kept[-1]
        assert lived <= WHOLE + 1e-6
