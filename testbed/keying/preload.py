"""The modules of a keying mode's agents, by the mode's name alone.

The nursery of agents needs them before everything else is imported: agents are copies of that process. Knows nothing of
keying modes except their names.
"""

from __future__ import annotations

LKS_MODULE = "agents.lks.daemon"
DKS_MODULE = "agents.dks.daemon"
AGENTS = (LKS_MODULE, DKS_MODULE)
_WITH_AGENTS = frozenset({"central", "central-mgmt", "dks-lks", "lks"})


def preload(keying: object) -> tuple[str, ...]:
    """As `Keying.preload` of the mode of this name; nothing for an unknown name."""
    return AGENTS if keying in _WITH_AGENTS else ()
