"""The lane of keys and the intruder on the map are what the record says; pages of large networks stay small."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from playwright.sync_api import Page

from testbed.analysis.run import NS, Run
from testbed.report.requests import Origin
from testbed.topology.draw import STRESS_ROUNDS
from testbed.topology.resolved import Topology
from testbed.view import page as html
from testbed.view.perfetto import _spans
from testbed.view.pictures import show
from testbed.view.scene import described, scene
from testbed.view.write import write

MOST_OCTETS = 3 << 20
LANE = "player.lanes[0].lanes.find(each => each.canvas.ariaLabel.startsWith('keys'))"
DARK = f"""points => {{
  const {{ canvas }} = {LANE}, [from, until] = player.window, {{ width, height }} = canvas;
  const {{ data }} = canvas.getContext('2d').getImageData(0, 0, width, height);
  return points.map(([at_s, part]) => {{
    const x = Math.round((player.scenes[0].seconds(at_s * 1e9) - from) / (until - from) * width);
    return data[(Math.round(part * height) * width + x) * 4 + 3] > 0;
  }});
}}"""
"""Whether something is drawn in the lane of keys at a second of the record, in a part of the lane's height."""


def sa(at_s: float, node: str, interface: str, change: str, generation: int, **more: Any) -> dict[str, Any]:
    own = {"source": "agent", "kind": "sa", "interface": interface, "direction": "out", "destination": "224.0.0.5"}
    return {"t": round(at_s * NS), "node": node, **own, "change": change, "generation": generation, **more}


def test_the_lane_of_keys_has_a_bar_for_each_generation_and_a_tick_for_each_rekey(
    build: Callable[..., Run], tmp_path: Path, page: Page
) -> None:
    more = [
        sa(20, "r1", "r1-eth0", "added", 1),
        sa(30, "r2", "r2-eth0", "added", 7),
        sa(50, "r1", "r1-eth0", "added", 3),
        {"t": 50 * NS, "node": "r1", "source": "agent", "kind": "rekeyed", "interface": "r1-eth0"},
        sa(60, "r1", "r1-eth0", "removed", 1),
        sa(120, "r1", "r1-eth0", "added", 5),
    ]
    run = build("lks", 1, more=more)
    write([run.folder], tmp_path / "view.html")
    show(page, tmp_path / "view.html")
    bars = page.evaluate("""(({ generations, end }) => [...generations].flatMap(([key, bars]) =>
        bars.map(([since, until, generation]) => [key, generation, since, until ?? end])))(player.scenes[0])""")
    spans = sorted([" ".join(key), *rest] for key, *rest in _spans(run.events, run.events[-1]["t"]))
    off = run.where("fault", "power_off", "r1")[0]["t"]
    assert sorted(bars) == spans and ["r1 r1-eth0 224.0.0.5", 3, 50 * NS, off] in spans and len(spans) == 4
    first, second, ticks = 0.3, 0.7, 0.07  # where their rows are: two groups below the ticks
    drawn = [(25, first), (55, first), (80, first), (200, first), (40, second), (50.3, ticks)]
    blank = [(10, first), (110, first), (25, second), (95, second), (200, second), (60, ticks)]
    assert page.evaluate(DARK, [*drawn, *blank]) == [True] * len(drawn) + [False] * len(blank)


def test_an_intruder_is_on_the_map_from_its_tap_or_its_first_deed_on(
    build: Callable[..., Run], tmp_path: Path, page: Page
) -> None:
    own = {"node": "intruder", "source": "probe"}
    deed = {**own, "kind": "sent", "segment": "r2--r3", "frames": 3, "octets": 180, "answers": 0, "answer_octets": 0}
    tap = 40 * NS
    run = build("lks", 1, more=[{"t": tap, **own, "kind": "tap", "segment": "r1--r2"}, {"t": 150 * NS, **deed}])
    write([run.folder], tmp_path / "view.html")
    show(page, tmp_path / "view.html")
    for moment, there in (
        (tap - 1, []), (tap, ["r1--r2"]), (150 * NS - 1, ["r1--r2"]), (150 * NS, ["r1--r2", "r2--r3"]),
    ):  # fmt: skip
        page.evaluate("t => { player.maps[0].show(t, null) }", moment)
        assert page.evaluate("t => player.scenes[0].sums(t).intruded", moment) == there
        seen = "player.maps[0].beside.filter(each => each.element.textContent === '◆').map(each => each.name)"
        assert page.evaluate(seen) == there, moment
    show(page, tmp_path / "view.html", "t=100&segment=r2--r3")
    page.evaluate("player.go(player.until)")
    assert "an intruder on r1--r2 and r2--r3" in page.locator("#now").inner_text()
    assert "an intruder is on it" in page.locator("#details").inner_text()


