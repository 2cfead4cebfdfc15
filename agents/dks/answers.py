"""One answer of the DKS, made of its workers' answers: status and metrics. Knows nothing of sockets or processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Numbered = Sequence[tuple[int, Mapping[str, Any]]]
"""Answers with the numbers of the workers that gave them."""
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")


def status(answers: Numbered, of: int) -> dict[str, Any]:
    """The status as from one process, and `workers`: how many of them answered. At least one answer.

    `revocation_version` is the one that is in force in all of them.
    """
    shares = [answer for _number, answer in answers]
    return {
        **shares[0],
        "connected": sorted({router for each in shares for router in each["connected"]}),
        "not_connected": sorted(set.intersection(*(set(each["not_connected"]) for each in shares))),
        "revocation_version": min(each["revocation_version"] for each in shares),
        "ike_sas": sum(each["ike_sas"] for each in shares),
        "half_open": sum(each["half_open"] for each in shares),
        "workers": {"serving": len(shares), "of": of},
    }


def metrics(answers: Numbered, of: int, restarts: Mapping[int, int]) -> dict[str, Any]:
    """Every worker's samples with the label `worker`, so that a restarted counter is recognised."""
    help_and_type: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, answer in answers:
        for line in str(answer["text"]).splitlines():
            if line.startswith("#"):
                known = help_and_type.setdefault(line.split(" ", 3)[2], [])
                if line not in known:
                    known.append(line)
            elif match := _SAMPLE.match(line):
                labels = f"{match['labels']}," if match["labels"] else ""
                sample = f'{match["name"]}{{{labels}worker="{number}"}} {match["value"]}'
                samples.setdefault(match["name"], []).append(sample)
    lines = [line for name, about in help_and_type.items() for line in (*about, *samples.get(name, ()))]
    lines += ["# HELP dks_workers Configured worker processes.", "# TYPE dks_workers gauge", f"dks_workers {of}"]
    name = "dks_worker_restarts_total"
    lines += [f"# HELP {name} Processes that ended and were replaced.", f"# TYPE {name} counter"]
    lines += [f'{name}{{worker="{number}"}} {count}' for number, count in sorted(restarts.items())]
    return {"text": "\n".join(lines) + "\n"}
