"""Runs a user's code (an experiment's file and its methods) and turns its errors into ours.

Any exception, and any invalid result, becomes an error with the user's file, line and method. An interrupt stays an
interrupt. Knows nothing of the methods' purpose.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from testbed.errors import InputError, InputErrors, Interrupted, LabError, Location
from testbed.values import explained, quoted

DEBUG = "LAB_DEBUG"
"""The environment variable that prints tracebacks."""
_LONGEST = 300
Failure = TypeVar("Failure", bound=LabError)
_OURS = Path(__file__).parent


def file_of(owner: object) -> str:
    """The file of an experiment's class."""
    module = sys.modules.get(type(owner).__module__)
    return getattr(module, "__file__", None) or type(owner).__module__


@contextmanager
def hosted(file: str, what: str, failure: type[LabError]) -> Iterator[None]:
    """An exception within the block becomes a `failure` at the line of `file` that caused it; a LabError with a place
    of its own stays as it is. `what`: such as "measure()"."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted, GeneratorExit):
        raise
    except LabError as error:
        if failure is InputError or isinstance(error.where, Location):
            raise
        where = f" ({error.where})" if error.where else ""
        raise failure(f"{what}: {error.problem}{where}", where=_where(error, file), allowed=error.allowed) from error
    except BaseException as error:
        wrong = list(_arguments(error, what, _where(error, file)))
        if wrong and failure is InputError:
            raise InputErrors(wrong) from error
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        raise failure(
            f"{what} raised {_said(error)}", where=_where(error, file),
            next_command=None if os.environ.get(DEBUG) else f"the same with {DEBUG}=1, for the traceback",
        ) from error  # fmt: skip


def useless(owner: object, method: str, value: object, allowed: str, failure: type[Failure]) -> Failure:
    """The error of a method that returned an invalid result."""
    return failure(f"{method}() returned {quoted(value)}", where=line_of(owner, method), allowed=allowed)


def line_of(owner: object, method: str) -> Location:
    """The line of the class, or of its own method."""
    kind = type(owner)
    try:
        function: Any = inspect.unwrap(getattr(kind, method))
        return Location(inspect.getsourcefile(function) or file_of(owner), function.__code__.co_firstlineno)
    except (AttributeError, TypeError):
        return class_line(kind)


def class_line(kind: type) -> Location:
    """The line of a class."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__
    try:
        return Location(file, inspect.getsourcelines(kind)[1])
    except (OSError, TypeError):
        return Location(file)


def _where(error: BaseException, file: str) -> Location:
    """The innermost line of the user's own file that led to the error; else that of a file beside it."""
    if isinstance(error, SyntaxError) and error.filename:
        return Location(error.filename, error.lineno)
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [each for each in frames if Path(each[0]) == Path(file)]
    near = [each for each in frames if Path(each[0]).is_file() and not Path(each[0]).is_relative_to(_OURS)]
    return Location(*(own or near)[-1]) if own or near else Location(file)


def _arguments(error: BaseException, what: str, where: Location) -> Iterator[InputError]:
    """The arguments of a model, such as Stream, that the user's code gave wrongly."""
    if isinstance(error, TypeError) and "BaseModel.__init__() takes 1 positional argument" in str(error):
        yield InputError(f"{what}: arguments without their names", where=where, allowed="name=value for each")
    if not isinstance(error, ValidationError):
        return
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is BaseModel.__init__.__code__:
            model = type(frame.f_locals["self"])
            for each in explained(error, "argument", model, lambda *_: where):
                yield InputError(f"{what}: {model.__name__}: {each.problem}", where=where, allowed=each.allowed)


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # its own __str__ fails
        text = ""
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return f"{type(error).__name__}{': ' if text else ''}{text}"
