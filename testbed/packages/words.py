"""The commands of `lks`, `dks` and `policy` as one tree, wherever they are declared: argparse or typer.

Manual pages and completion are written from it. Knows neither.
"""

from __future__ import annotations

import argparse
import enum
import typing
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

PROGRAMS = ("lks", "dks", "policy")


def parser_of(program: str) -> argparse.ArgumentParser:
    """All commands of a program and their options, as argparse has them."""
    if program == "policy":
        return _converted(typer.main.get_command(import_module("agents.policy.cli").app), program)
    return typing.cast(argparse.ArgumentParser, import_module(f"agents.{program}.daemon").parser())


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Those that have no commands below them, in the order of the help."""
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not below:
        yield parser
    for action in below:
        for each in action.choices.values():
            yield from commands(each)


def takes_files(action: argparse.Action) -> bool:
    """Whether its values are names of files or folders."""
    return action.type is Path or action.metavar in ("FILE", "FOLDER")


def _converted(command: Any, program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=command.help, add_help=False)
    _convert(command, parser)
    return parser


def _convert(command: Any, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-h", "--help", action="help", help="show this help and exit")
    for each in command.params:
        if not getattr(each, "hidden", False):
            _add(each, parser)
    visible = {name: each for name, each in getattr(command, "commands", {}).items() if not each.hidden}
    if not visible:
        return
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, each in visible.items():
        text = " ".join((each.help or "").split())
        _convert(each, below.add_parser(name, help=text, description=text, add_help=False))


def _add(option: Any, parser: argparse.ArgumentParser) -> None:
    kind, choices = _kind(option.type_descriptor.annotation)
    help_ = (option.help or "").replace("%", "%%")
    if getattr(option, "envvar", None):
        help_ += f" Or ${option.envvar}."
    words: dict[str, Any] = {"help": help_}
    if option.param_type_name == "argument":
        words["nargs"] = None if option.nargs == 1 and option.required else "?" if option.nargs == 1 else "+"
        words["metavar"] = option.metavar or option.name.upper()
        names = [option.name]
    else:
        names = [*option.opts, *option.secondary_opts]
    if getattr(option, "is_flag", False):
        words["action"] = "store_true"
    else:
        words.update(type=kind, choices=choices)
        if option.param_type_name == "option" and choices is None:
            words["metavar"] = option.metavar or ("FILE" if kind is Path else names[0].lstrip("-").upper())
    parser.add_argument(*names, **words)


def _kind(annotation: Any) -> tuple[type, list[str] | None]:
    """What a value is of, and which there are where only a few are allowed."""
    if typing.get_origin(annotation) is typing.Literal:
        return str, [str(each) for each in typing.get_args(annotation)]
    for each in typing.get_args(annotation):
        if each is not type(None):
            return _kind(each)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return str, [str(each.value) for each in annotation]
    return annotation if isinstance(annotation, type) else str, None
