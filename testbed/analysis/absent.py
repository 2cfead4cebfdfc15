"""What stands where a number does not: `never` for what began and did not end, `-` for what was not measured.

A span of no time at all is no fast one: what it would time did not happen, as when a link is cut that no path uses.

A series is of spans of time when its name says from what to what, as in "power returned to routes right, s": such a
span may never end. Any other number that a run does not have was not measured. Knows nothing of any experiment.
"""

from __future__ import annotations

NEVER, ABSENT, UNAFFECTED = "never", "-", "not affected"
LEGEND = "never: it did not happen within the run; -: not measured; not affected: nothing changed that could be timed"
_UNITS = (", s", ", ms", "_s", "_ms")


def is_span(series: str) -> bool:
    """Whether a series holds spans of time, by its name."""
    return " to " in series and series.endswith(_UNITS)


def missing(series: str) -> str:
    """What stands for a run of this series that has no number."""
    return NEVER if is_span(series) else ABSENT
