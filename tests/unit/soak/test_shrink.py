"""A seed that fails is shown with one command that does it again with fewer faults."""

from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner, Result

from testbed.cli import soak
from testbed.soak.faults import faults_of
from tests.unit.soak import mutations_more  # noqa: F401
from tests.unit.soak.mutations import MUTATIONS

SEED = 138


def lab(words: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    soak.register(app)
    return CliRunner().invoke(app, words.split())


def test_a_failing_seed_is_shrunk_and_the_printed_command_shows_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS["nothing guards the device"](monkeypatch)
    found = lab(f"soak --seed {SEED} --seeds 1")
    assert found.exit_code == 1 and found.output.startswith(f"seed {SEED}: no cleartext at ")
    again = re.search(rf"^again: lab (soak --seed {SEED} --seeds 1 --keep (\d+))$", found.output, re.MULTILINE)
    assert again is not None, "one fault is enough for this defect"
    assert faults_of(SEED)[int(again[2])].action == "segment_mode"
    repeated = lab(again[1])
    assert repeated.exit_code == 1 and repeated.output.startswith(f"seed {SEED}: no cleartext at ")
    monkeypatch.undo()
    assert lab(again[1]).exit_code == 0
