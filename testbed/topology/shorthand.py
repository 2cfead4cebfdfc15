"""What the short form of a link means: `a-b`, or `a--b` as segments are called. Knows raw data only, no models.

A name may have hyphens itself, so `core-ams-core-lon` alone says little. Where more than one hyphen could be the one
between two names, the names that the rest of the file uses decide, if just one reading has two of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def expanded(data: Mapping[Any, Any]) -> list[Any]:
    """The links of a file, short forms written out. What cannot be read stays as it is."""
    known = {*_named(data)}
    return [_long(link, known) if isinstance(link, str) else link for link in data["links"]]


def _long(text: str, known: set[Any]) -> Any:
    plain = _plain(text)
    if plain is not None:
        return {"between": plain}
    fitting = [reading for reading in _readings(text) if known.issuperset(reading)]
    return {"between": fitting[0]} if len(fitting) == 1 else text


def _plain(text: str) -> list[str] | None:
    """The ends where there is one way to read the text: no hyphen, one, one pair of them, or one between spaces."""
    apart = re.split(r"\s+--?\s+", text.strip())
    if len(apart) == 2:
        return apart
    for mark in ("--", "-"):
        if text.count(mark) == 1:
            return [end.strip() for end in text.split(mark)]
    return None if "-" in text else [text.strip()]


def _readings(text: str) -> Iterator[list[str]]:
    for index, letter in enumerate(text):
        if letter == "-":
            yield [text[:index].strip(), text[index + 1 :].strip()]
            if text[index + 1 : index + 2] == "-":
                yield [text[:index].strip(), text[index + 2 :].strip()]


def _named(data: Mapping[Any, Any]) -> Iterator[Any]:
    """Every router that the file names beyond doubt. Of whatever types the file has."""
    yield from _texts(data.get("routers"))
    for link in data["links"]:
        yield from _plain(link) or () if isinstance(link, str) else _texts(_of(link, "between"))
    for lan in _values(data.get("lans")):
        yield from _texts(lan if isinstance(lan, list) else _of(lan, "routers"))
    for host in _values(data.get("hosts")):
        yield from _texts([_of(host, "on")])
    yield from _texts([_of(data.get("dks"), "attach"), _of(data.get("pim"), "rp")])


def _of(held: Any, key: str) -> Any:
    return held.get(key) if isinstance(held, dict) else None


def _values(held: Any) -> list[Any]:
    return list(held.values()) if isinstance(held, dict) else []


def _texts(held: Any) -> list[str]:
    return [each for each in held if isinstance(each, str)] if isinstance(held, list | dict) else []
