"""The recording of a first half hour is what the commands print now, and shows what it is there to show."""

from __future__ import annotations

import re

import pytest

from testbed import recording
from testbed.setup.paths import PROJECT

DOCUMENT = PROJECT / "docs" / "first-half-hour.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_what_needs_no_guest_is_printed_as_the_document_says() -> None:
    assert recording.recorded(TEXT, ("here",)) == TEXT, "python -m testbed.recording docs/first-half-hour.md"


@pytest.mark.parametrize(
    "words",
    ["lab doctor", "lab topology list", "lab topology show", "lab validate", "lab run", "lab report", "lab compare",
     "lab up", "lab vtysh", "lab shell", "lab fault", "lab capture", "lab decode", "lab down", "policy --store"],
)  # fmt: skip
def test_it_shows_every_verb_of_a_first_half_hour_with_its_answer(words: str) -> None:
    commands = [command for block in recording.blocks(TEXT) for command, _shown, _printed in block.commands]
    assert any(words in command for command in commands)


def test_every_recorded_command_but_those_that_say_nothing_has_an_answer() -> None:
    silent = ("cat >", "mkfifo", "until", "openssl", "lab capture")
    for block in recording.blocks(TEXT):
        for command, _shown, printed in block.commands:
            assert printed or command.startswith(silent), command


def test_no_time_of_a_wall_clock_and_no_place_of_a_machine_stands_in_it() -> None:
    assert not re.search(r"/(root|home|tmp|work)/", TEXT)
    assert "wall time" not in re.sub(r"in … s of wall time", "", TEXT)


def test_a_block_whose_answer_is_another_would_be_written_anew() -> None:
    changed = "<!-- recorded: here -->\n```console\n$ echo one &&\n> echo two\nthree\n```\n"
    assert recording.recorded(changed) == changed.replace("three", "one\ntwo")
    assert recording.recorded(changed, ("virtual",)) == changed


def test_a_block_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'nowhere' is no kind of block"):
        recording.blocks("<!-- recorded: nowhere -->\n```console\n$ true\n```\n")
