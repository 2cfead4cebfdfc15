"""Counters and gauges of an agent as values, and their page for Prometheus (text format 0.0.4).

Counters are made of events, so record and metrics agree. prometheus_client writes the page, and is loaded at the first
request. Knows nothing of what is counted, nor of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents import __version__
from agents.runtime.control import CommandRefused
from agents.runtime.effects import Event

MOST_SERIES = 64
"""The number of label sets of one counter that are distinguished; peers choose some of the words."""
OTHERS = "other"
_LONGEST = 80
_XFRM = Path("/proc/net/xfrm_stat")
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Family:
    """All samples of one name. `kind`: "counter" or "gauge"."""

    name: str
    kind: str
    meaning: str
    samples: Sequence[tuple[Labels, float]]


def gauge(name: str, meaning: str, value: float) -> Family:
    """A gauge without labels."""
    return Family(name, "gauge", meaning, [({}, value)])


def counter(name: str, meaning: str, value: float) -> Family:
    """A counter without labels."""
    return Family(name, "counter", meaning, [({}, value)])


def build(prefix: str) -> Family:
    """The release of this program."""
    return Family(f"{prefix}_build_info", "gauge", "1; the label names the release.", [({"version": __version__}, 1)])


class Counts:
    """Counters since the start. `counted`: by kind of event, the counter's name, its labels (fields of the event), and
    its meaning. The field `suppressed` says how many an event stands for."""

    def __init__(self, prefix: str, counted: Mapping[str, tuple[str, tuple[str, ...], str]]) -> None:
        self._prefix, self._counted = prefix, counted
        self._counts: dict[str, dict[tuple[str, ...], float]] = {name: {} for name, _l, _h in counted.values()}

    def observe(self, event: Event) -> None:
        """Count an event, if its kind is counted."""
        counted = self._counted.get(event.kind)
        if counted is not None:
            name, labels, _help = counted
            self.add(name, [_label(event.fields.get(label, "")) for label in labels], event.fields.get("suppressed", 1))

    def add(self, name: str, labels: Sequence[str], count: object = 1) -> None:
        """Add to this counter with these labels."""
        counted = self._counts[name]
        key = tuple(labels)
        if key not in counted and len(counted) >= MOST_SERIES:
            key = tuple(OTHERS for _ in labels)
        counted[key] = counted.get(key, 0) + (count if isinstance(count, int | float) else 1)

    def families(self) -> list[Family]:
        """All of them."""
        return [
            Family(
                f"{self._prefix}_{name}",
                "counter",
                meaning,
                [(dict(zip(labels, key, strict=True)), count) for key, count in sorted(self._counts[name].items())]
                or ([] if labels else [({}, 0)]),
            )
            for name, labels, meaning in self._counted.values()
        ]


def _label(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:_LONGEST]


def kernel(prefix: str, path: Path = _XFRM) -> list[Family]:
    """The kernel's counters of packets that IPsec dropped, in this network namespace; empty if it has none."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
    samples: list[tuple[Labels, float]] = [({"counter": row[0]}, float(row[1])) for row in rows if len(row) == 2]
    meaning = "Packets that the kernel's IPsec dropped, by its own counters (/proc/net/xfrm_stat)."
    return [Family(f"{prefix}_xfrm_errors_total", "counter", meaning, samples)]


def page(families: Iterable[Family]) -> str:
    """The text for Prometheus. CommandRefused when prometheus_client is not installed."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.metrics_core import Metric
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise CommandRefused("prometheus_client is not installed: pip install 'router-keys[metrics]'") from error

    class Known(Collector):  # type: ignore[misc,unused-ignore]
        def collect(self) -> Iterable[Metric]:
            for each in families:
                metric = Metric(each.name.removesuffix("_total"), each.meaning, each.kind)
                for labels, value in each.samples:
                    metric.add_sample(each.name, dict(labels), value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Known())
    return str(generate_latest(registry).decode())
