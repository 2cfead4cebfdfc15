"""A library's words for a value that it rejects reach nobody: the message says what is allowed."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents.policy.names import ROUTER_PATTERN
from agents.runtime import invalid


class Model(BaseModel):
    """A field of each kind."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(ge=1, le=9)] = 1
    kind: Literal["a", "b"] = "a"
    name: Annotated[str, Field(pattern=ROUTER_PATTERN)] = "r1"
    address: IPv4Address = IPv4Address("192.0.2.1")
    several: Annotated[tuple[int, ...], Field(max_length=2)] = ()
    own: int = 0

    @field_validator("own")
    @classmethod
    def _own(cls, value: int) -> int:
        if value:
            raise ValueError("only zero will do")
        return value


CASES = [
    ({"count": 0}, "count is 0; allowed: at least 1"),
    ({"count": 10}, "count is 10; allowed: at most 9"),
    ({"count": "x"}, "count is 'x'; allowed: a whole number"),
    ({"kind": "c"}, "kind is 'c'; allowed: 'a' or 'b'"),
    ({"name": "../x"}, "name is '../x'; allowed: up to 63 letters, digits and . _ -, a letter or digit first"),
    ({"address": "x"}, "address is 'x'; allowed: an IPv4 address"),
    ({"several": (1, 2, 3)}, "several is (1, 2, 3); allowed: at most 2 entries"),
    ({"several": (1, "x")}, "several.1 is 'x'; allowed: a whole number"),
    ({"other": 1}, "other is unknown"),
    ({"own": 5}, "own: only zero will do"),
]


@pytest.mark.parametrize(("given", "said"), CASES, ids=[str(given) for given, _ in CASES])
def test_a_rejected_value_is_named_with_what_is_allowed(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(given)
    error = caught.value.errors()[0]
    assert invalid.sentence(error) == said
    hidden = invalid.sentence(error, value=False) + invalid.why(error)
    assert "Input" not in hidden and "Value error" not in hidden and "../x" not in hidden


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"count": "9" * 500 + "x"})
    assert len(invalid.sentence(caught.value.errors()[0])) < 120
