"""One vocabulary of faults: each step is performed by those that it names, and by nobody else."""

from __future__ import annotations

import ast

import pytest

from testbed.errors import InputError
from testbed.faults.simulated import SIMULATED
from testbed.faults.steps import (
    ACTIONS,
    DKS,
    SHARED,
    ClockStep,
    DksKill,
    DksStart,
    Heal,
    LinkAllow,
    LinkBlackhole,
    LinkHeal,
    Mark,
    Partition,
    PowerOff,
    PowerOn,
    RouterRemove,
    Step,
    Where,
)
from testbed.setup.paths import PROJECT
from testbed.simulation.network import Network
from testbed.simulation.performer import perform
from testbed.soak.faults import faults_of

ALL = {**ACTIONS, **SIMULATED}


def performed(*files: str) -> set[str]:
    """The steps that some `match` of these files has a case for."""
    cases = (node for file in files for node in ast.walk(ast.parse((PROJECT / file).read_text())))
    named = {
        each.cls.attr for each in cases if isinstance(each, ast.MatchClass) and isinstance(each.cls, ast.Attribute)
    }
    return {action for action, kind in ALL.items() if kind.__name__ in named}


def test_the_guest_performs_what_says_so() -> None:
    said = {action for action, kind in ALL.items() if Where.GUEST in kind.where}
    assert performed("testbed/faults/actions.py") == said == ACTIONS.keys()


def test_simulations_perform_what_says_so() -> None:
    assert performed("testbed/simulation/performer.py") == SHARED
    assert performed("testbed/soak/adversary.py") == SIMULATED.keys()
    assert {action for action, kind in ALL.items() if Where.SIMULATION in kind.where} == SHARED | SIMULATED.keys()


def test_no_two_steps_have_one_name() -> None:
    assert not ACTIONS.keys() & SIMULATED.keys()


def test_the_soak_draws_steps_of_every_kind_that_a_simulation_performs() -> None:
    assert {each.action for seed in range(60) for each in faults_of(seed)} == SHARED | SIMULATED.keys()


@pytest.fixture
def network() -> Network:
    found = Network({"a--b": ("a", "b"), "b--c": ("b", "c")}, dks=True)
    found.power_on_all()
    assert found.run(30, found.all_keyed)
    return found


def test_a_step_that_the_guest_alone_performs_is_refused_with_those_that_there_are(network: Network) -> None:
    with pytest.raises(InputError, match="no simulation performs mark"):
        perform(network, Mark(at_s=0, name="now"))


PAIRS: list[tuple[Step, Step]] = [
    (PowerOff(at_s=0, nodes=("a",), dks=True), PowerOn(at_s=0, nodes=("a",), dks=True, jitter_s=1)),
    (LinkBlackhole(at_s=0, segment="a--b"), LinkHeal(at_s=0, segment="a--b")),
    (Partition(at_s=0, groups=(("a", DKS), ("b",))), Heal(at_s=0)),
    (DksKill(at_s=0), DksStart(at_s=0)),
]


@pytest.mark.parametrize(("there", "back"), PAIRS, ids=lambda each: each.action)
def test_a_fault_is_done_once_and_taken_back_once(network: Network, there: Step, back: Step) -> None:
    assert perform(network, there) and not perform(network, there)
    network.run(network.now + 30)
    assert perform(network, back)
    network.run(network.now + 2)
    assert not perform(network, back)
    assert network.run(network.now + 60, network.all_keyed)


def test_nothing_passes_between_the_sides_of_a_partition(network: Network) -> None:
    perform(network, Partition(at_s=0, groups=(("a",),)))
    network.power_off("a")
    network.power_on("a")
    network.run(network.now + 30)
    assert not network.hears("b", "a") and network.hears("b", "c")
    perform(network, Heal(at_s=0))
    assert network.run(network.now + 60, network.all_keyed)


def test_a_clock_step_is_of_one_router_or_of_all(network: Network) -> None:
    perform(network, ClockStep(at_s=0, node="a", seconds=5))
    perform(network, ClockStep(at_s=0, node="all", seconds=-2))
    assert {name: network.clocks[name] for name in "abc"} == {"a": 3, "b": -2, "c": -2}


def test_a_removal_that_is_handed_to_a_router_reaches_the_others_without_the_dks(network: Network) -> None:
    assert perform(network, RouterRemove(at_s=0, router="c", hand_to="a"))
    assert network.revocation is None, "the DKS was not given it"
    assert network.run(network.now + 30, lambda: not network.hears("b", "c"))
    assert not perform(network, RouterRemove(at_s=0, router="c"))
    network.export()
    assert network.revocation == network.signed_lists[-1]


def test_a_link_is_allowed_once() -> None:
    network = Network({"a--b": ("a", "b")}, dks=True)
    network.power_on_all()
    assert not perform(network, LinkAllow(at_s=0, segment="a--b"))
