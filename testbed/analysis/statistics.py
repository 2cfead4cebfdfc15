"""What a handful of numbers say: median, 95th percentile, distribution, and intervals that resampling gives.

The intervals are bias-corrected and accelerated (BCa) bootstraps, seeded: the same numbers give the same interval.
Where BCa has no answer (half of the numbers are equal, say) the plain percentiles of the same resampling stand in.
It must not know what the numbers are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

MIN_N = 3
RESAMPLES = 5000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """`low` and `high` bound `value` with 95 % confidence; None when there are too few numbers."""

    value: float
    low: float | None
    high: float | None

    def excludes(self, number: float) -> bool | None:
        """Whether `number` is outside; None when there is no interval."""
        return None if self.low is None or self.high is None else not self.low <= number <= self.high


def median_of(values: Sequence[float]) -> Interval:
    """The median. ValueError for no numbers."""
    if not values:
        raise ValueError("no numbers")
    return _interval((values,), lambda x, axis: _numpy().median(x, axis=axis))


def percentile(values: Sequence[float], share: float) -> float:
    """Linear between the two nearest numbers; `share` is 0 to 1. ValueError for no numbers."""
    if not values:
        raise ValueError("no numbers")
    return float(_numpy().quantile(_numpy().asarray(values, float), share))


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> Interval:
    """median(b) / median(a). ValueError for an empty set, or where median(a) is 0."""
    if not a or not b:
        raise ValueError("no numbers to compare")
    if median(a) == 0:
        raise ValueError("a ratio to nothing")
    return _interval((a, b), lambda x, y, axis: _numpy().median(y, axis=axis) / _numpy().median(x, axis=axis))


def difference_of_medians(a: Sequence[float], b: Sequence[float]) -> Interval:
    """median(b) − median(a). ValueError for an empty set."""
    if not a or not b:
        raise ValueError("no numbers to compare")
    return _interval((a, b), lambda x, y, axis: _numpy().median(y, axis=axis) - _numpy().median(x, axis=axis))


def ecdf(values: Sequence[float | None]) -> list[tuple[float, float]]:
    """(x, share of all values that are at most x), ascending. None, as "never", counts in the whole and has no x."""
    known = sorted(value for value in values if value is not None)
    steps: dict[float, float] = {}
    for number, value in enumerate(known, 1):
        steps[value] = number / len(values)
    return list(steps.items())


def _numpy() -> Any:
    import numpy

    return numpy


def _interval(samples: Sequence[Sequence[float]], statistic: Callable[..., Any]) -> Interval:
    numpy = _numpy()
    arrays = tuple(numpy.asarray(sample, float) for sample in samples)
    value = float(statistic(*arrays, axis=-1))
    if min(len(sample) for sample in samples) < MIN_N:
        return Interval(value, None, None)
    if all(len(set(sample)) == 1 for sample in samples):
        return Interval(value, value, value)
    for method in ("BCa", "percentile"):
        low, high = _bootstrap(arrays, statistic, method)
        if numpy.isfinite(low) and numpy.isfinite(high):
            return Interval(value, low, high)
    return Interval(value, None, None)


def _bootstrap(arrays: Sequence[Any], statistic: Callable[..., Any], method: str) -> tuple[float, float]:
    import warnings

    from scipy.stats import bootstrap

    numpy = _numpy()
    with numpy.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate sample: asked again with plain percentiles
        found = bootstrap(
            arrays, statistic, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method=method, vectorized=True,
            rng=numpy.random.default_rng(1),
        ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
