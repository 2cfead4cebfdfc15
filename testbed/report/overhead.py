"""The figure of what keying costs on the wire. Knows a run's traffic; must not know why it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from testbed.analysis import traffic
from testbed.analysis.run import NS, Run
from testbed.report.page import Drawn
from testbed.report.style import INK, PAGE_IN, figure, look, noted, ordered, save, wrapped

NAME = "overhead"


def draw_overhead(folder: Path, runs: Sequence[Run], since: str, until: str) -> list[Drawn]:
    """overhead.png, .pdf and .svg: octets a second in each mode between two marks, those of one handshake with and
    without ML-KEM, and IKE added up over time."""
    keyings = ordered({run.plan.keying for run in runs})
    if not keyings:
        return []
    with figure(PAGE_IN, 2.9, NAME) as made:
        left, middle, right = made.subplots(1, 3, width_ratios=(4, 2, 4))
        keyed: list[str] = []
        for x, keying in enumerate(keyings):
            seeds = sorted((each for each in runs if each.plan.keying == keying), key=lambda each: each.plan.seed)
            packets = [traffic.sent(run.folder, run.plan.topology) for run in seeds]
            spent = [_at_rest(run, sent, since, until) for run, sent in zip(seeds, packets, strict=True)]
            routing, whole = median(each[0] for each in spent), [sum(each) for each in spent]
            form = look(keying)
            left.bar(x, routing, color=form.color, edgecolor=INK, lw=0.5)
            rest: dict[str, Any] = {"color": "white", "edgecolor": INK, "lw": 0.5, "hatch": "////"}
            left.bar(x, median(whole) - routing, bottom=routing, **rest)
            left.vlines(x, min(whole), max(whole), color=INK, lw=1.4)
            left.annotate(f"{median(whole):.0f}", (x, max(whole)), ha="center", va="bottom")
            begin = seeds[0].mark(since)
            if handshakes := traffic.handshake_costs([each for each in packets[0] if each.t < begin]):
                _handshake(middle, len(keyed), handshakes, form.color)
                keyed.append(keying)
            _added_up(right, seeds[0], [each for each in packets[0] if each.kind == traffic.IKE])
        count = len({run.plan.seed for run in runs})
        left.set_xticks(range(len(keyings)), [wrapped(keying) for keying in keyings], fontsize=6.5)
        left.set_ylabel("sent by an interface (octet/s)")
        left.set_title("network at rest (hatched: IKE)", loc="left")
        middle.set_xticks(range(len(keyed)), [wrapped(keying) for keying in keyed], fontsize=6.5)
        middle.set_ylabel("octets of a handshake")
        middle.set_title("hatched: ML-KEM", loc="left")
        right.set_xlabel("time since all daemons ran (s)")
        right.set_ylabel("IKE sent (kB per router)")
        right.set_title("IKE, added up", loc="left")
        if right.get_legend_handles_labels()[0]:
            right.legend()
        noted(made, f"left: median of n = {count}, the stroke from least to most; middle and right: the first seed")
        save(made, folder, NAME)
    caption = (
        "Left: octets of IP packets that an interface sends in a second while keys are renewed every minute; the "
        "hatched part is IKE, the rest routing, in clear or in ESP; the median of the seeds, with their range. "
        "Middle: octets of both ends in one handshake, median, the hatched part for ML-KEM-768. Right: octets of IKE "
        "sent and forwarded, added up over the run. Middle and right: first seed. Every link that a packet crosses "
        "counts."
    )
    return [Drawn(NAME, caption, "page")]


def _at_rest(run: Run, packets: Sequence[traffic.Sent], since: str, until: str) -> tuple[float, float]:
    """Octets a second that an interface sends between two marks: routing, and IKE."""
    topology, begin, end = run.plan.topology, run.mark(since), run.mark(until)
    per = (end - begin) / NS * len(traffic.routing_interfaces(topology))
    inside = [each for each in packets if begin <= each.t < end]
    routing = sum(each.octets for each in inside if each.kind in (traffic.CLEAR, traffic.PROTECTED))
    return routing / per, sum(each.octets for each in inside if each.kind == traffic.IKE) / per


def _handshake(panel: Any, x: int, handshakes: Sequence[traffic.Handshake], color: str) -> None:
    whole = median(each.octets for each in handshakes)
    further = median(each.further.octets if each.further is not None else 0 for each in handshakes)
    panel.bar(x, whole - further, color=color, edgecolor=INK, lw=0.5)
    panel.bar(x, further, bottom=whole - further, color="white", edgecolor=INK, lw=0.5, hatch="////")
    panel.annotate(f"{whole:.0f}", (x, whole), ha="center", va="bottom")


def _added_up(panel: object, run: Run, packets: Sequence[traffic.Sent]) -> None:
    if not packets:
        return
    zero, routers = int(run.where("lab", "ready")[0]["t"]), len(run.plan.topology.routers)
    form, total = look(run.plan.keying), 0.0
    times, sums = [], []
    for each in packets:
        total += each.octets / routers / 1000
        times.append((each.t - zero) / NS)
        sums.append(total)
    panel.step(times, sums, where="post", color=form.color, linestyle=form.line, lw=1.2, label=run.plan.keying)  # type: ignore[attr-defined]
