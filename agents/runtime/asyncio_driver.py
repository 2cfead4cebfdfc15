"""Runs an agent's core on real sockets, files, kernel and clock.

Effects are executed strictly in order, in one thread. While a retained file cannot be written, nothing that may depend
on it happens: keys leave the kernel and none is added, nothing is sent, and the file is tried again. Whatever is in
force stays. Knows nothing of protocols.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from agents.ipsec.model import Guard
from agents.ipsec.port import Change, ChangeKind, KeyPort, SasLost
from agents.runtime import notify
from agents.runtime.control import CommandRefused, ControlServer
from agents.runtime.core import Core
from agents.runtime.disk import Disk
from agents.runtime.effects import Effect, Event, Kernel, KeyLines, Persist, Send
from agents.runtime.events import EventLog
from agents.runtime.keylog import KeyLog
from agents.runtime.links import LinkMonitor, RouteMonitor, snapshot
from agents.runtime.metrics import kernel, page
from agents.runtime.metrics_http import MetricsServer
from agents.runtime.pace import TokenBucket
from agents.runtime.udp import UdpPort

T = TypeVar("T")
KERNEL_RETRY_S = 1.0
DISK_RETRY_S = 1.0
MOST_DATAGRAMS = 64
"""The most datagrams that are read before timers and commands have their turn."""
MENDS_A_SECOND, MENDS_AT_ONCE = 1.0, 10
"""How often changes of the kernel by others are corrected: at once, but with a bound, in case another program undoes
the correction."""
ANEW_A_SECOND, ANEW_AT_ONCE = 0.1, 3
"""How often all keys are replaced because of them."""


class Watch(Protocol):
    """The source of news about changes of the kernel that are not ours: `agents.ipsec.monitor.KernelMonitor` is the
    real one."""

    def fileno(self) -> int:
        """Readable when there is news."""

    def changed(self) -> bool:
        """Take the news; True if another program changed something."""

    def close(self) -> None:
        """Stop listening."""


class Driver:
    """One core on one UDP port. `kernel`: None for an agent that protects no packets itself. `control`: the path of the
    Unix socket for the administrator, or None. `timings`: an event `installed` records how long each change of the
    kernel took. `watch`: reports changes of the kernel to correct. `lost`: called when others removed SAs, which are
    not put back. `routes`: called when IPv4 routes changed. `ready_at_once`: the core is ready when it has started, and
    gives no `ready` of its own. `metrics`: address, port and the names' prefix for Prometheus, or None."""

    def __init__(
        self,
        core: Core,
        port: UdpPort,
        state_dir: Path,
        log: EventLog,
        *,
        kernel: KeyPort | None = None,
        watch_links: bool = False,
        control: Path | None = None,
        key_log: KeyLog | None = None,
        timings: bool = False,
        watch: Watch | None = None,
        lost: Callable[[float], None] | None = None,
        routes: Callable[[float], None] | None = None,
        ready_at_once: bool = False,
        metrics: tuple[str, int, str] | None = None,
    ) -> None:
        self._timings, self._ready_at_once = timings, ready_at_once
        self._cause_ns = time.monotonic_ns()
        """When the datagram, timer or command came whose effects are being executed."""
        self._key_log = key_log
        self._core, self._port, self._log = core, port, log
        self._disk = Disk(state_dir, log.write)
        self._disk_later: asyncio.TimerHandle | None = None
        self._covered: Kernel | None = None
        """The last protection whose retained files are all on the disk."""
        self._kernel = kernel
        self._monitor = LinkMonitor() if watch_links else None
        self._control = ControlServer(control, self._command, self._watched) if control is not None else None
        self._metrics = MetricsServer(*metrics[:2], self._page, self._ailing) if metrics is not None else None
        self._prefix = metrics[2] if metrics is not None else ""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._watch, self._lost = watch, lost
        self._routes, self._route_monitor = routes, None if routes is None else RouteMonitor()
        self._mend_later: asyncio.TimerHandle | None = None
        self._anew_later: asyncio.TimerHandle | None = None
        self._mends = TokenBucket(MENDS_A_SECOND, MENDS_AT_ONCE)
        self._anews = TokenBucket(ANEW_A_SECOND, ANEW_AT_ONCE)
        self._wanted: Kernel | None = None
        """The last content that the kernel was asked to have."""
        self._failure: BaseException | None = None
        self._done: asyncio.Event | None = None

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, or until an unexpected exception, which is raised. SIGHUP: the events file is
        opened again."""
        loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._done.set)
        loop.add_signal_handler(signal.SIGHUP, self._log.reopen)
        loop.add_reader(self._port.fileno(), self._guarded(self._readable))
        watched: tuple[tuple[LinkMonitor | Watch | None, Callable[[], None]], ...] = (
            (self._monitor, self._links_changed),
            (self._route_monitor, self._routes_changed),
            (self._watch, self._kernel_changed),
        )
        for each, job in watched:
            if each is not None:
                loop.add_reader(each.fileno(), self._guarded(job))
        alive = asyncio.create_task(notify.stay_alive())
        try:
            self._guarded(self._start)()
            await self._open_control()
            await self._open_metrics()
            if self._ready_at_once and not self._done.is_set():
                notify.ready()
            await self._done.wait()
            notify.stopping()
            if self._failure is None:
                self._core.stop(time.monotonic())
                self._execute()
        finally:
            if self._control is not None:
                self._log.subscriber = None
                self._control.stop()
            if self._metrics is not None:
                self._metrics.stop()
            loop.remove_reader(self._port.fileno())
            for each, _job in watched:
                if each is not None:
                    loop.remove_reader(each.fileno())
                    each.close()
            alive.cancel()
            for timer in (self._timer, self._retry, self._mend_later, self._anew_later, self._disk_later):
                if timer is not None:
                    timer.cancel()
        if self._failure is not None:
            raise self._failure

    def _guarded(self, job: Callable[[], None]) -> Callable[[], None]:
        """Run the job, then its effects; a failure ends the run, where asyncio would only log it."""

        def run() -> None:
            assert self._done is not None
            if self._done.is_set():
                return
            self._cause_ns = time.monotonic_ns()
            try:
                job()
                self._execute()
                self._schedule()
            except BaseException as error:
                self._failure = error
                self._done.set()

        return run

    async def _open_control(self) -> None:
        """After the start, which waits for nothing. Without the socket the agent works all the same."""
        if self._control is None:
            return
        try:
            await self._control.start()
        except OSError as error:
            self._log.write(Event("error", {"what": "control socket", "detail": str(error)}))

    def _watched(self, watched: bool) -> None:
        """A line is made of each event only while somebody follows them."""
        self._log.subscriber = self._control.publish if watched and self._control is not None else None

    async def _open_metrics(self) -> None:
        """Without metrics the agent works all the same."""
        if self._metrics is not None:
            try:
                await self._metrics.start()
            except OSError as error:
                self._log.write(Event("error", {"what": "metrics", "detail": str(error)}))

    async def _page(self) -> str:
        families = self._asked(self._core.families)
        return await asyncio.to_thread(lambda: page([*families, *(kernel(self._prefix) if self._kernel else ())]))

    async def _ailing(self) -> list[str]:
        disk = ["the disk refuses a file that must be kept"] if self._disk.refuses else []
        return [*disk, *self._asked(self._core.ailments)]

    def _command(self, words: Sequence[str]) -> Mapping[str, Any]:
        return self._asked(lambda now: self._core.command(words, now))

    def _asked(self, question: Callable[[float], T]) -> T:
        """The core's answer, and the effects of the question. CommandRefused."""
        answers: list[T] = []
        refused: list[CommandRefused] = []

        def job() -> None:
            try:
                answers.append(question(time.monotonic()))
            except CommandRefused as refusal:
                refused.append(refusal)

        self._guarded(job)()
        if not answers:
            raise refused[0] if refused else CommandRefused("the agent is ending")
        return answers[0]

    def _start(self) -> None:
        now = time.monotonic()
        if self._monitor is not None:
            self._core.links(snapshot(), now)
        self._core.start(now)

    def _readable(self) -> None:
        for _ in range(MOST_DATAGRAMS):
            datagram = self._port.receive()
            if datagram is None:
                break
            self._cause_ns = time.monotonic_ns()
            self._core.receive(datagram, time.monotonic())
            self._execute()
        # The timer is set again after each turn: with datagrams without end it would never run.
        when, now = self._core.next_timer(), time.monotonic()
        if when is not None and when <= now:
            self._core.tick(now)

    def _links_changed(self) -> None:
        assert self._monitor is not None
        self._monitor.drain()
        self._core.links(snapshot(), time.monotonic())

    def _routes_changed(self) -> None:
        assert self._route_monitor is not None and self._routes is not None
        self._route_monitor.drain()
        self._routes(time.monotonic())

    def _kernel_changed(self) -> None:
        assert self._watch is not None
        if self._watch.changed():
            self._mend()

    def _mend(self) -> None:
        """Correct what another program changed, now or as soon as the rate limit allows."""
        if self._wanted is None or self._mend_later is not None:
            return
        now = time.monotonic()
        if not self._mends.take(now):
            later = self._guarded(self._mend_now)
            self._mend_later = asyncio.get_running_loop().call_later(self._mends.next_s(now), later)
            return
        changes = self._apply(self._wanted)
        if changes:
            self._log.write(Event("mended", {"changes": len(changes), "first": changes[0].what}))

    def _mend_now(self) -> None:
        self._mend_later = None
        self._mend()

    def _schedule(self) -> None:
        when = self._core.next_timer()
        if self._timer is not None:
            if when == self._timer_at:
                return
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer_at = when
            delay = max(0.0, when - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._guarded(lambda: self._due(when)))

    def _due(self, when: float) -> None:
        self._timer = None
        self._core.tick(max(when, time.monotonic()))

    def _execute(self) -> None:
        while effects := self._core.take():
            self._execute_all(effects)

    def _execute_all(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                self._disk.keep(effect)
                self._write_later()
            elif isinstance(effect, Kernel):
                self._apply(effect)
            elif isinstance(effect, Send):
                # A datagram, even a retransmission, may reveal a number that is not on the disk. It counts as lost.
                if not self._disk.refuses:
                    self._port.send(effect)
            elif isinstance(effect, KeyLines):
                self._log_keys(effect)
            else:
                self._log.write(effect)
                if effect.kind == "ready":
                    notify.ready()

    def _log_keys(self, effect: KeyLines) -> None:
        if self._key_log is not None:
            try:
                self._key_log.write(effect)
            except OSError as error:
                self._log.write(Event("error", {"what": "key log", "detail": str(error)}))

    def _write_later(self) -> None:
        if self._disk.behind and self._disk_later is None:
            self._disk_later = asyncio.get_running_loop().call_later(DISK_RETRY_S, self._guarded(self._write_again))

    def _write_again(self) -> None:
        self._disk_later = None
        refused = self._disk.refuses
        self._disk.again()
        self._write_later()
        if refused and not self._disk.refuses:
            self._apply_again()

    def _apply(self, effect: Kernel) -> Sequence[Change]:
        """Make the kernel have this content, or as much of it as the disk covers; the changes that this took."""
        if self._kernel is None:
            return ()
        self._wanted = effect
        whole = not self._disk.refuses
        if whole:
            self._covered = effect
        else:
            effect = effect.within(self._covered)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        began_ns = time.monotonic_ns()
        try:
            changes = self._kernel.apply(effect.wanted(time.monotonic()))
            if self._timings and changes:
                self._log.write(self._installed(changes, began_ns))
            self._core.enforced(effect if whole else None, time.monotonic())
            return changes
        except SasLost as loss:
            self._core.enforced(None, time.monotonic())
            self._begin_anew(loss)
        except (OSError, ValueError) as error:
            self._core.enforced(None, time.monotonic())
            # An interface that has just gone, or an SPI that another program holds. Everything else is in force.
            self._log.write(Event("error", {"what": "kernel", "detail": str(error)}))
            self._retry = asyncio.get_running_loop().call_later(KERNEL_RETRY_S, self._guarded(self._apply_again))
        return ()

    def _apply_again(self) -> None:
        if self._wanted is not None:
            self._apply(self._wanted)

    def _begin_anew(self, loss: SasLost) -> None:
        """SAs are gone that another program removed. Replace all keys, now or as soon as the rate limit allows."""
        if self._lost is None or self._anew_later is not None:
            return
        now = time.monotonic()
        if self._anews.take(now):
            self._log.write(Event("error", {"what": "kernel", "detail": f"{loss}; all keys are replaced"}))
            self._lost(now)
        else:
            later = self._guarded(self._look_whether_lost)
            self._anew_later = asyncio.get_running_loop().call_later(self._anews.next_s(now), later)

    def _look_whether_lost(self) -> None:
        """The rate limit had delayed a replacement of all keys. The lost SAs may no longer be wanted: a later policy,
        or the end of those keys, may have removed them meanwhile."""
        self._anew_later = None
        self._apply_again()

    def _installed(self, changes: Sequence[Change], began_ns: int) -> Event:
        """`apply_ns`: the kernel's part; `since_ns`: from the input that brought the keys, with decryption and retained
        files."""
        now_ns = time.monotonic_ns()
        return Event(
            "installed",
            {
                "sas": sum(each.object == "sa" and each.kind is not ChangeKind.REMOVED for each in changes),
                "changes": len(changes),
                "apply_ns": now_ns - began_ns,
                "since_ns": now_ns - self._cause_ns,
            },
        )


class GuardedOnce:
    """A guard port that checks its table only when the wanted guards differ from the last ones, or others may have
    changed it."""

    def __init__(self, guard: Callable[[tuple[Guard, ...]], bool], log: EventLog) -> None:
        self._guard, self._log = guard, log
        self._last: tuple[Guard, ...] | None = None

    def look_again(self) -> None:
        """Another program may have changed the table."""
        self._last = None

    def apply(self, guards: tuple[Guard, ...]) -> bool:
        """As `agents.ipsec.guard.NftGuard.apply`; a failure is an event, since XFRM policies are in force without
        it."""
        if guards == self._last:
            return False
        self._last = guards
        try:
            return self._guard(guards)
        except (OSError, RuntimeError) as error:
            self._log.write(Event("error", {"what": "guard", "detail": str(error)}))
            return False
