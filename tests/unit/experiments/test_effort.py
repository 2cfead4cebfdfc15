"""What people type and keep secret: the scripts, that their programs take them, and what is counted of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from agents.policy.store import PolicyStore
from testbed.effort.by_hand import KeyChains, ManualIpsec
from testbed.effort.case import TASKS, WAYS, play, scripts
from testbed.effort.network import grid
from testbed.effort.ours import PAGE, Ours, on_a_machine
from testbed.effort.parsers import Parsers
from testbed.effort.script import DESK, Line, Script, counts
from testbed.errors import InputError
from testbed.runner.experiment import find
from testbed.runner.played import played
from testbed.runner.session import Request
from testbed.runner.simulated import Simulated
from testbed.setup.tree import tree
from testbed.topology.load import load


def namespaces() -> bool:
    return subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0


parsed = pytest.mark.skipif(not tree().ready or not namespaces(), reason="no guest tree, or no namespaces")


def experiment() -> Simulated:
    found = find("effort")
    assert isinstance(found, Simulated)
    return found


def test_a_script_is_counted_by_lines_machines_secrets_decisions_and_rounds() -> None:
    one = [Line(DESK, "make", ("k",), ("id",)), Line("r1", "use", ("k", "j")), Line("r1", "x", (), ("id", "date"))]
    assert counts(Script.of(one, [], [Line("r2", "use", ("k",))])) == {
        "commands": 4, "machines": 3, "secrets": 2, "entries": 4, "decisions": 2, "rounds": 2,
    }  # fmt: skip


def test_the_last_router_of_a_grid_has_links_that_are_its_neighbours_last_ones() -> None:
    for count in (4, 10, 12, 100):
        network = grid(count)
        last = network.routers[-1]
        assert len(network.routers) == count and len(network.links) == len({each.link for each in network.links})
        for port in network.ports[last]:
            assert network.ports[port.peer][-1].peer == last
            assert network.port_to(port.peer, last).peer_address == port.address


@pytest.mark.parametrize("way", WAYS)
def test_secrets_of_keys_by_hand_grow_with_the_network_and_ours_do_not(way: str, tmp_path: Path) -> None:
    found = {task: counts(each) for task, each in scripts(way, grid(4), tmp_path)[0].items()}
    assert tuple(sorted(found)) == tuple(sorted(TASKS))
    if way == "lks":
        assert [found[task]["entries"] for task in TASKS] == [1, 0, 0, 0, 0]
        assert (found["add"]["machines"], found["leaves"]["machines"]) == (2, 1)
    else:
        keys = 4 if way.endswith("-link") else 1
        assert found["service"]["secrets"] == keys * (2 if way.startswith("manual") else 1)
        assert found["leaves"] == found["roll"] and found["roll"]["machines"] == 5
        assert found["roll"]["rounds"] == (3 if way.startswith("manual") else 2)
        assert found["add"]["machines"] >= 3, "its neighbours too"


def test_a_change_of_static_keys_never_leaves_a_packet_without_an_sa() -> None:
    """Each router's own SAs: before the second round all have the new ones, before the third all send with them."""
    hand = ManualIpsec(grid(4), one_key=True)
    first, second, third = hand.rolled("r1")
    added = {line.text.split(" proto esp")[0].split("dst ")[1] for line in first}
    gone = {line.text.split(" proto esp")[0].split("dst ")[1] for line in third}
    assert added == gone and all(" update " in line.text and "spi 0x102" in line.text for line in second)
    made = {line.text.split("dst ")[1].split()[0] for line in hand.set_up("r1", hand.network.ports["r1"])
            if "state add" in line.text}  # fmt: skip
    assert added == made


def test_a_router_s_commands_are_those_of_the_install_page() -> None:
    lines = on_a_machine("r1, r2", PAGE.read_text())
    assert any("openssl genpkey" in line for line in lines) and "systemctl enable --now lks" in lines
    assert not any("policy flush" in line for line in lines), "what takes all back is no part of it"


def test_the_policy_lines_are_run_and_leave_a_domain_that_verifies(tmp_path: Path) -> None:
    network = grid(4)
    ours = Ours(network, tmp_path)
    ours.service()
    ours.add("r4")
    ours.replace("r1")
    ours.leaves()
    store = PolicyStore(tmp_path / "store")
    assert store.verify() == [] and set(store.documents()) == set(network.routers)
    domain = store.draft()
    assert (len(domain.adjacencies), domain.administrators) == (4, ())
    assert {each.name for each in domain.revoked_routers} == {"r1", "r4"}
    store.close()
    with pytest.raises(AssertionError, match="exit code 2"):
        ours._policy("router approve nobody --key dks-1.pub")


@parsed
def test_ip_and_vtysh_take_every_line_and_refuse_a_wrong_one(tmp_path: Path) -> None:
    network = grid(4)
    for one_key in (True, False):
        for hand in (ManualIpsec(network, one_key=one_key), KeyChains(network, one_key=one_key)):
            parsers = Parsers(tmp_path)
            for script in (hand.service(), hand.add("r4"), hand.roll()):
                parsers.look(script.lines)
            assert 0 < parsers.tried == parsers.taken
    for wrong in (
        [Line("r1", "ip xfrm state add src 0.0.0.0 dst 224.0.0.5 proto esp spi x mode transport")],
        [Line("r1", "configure terminal"), Line("r1", "key chain a b c"), Line("r1", "end")],
    ):
        parsers = Parsers(tmp_path)
        parsers.look(wrong)
        assert parsers.taken == 0 < parsers.tried


@parsed
def test_the_experiment_runs_at_its_smallest_and_every_criterion_holds(tmp_path: Path) -> None:
    request = Request("effort", jobs=2, out=tmp_path, options={"sizes": 4})
    how = played(experiment())
    how.prepare(request, load)
    done = how.play(request, lambda _outcome, _done, _of: None, lambda _table: None)
    assert done.summary["ok"] and done.summary["criteria"] and not done.summary["flaws"]
    assert list(done.summary["keyings"]) == [f"{way} 4" for way in WAYS]
    assert {each.name for each in (tmp_path / "figures").iterdir()} >= {"effort.svg"}


@parsed
def test_the_same_case_gives_the_same_result(tmp_path: Path) -> None:
    assert play("lks", 4, tmp_path) == play("lks", 4, tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [({"sizes": "x"}, "not a list of sizes"), ({"sizes": [10, 10]}, "is given twice"), ({"sizes": 2}, "2 routers"),
     ({"size": 4}, "unknown option 'size'")],
)  # fmt: skip
def test_bad_options_are_refused_by_name(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        experiment().cases(Request("effort", options=options))


def test_neither_another_keying_nor_several_seeds_can_be_asked_for() -> None:
    with pytest.raises(InputError, match="'central' is not counted"):
        experiment().cases(Request("effort", keyings=("central",)))
    with pytest.raises(InputError, match="the same for every seed"):
        experiment().cases(Request("effort", seeds=(1, 2)))
    assert [case[0] for case in experiment().cases(Request("effort", keyings=("manual",), options={"sizes": 10}))] == [
        "manual 10", "manual-link 10",
    ]  # fmt: skip
