"""What an administrator is told of an LKS, and may tell it."""

from __future__ import annotations

import json

import pytest

from agents.lks.daemon import main
from agents.lks.status import REFUSED, as_text
from agents.policy.domain import Settings
from agents.runtime.control import CommandRefused
from testbed.simulation.network import Network

PAIR = {"a--b": ("a", "b")}


def keyed(network: Network) -> Network:
    network.power_on_all()
    assert network.run(1, network.all_keyed)
    return network


def test_status_says_who_is_keyed_with_which_generation_and_holds_no_key() -> None:
    network = keyed(Network(PAIR))
    answer = network.lks("a").command(["status"], network.now)
    assert (answer["router"], answer["policy_version"], answer["all_keyed"]) == ("a", 1, True)
    (interface,) = answer["interfaces"]
    (neighbor,) = interface["neighbors"]
    assert neighbor["router"] == "b" and neighbor["keyed"]
    theirs = {group: speaker.generation for group, speaker in network.lks("b").link["b-e0"].speakers.items()}
    assert {name: each["generation"] for name, each in neighbor["heard"].items()} == {
        str(group): generation for group, generation in theirs.items()
    }
    assert [each["members"] for each in interface["groups"]] == [["b"], ["b"]]
    text = json.dumps(answer)
    kernel = network.nodes["a"].kernel
    assert kernel is not None
    assert not any(sa.keymat.hex() in text or repr(sa.keymat) in text for sa in kernel.sas)
    assert "b: keyed; hears ospf" in as_text(answer)


def test_status_says_when_a_router_that_is_alone_will_see_the_dks() -> None:
    network = Network(PAIR)
    network.power_on("a")
    network.run(1)
    answer = network.lks("a").command(["status"], network.now)
    assert not answer["all_keyed"] and not answer["dks"]["connected"]
    assert 0 < answer["dks"]["next_contact_in_s"] < 600
    assert "b: not keyed; hears nothing" in as_text(answer)


def test_status_under_central_keys() -> None:
    settings = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False)
    network = keyed(Network(PAIR, settings=settings, dks=True))
    answer = network.lks("a").command(["status"], network.now)
    assert answer["all_keyed"] and answer["dks"]["connected"]
    assert answer["interfaces"][0]["neighbors"][0]["keyed"]
    assert as_text(answer)


def test_a_rekey_by_command_makes_new_generations_that_the_neighbours_have_first() -> None:
    network = keyed(Network(PAIR))
    before = network.lks("a").link["a-e0"].speakers
    old = {group: speaker.generation for group, speaker in before.items()}
    answer = network.command("a", "rekey", "a-e0")
    assert len(answer["rekeyed"]) == 2
    for tenth in range(10, 50):
        network.run(tenth / 10)
        assert network.all_keyed()
    assert all(network.lks("a").link["a-e0"].speakers[group].generation > old[group] for group in old)


@pytest.mark.parametrize("words", [(), ("dance",), ("rekey", "nowhere"), ("status", "more")])
def test_commands_that_cannot_be_done_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandRefused):
        keyed(Network(PAIR)).command("a", *words)


def test_a_router_whose_keys_the_dks_makes_makes_none_itself() -> None:
    settings = Settings(validity_s=1 << 33, issuer="dks", local_key_server=False)
    network = keyed(Network(PAIR, settings=settings, dks=True))
    with pytest.raises(CommandRefused, match="DKS"):
        network.command("a", "rekey")


@pytest.mark.parametrize(
    "argv", [["status", "--socket", "S"], ["--socket", "S", "status"], ["rekey", "e0", "--socket", "S"]]
)
def test_asking_where_no_agent_runs_ends_with_three(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 3
    assert "no answer from an agent at S" in capsys.readouterr().err


def test_asking_without_a_socket_in_the_configuration_ends_with_two(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    names = ("name", "domain", "identity", "policy_server_key", "state_dir")
    (tmp_path / "lks.toml").write_text("".join(f'{name} = "x"\n' for name in names))
    assert main(["status", "--config", str(tmp_path / "lks.toml")]) == 2
    assert "no `socket`" in capsys.readouterr().err


def test_status_calls_nobody_keyed_whose_keys_the_kernel_has_refused() -> None:
    network = keyed(Network(PAIR))
    core = network.lks("a")
    core.enforced(None, network.now)
    answer = core.command(["status"], network.now)
    assert not answer["all_keyed"] and answer["kernel"] == "refused"
    assert not any(each["keyed"] for interface in answer["interfaces"] for each in interface["neighbors"])
    text = as_text(answer)
    assert REFUSED in text and "b: not keyed" in text
    kernel = network.nodes["a"].kernel
    core.enforced(kernel, network.now)
    answer = core.command(["status"], network.now)
    assert answer["all_keyed"] and answer["kernel"] == "in force" and REFUSED not in as_text(answer)
