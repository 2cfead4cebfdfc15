"""What a laboratory answers to a request: what was asked for, or why not. It must not know what is asked."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from testbed.errors import LabError


def answered(handle: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The answer of `handle`, or what it raised, whatever that is: who comes next must be answered too.

    The traceback of an error that nobody foresaw goes to standard error.
    """
    try:
        return {"ok": True, **handle()}
    except LabError as error:
        return _refusal(error.exit_code, error.lines())
    except ValidationError as error:
        return _refusal(2, [str(error.errors()[0]["msg"])])
    except OSError as error:
        return _refusal(3, [str(error)])
    except Exception as error:
        traceback.print_exception(error)
        return _refusal(3, [f"{type(error).__name__}: {error}"])


def _refusal(exit_code: int, lines: list[str]) -> dict[str, Any]:
    return {"ok": False, "exit_code": exit_code, "lines": lines}