def test_where_only_a_part_is_protected_the_rest_is_shown_in_clear_and_waits_for_no_key_server(
    build: Callable[..., Run], tmp_path: Path, page: Page
) -> None:
    run = build("lks", 1)
    member = {"node": "r1", "source": "agent", "kind": "member", "group": "ring/r1/r1-eth0/ospf", "peer": "r2"}
    raw = scene(run) | {"region": ["r1--r2"], "clear": ["pim"]}
    raw["events"].append({"t": raw["end"], **member, "generation": 3})
    raw["events"].append(sa(raw["end"] / NS, "r1", "r1-eth0", "added", 3))
    (tmp_path / "view.html").write_text(html.page([raw]))
    show(page, tmp_path / "view.html", "t=200&segment=r3--r4")
    assert page.locator("#details tbody tr").all_inner_texts() == ["r3 → r4\tFull\tclear", "r4 → r3\tFull\tclear"]
    assert "pim left in clear" in page.locator("#now").inner_text()
    page.locator("[aria-label='Link r1--r2']").press("Enter")
    assert {each.split("\t")[2] for each in page.locator("#details tbody tr").all_inner_texts()} == {"required keyed"}
    for name, words in (("r3", "and runs no LKS"), ("r1", "its LKS is not ready yet")):
        page.locator(f"[aria-label='Router {name}']").press("Enter")
        assert words in page.locator("#details").inner_text(), name
        classes = str(page.locator(f"[aria-label='Router {name}']").get_attribute("class"))
        assert ("waiting" in classes) is (name == "r1")
    page.keyboard.press("End")
    assert "r1-eth0\tospf\t3\tr2" in page.locator("#details").inner_text(), "its group, with the member that it has"


def test_the_keys_that_the_page_names_play_move_jump_and_zoom(
    build: Callable[..., Run], tmp_path: Path, page: Page
) -> None:
    run = build("lks", 1)
    write([run.folder], tmp_path / "view.html")
    page.clock.install()
    show(page, tmp_path / "view.html", "t=5")
    at = lambda: round(page.evaluate("player.cursor"), 3)  # noqa: E731
    zero = run.mark("power_returns")
    faults = sorted((event["t"] - zero) / NS for event in run.where("fault"))
    for keys, moment in (
        (["ArrowRight"], 6), (["Shift+ArrowLeft"], -4), (["Shift+ArrowRight"], 6), (["ArrowLeft"], 5),
        (["["], max(each for each in faults if each < 5)), (["Home", "]"], faults[0]),
        (["End"], (run.events[-1]["t"] - zero) / NS),
    ):  # fmt: skip
        for key in keys:
            page.keyboard.press(key)
        assert at() == pytest.approx(moment, abs=2e-3), keys
    page.keyboard.press("Home")
    page.locator("#speed").select_option("100")
    page.locator("body").click(position={"x": 1, "y": 1})
    page.keyboard.press("Space")
    page.clock.run_for(1000)
    first = (run.events[0]["t"] - zero) / NS
    assert first + 50 < at() <= first + 101, "a hundred seconds in one"
    page.keyboard.press("Space")
    kept = at()
    page.clock.run_for(1000)
    assert at() == kept and page.evaluate("location.hash") == f"#t={kept:.3f}", "the address is a link to this moment"
    whole = page.evaluate("player.window[1] - player.window[0]")
    page.keyboard.press("+")
    assert page.evaluate("player.window[1] - player.window[0]") == pytest.approx(whole / 2)
    page.keyboard.press("-")
    assert page.evaluate("player.window[1] - player.window[0]") == pytest.approx(whole)


