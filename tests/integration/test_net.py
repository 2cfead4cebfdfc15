"""The laboratory with FRR in it: convergence, kinds of cut, power, protocols. Runs in the guest."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from net_lab import LAN_WITH_EVERYTHING, Played, from_yaml, in_engine, play

from testbed.errors import EnvironmentFailure
from testbed.inside.engine import Engine
from testbed.keying.none import NoKeying
from testbed.net.laboratory import Laboratory
from testbed.net.runner import run
from testbed.record.writer import Recorder
from testbed.topology.load import load
from testbed.topology.paths import expected_paths

pytestmark = pytest.mark.guest


def steps(*rows: tuple[float, str, dict[str, object]]) -> list[dict[str, object]]:
    return [{"at_s": at, "action": action, "args": args} for at, action, args in rows]


def assert_expected_routes(played: Played, down: frozenset[str] = frozenset()) -> None:
    expected = expected_paths(played.plan.topology, down)
    for router, routes in expected.items():
        wanted = {str(prefix): frozenset(map(str, hops)) for prefix, hops in routes.items()}
        assert played.routes_at_end(router) == wanted, router


def test_a_ring_of_four_converges_to_the_shortest_paths(tmp_path: Path) -> None:
    played = play(tmp_path, "ring:4")
    assert played.code == 0
    assert len(played.adjacency("ospfd", "Full")) == 8
    assert_expected_routes(played)
    times = [event["t"] for event in played.events]
    assert times == sorted(times)
    assert played.of("lab", "run_end", status="done")


def test_each_kind_of_cut_is_noticed_as_it_should_be(tmp_path: Path) -> None:
    played = play(
        tmp_path,
        "ring:6",
        duration_s=160,
        timeline=steps(
            (60, "link_carrier_down", {"segment": "r1--r2"}),
            (70, "link_admin_down", {"segment": "r3--r4", "side": "r3"}),
            (80, "link_blackhole", {"segment": "r5--r6"}),
        ),
    )
    carrier = played.at("fault", "link_carrier_down")
    for router in ("r1", "r2"):
        lost = played.adjacency("ospfd", "Deleted", carrier, node=router)[0]["t"] / 1e9
        assert lost - carrier < 0.1
    admin = played.at("fault", "link_admin_down")
    assert {event["node"] for event in played.of("link", "down") if 0 <= event["t"] / 1e9 - admin < 0.1} == {"r3", "r4"}
    assert played.adjacency("ospfd", "Deleted", admin, node="r4")[0]["t"] / 1e9 - admin < 0.1
    silent = played.at("fault", "link_blackhole")
    for router in ("r5", "r6"):
        lost = played.adjacency("ospfd", "Deleted", silent, node=router)[0]["t"] / 1e9
        assert 30 <= lost - silent <= 40.5
    assert not [event for event in played.of("link", "down") if event["t"] / 1e9 > silent]


def test_mended_cuts_bring_the_routes_back(tmp_path: Path) -> None:
    played = play(
        tmp_path,
        "ring:4",
        duration_s=200,
        timeline=steps(
            (50, "link_carrier_down", {"segment": "r1--r2"}),
            (60, "link_carrier_up", {"segment": "r1--r2"}),
            (60, "link_admin_down", {"segment": "r2--r3"}),
            (70, "link_admin_up", {"segment": "r2--r3"}),
            (70, "link_blackhole", {"segment": "r3--r4"}),
            (120, "link_heal", {"segment": "r3--r4"}),
            (120, "link_netem", {"segment": "r4--r1", "delay_ms": 20}),
        ),
    )
    assert_expected_routes(played)


def test_a_partition_separates_silently_and_heals(tmp_path: Path) -> None:
    played = play(
        tmp_path,
        "ring:4",
        duration_s=160,
        timeline=steps(
            (50, "partition", {"groups": [["r1"], ["r2", "r3", "r4"]]}),
            (100, "heal", {}),
        ),
    )
    began = played.at("fault", "partition")
    lost = {event["node"] for event in played.adjacency("ospfd", "Deleted", began)}
    assert lost == {"r1", "r2", "r4"}
    assert not [event for event in played.of("link", "down") if event["t"] / 1e9 > began]
    assert_expected_routes(played)


def test_a_power_cycle_takes_everything_and_brings_the_adjacencies_back(tmp_path: Path) -> None:
    played = play(
        tmp_path,
        "ring:4",
        duration_s=140,
        timeline=steps(
            (50, "power_off", {"nodes": ["r2"]}),
            (80, "power_on", {"nodes": ["r2"], "jitter_s": 3}),
        ),
    )
    off, on = played.at("fault", "power_off"), played.at("fault", "power_on")
    assert 80 <= on - played.at("lab", "ready") <= 83.5
    for neighbor in ("r1", "r3"):
        assert played.adjacency("ospfd", "Deleted", off, node=neighbor)[0]["t"] / 1e9 - off < 0.1
    gone = played.of("route", "del", node="r2")
    assert {event["dst"] for event in gone} >= {"10.0.0.1/32", "10.0.0.3/32", "10.0.0.4/32"}
    assert all(abs(event["t"] / 1e9 - off) < 0.01 for event in gone[:3])
    assert len(played.adjacency("ospfd", "Full", on)) == 4
    assert_expected_routes(played)


def test_all_routers_lose_power_and_all_come_back(tmp_path: Path) -> None:
    played = play(
        tmp_path,
        "ring:4",
        duration_s=140,
        timeline=steps(
            (50, "power_off", {"nodes": "all", "dks": True}),
            (60, "power_on", {"nodes": "all", "dks": True, "jitter_s": 5}),
        ),
    )
    assert len(played.adjacency("ospfd", "Full", played.at("fault", "power_on"))) == 8
    assert_expected_routes(played)


def test_probes_are_lost_for_as_long_as_the_blackhole_is_not_noticed(tmp_path: Path) -> None:
    # Shorter than it takes ARP to give its neighbour up: three probes, a second each. What waits for ARP is not lost.
    played = play(
        tmp_path,
        "line:3",
        duration_s=80,
        timeline=steps((40, "link_blackhole", {"segment": "r2--r3"}), (42.5, "link_heal", {"segment": "r2--r3"})),
        flows=[{"src": "r1", "dst": "r3", "rate_pps": 40, "start_s": 30}],
    )
    losses = played.of("probe", "loss")
    assert len(losses) == 1
    lost = losses[0]["last_seq"] - losses[0]["first_seq"] + 1
    assert lost == pytest.approx(100, abs=3)  # forty a second, and what the laboratory takes to cut and to heal
    span_s = (losses[0]["sent_last_ns"] - losses[0]["sent_first_ns"]) / 1e9
    assert span_s == pytest.approx((lost - 1) / 40, abs=0.02)
    total = played.of("probe", "flow")[0]
    assert total["sent"] in (2000, 2001)  # the last one is due at the very end
    assert total["received"] == total["sent"] - lost


def test_a_lan_of_three_elects_a_dr_and_speaks_ospfv3_and_pim(tmp_path: Path) -> None:
    played = play(tmp_path, from_yaml(tmp_path, LAN_WITH_EVERYTHING), duration_s=90)
    assert played.code == 0
    for daemon in ("ospfd", "ospf6d"):
        assert len(played.adjacency(daemon, "Full")) == 6
    assert {(event["node"], event["neighbor"]) for event in played.adjacency("pimd", "Up")} >= {
        (one, str(played.plan.topology.routers[other].interfaces[0].ipv4.ip))
        for one in ("r1", "r2", "r3")
        for other in ("r1", "r2", "r3")
        if one != other
    }


def test_the_lan_has_one_dr_in_every_routers_eyes(tmp_path: Path) -> None:
    def drs(engine: Engine) -> set[str]:
        found = set()
        for router in engine.lab.routers:
            with router.vty("ospfd") as vty:
                answer = vty.json("show ip ospf interface json")
            shared = engine.plan.topology.neighbors(router.name)[0].interface.name
            found.add(answer["interfaces"][shared]["drId"])
        return found

    assert len(in_engine(tmp_path, "lan:3", 60.0, drs)) == 1


def test_a_node_without_power_has_no_process_address_route_or_sa_left(tmp_path: Path) -> None:
    def look(engine: Engine) -> None:
        lab, router = engine.lab, engine.lab.router("r1")
        router.run(
            "ip", "xfrm", "state", "add", "src", "10.0.0.1", "dst", "224.0.0.5", "proto", "ah", "spi", "0x100",
            "mode", "transport", "auth-trunc", "hmac(sha256)", "0x" + "00" * 32, "128",
        )  # fmt: skip
        router.run("ip", "xfrm", "policy", "add", "dst", "224.0.0.9", "dir", "out")
        router.run("ip", "rule", "add", "from", "10.9.9.9", "table", "77")
        router.run("ip", "-6", "route", "add", "fd99::/64", "dev", "lo")
        router.run("ip", "-6", "rule", "add", "from", "fd99::9", "table", "77")
        (router.volatile / "agent.sock").touch()
        assert len(router.net_namespace.processes()) >= 3
        lab.power_off("r1")
        assert [pid for pid in router.net_namespace.processes() if pid != os.getpid()] == []
        for command in ("-o address show scope global", "route show", "-6 route show", "xfrm state", "xfrm policy"):
            assert router.run("ip", *command.split()) == "", command
        rules = [line.split(":")[0] for line in router.run("ip", "rule", "show").splitlines()]
        assert rules == ["0", "32766", "32767"]
        rules = [line.split(":")[0] for line in router.run("ip", "-6", "rule", "show").splitlines()]
        assert rules == ["0", "32766"]
        assert list(router.volatile.iterdir()) == []

    in_engine(tmp_path, "ring:3", 20.0, look)


class KeyingWithDisks(NoKeying):
    retained_disks = True


def test_a_power_cut_loses_what_was_not_fsynced_and_nothing_else(tmp_path: Path) -> None:
    async def run() -> None:
        lab = Laboratory(load("ring:3"), KeyingWithDisks(), seed=1, options={}, record=Recorder())
        try:
            lab.build()
            await lab.power_on("r1")
            folder = lab.node("r1").retained
            with open(folder / "kept", "w") as file:
                file.write("kept")
                file.flush()
                os.fsync(file.fileno())
            directory = os.open(folder, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
            (folder / "lost").write_text("lost")
            lab.power_off("r1")
            await lab.power_on("r1")
            assert (folder / "kept").read_text() == "kept"
            assert not (folder / "lost").exists() or (folder / "lost").read_text() == ""
        finally:
            lab.close()

    asyncio.run(run())


def test_mininets_own_cmd_works_on_a_router_and_after_its_reboot(tmp_path: Path) -> None:
    def look(engine: Engine) -> None:
        router = engine.lab.net["r1"]
        assert "10.0.0.1" in router.cmd("ip -o address show dev lo")
        assert "FRRouting" in router.cmd("vtysh -c 'show version'")
        engine.lab.power_off("r1")
        assert "10.0.0.1" not in router.cmd("ip -o address show dev lo")

    in_engine(tmp_path, "ring:3", 5.0, look)


def test_two_runs_of_one_seed_give_the_same_boot_jitter(tmp_path: Path) -> None:
    def lab() -> Laboratory:
        return Laboratory(load("ring:3"), NoKeying(), seed=7, options={}, record=Recorder())

    one, other = lab(), lab()
    assert [one.boot_jitter("r1", 5) for _ in range(3)] == [other.boot_jitter("r1", 5) for _ in range(3)]
    assert one.boot_jitter("r2", 5) != one.boot_jitter("r3", 5)


def test_interfaces_are_set_all_or_none_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    def look(engine: Engine) -> None:
        node = engine.lab.net["r1"].net_namespace
        with pytest.raises(EnvironmentFailure, match="cannot be set down") as raised:
            node.set_links({"r1-eth0": False, "nothing": False})
        assert raised.value.where == "nothing in r1"
        assert ",UP" in run(["ip", "-o", "link", "show", "r1-eth0"], namespace=node).stdout
        node.set_links({"r1-eth0": False, "r1-eth1": False})
        assert ",UP" not in run(["ip", "-o", "link", "show", "r1-eth0"], namespace=node).stdout

    in_engine(tmp_path, "ring:3", 1.0, look)
