"""All that watches a run, put together: started before the first node has power, read at the end.

It must not change anything in the laboratory, nor know what is done with the events.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from testbed.net.frr import elections_of
from testbed.net.laboratory import Laboratory
from testbed.net.node import LabNode
from testbed.probes.capture import Capture
from testbed.probes.cleartext import Cleartext
from testbed.probes.cpu import cpu_ns
from testbed.probes.flows import ProbeFlow
from testbed.probes.frrlog import read_elections, read_log
from testbed.probes.pimwatch import PimWatch
from testbed.probes.routes import NodeMonitor
from testbed.probes.sad import held_sas
from testbed.probes.streams import End, ProbeStreams, Wanted
from testbed.probes.xfrmstat import xfrm_counters
from testbed.record.plan import Plan
from testbed.record.writer import Event, agent_events

_DRAIN_S = 0.5
_STRAGGLERS_S = 1.0


class Observers:
    """The probes of one run."""

    def __init__(self, lab: Laboratory, plan: Plan, run_folder: Path) -> None:
        self._lab, self._plan = lab, plan
        self.offset_ns = time.time_ns() - time.monotonic_ns()
        """Wall-clock time minus monotonic time. The guest's wall clock is never set in a run."""
        self._monitors: list[NodeMonitor] = []
        self._watches: list[PimWatch] = []
        self._flows: list[ProbeFlow | ProbeStreams] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_flows = asyncio.Event()
        self.capture: Capture | None = None
        self._cleartext: Cleartext
        self._pcap_folder = run_folder / "pcap"

    def start(self) -> None:
        """Start watching. No node has power yet."""
        loop = asyncio.get_running_loop()
        for name, node in self._lab.nodes.items():
            monitor = NodeMonitor(
                name, node.net_namespace, self._lab.recorder, partial(self._lab.wires.interface_lit, name)
            )
            self._monitors.append(monitor)
            loop.add_reader(monitor, monitor.read)
        for router in self._lab.routers if self._lab.topology.pim is not None else ():
            own = [router.router.loopback, *(interface.ipv4 for interface in router.router.interfaces)]
            addresses = frozenset(str(address.ip) for address in own)
            watch = PimWatch(router.name, router.net_namespace, addresses, self._lab.recorder, self.offset_ns)
            self._watches.append(watch)
        wanted = self._plan.captures
        devices = self._lab.wires.devices
        labels = devices.keys() if wanted == "all" else wanted
        # The DKS's interface is in the topology, and in the network of some keying modes only.
        ports = {devices[label]: label for label in labels if label in devices}
        every = {device: label for label, device in devices.items()}
        self._cleartext = Cleartext(self._lab.wires.namespace, every, self.offset_ns)
        if ports:
            self.capture = Capture(self._lab.wires.namespace, ports, self._pcap_folder, self.offset_ns)
            self._tasks.append(loop.create_task(self._drain_capture()))
        if self._lab.nursery is not None:
            self.watch_nursery()
        self._lab.on_nursery = lambda _nursery: self.watch_nursery()

    def watch_nursery(self) -> None:
        """Hear at once when an agent ends."""
        nursery = self._lab.nursery
        if nursery is not None:
            asyncio.get_running_loop().add_reader(nursery, nursery.collect)

    def start_flows(self, zero: float) -> None:
        """Send the plan's probes, and join their groups; `zero` is the event loop's time of `ready`."""
        loop = asyncio.get_running_loop()
        for number, asked in enumerate(self._plan.flows):
            source = self._lab.node(asked.src)
            target = self._lab.node(asked.dst)
            flow = ProbeFlow(
                number,
                asked.name,
                (source.net_namespace, self._address(asked.src)),
                (target.net_namespace, self._address(asked.dst)),
                asked.rate_pps,
                partial(_has_power, source),
            )
            self._flows.append(flow)
            stop = self._plan.duration_s if asked.stop_s is None else asked.stop_s
            self._tasks.append(loop.create_task(flow.send(zero + asked.start_s, zero + stop)))
        together: dict[tuple[str, float, float, float], list[Wanted]] = {}
        for number, each in enumerate(self._plan.streams):
            stop = self._plan.duration_s if each.until_s is None else each.until_s
            receivers = {name: self._receiver(name) for name in each.receivers}
            wanted = Wanted(number, each.name, each.group, receivers, each.specific)
            together.setdefault((each.source, each.rate_pps, each.since_s, stop), []).append(wanted)
        for (source_name, rate_pps, since, until), streams in together.items():
            sending = partial(_has_power, self._lab.node(source_name))
            sent = ProbeStreams(streams, self._source(source_name), rate_pps=rate_pps, sending=sending)
            self._flows.append(sent)
            self._tasks.append(loop.create_task(sent.send(zero + since, zero + until)))

    def _source(self, name: str) -> End:
        """A router sends from its loopback."""
        host = self._lab.topology.hosts.get(name)
        return End(self._lab.node(name).net_namespace, self._address(name), "lo" if host is None else host.interface)

    def _receiver(self, name: str) -> End:
        """What receives for a router stands behind it."""
        host, behind = self._lab.topology.hosts.get(name), self._lab.receivers
        if host is None and behind is not None:
            return End(behind.namespace, "0.0.0.0", behind.device(name))
        return self._source(name)

    def _address(self, name: str) -> str:
        router = self._lab.topology.routers.get(name)
        if router is not None:
            return str(router.loopback_of(self._lab.topology.family).ip)
        return str(self._lab.topology.hosts[name].address(self._lab.topology.family).ip)

    async def _drain_capture(self) -> None:
        while self.capture is not None:
            self.capture.drain()
            await asyncio.sleep(_DRAIN_S)

    def look(self) -> None:
        """Take in what waits for it since nobody wakes for each message. Called every ten seconds or more often."""
        for watch in self._watches:
            watch.read()

    def snapshot(self, at: str) -> None:
        """Write every node's counters of IPsec and PIM: at marks and at the end."""
        self._cleartext.drain()
        for name, node in self._lab.nodes.items():
            counters = xfrm_counters(node.pid)
            if counters:
                self._lab.record(name, "xfrm", "stat", at=at, counters=counters)
        for watch in self._watches:
            watch.snapshot(at)
        if self._plan.options.costs and self._lab.nursery is not None:
            for agent in self._lab.nursery.agents():
                spent = cpu_ns(agent.pid)
                if spent is not None:
                    self._lab.record(agent.node, "probe", "cpu", at=at, program=agent.name, ns=spent)

    def _sad(self) -> None:
        """Write what SAs every router's kernel has, and what the key server's ledger says of them."""
        for node in self._lab.routers:
            self._lab.record(node.name, "xfrm", "sad", sas=held_sas(node.net_namespace.fd))
        ledger = self._lab.keying.key_ledger(self._lab)
        if ledger is not None:
            self._lab.record("dks", "xfrm", "book", generations=dict(sorted(ledger.items())))

    def failure(self) -> BaseException | None:
        """The error of a probe that stopped, if one did."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()
        return None

    async def stop(self) -> None:
        """Wait for the last probe packets, and end the probes."""
        if self._flows:
            await asyncio.sleep(_STRAGGLERS_S)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        loop = asyncio.get_running_loop()
        for monitor in self._monitors:
            monitor.read()
            loop.remove_reader(monitor)
            monitor.close()
        if self._lab.nursery is not None:
            self._lab.nursery.collect()
            loop.remove_reader(self._lab.nursery)
        for flow in self._flows:
            flow.report(self._lab.recorder)
            flow.close()
        self._flows.clear()
        self.snapshot("end")
        self._lab.record("lab", "probe", "clear", **self._cleartext.report())
        self._cleartext.close()
        for watch in self._watches:
            watch.close()
        if self._plan.options.sad:
            self._sad()
        if self.capture is not None:
            self.capture.close()

    def written(self) -> Iterator[tuple[Path, Callable[[], Iterable[Event]]]]:
        """The files that daemons and agents write events to, each with what reads them."""
        for router in self._lab.routers:
            for daemon in router.frr.daemons:
                log = router.frr.log(daemon)
                yield log, partial(read_log, router.name, daemon, log, self.offset_ns)
            elections = elections_of(router.frr.log("pimd"))
            yield elections, partial(read_elections, router.name, elections, self.offset_ns)
        for name in self._lab.nodes:
            file = self._lab.events_file(name)
            yield file, partial(agent_events, file, name)

    def losses_so_far(self) -> Iterator[Event]:
        """What probes have lost since the last call: the record has it at the end of the run alone."""
        return itertools.chain.from_iterable(flow.losses_so_far() for flow in self._flows)

    def gather(self) -> None:
        """Add what the daemons and agents wrote to files."""
        for _, read in self.written():
            self._lab.recorder.extend(read())


def _has_power(node: LabNode) -> bool:
    return node.powered
