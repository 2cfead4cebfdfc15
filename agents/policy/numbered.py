"""The format number of a JSON file, which distinguishes a later release's file from a damaged one. Knows no file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from agents.policy.errors import PolicyError
from agents.runtime.storage import later_format


class _Head(BaseModel):
    format: int = 1


def format_of(path: Path, data: bytes, newest: int) -> int:
    """The file's number; 1 if it has none. PolicyError for one of a later release."""
    try:
        number = _Head.model_validate_json(data).format
    except ValidationError:  # not an object, or not ours: its reader reports it
        return 1
    if number > newest:
        raise PolicyError(later_format(f"{path}: a file", number, newest))
    return number
