"""Reads a topology file into its source model, and says of every error in it the line it stands on."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from testbed.errors import InputError, Location
from testbed.topology.source import (
    DksSource, Defaults, HostSource, LanSource, LinkSource, OspfSource, PimSource, RouterSource, TopologySource,
)  # fmt: skip

MAX_BYTES = 1_000_000
NEXT = "lab topology schema"
# The model that stands behind each key of the file, for the suggestion after a misspelt one.
MODELS: dict[str, type[BaseModel]] = {
    "": TopologySource, "defaults": Defaults, "ospf": OspfSource, "pim": PimSource, "dks": DksSource,
    "routers": RouterSource, "links": LinkSource, "lans": LanSource, "hosts": HostSource,
}  # fmt: skip


class TopologyErrors(InputError):
    """All that is wrong with one topology, in the order of its lines."""

    def __init__(self, errors: list[InputError]) -> None:
        super().__init__(errors[0].problem)
        self.errors = sorted(errors, key=lambda error: getattr(error.where, "line", None) or 0)

    def lines(self) -> list[str]:
        return [line for error in self.errors for line in error.lines()]


class Lines:
    """Where each part of a parsed file stands: a path of keys and indices to a line and column."""

    def __init__(self, file: Path | str, data: Any) -> None:
        self.file = file
        self._data = data

    def of(self, *path: Any) -> Location:
        """The place of the longest part of the path that the file has."""
        node, line, column = self._data, 1, 1
        for part in path:
            mark = getattr(node, "lc", None)
            if mark is None:
                break
            try:
                if isinstance(node, dict) and part in node:
                    line, column = (number + 1 for number in mark.key(part))
                elif isinstance(node, list) and part in range(len(node)):
                    line, column = (number + 1 for number in mark.item(part))
                elif isinstance(node, list) and part in node:
                    line, column = (number + 1 for number in mark.item(node.index(part)))
                    break
                else:
                    break
            except (KeyError, TypeError, AttributeError):
                break
            node = node[part]
        return Location(self.file, line, column)


def read(file: Path) -> tuple[TopologySource, Lines]:
    """The source model of a YAML file. Raises InputError with the file and the line of each problem."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", where=str(file), next_command="lab topology list"
        ) from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"{len(raw)} bytes", where=str(file), allowed=f"at most {MAX_BYTES} bytes")
    try:
        data = YAML(typ="rt").load(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8", where=str(file), allowed="YAML in UTF-8") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Location(file, mark.line + 1, mark.column + 1) if mark else str(file)
        raise InputError(f"not YAML: {error.problem or error.context}", where=place, allowed="YAML") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"not YAML: {error}", where=str(file), allowed="YAML") from error
    lines = Lines(file, data)
    if not isinstance(data, dict):
        raise InputError(
            "a topology is a mapping of keys",
            where=Location(file, 1),
            allowed="links: [r1-r2, r2-r3]",
            next_command=NEXT,
        )
    try:
        return TopologySource.model_validate(data), lines
    except ValidationError as error:
        raise TopologyErrors([_explain(problem, lines) for problem in error.errors()]) from error


def _explain(problem: Any, lines: Lines) -> InputError:
    path = list(problem["loc"])
    where = lines.of(*path)
    value = problem.get("input")
    shown = f" {value!r}" if isinstance(value, str | int | float | bool) else ""
    key = ".".join(str(part) for part in path if part != "[key]") or "the file"
    kind = problem["type"]
    if kind == "extra_forbidden":
        model = MODELS[str(path[0]) if len(path) > 1 else ""]
        known = sorted(model.model_fields)
        near = difflib.get_close_matches(str(path[-1]), known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return InputError(f"unknown key {path[-1]!r}{hint}", where=where, allowed=", ".join(known), next_command=NEXT)
    if kind == "string_pattern_mismatch":
        return InputError(
            f"{key}: bad name{shown}", where=where, allowed=_pattern_words(problem["ctx"]["pattern"]), next_command=NEXT
        )
    message = problem["msg"].removeprefix("Value error, ")
    if message.startswith("allowed: "):
        return InputError(
            f"{key}: bad value{shown}", where=where, allowed=message.removeprefix("allowed: "), next_command=NEXT
        )
    return InputError(f"{key}: bad value{shown}", where=where, allowed=message, next_command=NEXT)


def _pattern_words(pattern: str) -> str:
    from testbed.topology.source import DOMAIN_PATTERN, NAME_PATTERN

    return {
        NAME_PATTERN: "a letter, then up to 7 letters, digits or _ (interface names have 15 characters at most)",
        DOMAIN_PATTERN: "a domain name in lower case",
    }.get(pattern, pattern)
