"""What became of the multicast streams of a run: who hears again since when, what was lost, and when trees were right.

Losses are known from the numbers of the packets, trees from the kernels' multicast routes (testbed.analysis.trees),
keys of unicast PIM from the agents' own events. Knows nothing of experiments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from testbed.analysis import trees
from testbed.analysis.run import NS, Event, Run
from testbed.record.plan import Stream

HEARS = "the last moment at which a receiver began to hear every packet of a stream that it had joined"
HEARD, TREES, REGISTERS = " to all receivers hear, s", " to trees right, s", " to keys for Registers, s"
"""Series, behind the name of the phase that they count from."""
LOST, DUPLICATED = "multicast packets lost from the first fault on", "multicast packets heard twice"
UNHEARD = "receivers of a stream that had not heard it when the first fault came"
"""They have no part in LOST: what they miss is not the fault's. Left out where there are none."""
_NEAR_NS = NS
"""Losses that lie as close together, or to the change before them, are timed as one silence."""
SPARE = "branches at the end to where nobody wants packets"


@dataclass(frozen=True)
class Phase:
    """A time after a change: from `since` (ns) on `down` is down (as expected_paths takes it), to `until` (ns), or to
    the next phase or the end."""

    since: int
    down: frozenset[str] = frozenset()
    until: int | None = None


def hears(begin: str) -> str:
    """The series of the phase of that name that says when all receivers hear."""
    return f"{begin}{HEARD}"


def series(run: Run, phases: Mapping[str, Phase]) -> dict[str, float | None]:
    """For Measures.extra, by the names of the phases: when all receivers heard, when the trees were right, and when the
    rendezvous point and all others had keys for Registers; and what was lost or came twice. Empty without streams."""
    if not run.plan.streams or not run.events:
        return {}
    end = min(run.events[-1]["t"], *(_times(run, each)[1] for each in run.plan.streams))
    ordered = sorted(phases.items(), key=lambda each: each[1].since)
    following = [*(phase.since for _name, phase in ordered[1:]), end]
    untils = [min(then, end, phase.until or end) for then, (_name, phase) in zip(following, ordered, strict=True)]
    changes = {until: phase.down for until, (_name, phase) in zip(untils, ordered, strict=True) if until < end}
    changes |= {phase.since: phase.down for _name, phase in ordered}
    right = {moment: (each.since, each.spare) for moment, each in trees.watch(run, changes, end)}
    values: dict[str, float | None] = {}
    pim = run.plan.topology.pim
    for until, (name, phase) in zip(untils, ordered, strict=True):
        moments = {hears(name): heard_at(run, phase, until), f"{name}{TREES}": right[phase.since][0]}
        if pim is not None and pim.rp not in phase.down and run.where("agent", "pair"):
            moments[f"{name}{REGISTERS}"] = paired_at(run, pim.rp, phase, until)
        values |= {key: None if moment is None else (moment - phase.since) / NS for key, moment in moments.items()}
    missed, unheard = lost(run)
    values |= {UNHEARD: unheard} if unheard else {}
    return {**values, LOST: missed, DUPLICATED: duplicated(run), SPARE: right[max(right)][1]}


def heard_at(run: Run, phase: Phase, until: int) -> int | None:
    """Since when (ns) every receiver hears the streams that a path leads to it for; None if one does not at `until`.

    One packet lost alone, more than a second after the change and after the loss before it, is a silence too short for
    the probe to time: whether a short break takes a packet is chance. It is counted in LOST.
    """
    latest, losses = phase.since, _losses(run)
    sent = {(each["stream"], each["receiver"]): int(each["sent"]) for each in run.where("probe", "stream")}
    for stream, receiver in _heard(run, phase.down):
        gap = round(NS / stream.rate_pps)
        since, stop = _times(run, stream)
        before = phase.since
        for event in losses.get((stream.name, receiver), ()):
            alone = event["first_seq"] == event["last_seq"] and event["sent_first_ns"] - before > _NEAR_NS
            before = max(before, event["sent_last_ns"])
            if event["sent_last_ns"] >= max(since, phase.since) and event["sent_first_ns"] < until:
                again = event["sent_last_ns"] + gap
                to_the_last = event["last_seq"] + 1 == sent.get((stream.name, receiver))
                if alone and not to_the_last:
                    continue
                if to_the_last or again >= min(until, stop) - gap // 2:
                    return None
                latest = max(latest, again)
    return latest


