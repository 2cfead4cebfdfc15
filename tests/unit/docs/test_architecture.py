"""The map of the code names what is there, and a stranger finds five answers in it."""

from __future__ import annotations

import re

import pytest

from testbed.setup.paths import PROJECT

PAGE = (PROJECT / "docs" / "architecture.md").read_text()


def test_every_file_and_folder_that_the_map_names_is_there() -> None:
    named = re.findall(r"`?((?:agents|testbed|tests)/[\w/]*\w(?:\.py)?)", PAGE)
    assert len(named) > 40
    assert [each for each in named if not (PROJECT / each).exists()] == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("that a datagram is accepted", "agents/ikev2/sa.py"),
        ("where a fault of a timeline is performed", "testbed/faults/actions.py"),
        ("how to add a keying mode", "add-keying.md"),
        ("where a simulated domain is made", "testbed/simulation/network.py"),
        ("| generation |", "the number of a group's keys"),
    ],
)
def test_a_strangers_first_questions_have_their_lines(question: str, answer: str) -> None:
    (line,) = [each for each in PAGE.splitlines() if question in each]
    assert answer in line


@pytest.mark.parametrize("page", ["README.md", "docs/README.md", "CONTRIBUTING.md"])
def test_the_map_is_one_step_from_where_a_stranger_begins(page: str) -> None:
    assert "architecture.md" in (PROJECT / page).read_text()
