"""What is left of a topology file without its bad values, so that the rest can be checked in the same go.

Knows the shape of the file, and nothing of why a value is bad.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from testbed.errors import Location
from testbed.topology.findings import Where
from testbed.topology.source import TopologySource

# Keys without which the part that has them is nothing.
NEEDED = {"between", "routers", "on", "rp", "attach", "[key]"}
NAMED = ("routers", "lans", "hosts")


def without(data: Any, bad: Iterable[Sequence[Any]], where: Where) -> tuple[TopologySource | None, Where]:
    """The source without the parts that `bad` leads to, and where its parts stand in the file.

    None when too little is left of it.
    """
    rest = copy.deepcopy(data)
    gone: set[int] = set()
    try:
        for path in sorted(set(map(tuple, bad)), key=len):
            _drop(rest, list(path), gone)
        links = rest.get("links")
        kept = [index for index in range(len(links)) if index not in gone] if isinstance(links, list) else []
        if kept or gone:
            rest["links"] = [links[index] for index in kept]
        source = TopologySource.model_validate(rest)
    except (ValidationError, KeyError, IndexError, TypeError, AttributeError):
        return None, where

    def moved(*path: Any) -> Location:
        if len(path) > 1 and path[0] == "links":
            path = ("links", kept[path[1]], *path[2:])
        return where(*path)

    return source, moved


def _drop(rest: dict[str, Any], path: list[Any], gone: set[int]) -> None:
    section = path[0]
    if section not in rest or (section == "links" and len(path) > 1 and path[1] in gone):
        return
    if len(path) == 1:
        del rest[section]
    elif section == "links":
        if len(path) == 2 or path[2] in NEEDED:
            gone.add(path[1])
        else:
            rest[section][path[1]].pop(path[2], None)
    elif section in NAMED:
        held = rest[section]
        if isinstance(held, list):
            held.remove(path[1])
        elif len(path) == 2 or path[2] in NEEDED or not isinstance(held.get(path[1]), dict):
            held.pop(path[1], None)
        else:
            held[path[1]].pop(path[2], None)
    elif path[1] in NEEDED:
        del rest[section]
    else:
        rest[section].pop(path[1], None)
