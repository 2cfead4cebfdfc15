"""An outsider on a LAN and on a link forges, replays, impersonates and floods; then a member forges: what gets
through?"""

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
"""A phase for each kind of message, and the group the message is about. Each has its own group, so that the effect of
one does not hide that of another, however long it lasts. The goodbye in a Hello concerns all groups, and comes last."""
_PIM_S, _EACH_S = 145, 6
PHASES = {
    "rogue neighbour": 85, "forged": 100,
    **{phase: _PIM_S + number * _EACH_S for number, phase in enumerate(FORGED_PIM)},
    "guessed": 190, "tampered": 200, "replayed": 210, "reboot": 240, "replayed after reboot": 300, "flood": 330,
    "insider": 370, "insider elsewhere": 395, "impostors": 420, "end": 470,
}  # fmt: skip
STREAMS_S = 30
"""The start of the streams whose trees the intruder attacks."""
STRANGERS = ("rogue neighbour", "forged", *FORGED_PIM, "guessed", "tampered", "replayed", "replayed after reboot")
INSIDERS = ("insider", "insider elsewhere")
WORDS = {
    "rogue neighbour": "an unknown neighbour: Hello of OSPF and PIM",
    "forged": "forged: Hello and LS Update, PIM Hello and Join",
    "PIM Join": "forged PIM: Join to a group without receivers",
    "PIM Register": "forged PIM: Register to the rendezvous point",
    "PIM Bootstrap": "forged PIM: Bootstrap, another rendezvous point",
    "PIM Register-Stop": "forged PIM: Register-Stop to a source's router",
    "PIM Prune": "forged PIM: Prune of a branch in use",
    "PIM Assert": "forged PIM: Assert against the forwarder",
    "PIM Hello": "forged PIM: Hello with holdtime 0 (goodbye)",
    "guessed": "guessed: ESP with random SPIs",
    "tampered": "altered: recorded ESP, one octet changed",
    "replayed": "replayed: all recorded packets",
    "replayed after reboot": "replayed after a router's reboot",
    "insider": "a member forges a speaker that it hears",
    "insider elsewhere": "the same on a link that it is not on",
}
"""The phases in words, for the figure."""
LINES = 60
"""The most lines of dropped datagrams that all routers together may write in a flood: some for each reason and
interface."""
FLOOD_S, FLOOD_EACH_PPS = 30, 40
OFF_S, ON_S = PHASES["flood"] + 2, PHASES["flood"] + 5
STRANGER_ID = IPv4Address("6.6.6.6")
DISTANT: dict[int, IPAddress] = {4: IPv4Address("203.0.113.6"), 6: IPv6Address("2001:db8::6")}
"""Addresses of neither segment."""
AGENTS = modes(lambda mode: mode.dks)
TRIALS = {
    "unapproved key": ("stranger", "stranger"),
    "a router's name with another key": (None, "stranger"),
    "a router's stolen key": (None, None),
    "the same key after its revocation": (None, None),
}
"""The name and the key that an impostor shows; None: those of the router whose address it takes."""
DISMISSAL = ((37, "sign"), (40, "dismiss"), (43, "sign"))
"""Seconds after the start of the impostors' phase, and the deed: an administrator with a delegated key signs, or is
dismissed."""
SIGNED = ("a document signed with an administrator's key", "the same after the administrator was dismissed")