def test_the_page_of_abilene_is_small(build: Callable[..., Run], tmp_path: Path, page: Page) -> None:
    topology, rng, most = Topology.load("abilene"), random.Random(1), 22 * 200
    ends = [(name, each.interface.name) for name in topology.routers for each in topology.neighbors(name)]
    more: list[dict[str, Any]] = []
    for number in range(most):  # at each link in each second: a packet lost, a generation, two requests, captures
        node, ifname = ends[number % len(ends)]
        t, ids = number * NS // 22, {"spi": rng.getrandbits(32), "ike": f"{rng.getrandbits(128):032x}"}
        wire = {"t": t, "node": node, "source": "view", "kind": "wire", "ifname": ifname}
        loss = {"t": t, "node": "lab", "source": "probe", "kind": "loss", "flow": f"{node}->x", "first_seq": number}
        more += [
            sa(t / NS, node, ifname, ("added", "removed")[number // len(ends) % 2], number // len(ends) // 2, **ids),
            {**wire, "protected": rng.randrange(9999), "clear": 0},
            {**wire, "ifname": ifname, "protected": rng.randrange(9999), "clear": rng.randrange(99)},
            {**loss, "last_seq": number, "sent_first_ns": t, "sent_last_ns": t},
            *({"t": t, "node": "dks", "source": "agent", "kind": "request", "peer": node, **ids} for _ in range(2)),
        ]
    run = build("lks", 1, topology=topology, more=more)
    path, _ = write([run.folder], tmp_path / "view.html")
    assert len(run.events) > 6 * most and path.stat().st_size <= MOST_OCTETS
    show(page, path, "t=100")
    assert page.evaluate("t => player.scenes[0].sums(t).requests", 150 * NS) == sum(
        event["t"] <= 150 * NS for event in run.where("agent", "request")
    )


def test_five_hundred_routers_are_laid_out_and_opened_with_bounded_work(
    build: Callable[..., Run], tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds, norm = [], numpy.linalg.norm
    monkeypatch.setattr(numpy.linalg, "norm", lambda *args, **more: rounds.append(1) or norm(*args, **more))
    plan = build("lks", 1).plan.model_copy(update={"topology": Topology.load("grid:20x25")})
    off = {"t": 5 * NS, "node": "r7", "source": "fault", "kind": "power_off"}
    on = [{**off, "t": 0, "node": name, "kind": "power_on"} for name in plan.topology.routers]
    raw = described(plan, Origin(0, "it began"), (0, 10 * NS), [*on, off], agents=True)
    assert len(rounds) <= STRESS_ROUNDS + 1
    (tmp_path / "view.html").write_text(html.page([raw]))
    assert (tmp_path / "view.html").stat().st_size <= MOST_OCTETS
    show(page, tmp_path / "view.html", "t=1")
    routers, links, ways = (
        len(plan.topology.routers),
        len(raw["network"]["segments"]),
        len(raw["network"]["adjacencies"]),
    )
    assert (routers, page.locator(".map .router").count()) == (500, 500)
    assert page.evaluate("document.querySelectorAll('.map *').length") <= 4 * routers + 2 * links + 2 * ways + 20
    page.evaluate("""() => {
      globalThis.work = { painted: 0, changed: new MutationObserver(() => {}) };
      const paper = CanvasRenderingContext2D.prototype;
      for (const name of ['fillRect', 'stroke', 'fillText']) {
        const before = paper[name];
        paper[name] = function (...more) { work.painted += 1; return before.apply(this, more); };
      }
      const all = { subtree: true, childList: true, attributes: true, characterData: true };
      work.changed.observe(document.querySelector('.map svg'), all);
    }""")
    asked = "t => { player.go(t); return [work.changed.takeRecords().length, work.painted] }"
    assert page.evaluate(asked, 4.9) == [0, 0], "where nothing has changed nothing is drawn"
    changed, painted = page.evaluate(asked, 5.1)
    assert (changed, painted) == (1, 0), "one router has no power: one router is drawn"


ODD = [None, 7, -1.5, "", "x", "__proto__", [], [1], {}, True]
KEEP = """([events, odd]) => {
  const said = [];
  for (const event of events) for (const name of Object.keys(event)) for (const value of [undefined, ...odd]) {
    if (["t", "node", "source", "kind"].includes(name)) continue;
    const other = { ...event, [name]: value };
    if (value === undefined) delete other[name];
    try {
      const scene = new Scene({ ...globalThis.raw, events: [other] });
      new Lanes(scene, true).show(player.from, player.until, player.cursor, player.style());
      scene.sums(scene.end);
      for (const each of Object.keys(scene.network.routers)) router(scene, each, scene.end);
      for (const each of Object.keys(scene.network.segments)) segment(scene, each, scene.end);
    } catch (error) { said.push(`${event.source} ${event.kind} ${name} = ${JSON.stringify(value)}: ${error.message}`); }
  }
  return said;
}"""


def test_events_that_another_release_wrote_otherwise_break_no_page(
    build: Callable[..., Run], tmp_path: Path, page: Page
) -> None:
    run = build("lks", 1)
    write([run.folder], tmp_path / "view.html")
    show(page, tmp_path / "view.html")
    page.evaluate("raw => { globalThis.raw = raw }", scene(run))
    own = {"t": 100 * NS, "node": "r1"}
    more = [
        {**own, "source": "agent", "kind": "member", "group": "ring/r1/r1-eth0/ospf", "peer": "r2", "generation": 3},
        {**own, "source": "agent", "kind": "revocation", "version": 1, "origin": "dks", "neighbors": ["r2"]},
        {**own, "source": "lab", "kind": "deploy", "result": "taken", "changes": ["r1:a: x -> listen"]},
        {**own, "source": "probe", "kind": "stream_loss", "stream": "s", "receiver": "r2", "first_seq": 1,
         "last_seq": 2, "sent_first_ns": 1, "sent_last_ns": 2},
        {**own, "source": "fault", "kind": "link_netem", "segment": "r1--r2", "loss_percent": 5},
        {**own, "source": "view", "kind": "wire", "ifname": "r1-eth0", "protected": 1, "clear": 2},
        {**own, "source": "agent", "kind": "lease", "left_s": 10.5},
        sa(100, "r1", "r1-eth0", "added", 1),
    ]  # fmt: skip
    kinds = {(event["source"], event["kind"]): event for event in [*run.events, *more]}
    assert page.evaluate(KEEP, [list(kinds.values()), ODD]) == []
