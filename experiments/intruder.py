"""A stranger on a LAN and on a link forges, replays, pretends and floods; then a member forges: who is heard?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agents.ikev2 import IkeConfig, IkeEndpoint, LocalIdentity, PeerAddress, Send
from agents.ikev2.codec.payloads import Identification
from agents.ikev2.registry import ExchangeType
from agents.policy.names import party_id
from testbed.analysis import adjacency, multicast, requests
from testbed.analysis.counters import grown
from testbed.analysis.measures import RequestCounts
from testbed.analysis.run import NS, Run
from testbed.analysis.trees import address_of
from testbed.domains.build import PORT
from testbed.domains.keys import laboratory_key
from testbed.errors import InputError
from testbed.faults import packets
from testbed.keying.base import modes
from testbed.record.plan import Step, Stream
from testbed.runner.experiment import Criterion, Experiment, Measures, Span, Table, between, step
from testbed.runner.streams import RATE_PPS
from testbed.topology.resolved import Interface, IPAddress, Topology

if TYPE_CHECKING:
    from testbed.report.page import Drawn

TAP_S = 60
FORGED_PIM = {
    "PIM Join": "239.6.6.1", "PIM Register": "239.6.6.2", "PIM Bootstrap": "239.6.6.3",
    "PIM Register-Stop": "239.6.6.4", "PIM Prune": "239.6.6.5", "PIM Assert": "239.6.6.6", "PIM Hello": "",
}  # fmt: skip
"""A phase for each kind of message, and the group that the message is about: what it does to one does not hide what
another does, however long it lasts. The goodbye of a Hello is about all groups, and comes last."""
_PIM_S, _EACH_S = 145, 6
PHASES = {
    "rogue neighbour": 85, "forged": 100,
    **{phase: _PIM_S + number * _EACH_S for number, phase in enumerate(FORGED_PIM)},
    "guessed": 190, "tampered": 200, "replayed": 210, "reboot": 240, "replayed after reboot": 300, "flood": 330,
    "insider": 370, "insider elsewhere": 395, "impostors": 420, "end": 470,
}  # fmt: skip
STREAMS_S = 30
"""When the streams begin whose trees are forged."""
STRANGERS = ("rogue neighbour", "forged", *FORGED_PIM, "guessed", "tampered", "replayed", "replayed after reboot")
INSIDERS = ("insider", "insider elsewhere")
WORDS = {
    "rogue neighbour": "a neighbour nobody knows: Hello of OSPF and PIM",
    "forged": "forged: Hello and LS Update, PIM Hello and Join",
    "PIM Join": "forged PIM: Join to a group that nobody wants",
    "PIM Register": "forged PIM: Register to the rendezvous point",
    "PIM Bootstrap": "forged PIM: Bootstrap, another rendezvous point",
    "PIM Register-Stop": "forged PIM: Register-Stop to a source's router",
    "PIM Prune": "forged PIM: Prune of a branch in use",
    "PIM Assert": "forged PIM: Assert against who forwards",
    "PIM Hello": "forged PIM: Hello that says goodbye",
    "guessed": "guessed: ESP with random SPIs",
    "tampered": "altered: recorded ESP, one octet changed",
    "replayed": "replayed: all that was recorded",
    "replayed after reboot": "replayed after a router's reboot",
    "insider": "a member forges whom it hears",
    "insider elsewhere": "the same on a link that it is not on",
}
"""The phases in words, for the figure."""
LINES = 60
"""So many lines of dropped datagrams all routers together may write in a flood: some for each reason and interface."""
FLOOD_S, FLOOD_EACH_PPS = 30, 40
OFF_S, ON_S = PHASES["flood"] + 2, PHASES["flood"] + 5
STRANGER_ID = IPv4Address("6.6.6.6")
DISTANT: dict[int, IPAddress] = {4: IPv4Address("203.0.113.6"), 6: IPv6Address("2001:db8::6")}
"""Of neither segment."""
AGENTS = modes(lambda mode: mode.dks)
TRIALS = {
    "unapproved key": ("stranger", "stranger"),
    "a router's name with another key": (None, "stranger"),
    "a router's stolen key": (None, None),
    "the same key after its revocation": (None, None),
}
"""What an impostor shows: name and key; None is that of the router whose address it takes."""
DISMISSAL = ((37, "sign"), (40, "dismiss"), (43, "sign"))
"""Seconds after the impostors began, and what an administrator with a delegated key does, or what is done to him."""
SIGNED = ("a document signed with an administrator's key", "the same after the administrator was dismissed")


class Cast:
    """Who plays what. InputError for a network without a LAN of three routers and a link."""

    def __init__(self, topology: Topology) -> None:
        lans = [each for each in topology.segments.values() if each.kind == "lan"]
        links = [each for each in topology.segments.values() if each.kind == "p2p"]
        rooms = [(each, [n for n, _ in each.members if n in topology.routers]) for each in lans]
        room = next(((each, names) for each, names in rooms if len(names) >= 3), None)
        if room is None or not links:
            raise InputError("there is no LAN of three routers beside a link", where=f"topology {topology.name}",
                             allowed="office")  # fmt: skip
        self.lan, self.link = room[0].name, links[0].name
        self.speaker, self.victim, self.insider = room[1][:3]
        ends = [node for node, _ in links[0].members if node in topology.routers]
        self.beyond = next((node for node in ends if node not in room[1]), ends[-1])
        """The router of the link that is not on the LAN: it listens to streams that the victim sends."""
        self._topology, self.family = topology, topology.family
        self.group = packets.all_ospf(self.family)

    def hello(self, end: Interface, router_id: IPv4Address, source: IPAddress | None = None) -> bytes:
        """A Hello of somebody on this interface's segment who has heard of nobody. `source`: its sender's address, that
        of the interface by default."""
        timers = self._topology.ospf
        own = source if isinstance(source, IPv6Address) else end.ipv6_link_local
        sender = end.ipv4 if self.family == 4 else own
        return packets.hello(router_id, sender, end.area, timers.hello_s, timers.dead_s)

    def rogue(self, segment: str) -> list[bytes]:
        """Hellos of OSPF and PIM under an address and a name of the stranger's own."""
        speaker = self._topology.ends(segment)[0]
        stranger = _free(speaker, self.family)
        frames = [packets.frame(stranger, self.group, packets.OSPF, self.hello(speaker, STRANGER_ID, stranger))]
        if self.family == 4:
            frames.append(packets.frame(stranger, packets.ALL_PIM, packets.PIM, packets.pim_hello()))
        return frames

    def forged(self, segment: str) -> list[bytes]:
        """OSPF and PIM in clear in the name of a router of the segment."""
        speaker, victim = self._topology.ends(segment)[:2]
        own = self._topology.routers[speaker.router].router_id
        here = speaker.hop(self.family)
        update = packets.update(own, here, speaker.area, self._topology.routers[victim.router].router_id)
        bodies = [(here, self.group, packets.OSPF, update)]
        if self.family == 4:
            join = packets.pim_join(victim.ipv4.ip, IPv4Address("239.6.6.6"), _free4(speaker))
            bodies += [
                (here, packets.ALL_PIM, packets.PIM, packets.pim_hello()), (here, packets.ALL_PIM, packets.PIM, join)
            ]  # fmt: skip
        bodies.append((here, self.group, packets.OSPF, self.hello(speaker, own)))
        return [packets.frame(*each) for each in bodies]

    def forged_pim(self) -> dict[str, bytes]:
        """By phase a message of PIM on the LAN, in the name of a router that could send it; none without PIM."""
        if self._topology.pim is None:
            return {}
        speaker, victim = self._topology.ends(self.lan)[:2]
        source = address_of(self._topology, self.victim)
        point, here, there = self._topology.pim.rp_address, speaker.ipv4.ip, victim.ipv4.ip
        groups = {phase: IPv4Address(group) for phase, group in FORGED_PIM.items() if group}

        def heard(body: bytes) -> bytes:
            return packets.frame(here, packets.ALL_PIM, packets.PIM, body)

        def told(sender: IPv4Address, to: IPv4Address, mac: str, body: bytes) -> bytes:
            return packets.frame(sender, to, packets.PIM, body, mac=mac, ttl=64)

        stop = packets.pim_register_stop(source, groups["PIM Register-Stop"])
        register = packets.pim_register(_free4(speaker), groups["PIM Register"])
        return {
            "PIM Join": heard(packets.pim_join(there, groups["PIM Join"], _free4(speaker))),
            "PIM Register": told(there, point, speaker.mac, register),
            "PIM Bootstrap": heard(packets.pim_bootstrap(here, groups["PIM Bootstrap"], here)),
            "PIM Register-Stop": told(point, there, victim.mac, stop),
            "PIM Prune": heard(packets.pim_join(there, groups["PIM Prune"], source, prune=True)),
            "PIM Assert": heard(packets.pim_assert(source, groups["PIM Assert"])),
            "PIM Hello": heard(packets.pim_hello(0)),
        }

    def guessed(self) -> list[bytes]:
        """ESP from a router's address; its SPI and octets are drawn when it is sent."""
        speaker = self._topology.ends(self.lan)[0]
        groups = (self.group, packets.ALL_PIM) if self.family == 4 else (self.group,)
        return [packets.frame(speaker.hop(self.family), group, packets.ESP, bytes(104)) for group in groups]

    def flood(self) -> list[bytes]:
        """IKE_SA_INIT to the speaker from a neighbour's address, from one that is no router's, and from elsewhere."""
        target, neighbor = self._topology.ends(self.lan)[:2]
        body = packets.udp(PORT, PORT, ike_sa_init(self._topology.domain))
        sources = (neighbor.hop(self.family), _free(target, self.family), DISTANT[self.family])
        here = target.hop(self.family)
        return [packets.frame(each, here, packets.UDP, body, mac=target.mac, ttl=255) for each in sources]


