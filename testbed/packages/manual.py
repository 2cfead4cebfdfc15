"""Manual pages (man(7)) of the agents' programs, from their commands. Knows no program but for what it reads."""

from __future__ import annotations

import argparse
import time

from testbed.packages.words import commands

SECTION = 8
FILES = {
    "lks": (
        ("/etc/router-keys/lks.toml", "the configuration"),
        ("/etc/router-keys/identity.pem", "the router's private key"),
        ("/etc/router-keys/policy-server.pem", "the Policy Server's public key, the trust anchor"),
        ("/var/lib/router-keys", "the signed policy and the state, with counters"),
    ),
    "dks": (
        ("/etc/router-keys/dks.toml", "the configuration"),
        ("/etc/router-keys/identity.pem", "the DKS's private key"),
        ("/etc/router-keys/policy-server.pem", "the Policy Server's public key, the trust anchor"),
        ("/var/lib/router-keys/dks/documents", "every router's signed document, ROUTER.cose"),
        ("/var/lib/router-keys/dks", "the state"),
    ),
    "policy": (
        ("/var/lib/router-keys/policy/key.pem", "the root key, which every router pins"),
        ("/var/lib/router-keys/policy", "the store, unless $POLICY_STORE names another"),
    ),
}
CODES = (
    ("0", "done"),
    ("1", "refused, or a checked thing is wrong"),
    ("2", "unusable configuration or usage"),
    ("3", "unusable state or system, or no answer"),
)
"""agents/runtime/exits.py"""


def page(program: str, parser: argparse.ArgumentParser, release: str, date: time.struct_time) -> str:
    """The page's source for man."""
    lines = [
        f'.TH {program.upper()} {SECTION} "{time.strftime("%Y-%m-%d", date)}" "router-keys {release}" "Router keys"',
        ".SH NAME",
        rf"{program} \- {_plain((parser.description or '').rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {program}",
        r".I COMMAND\fR [\fIOPTION\fR...]",
        ".SH OPTIONS",
        *_options(parser),
        ".SH COMMANDS",
    ]
    for each in commands(parser):
        lines += [f".SS {_plain(each.prog)}{_operands(each)}", _plain(each.description or "")]
        lines += _options(each, but_help=True)
    lines.append(".SH FILES")
    for file, what in FILES[program]:
        lines += [".TP", rf"\fI{_plain(file)}\fR", _plain(what)]
    lines.append(".SH EXIT STATUS")
    for code, what in CODES:
        lines += [".TP", code, _plain(what)]
    others = ", ".join(f"\\fB{each}\\fR({SECTION})" for each in FILES if each != program)
    return "\n".join([*lines, ".SH SEE ALSO", others, ""])


def _options(parser: argparse.ArgumentParser, *, but_help: bool = False) -> list[str]:
    lines: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        if but_help and isinstance(action, argparse._HelpAction):
            continue
        value = _value(action)
        names = [rf"\fB{_plain(each)}\fR" for each in action.option_strings]
        head = ", ".join(names) + (f" {value}" if value else "") if names else value
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        if action.choices is not None:
            text += f" ({', '.join(map(str, action.choices))})"
        lines += [".TP", head, _plain(" ".join(text.split()) or "required" if action.required else text)]
    return lines


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    return rf"\fI{_plain(name.upper())}\fR"


def _operands(parser: argparse.ArgumentParser) -> str:
    operands = []
    for action in parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            value = _value(action)
            form = {"?": "[{}]", "*": "[{}...]", "+": "{}..."}.get(str(action.nargs), "{}")
            operands.append(" " + form.format(value))
    return "".join(operands)


def _plain(text: str) -> str:
    """Words as they are: a dash is a minus that can be typed, and no word is a request of roff."""
    escaped = text.replace("\\", "\\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
