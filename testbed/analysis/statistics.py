"""What a handful of numbers say: median, 95th percentile, distribution, and intervals that resampling gives.

The intervals are bias-corrected and accelerated (BCa) bootstraps, seeded: the same numbers give the same interval.
Where BCa has no answer (half of the numbers are equal, say) the plain percentiles of the same resampling stand in.
It must not know what the numbers are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median
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

    @property
    def most(self) -> float:
        """The upper end, or the number itself where there is no interval."""
        return self.value if self.high is None else self.high

    def excludes(self, number: float) -> bool | None:
        """Whether `number` is outside; None when there is no interval."""
        return None if self.low is None or self.high is None else not self.low <= number <= self.high


def median_of(values: Sequence[float]) -> Interval:
    """The median. ValueError for no numbers."""
    if not values:
        raise ValueError("no numbers")
    return _median(tuple(values))


@lru_cache(maxsize=1024)
def _median(values: tuple[float, ...]) -> Interval:
    """Kept: a table that is told run by run asks for all of its modes each time."""
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
    return _ratio(tuple(a), tuple(b))


@lru_cache(maxsize=1024)
def _ratio(a: tuple[float, ...], b: tuple[float, ...]) -> Interval:
    """Kept, as `_median`."""
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
    tilted = _accelerated(arrays, statistic, numbers := _resampled(arrays, statistic), value)
    for shares in (tilted, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)):
        if all(numpy.isfinite(share) for share in shares):
            low, high = numpy.percentile(numbers, [100 * share for share in shares])
            if numpy.isfinite(low) and numpy.isfinite(high):
                return Interval(value, float(low), float(high))
    return Interval(value, None, None)


def _resampled(arrays: Sequence[Any], statistic: Callable[..., Any]) -> Any:
    """The statistic of RESAMPLES sets drawn from each sample with replacement, always the same ones."""
    numpy = _numpy()
    random = numpy.random.default_rng(1)
    drawn = [array[random.integers(0, len(array), (RESAMPLES, len(array)))] for array in arrays]
    with numpy.errstate(all="ignore"):
        return statistic(*drawn, axis=-1)


def _accelerated(
    arrays: Sequence[Any], statistic: Callable[..., Any], resampled: Any, value: float
) -> tuple[float, float]:
    """BCa's shares of the resampled numbers that bound the interval, NaN where it has none.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), 14.10 and 14.15; several samples as in
    Canty and Ripley's `boot`.
    """
    numpy = _numpy()
    normal = NormalDist()
    below = (numpy.sum(resampled < value) + numpy.sum(resampled <= value)) / (2 * len(resampled))
    if not 0 < below < 1:
        return math.nan, math.nan
    bias = normal.inv_cdf(below)
    cubes = squares = 0.0
    for index, array in enumerate(arrays):
        size = len(array)
        without = array[numpy.nonzero(~numpy.eye(size, dtype=bool))[1].reshape(size, size - 1)]
        with numpy.errstate(all="ignore"):
            left = statistic(*arrays[:index], without, *arrays[index + 1 :], axis=-1)
        pull = (size - 1) * (left.mean() - left)
        cubes += float(numpy.sum(pull**3)) / size**3
        squares += float(numpy.sum(pull**2)) / size**2
    if not (math.isfinite(cubes) and math.isfinite(squares) and squares > 0):
        return math.nan, math.nan
    acceleration = cubes / squares**1.5 / 6
    ends = (bias + normal.inv_cdf(share) for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    low, high = (normal.cdf(bias + end / (1 - acceleration * end)) for end in ends)
    return low, high
