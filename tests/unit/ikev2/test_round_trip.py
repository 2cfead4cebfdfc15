"""RFC 6298's estimate with Karn's rule, and what it makes of the times of a request."""

from __future__ import annotations

import pytest

from agents.ikev2.round_trip import HANDSHAKE_S, LONGEST_S, Retransmission, RoundTrip

LINK = Retransmission(first_s=0.25, factor=1.8, cap_s=1.0, tries=10)


def measured(*round_trips: float) -> RoundTrip:
    way, now = RoundTrip(), 100.0
    for took_s in round_trips:
        way.answered([now], now + took_s)
        now += 50
    return way


def test_the_first_sample_counts_as_rfc_6298_says() -> None:
    assert measured(2.0).timeout_s == 2.0 + 4 * 1.0
    assert measured(0.01).timeout_s == pytest.approx(0.11), "no closer than the clock's granularity"


def test_later_samples_are_smoothed() -> None:
    # RTTVAR = 3/4 * 1 + 1/4 * |2 - 4|, SRTT = 7/8 * 2 + 1/8 * 4
    assert measured(2.0, 4.0).timeout_s == pytest.approx(2.25 + 4 * 1.25)
    assert measured(*[6.0] * 40).timeout_s == pytest.approx(6.1)


def test_an_answer_to_a_repeated_request_is_no_sample_but_as_much_is_waited_the_next_time() -> None:
    way = RoundTrip()
    way.answered([0.0, 0.25, 0.7, 1.5], 12.0)
    assert way.timeout_s == 12.0
    way.answered([20.0], 31.0)
    assert way.timeout_s == LONGEST_S, "11 s and four times half of it"


def test_a_loss_on_a_known_way_makes_nobody_wait_longer() -> None:
    way = measured(*[0.02] * 5)
    before = way.timeout_s
    way.answered([0.0, 0.25], 0.27)
    assert way.timeout_s == before
    way.answered([0.0, 0.25, 0.7], 3.0)
    assert way.timeout_s == 3.0, "no transmission explains it: the way is longer now"


def test_nobody_stretches_the_times_beyond_their_bounds() -> None:
    way = measured(10_000.0, 0.0, 10_000.0)
    way.answered([0.0, 1.0], 10_000.0)
    assert way.timeout_s == LONGEST_S
    assert way.timing(LINK, 10_000.0).patience_s == pytest.approx(11 * LONGEST_S)
    assert way.handshake(LINK, 10_000.0).patience_s == HANDSHAKE_S
    assert RoundTrip().timing(LINK, 10_000.0).patience_s == HANDSHAKE_S


def test_on_a_short_way_all_times_are_those_of_the_settings() -> None:
    for way in (measured(0.002), measured(0.04, 0.05, 0.06)):
        for timing in (way.timing(LINK, 0.002), way.handshake(LINK, None)):
            assert [timing.delay(n) for n in range(11)] == [LINK.delay(n) for n in range(11)]
            assert timing.patience_s == LINK.patience_s == pytest.approx(9.511, abs=1e-3)
    assert RoundTrip().handshake(LINK, 0.002).patience_s == pytest.approx(LINK.patience_s, abs=0.01)


def test_an_unknown_way_is_tried_as_often_as_a_short_one_and_for_long() -> None:
    timing = RoundTrip().handshake(LINK, None)
    assert timing.delay(0) == LINK.first_s and timing.patience_s == HANDSHAKE_S
    assert RoundTrip().handshake(LINK, 20.0).patience_s == pytest.approx(LINK.patience_s + 30)


def test_over_a_long_way_a_request_is_repeated_when_its_answer_is_late() -> None:
    timing = measured(*[20.0] * 40).timing(LINK, 0.0)
    assert timing.delay(0) == pytest.approx(20.1, abs=0.1)
    assert timing.delay(1) == timing.delay(9) == timing.delay(0) / 4
    assert timing.patience_s == pytest.approx(11 * 20.1, abs=1)


def test_what_is_not_answered_is_unknown_again_unless_it_was_measured_since() -> None:
    way = measured(5.0)  # at 105
    way.unanswered(since=90.0)
    assert way.timeout_s is not None
    way.unanswered(since=110.0)
    assert way.timeout_s is None
