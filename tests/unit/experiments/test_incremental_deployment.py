"""The experiment's plan, and the Policy Server that plays it."""

from __future__ import annotations

import hashlib
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from agents.ipsec.protection import Mode
from agents.policy.confirmation import Confirmation, InForce, sign_confirmation
from agents.policy.document import verify_document
from agents.policy.domain import Settings
from testbed.analysis.protected import Share, between
from testbed.domains.build import domain_of
from testbed.domains.keys import POLICY_SERVER, keys_of, laboratory_key
from testbed.errors import InputError
from testbed.faults.check import check_plan
from testbed.keying.options import AgentOptions, options_of
from testbed.keying.policy_server import LaboratoryPolicyServer
from testbed.keying.provision import AgentFiles, provision
from testbed.runner.experiment import find
from testbed.topology.load import load
from testbed.topology.resolved import Topology

deployment = sys.modules[type(find("incremental_deployment")).__module__]


@pytest.mark.parametrize("name", ["ring", "lan", "abilene"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_plan_can_be_played_and_cuts_the_power_of_a_router_whose_link_is_under_way(name: str, seed: int) -> None:
    plan = find("incremental_deployment").plan(load(name), "lks", seed, {})
    check_plan(plan)
    assert plan.captures == "all"
    off = next(each.at_s for each in plan.timeline if each.action == "power_off")
    steps = [each.at_s for each in plan.timeline if each.action == "policy_step" and each.args["direction"] == "up"]
    assert steps[0] < off < steps[-1]
    assert max(each.at_s for each in plan.timeline) < plan.duration_s


def laboratory(
    topology: Topology, folder: Path, address: IPv4Address, settings: Settings, mode: Mode
) -> LaboratoryPolicyServer:
    """All nodes' folders, and the Policy Server."""
    domain = domain_of(topology, keys_of(1), address, settings, mode)
    provision(topology, domain, folder, 1)
    return LaboratoryPolicyServer(domain, folder, 1)


def test_steps_wait_for_the_routers_words_and_put_documents_where_the_dks_finds_them(tmp_path: Path) -> None:
    topology, address, settings = (
        load("ring"),
        IPv4Address("192.0.2.1"),
        AgentOptions().settings(issuer="lks", local_key_server=True),
    )
    server = laboratory(topology, tmp_path, address, settings, Mode.CLEAR)
    dks = AgentFiles(tmp_path / "retained" / "dks")
    before = hashlib.sha256((dks.documents / "r1.cose").read_bytes()).digest()
    assert server.step("up")["result"] == "held"
    (dks.state / "confirmations").mkdir()
    for name in topology.routers:
        public = laboratory_key(1, POLICY_SERVER).public_key()
        document = verify_document((dks.documents / f"{name}.cose").read_bytes(), public, domain=topology.domain)
        states = tuple(InForce(name=each.name, mode=Mode.CLEAR, keyed=()) for each in document.interfaces)
        said = Confirmation(domain=topology.domain, router=name, version=1, at=0, interfaces=states)
        signed = sign_confirmation(said, laboratory_key(1, name))
        (dks.state / "confirmations" / f"{name}.confirmation").write_bytes(signed)
    taken = server.step("up")
    assert (taken["result"], taken["left"]) == ("taken", 11)
    assert hashlib.sha256((dks.documents / "r1.cose").read_bytes()).digest() != before
    assert server.step("up")["result"] == "held"
    assert server.step("back")["result"] == "taken"  # taking back the last step needs nobody's word


@pytest.mark.parametrize("mode", [Mode.REQUIRED, Mode.CLEAR])
def test_a_step_where_there_is_none_is_no_error(mode: Mode, tmp_path: Path) -> None:
    topology, address = load("ring"), IPv4Address("192.0.2.1")
    settings = AgentOptions().settings(issuer="lks", local_key_server=True)
    server = laboratory(topology, tmp_path, address, settings, mode)
    assert server.step("up")["result"] == ("done" if mode is Mode.REQUIRED else "held")
    assert server.step("back")["result"] == ("held" if mode is Mode.REQUIRED else "done")


def test_an_unknown_mode_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="mode is 'closed'") as caught:
        options_of(AgentOptions, {"mode": "closed"})
    assert caught.value.errors[0].allowed == "clear, listen, permissive, required"  # type: ignore[attr-defined]


def test_a_share_is_of_whole_intervals_only() -> None:
    found = [Share(0, 1, 1), Share(10, 4, 0), Share(20, 0, 4)]
    assert between(found, 5, 30).value == 0.5
    assert between(found, 5, 25).value == 1.0
    assert between(found, 0, 5).value is None


def test_the_router_that_loses_its_power_is_no_designated_one_where_another_can() -> None:
    assert deployment.down(load("lan")) == "r3"
    assert deployment.down(load("ring")) == "r4"
    assert deployment.down(load("lan:3")) == "r3"
    assert deployment.elected(load("lan")) == {"r4", "r5"}


def test_multicast_goes_to_all_that_no_path_leads_to_through_the_router_without_power(tmp_path: Path) -> None:
    """So that every packet that is lost is the deployment's."""
    (tmp_path / "t.yaml").write_text("pim: {rp: a}\nlinks: [a-b, b-c, c-d, d-a, d-e]\n")
    topology = load(str(tmp_path / "t.yaml"))
    experiment = find("incremental_deployment")
    gone = deployment.down(topology)
    assert gone == "e"
    assert [each.receivers for each in experiment.streams(topology)] == [("b", "c", "d")] * 2
    (tmp_path / "t.yaml").write_text("pim: {rp: a}\nlinks: [a-b, b-c, c-d, d-a]\n")
    topology = load(str(tmp_path / "t.yaml"))
    assert deployment.down(topology) == "d"
    # c is as near to a, the rendezvous point, by way of d as by way of b.
    assert [(each.source, each.receivers) for each in experiment.streams(topology)] == [
        ("a", ("b",)), ("b", ("a", "c"))
    ]  # fmt: skip


def test_protocols_are_deployed_one_after_the_other_when_asked_for(tmp_path: Path) -> None:
    experiment, topology = find("incremental_deployment"), load("office")

    def order(apart: object) -> list[tuple[str, str]]:
        plan = experiment.plan(topology, "lks", 1, {"apart": apart})
        check_plan(plan)
        steps = [each.args for each in plan.timeline if each.action == "policy_step"]
        return list(dict.fromkeys((each["direction"], each["protocol"]) for each in steps))

    assert order(False) == [("up", "all"), ("back", "all")]
    assert order(True) == [("up", "ospf"), ("up", "pim"), ("back", "pim"), ("back", "ospf")]
    with pytest.raises(InputError, match="apart is 'both'"):
        order("both")


def test_a_deployment_of_another_protocol_begins_when_the_one_before_is_at_its_end(tmp_path: Path) -> None:
    topology, address = load("office"), IPv4Address("192.0.2.1")
    settings = AgentOptions().settings(issuer="lks", local_key_server=True)
    server = laboratory(topology, tmp_path, address, settings, Mode.CLEAR)
    dks, public = AgentFiles(tmp_path / "retained" / "dks"), laboratory_key(1, POLICY_SERVER).public_key()
    (dks.state / "confirmations").mkdir()

    def confirm() -> None:
        """All routers say that everything is in force."""
        for name in topology.routers:
            document = verify_document((dks.documents / f"{name}.cose").read_bytes(), public, domain=topology.domain)
            states = tuple(
                InForce(
                    name=each.name, mode=each.mode, modes=each.modes,
                    keyed=tuple(sorted(other.router for other in each.neighbors if each.protected)),
                )
                for each in document.interfaces
            )  # fmt: skip
            said = Confirmation(domain=topology.domain, router=name, version=document.version, at=0, interfaces=states)
            signed = sign_confirmation(said, laboratory_key(1, name))
            (dks.state / "confirmations" / f"{name}.confirmation").write_bytes(signed)

    up: list[tuple[str, str, str]] = []
    for protocol in ("ospf", "pim"):
        for _attempt in range(40):
            outcome = server.step("up", protocol=protocol)
            up.append((protocol, outcome["result"], ", ".join(outcome.get("changes", ()))))
            if outcome["result"] == "held":
                confirm()
            elif outcome["result"] == "done":
                break
    taken = [(protocol, changes) for protocol, result, changes in up if result == "taken"]
    assert {protocol for protocol, changes in taken} == {"ospf", "pim"}
    assert all(f" {protocol}: " in changes for protocol, changes in taken)
    assert len(taken) == 2 * 3 * 2, "three modes of two segments, of two protocols"
    assert server.step("up", protocol="ospf") == server.step("up", protocol="pim") == {"result": "done"}
