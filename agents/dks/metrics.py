"""Counts what the DKS does, and shows it in Prometheus' text format (version 0.0.4).

Counters are made of events, so that the record and the metrics say the same. Knows nothing of messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from agents.runtime.effects import Event

_Labels = tuple[tuple[str, str], ...]

_COUNTED = {
    "request": ("requests_total", ("exchange", "retransmission"), "Request datagrams received."),
    "registered": ("registrations_total", ("kind",), "Registrations served: of control groups and of routers' groups."),
    "paced": ("paced_total", (), "Registrations put off because too many came at once."),
    "rekeyed": ("rekeys_total", ("reason",), "New generations made and pushed."),
    "rekey_message": ("rekey_messages_total", (), "New generations sent to members without an IKE SA (GSA_REKEY)."),
    "excluded": ("excluded_total", (), "Members without an IKE SA told that they are none any more."),
    "issued": ("issued_total", (), "New generations made for LKSs to give out."),
    "reported": ("reports_total", (), "Generations learnt that LKSs made alone."),
    "confirmed": ("confirmations_total", (), "Changed confirmations of routers taken."),
    "error": ("errors_total", ("what",), "Things that went wrong."),
}


class Metrics:
    """Counters since the start."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, _Labels]] = Counter()

    def observe(self, event: Event) -> None:
        """Count an event, if its kind is counted."""
        counted = _COUNTED.get(event.kind)
        if counted is None:
            return
        name, labels, _help = counted
        fields = event.fields
        if event.kind == "registered":
            fields = {"kind": "group" if fields.get("generation") else "control"}
        self._counts[name, tuple([(label, _word(fields.get(label, ""))) for label in labels])] += 1

    def text(self, gauges: Mapping[str, tuple[float, str]]) -> str:
        """All counters, and these gauges: name → (value, help)."""
        lines: list[str] = []
        for name, labels, meaning in _COUNTED.values():
            lines += [f"# HELP dks_{name} {meaning}", f"# TYPE dks_{name} counter"]
            found = sorted((labels, count) for (each, labels), count in self._counts.items() if each == name)
            if not found and not labels:
                found = [((), 0)]
            lines += [f"dks_{name}{_braces(labels)} {count}" for labels, count in found]
        for name, (value, meaning) in gauges.items():
            lines += [f"# HELP dks_{name} {meaning}", f"# TYPE dks_{name} gauge", f"dks_{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _braces(labels: _Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
