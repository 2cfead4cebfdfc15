"""FRR's configuration files as the templates make them."""

from __future__ import annotations

import re
from pathlib import Path

from testbed.keying.native import NativeKeying
from testbed.keying.options import NativeOptions
from testbed.net.frr import configuration, daemons_of
from testbed.topology.load import load
from testbed.topology.resolved import RECEIVERS, Topology

LOG = Path("/run/lab/logs/r1/x.log")


def text(topology: Topology, daemon: str, router: str = "r1", lines: list[str] | None = None) -> str:
    return configuration(topology, topology.routers[router], daemon, [], lambda _interface: lines or [], LOG)


def everything(tmp_path: Path) -> Topology:
    path = tmp_path / "t.yaml"
    path.write_text("ospf: {versions: [2, 3], hello: 2, dead: 8}\npim: {rp: r1}\nlans: {a: {routers: [r1, r2, r3]}}\n")
    return load(str(path))


def test_ospfd_gets_every_interface_with_its_kind_cost_and_timers() -> None:
    topology = load("ring:4")
    written = text(topology, "ospfd")
    for interface in topology.routers["r1"].interfaces:
        assert f"interface {interface.name}\n" in written
    assert written.count("ip ospf network point-to-point") == 2
    assert "ip ospf hello-interval 10\n ip ospf dead-interval 40\n" in written
    assert "timers throttle spf 0 50 500" in written
    assert f"log file {LOG} informational\nlog timestamp precision 6" in written
    assert "log-adjacency-changes detail" in written


def test_stubs_are_passive_and_lans_are_broadcast(tmp_path: Path) -> None:
    topology = everything(tmp_path)
    blocks = text(topology, "ospfd").split("exit\n")
    lan, stub = topology.routers["r1"].interfaces[0].name, topology.dks.interface
    assert "broadcast" in next(block for block in blocks if f"interface {lan}\n" in block)
    attached = next(i.name for i in topology.routers["r1"].interfaces if i.segment == topology.dks.segment)
    assert attached != stub
    assert " ip ospf passive\n" in next(block for block in blocks if f"interface {attached}\n" in block)


def test_without_throttle_frr_keeps_its_own_brakes() -> None:
    topology = load("ring:4")
    slow = topology.model_copy(update={"ospf": topology.ospf.model_copy(update={"throttle": None})})
    assert "timers" not in text(slow, "ospfd")


def test_only_the_daemons_that_are_needed_run(tmp_path: Path) -> None:
    assert daemons_of(load("ring:4").model_copy(update={"pim": None})) == ("zebra", "ospfd")
    assert daemons_of(load("ring:4")) == ("zebra", "ospfd", "pimd")
    assert daemons_of(everything(tmp_path)) == ("zebra", "ospfd", "ospf6d", "pimd")


def test_a_laboratory_for_a_person_has_mgmtd_first_which_vtysh_needs_to_configure_interfaces() -> None:
    assert daemons_of(load("ring:4"), by_hand=True) == ("mgmtd", "zebra", "ospfd", "pimd")


def test_pimd_knows_the_rendezvous_point(tmp_path: Path) -> None:
    topology = everything(tmp_path)
    assert f"rp {topology.routers['r1'].loopback.ip} 224.0.0.0/4" in text(topology, "pimd", "r2")


def test_pimd_asks_for_receivers_where_they_can_be_and_speaks_pim_alone_on_a_link(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("links: [r1-r2]\nlans: {a: [r1, r2, r3]}\nhosts: {h: {on: r1}}\ndks: {attach: r2}\n")
    topology = load(str(path))
    blocks = dict(re.findall(r"^interface (\S+)\n(.*?)^exit", text(topology, "pimd"), re.MULTILINE | re.DOTALL))
    link, lan, stub = (interface.name for interface in topology.routers["r1"].interfaces)
    silent = {name for name, block in blocks.items() if " ip pim passive\n" in block}
    asked = {name for name, block in blocks.items() if " ip igmp\n" in block}
    assert blocks.keys() == {link, lan, stub, "lo", RECEIVERS} and all(" ip pim\n" in each for each in blocks.values())
    assert silent == {stub, "lo", RECEIVERS} and asked == {lan, stub, RECEIVERS}


def test_pimd_writes_of_its_debug_messages_elections_alone_and_takes_no_rendezvous_point_from_the_network() -> None:
    written = text(load("ring:4"), "pimd")
    assert "debug pim trace" not in written and f"log file {LOG} informational" in written
    filtered = f"log filtered-file {LOG.with_suffix('.elections')} debugging\nlog filter-text pim_if_dr_election\n"
    assert filtered in written
    assert "no autorp discovery\n" in written


def test_native_keys_come_in_a_key_chain_that_interfaces_use(tmp_path: Path) -> None:
    topology = everything(tmp_path)
    mode = NativeKeying()
    mode.prepare(topology, tmp_path, 1, NativeOptions())
    router = topology.routers["r1"]
    written = configuration(
        topology,
        router,
        "ospfd",
        mode.frr_global_lines(topology, router, "ospfd"),
        lambda interface: mode.frr_interface_lines(topology, interface, "ospfd"),
        LOG,
    )
    assert "key chain network\n key 1\n  key-string " in written
    assert written.count("ip ospf authentication key-chain network") == 1  # not on the passive stub
    assert mode.frr_global_lines(topology, router, "pimd") == []


def test_a_wrong_native_key_is_another_key(tmp_path: Path) -> None:
    topology = everything(tmp_path)
    mode = NativeKeying()
    mode.prepare(topology, tmp_path, 1, NativeOptions(wrong_key=("r2",)))
    keys = [mode.frr_global_lines(topology, topology.routers[name], "ospfd")[2] for name in ("r1", "r2", "r3")]
    assert keys[0] == keys[2] != keys[1]


def test_priorities_and_types_of_areas_are_said_where_they_are_unusual(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "ospf: {versions: [2, 3], areas: {1: stub, 2: totally-stubby, 3: nssa, 4: totally-nssa}}\n"
        "lans: {l: {routers: [a, b], priority: {b: 0}}}\n"
        "links: [{between: [b, c], area: 1}, {between: [b, d], area: 2, passive: [d]},"
        " {between: [b, e], area: 3}, {between: [b, f], area: 4}]\n"
    )
    topology = load(str(path))
    for daemon, words in (("ospfd", "ip ospf"), ("ospf6d", "ipv6 ospf6")):
        written = text(topology, daemon, "b")
        assert f" {words} priority 0\n" in written
        for number, kind in enumerate(("stub", "stub no-summary", "nssa", "nssa no-summary"), 1):
            assert f" area 0.0.0.{number} {kind}\n" in written
        assert "priority" not in text(topology, daemon, "a") and " area 0.0.0.1" not in text(topology, daemon, "f")
        passive = text(topology, daemon, "d").split("interface d-eth0\n")[1].split("exit")[0]
        assert f" {words} passive\n" in passive
