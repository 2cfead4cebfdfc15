"""The routers nearest to one, by the adjacencies that policy allows: they carry its document, and it theirs.

A router that is cut off from the DKS lies behind routers that are near to it. Knows nothing of documents.
"""

from __future__ import annotations

from agents.policy.domain import Domain


class Nearest:
    """The distances in one domain: its approved routers, and their adjacencies."""

    def __init__(self, domain: Domain) -> None:
        self._neighbors: dict[str, set[str]] = {}
        approved = {each.name for each in domain.routers.values() if each.approved}
        for adjacency in domain.adjacencies:
            a, b = adjacency.a.router, adjacency.b.router
            if a != b and {a, b} <= approved:
                self._neighbors.setdefault(a, set()).add(b)
                self._neighbors.setdefault(b, set()).add(a)

    def to(self, router: str, count: int) -> tuple[str, ...]:
        """This many other routers, those with the fewest adjacencies in between first, in ascending order of names. If
        several are equally near and there is no room for all, the names decide."""
        names: list[str] = []
        seen, ring = {router}, [router]
        while ring and len(names) < count:
            ring = sorted({other for each in ring for other in self._neighbors.get(each, ())} - seen)
            seen.update(ring)
            names.extend(ring)
        return tuple(sorted(names[:count]))
