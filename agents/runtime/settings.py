"""Reads a daemon's TOML file into a pydantic model: every error with its line, and the nearest valid word.

Knows no agent's settings.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from annotated_types import Ge, Le
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from agents.runtime.storage import read_all

M = TypeVar("M", bound="Settings")
_KINDS = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_pattern_mismatch": "a name: up to 63 letters, digits and . _ -, a letter or digit first",
}
_LONGEST = 80
"""Characters of a wrong value that are shown."""


class ConfigError(Exception):
    """An unusable configuration file; the text says where and why."""


class Settings(BaseModel):
    """A program's settings: known names, each with its type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _address(text: str) -> str:
    try:
        return text and str(ip_address(text))
    except ValueError as error:
        raise ValueError("an IPv4 or IPv6 address") from error


def _located(value: Any, info: ValidationInfo) -> Any:
    """A path; a relative one starts at the configuration's own folder."""
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path in quotes; leave the line out if there is none")
    return (info.context or Path()) / value


FilePath = Annotated[Path, BeforeValidator(_located)]
Address = Annotated[str, AfterValidator(_address)]
"""Of an interface; empty for all."""
Port = Annotated[int, Ge(1), Le(65535)]


def read_settings(path: Path, model: type[M]) -> M:
    """The file's settings. ConfigError with every error, also when there is no such file."""
    text, values = _loaded(path)
    try:
        return model.model_validate(values, context=path.parent)
    except ValidationError as error:
        raise ConfigError("\n".join(_said(path, text, model, error.errors()))) from error


def _loaded(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        octets = read_all(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}\n  next:    ls -l {path.parent}, or --config FILE") from error
    try:
        text = octets.decode()
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: an octet that is not UTF-8\n  allowed: TOML") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{_where(path, text, str(error))}\n  allowed: TOML, such as: name = 'r1'") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: too many nested brackets\n  allowed: TOML") from error


def _where(path: Path, text: str, said: str) -> str:
    """tomllib's message, with its line in front as editors expect it."""
    where = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
    if where is None:
        return f"{path}: {said}"
    line = where[1] or str(max(1, len(text.splitlines())))
    column = f" at column {where[2]}" if where[2] else " at the end of the file"
    return f"{path}:{line}: {said[: where.start()]}{column}"


def _said(path: Path, text: str, model: type[Settings], errors: list[ErrorDetails]) -> list[str]:
    known = list(model.model_fields)
    unknown = [str(each["loc"][0]) for each in errors if each["type"] == "extra_forbidden"]
    meant = {name: _nearest(name, known) for name in unknown}
    said = []
    for each in sorted(errors, key=lambda error: error["type"] == "missing"):  # which may follow from another one
        name = str(each["loc"][0]) if each["loc"] else ""
        at = _at(path, text, name)
        if each["type"] == "missing":
            if name not in meant.values():  # else the misspelt one says it
                said.append(f"{path}: the setting {name!r} is missing\n  next:    add a line: {name} = …")
        elif each["type"] == "extra_forbidden":
            near = f"; did you mean {meant[name]!r}?" if meant[name] else ""
            said.append(f"{at}: unknown setting {name!r}{near}\n  allowed: {', '.join(sorted(known))}")
        elif not name:
            said.append(f"{path}: {_reason(each)}")
        else:
            value = repr(each["input"])
            value = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
            said.append(f"{at}: {name} is {value}\n  allowed: {_allowed(model, name, each)}")
    return said


def _nearest(name: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower().replace("-", "_"), known, 1)), None)


def _allowed(model: type[Settings], name: str, error: ErrorDetails) -> str:
    if error["type"] in _KINDS:
        return _KINDS[error["type"]]
    field = model.model_fields[name]
    bounds = [*field.metadata, *(bound for part in get_args(field.annotation) for bound in _bounds(part))]
    least = next((each.ge for each in bounds if isinstance(each, Ge)), None)
    most = next((each.le for each in bounds if isinstance(each, Le)), None)
    return f"{least} to {most}" if error["type"].endswith("than_equal") else _reason(error)


def _bounds(part: Any) -> Sequence[Any]:
    """Those of one side of a union."""
    return tuple(getattr(part, "__metadata__", ()))


def _reason(error: ErrorDetails) -> str:
    return str(error.get("ctx", {}).get("error", error["msg"]))


def _at(path: Path, text: str, name: str) -> str:
    """The file, and the line of the name if it can be found."""
    match = re.search(rf"^[ \t]*\[*[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*[=.\]]", text, re.MULTILINE)
    return f"{path}:{text.count(chr(10), 0, match.start()) + 1}" if match and name else str(path)