def _free(end: Interface, family: int) -> IPAddress:
    """An address of the segment that no router has."""
    return _free4(end) if family == 4 else IPv6Address("fe80::6666")


def _free4(end: Interface) -> IPv4Address:
    """Of IPv4; on a link of two hosts there is none, so a neighbouring one."""
    return end.ipv4.network.broadcast_address - 1 if end.kind == "lan" else end.ipv4.network.broadcast_address + 1


def ike_sa_init(domain: str) -> bytes:
    """A good first message, of a party that nobody knows."""
    chance = random.Random("flood")
    identity = LocalIdentity(Identification.key_id(party_id(domain, "stranger")), laboratory_key(0, "stranger"))
    endpoint = IkeEndpoint(
        identity, lambda *_: None, random=chance.randbytes, config=IkeConfig(), auth_exchange=ExchangeType.GSA_AUTH
    )
    peer = PeerAddress("192.0.2.1", PORT, "192.0.2.2", "", PORT)
    endpoint.connect(peer, Identification.key_id(party_id(domain, "x")), [], 0.0)
    return next(effect.data for effect in endpoint.take() if isinstance(effect, Send))


class Intrusion(Experiment):
    name = "intruder"
    title = "An intruder on a LAN and on a link"
    question = (
        "What of an intruder's packets reaches the routing daemons, what does it change, do routers still get keys "
        "while it floods them, and what can a legitimate member of the LAN do?"
    )
    method = (
        "A machine in the wires of a LAN and of a point-to-point link hears every packet and sends what it likes. In "
        "turn: Hellos of OSPF and PIM under an address and a name of its own; OSPF Hello and LS Update, PIM Hello and "
        "Join in a router's name; then each kind of message of PIM by itself, about a group of its own, while streams "
        "flow (Join, Register, Bootstrap, Register-Stop, Prune, Assert, and a Hello that says goodbye); ESP with "
        "guessed SPIs; recorded ESP with another number and a changed octet; all "
        "recorded packets again, and once more after a router lost its power and came back; "
        f"{3 * FLOOD_EACH_PPS} IKE_SA_INIT a second for {FLOOD_S} s from a neighbour's, a strange and a distant "
        "address, while that neighbour boots and needs keys of the router that is flooded (convergence: from its boot "
        "until it has all its adjacencies). Then a member of the LAN sends an OSPF Hello of a neighbour that has heard "
        "of nobody, with all that it has: the keys under which it hears that neighbour, or the key of OSPF's own "
        "authentication; and the same on the link, which it is not on. Last, an impostor speaks IKE from a router's "
        "address with an unapproved key, with that router's name and another key, with its stolen key, and with that "
        "key after its revocation; and an administrator's key signs a document for a router beside the Policy Server, "
        "before and after that administrator was dismissed. Raw sockets beside the daemons' own count what reaches "
        "them: forged packets bear a known IP identification, replayed ones have been there before. What it does is "
        "seen in changes of adjacencies and of the kernels' routes, for multicast in those of the message's group, and "
        "in what is lost of its stream."
    )
    shows_not = (
        "Encryption and computation cost nothing in virtual time, so the flood shows that limits and cookies do not "
        "shut neighbours out, not what a processor bears. The intruder does not poison the bridge's table of addresses "
        "or jam the medium. ospfd drops what its own authentication does not accept, so with `native` a packet that "
        "reaches the daemon need not be believed."
    )
    topology = "office"
    keyings: ClassVar[tuple[str, ...]] = ("none", "native", "manual", "lks")
    seeds = 3
    duration_s = float(PHASES["end"])
    main = Span(
        "boot in a flood to all adjacencies",
        "the boot of a router, amid a flood of IKE_SA_INIT",
        "the moment at which it has all its adjacencies",
    )
    requests_since = "the run's start"

    def timeline(self, topology: Topology, rng: random.Random) -> list[Step]:
        cast = Cast(topology)
        lan, at = cast.lan, PHASES
        speaker, beyond = topology.ends(lan)[0], topology.ends(cast.link)[0]
        forged = cast.hello(speaker, topology.routers[cast.speaker].router_id).hex()
        steps = [step(moment, "mark", name=name) for name, moment in at.items() if name != "end"]
        steps += [step(TAP_S, "tap", segment=segment) for segment in (lan, cast.link)]
        for phase, made in (("rogue neighbour", cast.rogue), ("forged", cast.forged)):
            for segment in (lan, cast.link):
                frames = [each.hex() for each in made(segment)]
                steps += [step(at[phase] + 1 + rng.random(), "inject", segment=segment, frames=frames)]
        for phase, frame in cast.forged_pim().items():
            steps += [step(at[phase] + 1 + rng.random(), "inject", segment=lan, frames=[frame.hex()])]
        guessed = [each.hex() for each in cast.guessed()]
        head = packets.head_octets(topology.family)
        fresh = [[head, 4], [head + 8, 96]]
        steps += [step(at["guessed"] + 1, "inject", segment=lan, frames=guessed, copies=64, fresh=fresh)]
        steps += [step(at["tampered"] + 1, "replay", segment=lan, tamper=True)]
        steps += [step(at["replayed"] + 1, "replay", segment=segment) for segment in (lan, cast.link)]
        steps += [step(at["reboot"], "power_off", nodes=[cast.victim])]
        steps += [step(at["reboot"] + 10, "power_on", nodes=[cast.victim], jitter_s=0)]
        steps += [step(at["replayed after reboot"] + 1, "replay", segment=lan)]
        flood, copies = [each.hex() for each in cast.flood()], FLOOD_S * FLOOD_EACH_PPS
        steps += [
            step(at["flood"] + 1, "inject", segment=lan, frames=flood, copies=copies,
                 gap_s=1 / (3 * FLOOD_EACH_PPS), fresh=[[head + 8, 8]]),
            step(OFF_S, "power_off", nodes=[cast.victim]),
            step(ON_S, "power_on", nodes=[cast.victim], jitter_s=0),
            step(at["insider"] + 1 + rng.random(), "impersonate", segment=lan, insider=cast.insider,
                 speaker=cast.speaker, payload=forged),
            step(at["insider elsewhere"] + 1 + rng.random(), "impersonate", segment=cast.link, insider=cast.insider,
                 speaker=beyond.router, payload=cast.hello(beyond, topology.routers[beyond.router].router_id).hex()),
        ]  # fmt: skip
        for number, (name, key) in enumerate(TRIALS.values()):
            words = {"name": name or cast.insider, "key": key or cast.insider}
            moment = at["impostors"] + 1 + 9 * number
            steps += [step(moment, "impostor", segment=lan, victim=cast.speaker, router=cast.insider, **words)]
        steps += [step(at["impostors"] + 26, "router_remove", router=cast.insider, hand_to=cast.speaker)]
        for after, deed in DISMISSAL:
            steps += [step(at["impostors"] + after, "administrator", deed=deed, hand_to=cast.speaker)]
        return steps

    def streams(self, topology: Topology) -> list[Stream]:
        """One for each group that a forged message of PIM is about and that has receivers, named like its phase."""
        if topology.pim is None:
            return []
        cast = Cast(topology)
        if cast.victim == cast.beyond:  # so small a network has no receiver apart
            return []
        return [
            Stream(name=phase, source=cast.victim, group=FORGED_PIM[phase], receivers=(cast.beyond,),
                   rate_pps=RATE_PPS, since_s=STREAMS_S, until_s=PHASES["reboot"])
            for phase in ("PIM Bootstrap", "PIM Register-Stop", "PIM Prune", "PIM Assert")
        ]  # fmt: skip

    def measure(self, run: Run) -> Measures:
        topology, cast = run.plan.topology, Cast(run.plan.topology)
        extra: dict[str, float | None] = {}
        for phase in (*STRANGERS, *INSIDERS):
            extra[f"{phase}: packets at the daemons"] = reached(run, phase)
            extra[f"{phase}: adjacency changes"] = changes(run, phase)
            extra[f"{phase}: route changes"] = rerouted(run, phase)
        for phase in FORGED_PIM if topology.pim is not None else ():
            extra[f"{phase}: multicast packets lost"] = lost(run, phase)
        for phase in (*STRANGERS, "flood", *INSIDERS):
            for counter, count in grown_in(run, phase).items():
                extra[f"{phase}: {counter}"] = count
        began = run.mark("flood")
        flood = [event for event in run.where("probe", "sent") if window(run, "flood")[0] <= event["t"]]
        if run.plan.keying in AGENTS:
            extra["flood: registrations"] = sum(
                began + (ON_S - PHASES["flood"]) * NS <= event["t"] < began + FLOOD_S * NS
                for event in run.where("agent", "registered", cast.victim)
            )
            extra["flood: octets answered, % of octets sent"] = 100 * flood[0]["answer_octets"] / flood[0]["octets"]
            extra["flood: lines of dropped datagrams"] = lines(run, "flood")
            extra |= {f"impostor admitted: {name}": value for name, value in admitted(run).items()}
            extra |= {f"accepted: {name}": value for name, value in taken(run).items()}
        asked = requests.at_dks(run, 0)
        return Measures(
            main_s=returned(run, cast.victim),
            adjacencies=adjacency.at_end(topology, run.events),
            dks=RequestCounts(asked.total, asked.unique),
            extra=extra,
        )

    def judge(self, table: Table) -> list[Criterion]:
        criteria = []
        for keying, runs in table.measures.items():
            if keying not in AGENTS or not runs:
                continue

            def total(what: str, phases: tuple[str, ...], runs: Any = runs) -> int:
                return sum(int(run.extra[f"{phase}: {what}"] or 0) for run in runs for phase in phases)

            for text, what in (
                ("nothing of a stranger's reaches a daemon", "packets at the daemons"),
                ("no adjacency changes for a stranger", "adjacency changes"),
                ("no route changes for a stranger", "route changes"),
            ):
                count = total(what, STRANGERS)
                criteria.append(Criterion(keying, text, str(count), count == 0))
            if "PIM Prune: multicast packets lost" in runs[0].extra:
                count = total("multicast packets lost", tuple(FORGED_PIM))
                criteria.append(Criterion(keying, "no multicast is lost for a stranger", str(count), count == 0))
            times = [run.main_s for run in runs]
            value = ", ".join("never" if each is None else f"{each:.1f} s" for each in times)
            criteria.append(Criterion(keying, "a router that boots in a flood gets keys and adjacencies meanwhile",
                                      value, all(each is not None and each < FLOOD_S for each in times)))  # fmt: skip
            for name in TRIALS:
                wanted = 1.0 if name == "a router's stolen key" else 0.0
                values = [run.extra.get(f"impostor admitted: {name}") for run in runs]
                text = f"{name}: {'admitted, until it is revoked' if wanted else 'refused'}"
                value = f"admitted in {sum(bool(each) for each in values)} of {len(values)} runs"
                criteria.append(Criterion(keying, text, value, all(each == wanted for each in values)))
            for name, wanted in zip(SIGNED, (1.0, 0.0), strict=True):
                values = [run.extra.get(f"accepted: {name}") for run in runs]
                value = f"accepted in {sum(bool(each) for each in values)} of {len(values)} runs"
                criteria.append(Criterion(keying, f"{name}: {'accepted' if wanted else 'refused'}", value,
                                       all(each == wanted for each in values)))  # fmt: skip
            most = max(run.extra["flood: lines of dropped datagrams"] or 0 for run in runs)
            criteria.append(Criterion(keying, "a flood fills no event log", f"{most:g} lines", most <= LINES))
            most = max(run.extra["flood: octets answered, % of octets sent"] or 0 for run in runs)
            text = "a stranger reflects fewer octets than he sends"
            criteria.append(Criterion(keying, text, f"{most:.0f} %", most < 100))
            count = total("packets at the daemons", ("insider elsewhere",))
            criteria.append(
                Criterion(keying, "a member forges nobody on a link that it is not on", str(count), count == 0)
            )
            count = total("packets at the daemons", ("insider",))
            criteria.append(Criterion(keying, "a member of the LAN can forge who it hears", str(count), count > 0))
        return criteria

    def findings(self, table: Table) -> list[str]:
        sentences = []
        for keying, runs in table.measures.items():
            if not runs:
                continue
            said = [
                f"{phase} {between(run.extra[f'{phase}: packets at the daemons'] or 0 for run in runs)} packets and "
                f"{between(run.extra[f'{phase}: adjacency changes'] or 0 for run in runs)} adjacency changes"
                for phase in (*STRANGERS, *INSIDERS)
            ]
            sentences.append(f"{keying}, at the daemons: {'; '.join(said)}.")
        return sentences

    def draw(self, folder: Path, runs: Sequence[Run]) -> Sequence[Drawn]:
        from testbed.report.heard import Cell, draw_heard

        cells: dict[str, dict[str, list[Cell]]] = {words: {} for words in WORDS.values()}
        for run in runs:
            for phase, words in WORDS.items():
                cell = Cell(reached(run, phase), changes(run, phase) + rerouted(run, phase))
                cells[words].setdefault(run.plan.keying, []).append(cell)
        return draw_heard(folder, cells)


