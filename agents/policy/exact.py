"""Signed models as octets: each model has one encoding, and no other octets are accepted for it.

Knows nothing of signatures, nor of the models' meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agents.policy import cbor
from agents.policy.errors import PolicyError
from agents.runtime import invalid

M = TypeVar("M", bound=BaseModel)


def plain(value: object) -> object:
    """A model as maps, arrays, text and numbers: the form that is signed and shown.

    An unused optional field is left out. So a document without it has the same octets as before the field existed, and
    older agents can read it.
    """
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, BaseModel):
        fields = ((name, getattr(value, name), required) for name, required in _fields(type(value)))
        return {name: plain(item) for name, item, required in fields if item is not None or required}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, int | float | str | bytes):
        return value
    return str(value)  # addresses and networks, in their one canonical text


_AS_IT_IS = frozenset({type(None), bool, int, float, str, bytes})


@cache
def _fields(model: type[BaseModel]) -> tuple[tuple[str, bool], ...]:
    """The names of a model's fields, and whether each is required."""
    return tuple((name, field.is_required()) for name, field in model.model_fields.items())


def written(model: BaseModel) -> bytes:
    """The deterministic CBOR of a model."""
    return cbor.encode(plain(model))


def exactly(kind: type[M], payload: bytes, what: str, write: Callable[[M], bytes] = written) -> M:
    """A model from CBOR; PolicyError, which calls it `what`, unless it is exactly what `write` makes of it."""
    try:
        model = kind.model_validate(cbor.read(payload))
    except ValidationError as error:
        raise PolicyError(f"{what}: {invalid.sentence(error.errors()[0])}") from error
    # pydantic converts some values ("5" to 5, other spellings of an address): they do not come back the same.
    if write(model) != payload:
        raise PolicyError(f"{what} holds a value that is not in its canonical form")
    return model
