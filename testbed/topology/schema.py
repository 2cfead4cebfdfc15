"""The JSON Schema of a topology file, for editors that complete and check YAML. Knows no files.

Pydantic writes what the models hold after their short forms were expanded; the short forms are added here.
"""

from __future__ import annotations

import json
from typing import Any

from testbed.owned import NAME_PATTERN
from testbed.topology.source import OFF, ON, TopologySource

_NAME: dict[str, Any] = {"type": "string", "pattern": NAME_PATTERN}
_LINK: dict[str, Any] = {
    "type": "string",
    "pattern": rf"^\s*{NAME_PATTERN[1:-1]}\s*--?\s*{NAME_PATTERN[1:-1]}\s*$",
    "examples": ["r1-r2", "core-ams--core-lon"],
}


def schema() -> dict[str, Any]:
    """The schema as JSON Schema 2020-12."""
    document = TopologySource.model_json_schema()
    properties = document["properties"]
    for key in properties:
        _or(properties, key, {"type": "null"})
    properties["pim"]["anyOf"].append({"enum": [*ON, *OFF]})
    links = _member(properties["links"], "array")
    _or(links, "items", _LINK)
    routers = _member(properties["routers"], "object")
    _or(routers["patternProperties"], NAME_PATTERN, {"type": "null"})
    routers["additionalProperties"] = False
    properties["routers"]["anyOf"].append({"type": "array", "items": _NAME, "uniqueItems": True})
    lans = _member(properties["lans"], "object")
    _or(lans["patternProperties"], NAME_PATTERN, {"type": "array", "items": _NAME, "minItems": 2})
    for mapping in (lans, _member(properties["hosts"], "object")):
        mapping["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


def schema_text() -> str:
    """The schema as `lab topology schema` prints it and docs/topology.schema.json keeps it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _or(holder: dict[str, Any], key: str, other: dict[str, Any]) -> None:
    """Allow `other` too where the holder's schema stands; its words stay outside."""
    known = holder[key]
    if "anyOf" in known:
        if other not in known["anyOf"]:
            known["anyOf"].append(other)
        return
    words = {word: known.pop(word) for word in ("default", "description", "title") if word in known}
    holder[key] = {**words, "anyOf": [known, other]}


def _member(held: dict[str, Any], kind: str) -> dict[str, Any]:
    member: dict[str, Any] = next(each for each in held["anyOf"] if each.get("type") == kind)
    return member
