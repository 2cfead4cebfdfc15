"""Reads the JSON files of a run or an experiment, and reports errors with file and line.

Knows nothing of the files' meaning: a caller gives the shape that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from agents.runtime import invalid
from testbed.errors import InputError, Location

T = TypeVar("T")
MAX_BYTES = 200_000_000
"""Far above the size of any file that the laboratory writes as one JSON value."""


def document(path: Path, kind: type[T]) -> T:
    """A JSON file of a given shape. InputError with the line for one that is missing, unreadable, truncated or of
    another shape."""
    text = _text(path)
    value(path, text)
    adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise InputError(
            f"{invalid.where(problem) or 'the whole'} {invalid.problem(problem)}",
            where=Location(path, line_of(text, problem["loc"])),
            allowed=invalid.allowed(problem) or None,
        ) from error


def value(path: Path, text: str | None = None) -> Any:
    """The content of a JSON file of any shape. InputError as in `document`."""
    text = _text(path) if text is None else text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = not text[error.pos :].strip() or error.msg.startswith("Unterminated")
        problem = "is truncated" if cut else f"is not JSON: {_lower(error.msg)}"
        raise InputError(
            "is empty" if not text.strip() else problem, where=Location(path, error.lineno, error.colno)
        ) from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, thousands of brackets
        raise InputError(f"is not readable JSON: {_lower(str(error))}", where=str(path)) from error


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError("is too large", where=str(path), allowed=f"at most {MAX_BYTES} octets")
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("is missing", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be read: {_lower(error.strerror or str(error))}", where=str(path)) from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError("is not UTF-8 text", where=Location(path, line)) from error


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def line_of(text: str, path: Sequence[int | str]) -> int:
    """The line, from 1 on, of the longest part of a path of keys and indices that the JSON text has."""
    at = _space(text, 0)
    for part in path:
        offset = _inside(text, at, part)
        if offset is None:
            break
        at = offset
    return text.count("\n", 0, at) + 1


def _inside(text: str, at: int, part: int | str) -> int | None:
    """Where the value under a key, or of an index, begins in the object or array that begins at `at`."""
    opening, decode = text[at : at + 1], json.JSONDecoder().raw_decode
    if opening not in ("{", "["):
        return None
    at, number = _space(text, at + 1), 0
    while text[at] not in "]}":
        key: int | str = number
        if opening == "{":
            key, at = decode(text, at)
            at = _space(text, _space(text, at) + 1)
        if key == part:
            return at
        at = _space(text, decode(text, at)[1])
        if text[at] == ",":
            at = _space(text, at + 1)
        number += 1
    return None


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
