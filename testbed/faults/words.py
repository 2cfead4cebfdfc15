"""A fault as a person types it: the action and `name=value` words. Pure."""

from __future__ import annotations

import contextlib


def parse_fault(words: list[str]) -> tuple[str, dict[str, object]]:
    """`link_carrier_down segment=r1--r2` as an action and its arguments.

    Values: numbers, true and false, lists with commas; anything else is text. `nodes` and
    `groups` are lists (groups apart by `/`), unless `all`.
    """
    action, args = words[0], {}
    for word in words[1:]:
        name, _, text = word.partition("=")
        args[name] = _value(name, text)
    return action, args


def _value(name: str, text: str) -> object:
    if name == "groups":
        return [group.split(",") for group in text.split("/")]
    if name == "nodes" and text != "all":
        return text.split(",")
    if text in ("true", "false"):
        return text == "true"
    with contextlib.suppress(ValueError):
        return float(text)
    return text