def paired_at(run: Run, point: str, phase: Phase, until: int) -> int | None:
    """Since when (ns) every router that has power and the rendezvous point have keys for unicast PIM, both ways; None
    if they have not at `until`."""
    others = [name for name in run.plan.topology.routers if name != point and name not in phase.down]
    missing = {pair for name in others for pair in ((name, point), (point, name))}
    wanted, since = frozenset(missing), None if missing else phase.since
    for event in run.events:
        if event["t"] > until:
            break
        if event["source"] == "agent" and event["kind"] == "pair":
            pair = (event["node"], event["peer"])
            (missing.discard if event["state"] == "keyed" else missing.add)(pair)
        elif event["source"] == "fault" and event["kind"] == "power_off":
            missing |= {pair for pair in wanted if pair[0] == event["node"]}
        missing &= wanted
        since = None if missing else event["t"] if since is None else since
    return None if since is None else max(since, phase.since)


def lost(run: Run) -> tuple[int, int]:
    """Packets that receivers should have had and had not, sent since the first fault, or since there would have been
    one had there been anything to do (the DKS's death, in a mode without one); of a run without one, since all
    receivers heard. And how many receivers of a stream had not heard it at that moment: they are left out."""
    faults = [*run.where("fault"), *run.where("lab", "nothing_to_do")]
    began = min((event["t"] for event in faults), default=None)
    if began is None:
        began = heard_at(run, Phase(0), run.events[-1]["t"])
    if began is None:
        return 0, 0
    missed = unheard = 0
    for rows in _losses(run).values():
        late, still = 0, False  # the first number that was heard, where packets before the fault were not
        for event in rows:
            if event["first_seq"] == late and (late or event["sent_first_ns"] < began):
                late = int(event["last_seq"]) + 1
                still = event["sent_last_ns"] >= began
            else:
                missed += sent_since(event, began)
        unheard += bool(late) and still
    return missed, unheard


def duplicated(run: Run) -> int:
    """Packets that came to a receiver more than once, in the whole run."""
    return sum(int(event["duplicated"]) for event in run.where("probe", "stream"))


def sent_since(event: Event, began: int) -> int:
    """How many packets of a loss were sent at `began` (ns) or later; they are evenly spaced."""
    count = int(event["last_seq"]) - int(event["first_seq"]) + 1
    first, last = int(event["sent_first_ns"]), int(event["sent_last_ns"])
    if began <= first:
        return count
    return 0 if began > last else 1 + (last - began) * (count - 1) // (last - first)


def silences(run: Run) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """When (from, to; ns) packets were sent that were not heard, by stream and receiver."""
    losses = _losses(run)
    return {
        (stream.name, receiver): [
            (event["sent_first_ns"], event["sent_last_ns"] + round(NS / stream.rate_pps))
            for event in losses.get((stream.name, receiver), ())
        ]
        for stream in run.plan.streams
        for receiver in stream.receivers
    }


def _losses(run: Run) -> dict[tuple[str, str], list[Event]]:
    """By stream and receiver."""
    losses: dict[tuple[str, str], list[Event]] = {}
    for event in run.where("probe", "stream_loss"):
        losses.setdefault((event["stream"], event["receiver"]), []).append(event)
    return losses


def _heard(run: Run, down: frozenset[str]) -> Iterator[tuple[Stream, str]]:
    """Streams and receivers between which there is a path."""
    topology = run.plan.topology
    wanted = trees.expected(topology, run.plan.streams, down, run.expected(down))
    for stream in run.plan.streams:
        tree = wanted.get(trees.Key(str(trees.address_of(topology, stream.source)), stream.group))
        for receiver in stream.receivers:
            if tree is not None and receiver in tree.receivers:
                yield stream, receiver


def _times(run: Run, stream: Stream) -> tuple[int, int]:
    """From when to when a stream was sent (ns)."""
    ready = trees.ready_at(run)
    stop = run.events[-1]["t"] if stream.until_s is None else ready + round(stream.until_s * NS)
    return ready + round(stream.since_s * NS), min(stop, run.events[-1]["t"])
