"""Everything that reads octets, fed with kept inputs, with mutated ones, and with whatever hypothesis thinks of."""

from __future__ import annotations

import time
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import harness, mutate
from fuzz.harness import Finding, Target, execute, load, promise
from tests.unit.soak import mutations_unsealed  # noqa: F401  adds its own to the table
from tests.unit.soak.mutations import MUTATIONS

ALL = harness.names()
INSIDE = [name for name in ALL if name.startswith("inside_")]
PARSERS = [name for name in ALL if name not in INSIDE]
KEPT = [(name, file) for name in ALL for file, _data in harness.corpus(name)]


@pytest.mark.parametrize(("name", "file"), KEPT)
def test_kept_inputs_break_no_bound(name: str, file: str) -> None:
    execute(load(name), dict(harness.corpus(name))[file])


def test_every_corpus_belongs_to_a_target() -> None:
    assert {folder.name for folder in harness.CORPUS.iterdir()} <= set(ALL)


@pytest.mark.parametrize("name", PARSERS)
def test_good_inputs_are_taken(name: str) -> None:
    outcomes = [execute(load(name), data) for data in load(name).seeds()]
    assert any(outcome.startswith("ok") for outcome in outcomes)


@pytest.mark.parametrize("name", PARSERS)
def test_mutated_inputs_break_no_bound(name: str) -> None:
    target = load(name)
    result = mutate.loop(target, list(target.seeds()), executions=400, seed=1)
    assert result.findings == {}
    assert result.executions == 400


@pytest.mark.parametrize("name", INSIDE)
def test_hostile_parties_with_good_keys_break_no_bound(name: str) -> None:
    target = load(name)
    told = 0
    for data in islice(target.seeds(), 0, None, 11):
        outcome = target.run(data)
        assert isinstance(outcome, tuple)
        told += outcome[0]
    assert told > 0  # they did lie


@pytest.mark.parametrize("name", PARSERS)
def test_random_octets_break_no_bound(name: str) -> None:
    target = load(name)

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary(max_size=300))
    def feed(data: bytes) -> None:
        execute(target, data)

    feed()


def test_what_is_believed_before_its_check_is_found_by_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS["a window that notes a request before its check"](monkeypatch)
    target = load("unsealed_sequence")
    findings = [execute_or_finding(target, data) for data in islice(target.seeds(), 0, None, 3)]
    assert any("changed the state" in each for each in findings)


def execute_or_finding(target: Target, data: bytes) -> str:
    try:
        return execute(target, data)
    except Finding as finding:
        return str(finding)


# -- the harness itself ----------------------------------------------------------------------------


def test_an_exception_that_is_not_declared_is_a_finding() -> None:
    def run(data: bytes) -> None:
        if data == b"bad":
            raise KeyError(data)
        raise ValueError("declared")

    target = Target(run, (ValueError,))
    assert execute(target, b"good").startswith("ValueError")
    with pytest.raises(Finding, match="KeyError"):
        execute(target, b"bad")


def test_too_much_time_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "MAX_SECONDS", 0.01)

    def run(data: bytes) -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    with pytest.raises(Finding, match="processor time"):
        execute(Target(run), b"")


def test_too_much_memory_is_a_finding() -> None:
    # Above everything that this process has had before.
    import resource

    octets = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) + (150 << 20)
    with pytest.raises(Finding, match="MB"):
        execute(Target(lambda data: len(b"\xff" * octets)), b"")


def test_the_mutation_loop_finds_a_hidden_fault() -> None:
    def run(data: bytes) -> None:
        if data[:2] != b"OK":
            raise ValueError("no")
        promise(len(data) < 4 or data[3] < 200, "the fourth octet")

    result = mutate.loop(Target(run, (ValueError,)), [b"OK\0\0"], executions=5000, seed=1)
    assert list(result.findings) == ["the fourth octet"]
