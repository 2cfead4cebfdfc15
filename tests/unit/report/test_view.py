"""The run view: what the page says at a moment is what the record says, in a real browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from testbed.analysis.adjacency import timeline
from testbed.analysis.run import NS, Run
from testbed.cli.main import registered
from testbed.errors import EnvironmentFailure, InputError
from testbed.faults.check import check_plan
from testbed.record.plan import Plan
from testbed.topology.resolved import Topology
from testbed.view.demo import SPEED, STORY, TOPOLOGY, Demo
from testbed.view.page import page
from testbed.view.scene import network, scene
from testbed.view.serve import PageServer
from testbed.view.write import write

BROWSER = (
    "chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--virtual-time-budget=10000", "--window-size=1400,1000", "--dump-dom",
)  # fmt: skip


def opened(file: Path, address: str = "") -> str:
    """The page as a browser has it when its scripts have run."""
    words = [*BROWSER, f"file://{quote(str(file))}#{address}"]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout


def said(dom: str) -> str:
    found = re.search(r'<p id="now" role="status">(.*?)</p>', dom, re.DOTALL)
    assert found is not None
    return html.unescape(found.group(1))


def details(dom: str) -> str:
    found = re.search(r'<aside id="details".*?</aside>', dom, re.DOTALL)
    assert found is not None
    return html.unescape(re.sub(r"<[^>]+>", " ", found.group()))


def test_the_page_says_of_a_moment_what_the_record_says(build: Callable[..., Run], tmp_path: Path) -> None:
    run = build("lks", 1)
    write([run.folder], tmp_path / "view.html")
    changes = timeline(run.plan.topology, run.events)
    keyed = sorted(event["t"] for event in run.where("agent", "keyed"))
    zero = run.mark("power_returns")
    for at_s in (-5.0, 9.0, 16.5):
        moment = zero + round(at_s * NS)
        full = sum([up for t, up in each if t <= moment][-1:] == [True] for each in changes.values())
        has_keys = sum(t <= moment for t in keyed)
        dom = said(opened(tmp_path / "view.html", f"t={at_s}"))
        assert dom.startswith(f"{at_s:.3f} s since power returned: ")
        assert f"{full} of {len(changes)} adjacencies Full" in dom and f"{has_keys} keyed" in dom, at_s
        assert f"{4 if at_s > 4 else 0} of 4 routers with power" in dom


def test_a_link_opens_the_page_at_a_router_and_tells_what_was_said_around(
    build: Callable[..., Run], tmp_path: Path
) -> None:
    run = build("lks", 1)
    write([run.folder], tmp_path / "view.html")
    event = run.where("agent", "keyed", "r2")[0]
    at_s = (event["t"] - run.mark("power_returns")) / NS
    told = details(opened(tmp_path / "view.html", f"t={at_s + 0.001:.6f}&router=r2"))
    assert "Router r2" in told and "its LKS is not ready yet" in told
    assert f"{at_s:.3f} agent keyed interface={event['interface']}" in told
    other = details(opened(tmp_path / "view.html", "t=200&segment=r1--r2"))
    assert "r1 → r2" in other and other.count("Full") == 2 and other.count("required keyed") == 2


def test_two_runs_stand_side_by_side_on_one_cursor(build: Callable[..., Run], tmp_path: Path) -> None:
    write([build("none", 1).folder, build("lks", 1).folder], tmp_path / "view.html")
    dom = opened(tmp_path / "view.html", "t=50")
    assert dom.count('class="map"') == 2
    assert re.search(r"none: 4 of 4 routers.*;\nlks: 4 of 4 routers", said(dom))
    assert "requests" not in said(dom).split(";")[0], "none has no DKS"


def test_a_deployment_is_seen_step_by_step(build: Callable[..., Run], tmp_path: Path) -> None:
    raw = scene(build("lks", 1)) | {"mode": "clear"}
    at_s = {"listen": -20, "permissive": -10, "required": 150}
    ends = {"r1": "r1-eth0", "r2": "r2-eth0"}
    for mode, moment_s in at_s.items():
        changes = [f"{router}:{ifname}: before -> {mode}" for router, ifname in ends.items()]
        own = {"node": "lab", "source": "lab", "kind": "deploy", "result": "taken", "changes": changes}
        raw["events"].append({"t": raw["zero"] + moment_s * NS, **own})
    raw["events"].sort(key=lambda event: event["t"])
    (tmp_path / "view.html").write_text(page([raw]))
    for moment_s, mode in ((-30, "clear"), (-15, "listen"), (100, "permissive keyed"), (200, "required keyed")):
        told = details(opened(tmp_path / "view.html", f"t={moment_s}&segment=r1--r2"))
        assert told.count(mode) == 2, (moment_s, told)


def test_what_a_link_loses_and_that_the_dks_is_dead_is_seen(build: Callable[..., Run], tmp_path: Path) -> None:
    raw = scene(build("lks", 1))
    for at_s, node, kind, more in (
        (100, "lab", "link_netem", {"segment": "r1--r2", "loss_percent": 5}),
        (120, "dks", "dks_kill", {}),
        (150, "lab", "link_netem", {"segment": "r1--r2", "loss_percent": 0}),
        (160, "dks", "dks_start", {}),
    ):
        raw["events"].append({"t": raw["zero"] + at_s * NS, "node": node, "source": "fault", "kind": kind, **more})
    raw["events"].sort(key=lambda event: event["t"])
    (tmp_path / "view.html").write_text(page([raw]))
    for at_s, lost, dead in (
        (90, False, False),
        (110, True, False),
        (130, True, True),
        (155, False, True),
        (170, False, False),
    ):
        dom = opened(tmp_path / "view.html", f"t={at_s}&segment=r1--r2")
        assert ("loses 5 % of its packets" in details(dom)) is (">5 %</text>" in dom) is lost, at_s
        assert (", which is dead" in said(dom)) is bool(re.search(">K×R?</text>", dom)) is dead, at_s


def test_sentences_tell_it_and_it_plays_by_itself(build: Callable[..., Run], tmp_path: Path) -> None:
    raw = scene(build("lks", 1))
    (tmp_path / "view.html").write_text(page([raw], [(raw["start"], "It begins."), (raw["zero"], "Power!")], 2))
    dom = opened(tmp_path / "view.html")
    assert '<p id="told" aria-live="polite">It begins.</p>' in dom and ">Stop</button>" in dom
    assert ">Power!</p>" in opened(tmp_path / "view.html", "t=5")


def test_the_tours_timeline_is_a_plan_and_every_mark_has_its_sentence() -> None:
    plan = Demo().plan(Topology.load(TOPOLOGY), "lks", 1, {})
    check_plan(plan)
    marks = [each.name for each in plan.timeline if each.action == "mark"]
    assert marks == [name for _, name, _ in STORY]
    assert plan.duration_s / SPEED < 130, "about two minutes"


def test_the_loopback_gets_the_page_and_others_nothing() -> None:
    server = PageServer("wait")
    try:
        assert urllib.request.urlopen(server.address).read() == b"wait"
        server.page = "here"
        assert urllib.request.urlopen(server.address).read() == b"here"
        for path, host in (("x", "127.0.0.1"), ("", "evil.example")):
            asked = urllib.request.Request(server.address + path, headers={"Host": f"{host}:1"})
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(asked)
        with pytest.raises(EnvironmentFailure, match="in use"):
            PageServer("wait", int(server.address.split(":")[2].strip("/")))
    finally:
        server.close()


def test_an_address_that_names_nothing_changes_nothing(build: Callable[..., Run], tmp_path: Path) -> None:
    write([build("none", 1).folder], tmp_path / "view.html")
    dom = opened(tmp_path / "view.html", "t=x&router=__proto__&segment=nowhere")
    assert said(dom).startswith("0.000 s") and "Choose a router" in details(dom)


def test_the_page_asks_for_nothing_and_what_is_in_a_record_is_no_script(
    build: Callable[..., Run], tmp_path: Path
) -> None:
    run = build("lks", 1)
    raw = scene(run)
    hostile = "</script><script>document.title='owned'</script>"
    raw["name"] = hostile
    raw["events"] = [
        *raw["events"],
        {"t": raw["end"], "node": "r1", "source": "agent", "kind": hostile, "detail": "\u202e"},
    ]
    text = page([raw])
    (tmp_path / "view.html").write_text(text)
    assert not re.search(r'(src|href)="', text)
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
    dom = opened(tmp_path / "view.html", "t=200&router=r1")
    assert "<title>owned" not in dom and hostile in html.unescape(details(dom)) + html.unescape(dom)
    assert said(dom).startswith("200.000 s"), "the policy lets the page's own script run"


def test_the_same_record_gives_the_same_page(build: Callable[..., Run]) -> None:
    run = build("lks", 1)
    assert page([scene(run)]) == page([scene(Run(run.folder))])


@pytest.mark.parametrize("name", ["ring:4", "grid:3x3", "office", "abilene", "star:50"])
def test_every_node_has_a_place_of_its_own_in_the_square(name: str) -> None:
    found = network(Topology.load(name))
    places = [tuple(each["at"]) for each in found["routers"].values()] + [
        tuple(each) for each in found["lans"].values()
    ]
    assert len(set(places)) == len(places)
    assert all(0 <= part <= 1 for place in places for part in place)


def test_a_results_folder_shows_two_modes_and_an_unknown_one_is_refused(
    build: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    for keying in ("none", "central-mgmt", "lks"):
        for seed in (1, 2):
            build(keying, seed).folder.rename(tmp_path / "runs" / f"{keying}-{seed}-x")
    assert write([tmp_path], None) == (tmp_path / "view.html", ["storm, central-mgmt, seed 1", "storm, lks, seed 1"])
    assert write([tmp_path], None, ["none"])[1] == ["storm, none, seed 1"]
    with pytest.raises(InputError, match="'manual'"):
        write([tmp_path], None, ["manual"])


@pytest.mark.parametrize("damage", ["no folder", "no record", "cut", "no json", "plan", "of another kind"])
def test_a_damaged_run_is_refused_and_no_page_is_written(
    build: Callable[..., Run], tmp_path: Path, damage: str
) -> None:
    folder = build("lks", 1).folder
    record, out = folder / "record.jsonl", tmp_path / "view.html"
    if damage == "no folder":
        folder = tmp_path / "nowhere"
    elif damage == "no record":
        record.unlink()
    elif damage == "cut":
        record.write_bytes(record.read_bytes()[:-9])
    elif damage == "no json":
        record.write_text("{}\n")
    elif damage == "of another kind":
        route = {
            "t": 0,
            "node": "r1",
            "source": "route",
            "kind": "add",
            "dst": 7,
            "nexthops": "x",
            "proto": [],
            "metric": {},
        }
        record.write_text(json.dumps(route) + "\n" + record.read_text())
    else:
        (folder / "plan.json").write_text("{")
    with pytest.raises(InputError) as refused:
        write([folder], out)
    assert refused.value.exit_code == 2 and refused.value.where and refused.value.allowed and refused.value.next_command
    assert not out.exists() and not list(tmp_path.glob(".view*"))


def test_a_stranger_beside_the_network_and_nodes_that_are_no_routers_are_no_mistake(
    build: Callable[..., Run], tmp_path: Path
) -> None:
    run = build("lks", 1)
    lines = run.folder.joinpath("record.jsonl").read_text().splitlines()
    more = {"t": 0, "node": "stranger", "source": "link", "kind": "up", "ifname": "x"}
    more2 = {"t": 0, "node": "stranger", "source": "fault", "kind": "power_off"}
    run.folder.joinpath("record.jsonl").write_text("\n".join([json.dumps(more), json.dumps(more2), *lines]) + "\n")
    write([run.folder], tmp_path / "view.html")
    assert "4 of 4 routers with power" in said(opened(tmp_path / "view.html", "t=50"))


def test_the_verb_is_there() -> None:
    assert "view" in {command.name or command.callback.__name__ for command in registered().registered_commands}  # type: ignore[union-attr]


def test_a_plan_of_a_run_says_which_network(build: Callable[..., Run]) -> None:
    run = build("none", 3)
    assert scene(run)["network"]["name"] == Plan.read(run.folder / "plan.json").topology.name
