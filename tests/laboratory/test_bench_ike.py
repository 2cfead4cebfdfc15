"""`lab bench ike` at its smallest: the DKS and charon really start, and every handshake is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from testbed.bench.dos import ATTACKS, CHURN, LIAR, PIECES
from testbed.cli.bench import REQUIRED_OF_CHARON
from testbed.setup import tree
from testbed.setup.paths import PROJECT

pytestmark = pytest.mark.skipif(not tree.tree().ready, reason="./lab setup has not made the guest yet")


def lab(*words: str, of: str = "ike") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROJECT / "lab"), "bench", of, *words],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_both_responders_are_asked_as_often_and_what_it_cost_them_is_told() -> None:
    run = tree.tree().path / "root" / "run"
    before = sorted(run.iterdir())
    done = lab("--handshakes", "20", "--routers", "12", "--seconds", "1", "--json")
    if "share of a processor here" in done.stderr:
        pytest.skip(done.stderr)
    assert sorted(run.iterdir()) == before, "every other guest's moments hang on what is in the tree"
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    # In one second, so few handshakes may come out as less than they would in many.
    narrow = found["narrow"]
    assert [(row["responder"], row["what"]) for row in narrow] == [
        ("charon", "IKE_AUTH"), ("dks", "GSA_AUTH, policy"), ("dks", "GSA_AUTH, keys")
    ][: len(narrow)]  # fmt: skip
    assert len(narrow) == (3 if os.geteuid() == 0 else 0)
    slow = any(row["of_charon"] < REQUIRED_OF_CHARON[row["what"]] for row in narrow[1:])
    assert done.returncode == int(slow), "the exit code says whether it was fast enough"
    assert [(row["responder"], row["initiators"]) for row in found["rows"]] == [
        (name, count) for count in (1, 2) for name in ("charon", "dks", "dks")
    ]
    assert all(row["handshakes"] == 20 and row["per_s"] > 0 for row in found["rows"])
    assert [row["of_charon"] for row in found["rows"] if row["responder"] == "charon"] == [1.0, 1.0]
    assert found["routers"] == 12


@pytest.mark.parametrize(
    "words", [("--handshakes", "1"), ("--routers", "100000"), ("--kernel", "virtual"), ("--kernel", "other")]
)
def test_what_cannot_be_measured_is_refused(words: tuple[str, str]) -> None:
    done = lab(*words)
    assert done.returncode == 2
    assert words[0] in done.stderr and words[1] in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="holding processes to a share of a processor needs root")
def test_the_work_is_divided_among_workers_and_keys_are_given_out_by_all() -> None:
    done = lab("--workers", "1,2", "--seconds", "2", "--routers", "12", "--json")
    if "share of a processor here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [(row["workers"], row["what"]) for row in rows] == [
        (count, what) for count in (1, 2) for what in ("GSA_AUTH, policy", "GSA_AUTH, keys")
    ]
    assert all(row["handshakes"] > 0 for row in rows)
    assert all(row["busiest"] < 1.9 for row in rows), "one worker did it all"


@pytest.mark.parametrize("words", [("--workers", "0"), ("--workers", "1,x"), ("--workers", "64")])
def test_numbers_of_workers_that_are_none_are_refused(words: tuple[str, str]) -> None:
    done = lab(*words)
    assert done.returncode == 2
    assert words[0] in done.stderr and words[1] in done.stderr


def test_routers_are_registered_during_every_attack() -> None:
    done = lab("--seconds", "1", "--rate", "300", "--routers", "12", "--json", of="dos")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    peace, *attacks, afterwards = rows
    assert (peace["attack"], afterwards["attack"]) == ("none", "none, afterwards")
    assert [row["attack"] for row in attacks] == [*ATTACKS, LIAR, PIECES, CHURN]
    assert all(row["registered"] > 0 and not row["failed"] for row in rows)
    assert all(row["sent_per_s"] > 0 for row in attacks)
    # Processor time of the DKS against that of a registration: measured 0.05 to 0.06 and 0.4 to 0.7.
    for row in attacks[: len(ATTACKS)]:
        assert row["cpu_ms"] < 0.25 * peace["cpu_ms"], "what a stranger sends costs a key exchange"
    for row in attacks[len(ATTACKS) : -1]:
        assert row["cpu_ms"] < 1.5 * peace["cpu_ms"], "who proves nothing costs more than who registers"
    floods = json.loads(done.stdout)["lks"]
    assert [row["attack"] for row in floods] == ["none", *ATTACKS]
    assert all(row["keyed_s"] is not None and row["keyed_s"] < 2.0 for row in floods)
    assert all(row["grown_kib"] < 16 * 1024 for row in attacks), "memory grows with what strangers send"