class Cast:
    """Which router plays which part. InputError for a network without a LAN of three routers and a link."""

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
        """A Hello without neighbours, from a router on this interface's segment. `source`: its sender's address, by
        default that of the interface."""
        timers = self._topology.ospf
        own = source if isinstance(source, IPv6Address) else end.ipv6_link_local
        sender = end.ipv4 if self.family == 4 else own
        return packets.hello(router_id, sender, end.area, timers.hello_s, timers.dead_s)

    def rogue(self, segment: str) -> list[bytes]:
        """Hellos of OSPF and PIM under an address and a router ID of the outsider's own."""
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
        """By phase, a PIM message on the LAN in the name of a router that could send it; none without PIM."""
        if self._topology.pim is None:
            return {}
        speaker, victim = self._topology.ends(self.lan)[:2]
        source = address_of(self._topology, self.victim)
        point, here, there = self._topology.pim.rp_address, speaker.ipv4.ip, victim.ipv4.ip
        groups = {phase: IPv4Address(group) for phase, group in FORGED_PIM.items() if group}

        def heard(body: bytes) -> bytes:
            return packets.frame(here, packets.ALL_PIM, packets.PIM, body)

        def datagram(sender: IPv4Address, to: IPv4Address, mac: str, body: bytes) -> bytes:
            return packets.frame(sender, to, packets.PIM, body, mac=mac, ttl=64)

        stop = packets.pim_register_stop(source, groups["PIM Register-Stop"])
        register = packets.pim_register(_free4(speaker), groups["PIM Register"])
        return {
            "PIM Join": heard(packets.pim_join(there, groups["PIM Join"], _free4(speaker))),
            "PIM Register": datagram(there, point, speaker.mac, register),
            "PIM Bootstrap": heard(packets.pim_bootstrap(here, groups["PIM Bootstrap"], here)),
            "PIM Register-Stop": datagram(point, there, victim.mac, stop),
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
        """IKE_SA_INIT to the speaker from a neighbour's address, from a free one of the segment, and from a distant
        one."""
        target, neighbor = self._topology.ends(self.lan)[:2]
        body = packets.udp(PORT, PORT, ike_sa_init(self._topology.domain))
        sources = (neighbor.hop(self.family), _free(target, self.family), DISTANT[self.family])
        here = target.hop(self.family)
        return [packets.frame(each, here, packets.UDP, body, mac=target.mac, ttl=255) for each in sources]


def _free(end: Interface, family: int) -> IPAddress:
    """An address of the segment that no router has."""
    return _free4(end) if family == 4 else IPv6Address("fe80::6666")


def _free4(end: Interface) -> IPv4Address:
    """A free IPv4 address; a link of two hosts has none, so one of the neighbouring link."""
    return end.ipv4.network.broadcast_address - 1 if end.kind == "lan" else end.ipv4.network.broadcast_address + 1


def ike_sa_init(domain: str) -> bytes:
    """A well-formed IKE_SA_INIT of an unknown party."""
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
        "Which of an intruder's packets reach the routing daemons, and what do they change? Do routers still get keys "
        "during a flood, and what can a legitimate member of the LAN do?"
    )
    method = (
        "A machine in the wires of a LAN and of a point-to-point link captures every packet and sends any packet it "
        "likes. It does in turn: Hellos of OSPF and PIM under an address and a router ID of its own; OSPF Hello and "
        "LS Update, PIM Hello and Join in a router's name; then each kind of PIM message by itself, about a group of "
        "its own, while streams flow (Join, Register, Bootstrap, Register-Stop, Prune, Assert, and a Hello with "
        "holdtime 0); ESP with guessed SPIs; recorded ESP with another sequence number and one octet changed; all "
        f"recorded packets again, and once more after a router lost its power and came back; {3 * FLOOD_EACH_PPS} "
        f"IKE_SA_INIT a second for {FLOOD_S} s from a neighbour's, a free and a distant address, while that neighbour "
        "boots and needs keys from the flooded router (convergence: from its boot until it has all its adjacencies). "
        "Then a member of the LAN forges an OSPF Hello of a neighbour, which lists no neighbours, with all that it "
        "has: the keys under which it hears that neighbour, or the key of OSPF's own authentication. It does the same "
        "on the link, which it is not on. Then an impostor speaks IKE from a router's address with an unapproved key, "
        "with that router's name and another key, with its stolen key, and with that key after its revocation. Last, "
        "an administrator's key signs a document for a router without the Policy Server, before and after that "
        "administrator was dismissed. Raw sockets beside the daemons' own count the packets that reach them: forged "
        "packets bear a known IP identification, and replayed packets are repetitions of earlier ones. The effects "
        "are counted as changes of adjacencies, changes of the kernels' routes (for multicast, routes of the "
        "message's group), and lost packets of its stream."
    )
    shows_not = (
        "Encryption and computation cost nothing in virtual time. The flood therefore shows that limits and cookies "
        "do not shut neighbours out, and says nothing of the load a processor bears. The intruder does not poison the "
        "bridge's table of addresses or jam the medium. ospfd drops packets that fail its own authentication, so with "
        "`native` a packet that reaches the daemon is not necessarily believed."
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
        """One stream for each group that a forged PIM message is about and that has receivers, named like its phase."""
        if topology.pim is None:
            return []
        cast = Cast(topology)
        if cast.victim == cast.beyond:  # a network this small has no separate receiver
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
                ("no outsider packet reaches a daemon", "packets at the daemons"),
                ("no outsider packet changes an adjacency", "adjacency changes"),
                ("no outsider packet changes a route", "route changes"),
            ):
                count = total(what, STRANGERS)
                criteria.append(Criterion(keying, text, str(count), count == 0))
            if "PIM Prune: multicast packets lost" in runs[0].extra:
                count = total("multicast packets lost", tuple(FORGED_PIM))
                criteria.append(
                    Criterion(keying, "no outsider packet costs a multicast packet", str(count), count == 0)
                )
            times = [run.main_s for run in runs]
            value = ", ".join("never" if each is None else f"{each:.1f} s" for each in times)
            criteria.append(Criterion(keying, "a router that boots in a flood gets keys and adjacencies before it ends",
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
            text = "routers answer an outsider with fewer octets than it sends"
            criteria.append(Criterion(keying, text, f"{most:.0f} %", most < 100))
            count = total("packets at the daemons", ("insider elsewhere",))
            criteria.append(
                Criterion(keying, "a member cannot forge a router on a link that it is not on", str(count), count == 0)
            )
            count = total("packets at the daemons", ("insider",))
            criteria.append(
                Criterion(keying, "a member of the LAN can forge a speaker that it hears", str(count), count > 0)
            )
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
    """From a phase's mark to the next mark (ns)."""
    names = list(PHASES)
    following = names[names.index(phase) + 1]
    return run.mark(phase), run.events[-1]["t"] if following == "end" else run.mark(following)


def reached(run: Run, phase: str) -> int:
    """Forged and replayed packets at the routers' raw sockets."""
    since, until = window(run, phase)
    return sum(since <= event["t"] < until for event in run.where("probe", "intruded"))


def changes(run: Run, phase: str) -> int:
    """Changes of adjacencies that the daemons logged. A change of the outsider's own adjacency counts in the phase of
    its Hellos, also when it comes later: the adjacency expires in another phase."""
    since, until = window(run, phase)
    topology, cast, count = run.plan.topology, Cast(run.plan.topology), 0
    ends = [topology.ends(segment)[0] for segment in (cast.lan, cast.link)]
    rogue = {str(STRANGER_ID), *(str(_free(end, cast.family)) for end in ends)}
    for event in run.where("frr", "adjacency"):
        his = event["neighbor"] in rogue
        count += phase == "rogue neighbour" and event["t"] >= since if his else since <= event["t"] < until
    return count


def rerouted(run: Run, phase: str) -> int:
    """Changes of the kernels' routes; of multicast routes only those of the phase's group, also when they come
    later."""
    since, until = window(run, phase)
    count = len([event for event in run.where("route") if since <= event["t"] < until])
    group, last = FORGED_PIM.get(phase), run.mark("reboot")
    return count + len([e for e in run.where("mroute") if e["group"] == group and since <= e["t"] < last])


def lost(run: Run, phase: str) -> int:
    """Packets that were sent since the phase's mark and not received: of its stream, or of all streams in the phase of
    the Hello."""
    since, _until = window(run, phase)
    return sum(
        multicast.sent_since(event, since)
        for event in run.where("probe", "stream_loss")
        if event["stream"] == phase or not FORGED_PIM[phase]
    )


def lines(run: Run, phase: str) -> int:
    """The lines about dropped datagrams that agents wrote in the phase."""
    since, until = window(run, phase)
    return sum(since <= event["t"] < until for event in run.where("agent", "dropped"))


def grown_in(run: Run, phase: str) -> dict[str, int]:
    """The growth of each counter of /proc/net/xfrm_stat in a phase, summed over all routers."""
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
    """By trial of the impostor, 1 if the router admitted it under the name it gave, else 0."""
    outcomes = [event["outcome"] for event in run.where("probe", "impostor")]
    return dict(zip(TRIALS, (float(each == "admitted") for each in outcomes), strict=False))


def taken(run: Run) -> dict[str, float]:
    """By document signed with an administrator's key, 1 if the router accepted it, else 0."""
    outcomes = [event["outcome"] for event in run.where("fault", "administrator") if event["deed"] == "sign"]
    return dict(zip(SIGNED, (float(each == "accepted") for each in outcomes), strict=False))
