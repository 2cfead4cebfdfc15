"""Turns what pydantic says of a value into what a person needs: the key, the value, what is allowed there, the line."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from agents.runtime import invalid
from testbed.errors import InputError
from testbed.owned import NAME_PATTERN, NAME_RULE
from testbed.topology.findings import Where, nearest
from testbed.topology.source import (
    Defaults,
    DksSource,
    HostSource,
    LanSource,
    LinkSource,
    OspfSource,
    PimSource,
    RouterSource,
    TopologySource,
)
from testbed.topology.units import ALLOWED, DOMAIN_PATTERN

NEXT = "lab topology schema"
SHORT = 60
"""Characters of a list or mapping that are shown whole."""
# The model behind each section of the file, and what the section looks like.
SECTIONS: dict[str, tuple[type[BaseModel], str]] = {
    "defaults": (Defaults, "defaults: {delay: 2ms, cost: 10}"),
    "ospf": (OspfSource, "ospf: {versions: [2], hello: 10s, dead: 40s}"),
    "pim": (PimSource, "pim: {rp: r1}, or pim: off"),
    "dks": (DksSource, "dks: {attach: r1}"),
    "routers": (RouterSource, "routers: [r1, r2], or routers: {r1: {loopback: 10.0.0.1}, r2: }"),
    "links": (LinkSource, "links: [r1-r2, {between: [r2, r3], delay: 5ms}]"),
    "lans": (LanSource, "lans: {office: [r1, r2, r3]}, or lans: {office: {routers: [r1, r2], delay: 5ms}}"),
    "hosts": (HostSource, "hosts: {h1: {on: r1}}"),
}
PATTERNS = {
    NAME_PATTERN: NAME_RULE,
    DOMAIN_PATTERN: "a domain name in lower case, such as example.net",
}


def explain(problem: Any, where: Where) -> InputError:
    """An error of pydantic's list, with the place of what it is about."""
    path = [part for part in problem["loc"] if part != "[key]"]
    value = problem.get("input")
    quoted_value = f" {value!r}" if isinstance(value, str | int | float | bool) else ""
    key = ".".join(str(part) for part in path) or "the file"
    text, allowed = _problem_and_allowed(problem, path, key, quoted_value)
    return InputError(text, where=where(*path), allowed=allowed, next_command=NEXT)


def _problem_and_allowed(problem: Any, path: list[Any], key: str, quoted_value: str) -> tuple[str, str]:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        model = SECTIONS[str(path[0])][0] if len(path) > 1 else TopologySource
        known = sorted(model.model_fields)
        return f"unknown key {path[-1]!r}{nearest(str(path[-1]), known)}", ", ".join(known)
    if kind == "string_pattern_mismatch":
        return f"{key}: bad name{quoted_value}", PATTERNS.get(context["pattern"], context["pattern"])
    if kind == "missing":
        return f"{key} is missing", _form(path)
    message = invalid.plain(problem["msg"])
    if message.startswith(ALLOWED):
        value = problem.get("input")
        quoted = (
            f" {value!r}"
            if isinstance(value, list | dict) and len(path) > 1 and len(repr(value)) <= SHORT
            else quoted_value
        )
        return f"{key}: bad value{quoted}", message.removeprefix(ALLOWED)
    if kind in ("too_short", "too_long"):
        count = context.get("actual_length")
        words = "[2], [3] or [2, 3]" if path[-1] == "versions" else "exactly 2"
        if kind == "too_short" and path[0] == "lans":
            words = "at least 2"
        return f"{key}: {count} {'entry' if count == 1 else 'entries'}", words
    if kind == "string_too_long":
        return f"{key}: too long", f"at most {context['max_length']} characters"
    if kind == "string_type":
        return f"{key}: bad value{quoted_value}", "text" + (" (names are text: r1, not 1)" if len(path) > 1 else "")
    return f"{key}: bad value{quoted_value}", _form(path)


def _form(path: list[Any]) -> str:
    """What the section looks like in which something is missing or of another kind."""
    return SECTIONS[str(path[0])][1] if path and str(path[0]) in SECTIONS else "text"
