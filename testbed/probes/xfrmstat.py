"""Reads the kernel's IPsec counters of a node: why packets were dropped."""

from __future__ import annotations

from pathlib import Path


def xfrm_counters(pid: int) -> dict[str, int]:
    """The counters that are not zero in the namespace of a process or thread.

    Empty when the kernel keeps none (CONFIG_XFRM_STATISTICS).
    """
    try:
        text = Path(f"/proc/{pid}/net/xfrm_stat").read_text()
    except OSError:
        return {}
    pairs = (line.split() for line in text.splitlines())
    return {name: int(value) for name, value in pairs if value != "0"}