def window(run: Run, phase: str) -> tuple[int, int]:
    """From a phase's mark to the next (ns)."""
    names = list(PHASES)
    following = names[names.index(phase) + 1]
    return run.mark(phase), run.events[-1]["t"] if following == "end" else run.mark(following)


def reached(run: Run, phase: str) -> int:
    """Forged and replayed packets at the routers' raw sockets."""
    since, until = window(run, phase)
    return sum(since <= event["t"] < until for event in run.where("probe", "intruded"))


def changes(run: Run, phase: str) -> int:
    """Changes of adjacencies that the daemons logged. Those with the stranger himself count where he said hello, also
    when they come later: he is forgotten in another phase."""
    since, until = window(run, phase)
    topology, cast, count = run.plan.topology, Cast(run.plan.topology), 0
    ends = [topology.ends(segment)[0] for segment in (cast.lan, cast.link)]
    rogue = {str(STRANGER_ID), *(str(_free(end, cast.family)) for end in ends)}
    for event in run.where("frr", "adjacency"):
        his = event["neighbor"] in rogue
        count += phase == "rogue neighbour" and event["t"] >= since if his else since <= event["t"] < until
    return count


def rerouted(run: Run, phase: str) -> int:
    """Changes of the kernels' routes; of multicast routes those of the group that the phase is about, also when they
    come later."""
    since, until = window(run, phase)
    count = len([event for event in run.where("route") if since <= event["t"] < until])
    group, last = FORGED_PIM.get(phase), run.mark("reboot")
    return count + len([e for e in run.where("mroute") if e["group"] == group and since <= e["t"] < last])


