"""Whether two sets of numbers differ: the ratio of their medians, with an interval that resampling gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_N = 3
RESAMPLES = 5000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """median(b) / median(a). `low` and `high` bound it with 95 % confidence; None when there are too few numbers."""

    value: float
    low: float | None
    high: float | None

    @property
    def real(self) -> bool | None:
        """Whether the interval leaves out 1; None when there is no interval."""
        return None if self.low is None or self.high is None else not self.low <= 1.0 <= self.high


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """Bias-corrected bootstrap (BCa), seeded: the same numbers give the same interval. ValueError for an empty set."""
    import numpy
    from scipy.stats import bootstrap

    if not a or not b:
        raise ValueError("no numbers to compare")
    first, second = numpy.asarray(a, float), numpy.asarray(b, float)
    value = float(numpy.median(second) / numpy.median(first))
    if min(len(a), len(b)) < MIN_N:
        return Ratio(value, None, None)
    if len(set(a)) == len(set(b)) == 1:
        return Ratio(value, value, value)

    def statistic(x: numpy.ndarray, y: numpy.ndarray, axis: int = -1) -> numpy.ndarray:
        return numpy.asarray(numpy.median(y, axis=axis) / numpy.median(x, axis=axis))

    with numpy.errstate(all="ignore"):
        found = bootstrap(
            (first, second), statistic, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa",
            rng=numpy.random.default_rng(1),
        ).confidence_interval  # fmt: skip
    low, high = float(found.low), float(found.high)
    if numpy.isnan(low) or numpy.isnan(high):
        return Ratio(value, None, None)
    return Ratio(value, low, high)
