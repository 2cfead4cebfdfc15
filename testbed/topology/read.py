"""Reads a topology file into its source model, and says of every error in it the line it stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from testbed.errors import InputError, Location
from testbed.topology.explain import explain
from testbed.topology.findings import Where
from testbed.topology.partial import without
from testbed.topology.source import TopologySource

MAX_BYTES = 1_000_000
MAX_PARTS = 100_000
MAX_DEPTH = 20


class Reading(NamedTuple):
    """What a file gave: a source unless nothing of it is usable, and what is wrong so far.

    A source that is not `whole` lacks the parts that `errors` names; `dropped` are the routers among them.
    """

    source: TopologySource | None
    where: Where
    errors: list[InputError]
    whole: bool
    dropped: frozenset[str] = frozenset()


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


def read(file: Path) -> Reading:
    """What a YAML file says. Raises InputError when it is not YAML with a mapping in it."""
    return validated(*opened(file))


def opened(file: Path) -> tuple[dict[Any, Any], Lines]:
    """The mapping in a YAML file, and where its parts stand. Raises InputError when there is none."""
    marked = parse(file, "lab topology list")
    if not isinstance(marked, dict):
        raise InputError(
            "a topology is a mapping of keys",
            where=Location(file, 1),
            allowed="links: [r1-r2, r2-r3]",
            next_command="lab topology schema",
        )
    return plain(marked, file), Lines(file, marked)


def validated(data: dict[Any, Any], lines: Lines) -> Reading:
    """What the data of a topology file say."""
    try:
        return Reading(TopologySource.model_validate(data), lines.of, [], True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    errors = [explain(problem, lines.of) for problem in problems]
    source, where = without(data, [problem["loc"] for problem in problems], lines.of)
    dropped = {str(each["loc"][1]) for each in problems if each["loc"][0] == "routers" and len(each["loc"]) > 1}
    return Reading(source, where, errors, False, frozenset(dropped))


def parse(file: Path, look: str | None = None) -> Any:
    """A YAML file with the places of its parts. Raises InputError when it cannot be read (`look` is the next command
    then) or is not YAML."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError("the file is too large", where=str(file), allowed=f"at most {MAX_BYTES} bytes")
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file), next_command=look) from error
    try:
        return YAML(typ="rt").load(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8", where=str(file), allowed="YAML in UTF-8") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Location(file, mark.line + 1, mark.column + 1) if mark else str(file)
        raise InputError(
            f"not YAML: {_first_line(error.problem or error.context)}",
            where=where,
            allowed="YAML, indented with spaces",
        ) from error
    except (YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"not YAML: {_first_line(str(error))}", where=str(file), allowed="YAML") from error


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def plain(marked: Any, file: Path) -> Any:
    """The data without the parser's marks. Raises InputError for anchors that multiply without end."""
    left = MAX_PARTS

    def convert(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise InputError(
                "too large, or with a part that contains itself",
                where=str(file),
                allowed=f"{MAX_PARTS} values, {MAX_DEPTH} levels",
            )
        if isinstance(node, dict):
            return {convert(key, depth + 1): convert(value, depth + 1) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return (
                tuple(convert(each, depth + 1) for each in node)
                if isinstance(node, tuple)
                else [convert(each, depth + 1) for each in node]
            )
        if type(node).__name__ == "ScalarBoolean":
            return bool(node)
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        return node

    try:
        return convert(marked, 0)
    except TypeError as error:  # a mapping as a key
        raise InputError(f"not a topology: {error}", where=str(file), allowed="names as keys") from error
