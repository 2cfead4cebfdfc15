"""Finds a place beside each point for its label, so that no label stands on another, on a point, or on what is there.

Boxes and numbers only, in any unit; knows nothing of drawings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

RINGS = 12
"""How far away a place is looked for, in heights of the label."""
# Below first, as under a picture, then above, then beside, then aslant.
ANGLES = tuple(math.radians(degrees) for degrees in (270, 90, 0, 180, 315, 225, 45, 135))


class Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: Box) -> float:
        """The area that both have."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)


def box_around(x: float, y: float, width: float, height: float) -> Box:
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def arranged(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    radius: float,
    taken: Iterable[Box] = (),
) -> list[tuple[float, float]]:
    """The middle of each point's label: the nearest place that is free, else the one that covers least."""
    used = [*taken, *(box_around(x, y, 2 * radius, 2 * radius) for x, y in points)]
    centers = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        best, least = (x, y), math.inf
        for ring in range(RINGS):
            for angle in ANGLES:
                across, up = math.cos(angle), math.sin(angle)
                away = radius + ring * height
                center = (x + across * (away + width / 2), y + up * (away + height / 2))
                covered = sum(box_around(*center, width, height).shared(box) for box in used)
                if covered < least:
                    best, least = center, covered
            if least == 0:
                break
        used.append(box_around(*best, width, height))
        centers.append(best)
    return centers
