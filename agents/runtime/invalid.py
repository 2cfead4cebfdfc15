"""Errors about values that a model or a command line rejects, in this project's words: the place, and the allowed
values.

The only module that knows pydantic's kinds of errors and typer's texts. Imports neither.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from agents.policy.names import PATTERNS

_BOUNDS = {"ge": "at least", "le": "at most", "gt": "more than", "lt": "less than"}
_LONGEST = 60
"""Characters of a value that a message shows."""
_KINDS = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text in UTF-8",
    "bytes_type": "octets",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing",
    "ip_v4_address": "an IPv4 address",
    "ip_v6_address": "an IPv6 address",
    "ip_any_address": "an IPv4 or IPv6 address",
    "ip_v4_interface": "an IPv4 address with its prefix length",
    "ip_v6_interface": "an IPv6 address with its prefix length",
    "ip_v4_network": "an IPv4 network",
    "ip_v6_network": "an IPv6 network",
    "json_invalid": "JSON",
    "missing": "a value",
    "path_type": "a path",
}
_SIZES = {
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "bytes_too_long": "at most {max_length} octets",
    "bytes_too_short": "at least {min_length} octets",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
}
_LISTED = re.compile(r"(.*) is not one of (.*?)\.?", re.DOTALL)
_CHOICES = re.compile(r"(Missing \w+ .*?)\. Choose from:\s*(.*)", re.DOTALL)


def plain(message: object) -> str:
    """A validator's own sentence, without pydantic's prefix."""
    return str(message).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def where(error: Mapping[str, Any]) -> str:
    """The path to the value, with dots; empty for the whole."""
    return ".".join(str(part) for part in error["loc"])


def allowed(error: Mapping[str, Any], number: Callable[[Any], str] = "{:g}".format) -> str:
    """The allowed values; empty if the message itself names them. `number` words a bound."""
    kind, context = error["type"], error.get("ctx", {})
    bound = next((each for each in _BOUNDS if each in context), None)
    if bound is not None:
        return f"{_BOUNDS[bound]} {number(context[bound])}"
    if kind in _SIZES:
        return _SIZES[kind].format(**context)
    if "expected_tags" in context:
        return str(context["expected_tags"])
    if kind in ("enum", "literal_error"):
        return str(context["expected"])
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    if kind == "union_tag_not_found":
        return f"a mapping with {context['discriminator']}"
    return _KINDS.get(kind, "")


def problem(error: Mapping[str, Any], *, value: bool = True) -> str:
    """The problem as a predicate: "is 7", "is missing". `value`: whether the text may show the given value."""
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "is unknown"
    if not allowed(error):
        return plain(error["msg"])
    return f"is {short(error.get('input'))}" if value else "is wrong"


def sentence(error: Mapping[str, Any], *, value: bool = True) -> str:
    """The error in one line, for a log or an answer: place, problem and allowed values."""
    said, at = problem(error, value=value), where(error)
    known = allowed(error) if error["type"] not in ("missing", "extra_forbidden") else ""
    joint = " " if said.startswith("is ") else ": "
    return (f"{at}{joint}" if at else "") + said + (f"; allowed: {known}" if known else "")


def lines(error: Mapping[str, Any], name: str = "", number: Callable[[Any], str] = "{:g}".format) -> str:
    """The error as a command line shows it. `name`: of the value, in place of its path; `number` words a bound."""
    name = name or where(error)
    if not (known := allowed(error, number)):
        return f"{name}: {plain(error['msg'])} (given: {short(error['input'])})"
    given = number(error["input"]) if any(each in error.get("ctx", {}) for each in _BOUNDS) else short(error["input"])
    return f"{name} is {given}\n  allowed: {known}"


def why(error: Mapping[str, Any]) -> str:
    """The error without its place and without the value, for an answer that repeats nothing of the request."""
    if error["type"] in ("missing", "extra_forbidden"):
        return problem(error)
    known = allowed(error)
    return f"allowed: {known}" if known else plain(error["msg"])


def short(value: object) -> str:
    """The value as Python writes it, truncated if long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def of_usage(error: Any) -> tuple[str, str | None]:
    """Problem and allowed values of a usage error that typer raised."""
    text = str(error.format_message())
    if (choices := _CHOICES.fullmatch(text)) is not None:
        return choices[1], " ".join(choices[2].split())
    rejected: Any = getattr(error, "__cause__", None)
    if not hasattr(rejected, "errors"):
        return text, None
    first = rejected.errors(include_url=False)[0]
    name = text.partition(": ")[0].removeprefix("Invalid value for ").strip("'")
    said = plain(first["msg"])
    if (listed := _LISTED.fullmatch(said)) is not None:
        return f"{name} is {listed[1]}", listed[2].replace("'", "")
    if not (known := allowed(first)):
        return f"{name}: {said}", None
    given = first["input"] if known.startswith(tuple(_BOUNDS.values())) else short(first["input"])
    return f"{name} is {given}", known