def lost(run: Run, phase: str) -> int:
    """Packets of this phase's stream, or in the phase of the Hello of all streams, that were sent since its mark and
    not heard."""
    since, _until = window(run, phase)
    return sum(
        multicast.sent_since(event, since)
        for event in run.where("probe", "stream_loss")
        if event["stream"] == phase or not FORGED_PIM[phase]
    )


def lines(run: Run, phase: str) -> int:
    """Lines that agents wrote of dropped datagrams."""
    since, until = window(run, phase)
    return sum(since <= event["t"] < until for event in run.where("agent", "dropped"))


def grown_in(run: Run, phase: str) -> dict[str, int]:
    """How much each counter of /proc/net/xfrm_stat grew in a phase, all routers together."""
    names = list(PHASES)
    return grown(run, phase, names[names.index(phase) + 1])


def returned(run: Run, node: str) -> float | None:
    """Seconds from the node's boot in the flood until it has all its adjacencies, both ways."""
    on = max(event["t"] for event in run.where("fault", "power_on", node))
    until = run.mark("insider")
    moments = []
    for ends, states in adjacency.timeline(run.plan.topology, run.events).items():
        if node in (ends.router, ends.neighbor):
            up = [moment for moment, state in states if state and on <= moment < until]
            moments.append(up[-1] if up else None)
    known = [moment for moment in moments if moment is not None]
    return (max(known) - on) / NS if known and len(known) == len(moments) else None


def admitted(run: Run) -> dict[str, float]:
    """Of each trial of the impostor, whether it was taken for who it said it was."""
    outcomes = [event["outcome"] for event in run.where("probe", "impostor")]
    return dict(zip(TRIALS, (float(each == "admitted") for each in outcomes), strict=False))


def taken(run: Run) -> dict[str, float]:
    """Of each document that was signed with an administrator's key, whether the router accepted it."""
    outcomes = [event["outcome"] for event in run.where("fault", "administrator") if event["deed"] == "sign"]
    return dict(zip(SIGNED, (float(each == "accepted") for each in outcomes), strict=False))
