"""Intervals of a handful of numbers, and the verdict on two sets of results."""

from __future__ import annotations

import random
from typing import Any

import pytest

from testbed.analysis import significance as compare
from testbed.analysis.significance import Verdict, compared, rare
from testbed.analysis.statistics import Interval, difference_of_medians, ecdf, median_of, percentile, ratio_of_medians

NEAR = [10.0, 10.2, 9.9, 10.1, 10.05, 9.95]


def test_a_difference_is_real_when_the_interval_of_the_ratio_leaves_out_one() -> None:
    assert ratio_of_medians(NEAR, [value * 2 for value in NEAR]).excludes(1.0) is True
    assert ratio_of_medians(NEAR, list(reversed(NEAR))).excludes(1.0) is False
    assert ratio_of_medians(NEAR[:2], NEAR[:2]).excludes(1.0) is None
    assert ratio_of_medians(NEAR, NEAR) == ratio_of_medians(NEAR, NEAR)
    with pytest.raises(ValueError, match="no numbers"):
        ratio_of_medians([], NEAR)
    with pytest.raises(ValueError, match="nothing"):
        ratio_of_medians([0.0, 0.0, 0.0], NEAR)


def test_equal_numbers_and_nearly_equal_ones_have_an_interval_too() -> None:
    assert median_of([4.0] * 5) == median_of([4.0] * 3)
    assert (median_of([4.0] * 5).low, median_of([4.0] * 5).high) == (4.0, 4.0)
    mostly = median_of([4.0, 4.0, 4.0, 4.0, 9.0])
    assert mostly.low == 4.0 and mostly.high is not None and mostly.high >= 4.0
    assert median_of([1.0, 2.0]).low is None
    half = ratio_of_medians([4.0] * 5, [8.0, 8.0, 8.0, 8.0, 8.5])
    assert half.value == 2.0 and half.excludes(1.0) is True


def test_the_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    rng = random.Random(5)
    held = 0
    for _ in range(60):
        found = median_of([rng.gauss(100.0, 5.0) for _ in range(15)])
        assert found.low is not None and found.high is not None
        held += found.low <= 100.0 <= found.high
    assert held >= 51


def test_a_percentile_lies_between_its_neighbours_and_an_ecdf_counts_what_never_came() -> None:
    assert percentile([0.0, 10.0], 0.95) == pytest.approx(9.5)
    assert ecdf([3.0, None, 1.0, 3.0]) == [(1.0, 0.25), (3.0, 0.75)]
    assert difference_of_medians([0.0] * 3, [2.0] * 3).value == 2.0


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (NEAR, NEAR, Verdict.IDENTICAL),
        (NEAR, [value + 0.01 for value in NEAR], Verdict.NOT_SHOWN),
        (NEAR, [value * 1.5 for value in NEAR], Verdict.REAL),
        (NEAR[:2], [value * 1.5 for value in NEAR[:2]], Verdict.TOO_FEW),
        ([0.0] * 4, [3.0] * 4, Verdict.REAL),
        ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], Verdict.NOT_SHOWN),
        (NEAR, [None] * 6, Verdict.REAL),
        ([None] * 3, [None] * 3, Verdict.IDENTICAL),
        ([10.0, None, 10.1, 9.9], [10.0, 10.1, None, 9.9], Verdict.TOO_FEW),
        (NEAR, [], Verdict.NOT_IN_SECOND),
    ],
)
def test_the_verdict_on_two_series(first: list[Any], second: list[Any], verdict: Verdict) -> None:
    assert compared("lks", "convergence, s", first, second).verdict is verdict


def test_one_run_more_that_never_converged_is_chance_and_five_of_five_are_not() -> None:
    assert not rare((0, 1), (5, 5))
    assert rare((0, 5), (5, 5))


def test_what_both_were_made_from_is_compared_and_records_are_counted_apart() -> None:
    made = {"code": "aa", "guest": {"kernel": "k1"}, "records": {"lks-1": "x", "lks-2": "y"}}
    other = {"code": "bb", "guest": {"kernel": "k1"}, "records": {"lks-1": "x", "lks-2": "z"}}
    a, b = {"topology": "ring", "provenance": made}, {"topology": "ring", "provenance": other}
    assert compare.provenance(a, b) == ["code: aa → bb"]
    assert compare.same_records(a["provenance"]["records"], b["provenance"]["records"]) == (1, 2)


# By scipy.stats.bootstrap, 1.17.1, with 5000 resamples of numpy's default_rng(1).
S, T = [1, 2, 3.5, 7, 9], [13.2, 13.1, 13.9, 18.6, 13.4, 13.25]
KNOWN = [
    (median_of(S), (1.0, 9.0)),
    (median_of(T), (13.15, 16.25)),
    (ratio_of_medians(S, T), (1.4704380391164007, 13.3)),
    (difference_of_medians(S, T), (4.25, 12.75)),
]


@pytest.mark.parametrize(("found", "bounds"), KNOWN)
def test_the_interval_is_the_one_that_another_implementation_of_the_bootstrap_gives(
    found: Interval, bounds: tuple[float, float]
) -> None:
    assert (found.low, found.high) == pytest.approx(bounds)


def test_the_exact_test_of_fisher_is_the_one_of_the_books() -> None:
    assert rare((3, 0), (3, 3)) is False  # p = 0.1
    assert rare((4, 0), (4, 4)) is True  # p = 2/70
    assert rare((2, 2), (14, 2)) is False  # p = 0.05, which is not less


def test_a_hash_is_told_only_where_the_version_does_not_say_it() -> None:
    def made(frr: str, bash: str, hashes: dict[str, str] | None) -> dict[str, Any]:
        guest: dict[str, Any] = {"packages": {"frr": frr, "bash": bash}}
        return {"provenance": {"guest": guest | ({"sha256": {"debian": hashes}} if hashes else {})}}

    one = made("1", "5", {"frr": "a", "bash": "b"})
    assert compare.provenance(one, made("2", "5", {"frr": "c", "bash": "b"})) == ["guest.packages.frr: 1 → 2"]
    assert compare.provenance(one, made("1", "5", {"frr": "a", "bash": "d"})) == ["guest.sha256.debian.bash: b → d"]
    assert compare.provenance(made("1", "5", None), one) == []
