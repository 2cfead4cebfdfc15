"""`dks status` as text. Knows nothing of how the answer was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = 12
"""The most names in one line; the rest is a number, and --json has them all."""


def as_text(answer: Mapping[str, Any]) -> str:
    """The text of an answer of a running DKS, or its supervisor."""
    connected, away = answer["connected"], answer["not_connected"]
    confirmed, workers = answer["confirmed"], answer.get("workers")
    lines = [
        f"DKS {answer['name']} of {answer['domain']}: {answer['routers']} routers with a document, "
        f"revocation list {answer['revocation_version'] or 'none'}",
        f"connected: {len(connected)}{_names(connected)}",
        f"not connected: {len(away)}{_names(away)}",
        f"confirmed: {confirmed['complete']} of {confirmed['of']} (dks confirmations)",
        f"IKE SAs: {answer['ike_sas']}, and {answer['half_open']} half-open",
    ]
    if workers is not None:
        lines.append(f"workers: {workers['serving']} of {workers['of']} answer")
    for name, group in answer["groups"].items():
        apart = f", by GSA_REKEY {', '.join(group['apart'])}" if group["apart"] else ""
        lines.append(f"{name}: generation {group['generation']}; members {_listed(group['members']) or 'none'}{apart}")
    return "\n".join(lines)


def _names(names: Sequence[str]) -> str:
    return f" ({_listed(names)})" if names else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
