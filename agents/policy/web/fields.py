"""Forms for the steps of agents.policy.steps: which fields each has, and what was typed as the step's JSON.

Read from the schemas that the API publishes, so every step that programs can take has a form. Knows nothing of HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from pydantic import BaseModel

from agents.policy import steps

Kind = Literal["text", "area", "place", "choice", "yesno", "checks", "words"]
LONG = 500
"""A text that may be so long has a field of several lines."""
Form = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `allowed`: what can be chosen; `hint`: what it is."""

    name: str
    kind: Kind
    required: bool
    allowed: tuple[str, ...]
    default: tuple[str, ...]
    hint: str

    @property
    def label(self) -> str:
        """Its name in words."""
        return self.name.replace("_", " ").capitalize()


@cache
def models() -> dict[str, type[BaseModel]]:
    """Every kind of step by its `op`."""
    union = get_args(steps.EditStep)[0]
    return {get_args(each.model_fields["op"].annotation)[0]: each for each in get_args(union)}


@cache
def fields(op: str) -> tuple[Field, ...]:
    """Those of one kind of step. KeyError when there is no such kind."""
    schema = models()[op].model_json_schema()
    required = set(schema.get("required", ()))
    return tuple(
        _field(name, spec, schema.get("$defs", {}), name in required)
        for name, spec in schema["properties"].items()
        if name != "op"
    )


def about(op: str) -> str:
    """What a kind of step does."""
    return " ".join((models()[op].__doc__ or op).split())


def _field(name: str, spec: Mapping[str, Any], defs: Mapping[str, Any], required: bool) -> Field:
    hint, default = spec.get("description", ""), spec.get("default")
    schema = _plain(spec, defs)
    kind, allowed = _kind(schema, defs)
    given = default if isinstance(default, list | tuple) else () if default is None else (default,)
    return Field(name, kind, required, allowed, tuple(str(each) for each in given), hint)


def _plain(spec: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself: references followed, and of "this or nothing" this."""
    if "$ref" in spec:
        return _plain(defs[spec["$ref"].rpartition("/")[2]], defs)
    for word in ("anyOf", "allOf"):
        if word in spec:
            return _plain(next(each for each in spec[word] if each.get("type") != "null"), defs)
    return spec


def _kind(spec: Mapping[str, Any], defs: Mapping[str, Any]) -> tuple[Kind, tuple[str, ...]]:
    if "enum" in spec:
        return "choice", tuple(map(str, spec["enum"]))
    if spec.get("type") == "array":
        inside = _plain(spec.get("items", {}), defs)
        return ("checks", tuple(inside["enum"])) if "enum" in inside else ("words", ())
    if spec.get("type") == "object":
        return "place", ()
    if spec.get("type") == "boolean":
        return "yesno", ("yes", "no")
    return ("area" if spec.get("maxLength", 0) >= LONG else "text"), ()


def step(form: Form) -> dict[str, Any]:
    """What a form says, as the API takes it. What is empty is left out; what is no step is for the API to refuse."""
    op = "".join(form.get("op", ("",))[:1])
    made: dict[str, Any] = {"op": op}
    for each in fields(op) if op in models() else ():
        words = [word.strip() for word in form.get(each.name, ()) if word.strip()]
        if words:
            made[each.name] = _value(each.kind, words)
    return made


def _value(kind: Kind, words: list[str]) -> Any:
    match kind:
        case "checks":
            return words
        case "words":
            return [part for word in words for part in word.replace(",", " ").split()]
        case "place":
            router, _, interface = words[0].partition(":")
            return {"router": router, "interface": interface}
        case "yesno":
            return words[0] == "yes"
        case _:
            return words[0]
