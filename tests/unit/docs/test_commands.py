"""Every command in the documents is one that its program knows, and has a test that runs its verb, or a reason."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agents.dks.daemon import parser as dks
from agents.lks.daemon import parser as lks
from testbed.documents.pages import pages
from testbed.setup.paths import PROJECT

PROGRAMS = ("lab", "policy", "dks", "lks")
GENERATED = {Path("CHANGELOG.md")}
"""Releases that are past may name options that are gone."""
RUN_BY = {
    "lab abuse": "laboratory/test_abuse.py",
    "lab bench": "laboratory/test_counts.py",
    "lab bench ike": "laboratory/test_bench_ike.py",
    "lab bench dos": "laboratory/test_bench_ike.py",
    "lab calibrate": "laboratory/test_calibrate.py",
    "lab capture": "laboratory/test_up.py",
    "lab clean": "laboratory/test_wheel.py",
    "lab compare": "laboratory/test_experiments.py",
    "lab decode": "unit/cli/test_streams.py",
    "lab demo": "laboratory/test_demo.py",
    "lab docs": "unit/docs/test_site.py",
    "lab doctor": "unit/cli/test_main.py",
    "lab down": "laboratory/test_up.py",
    "lab export": "unit/report/test_spans.py",
    "lab fault": "laboratory/test_up.py",
    "lab fuzz": "unit/fuzz/test_corpora.py",
    "lab lock renew": "unit/cli/test_lock.py",
    "lab models": "unit/models/test_command.py",
    "lab package": "laboratory/test_packages.py",
    "lab replay": "laboratory/test_replay.py",
    "lab report": "laboratory/test_experiments.py",
    "lab reproduce": "laboratory/test_replay.py",
    "lab run": "laboratory/test_experiments.py",
    "lab setup": "laboratory/test_up.py",
    "lab shell": "laboratory/test_up.py",
    "lab soak": "unit/soak/test_shrink.py",
    "lab sweep": "laboratory/test_sweep.py",
    "lab topology": "unit/typed/test_drawn.py",
    "lab up": "laboratory/test_up.py",
    "lab validate": "unit/cli/test_main.py",
    "lab view": "unit/report/test_view.py",
    "lab vtysh": "laboratory/test_up.py",
    "policy": "unit/policy",
    "dks": "integration/test_install.py",
    "lks": "integration/test_install.py",
}
"""Where a verb is run. The longest beginning of a command's words counts."""
NOT_RUN = {
    "lab test": "it is what runs the tests",
    "lab screenshots": "its pictures are for people; the page that it photographs is tested in the same browser",
}
BLOCK = re.compile(r"^( *)```.*?^ *```", re.MULTILINE | re.DOTALL)
END = {"|", "<", ">", ">>", "&&", "||", ";", "\\", "→"}


def spoken(text: str) -> Iterator[str]:
    """What stands in code: lines of blocks, indented lines, and inline code."""
    for block in BLOCK.finditer(text):
        yield from block[0].splitlines()[1:-1]
    for line in BLOCK.sub("", text).splitlines():
        if line.startswith("    "):
            yield line
        elif "<!-- measured" not in line:
            yield from re.findall(r"`([^`]+)`", line)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of ours, from its program to what follows it in a pipe."""
    for line in spoken(text):
        for part in re.split(r"\s(?:\||&&|\|\||;)\s|;\s", line.strip().removeprefix("$ ").removeprefix("sudo ")):
            words = part.split(" #")[0].split("   ")[0].removeprefix("./").strip()
            if not words.startswith(tuple(f"{program} " for program in PROGRAMS)):
                continue
            try:
                split = shlex.split(words)
            except ValueError:
                split = words.split()
            if split[1].endswith(";") or (split[0] in ("dks", "lks") and split[1].startswith("--")):
                continue  # nftables' policy of a chain, and the options of `policy set dks`
            yield split[: next((place for place, word in enumerate(split) if word in END), len(split))]


@cache
def known() -> dict[str, Any]:
    """Each program's root: a click command or an argparse parser."""
    from typer.main import get_command

    from agents.policy.cli import app
    from testbed.cli.main import registered

    return {"lab": get_command(registered()), "policy": get_command(app), "dks": dks(), "lks": lks()}


def below(command: Any) -> dict[str, Any]:
    if isinstance(command, argparse.ArgumentParser):
        found = [each.choices for each in command._actions if isinstance(each, argparse._SubParsersAction)]
        return dict(found[0]) if found and found[0] else {}
    return dict(getattr(command, "commands", {}))


def options(command: Any) -> set[str]:
    if isinstance(command, argparse.ArgumentParser):
        return {name for each in command._actions for name in each.option_strings}
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}


def unknown(words: list[str]) -> str | None:
    """What of a command its program does not know."""
    command, rest = known()[words[0]], words[1:]
    if rest[0] == "--store":
        rest = rest[2:]
    while rest and below(command) and not rest[0].startswith("-"):
        names = re.split(r"[|/]", rest[0].strip("{}[]"))
        for name in names:
            if name not in below(command):
                return None if not name.islower() else f"verb {name!r}"
        command, rest = below(command)[names[0]], rest[1:]
    for word in rest:
        if word == "--":
            break
        name = word.strip("[]").split("=")[0].rstrip(".,…")
        if re.fullmatch(r"--?[a-z][\w-]*", name) and name not in options(command):
            return f"option {name!r}"
    return None


DOCUMENTS = [page for page in pages() if page not in GENERATED]


@pytest.mark.parametrize("page", DOCUMENTS, ids=str)
def test_every_command_of_a_page_is_one_that_its_program_knows(page: Path) -> None:
    wrong = [(" ".join(words), what) for words in commands((PROJECT / page).read_text()) if (what := unknown(words))]
    assert wrong == []


def test_every_verb_of_the_documents_is_run_by_a_test_or_has_a_reason_why_not() -> None:
    seen = {" ".join(words[:3]) for page in DOCUMENTS for words in commands((PROJECT / page).read_text())}
    assert len(seen) > 60
    for words in seen - {"lab --help"}:
        place = next((RUN_BY[each] for each in _beginnings(words) if each in RUN_BY), None)
        assert place or any(each in NOT_RUN for each in _beginnings(words)), words
    for place in RUN_BY.values():
        assert (PROJECT / "tests" / place).exists(), place


def _beginnings(words: str) -> list[str]:
    split = words.split()
    return [" ".join(split[:length]) for length in range(len(split), 0, -1)]
