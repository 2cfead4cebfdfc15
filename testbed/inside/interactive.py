"""A running laboratory for people: Mininet's prompt in the terminal, and the control channel.

The prompt runs in a thread of its own; what it does to the laboratory's power and wires it
hands to the event loop. Where standard input is no terminal, its lines are a script: as with
`mn < script`, each runs in its turn, whatever became of the one before, and the end of the
input ends the laboratory. It must not be used in virtual time, where nobody can type.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mininet.cli import CLI
from mininet.log import lg, output

from testbed.errors import LabError
from testbed.faults.check import check_step
from testbed.faults.command_line import parse_fault
from testbed.faults.steps import ACTIONS
from testbed.inside.control import Control
from testbed.inside.engine import DONE, FAILED, Engine
from testbed.net.node import LabNode
from testbed.record.plan import Plan

POLL_MS = 500
LIVE_S = 0.5


class LabPrompt(CLI):  # type: ignore[misc]
    """Mininet's prompt, with `fault`. What begins with the name of a node goes there, whatever letters it has."""

    prompt = "mininet> "
    identchars = f"{CLI.identchars}.-"
    engine: Engine
    loop: asyncio.AbstractEventLoop

    def onecmd(self, line: str) -> Any:
        """One command, or what goes to a node; whatever goes wrong in it is told, and is not the end of the prompt."""
        try:
            return self.default(line) if self.parseline(line)[0] in self.engine.lab.nodes else super().onecmd(line)
        except Exception as error:
            print(f"*** {line}: {type(error).__name__}: {error}", file=sys.stderr)
            return None

    def do_fault(self, line: str) -> None:
        """fault ACTION [name=value ...]: e.g. fault power_off nodes=r1"""
        words = line.split()
        if not words:
            print("actions: " + ", ".join(ACTIONS))
            return
        try:
            step = parse_fault(words)
            check_step(step, self.engine.lab.topology)
        except LabError as error:
            print("\n".join(error.lines()))
            return
        nothing = self._in_loop(lambda: self.engine.faults.do(step))
        if nothing is not None:
            print(f"nothing to do: {nothing}")

    def do_link(self, line: str) -> None:
        """link NODE1 NODE2 up|down: cut the carrier of every wire between two nodes, or mend it."""
        words = line.split()
        if len(words) != 3 or words[2] not in ("up", "down"):
            print("usage: link NODE1 NODE2 up|down")
            return
        wires = self.engine.lab.wires.segments.items()
        segments = [name for name, segment in wires if {port.node for port in segment.ports} == set(words[:2])]
        for name in segments:
            self.do_fault(f"link_carrier_{words[2]} segment={name}")
        if not segments:
            print(f"no wire joins {words[0]} and {words[1]}")

    def _in_loop(self, function: Callable[[], str | None]) -> str | None:
        done: concurrent.futures.Future[str | None] = concurrent.futures.Future()

        def call() -> None:
            try:
                done.set_result(function())
            except Exception as error:  # whatever it is, the prompt waits for it
                done.set_exception(error)

        self.loop.call_soon_threadsafe(call)
        try:
            return done.result(timeout=60)
        except LabError as error:
            print("\n".join(error.lines()))
            return None


class Script(LabPrompt):
    """The same for lines that nobody types: without a prompt, and no command takes the lines behind it for input."""

    prompt = ""

    def do_EOF(self, _line: str) -> bool:
        """The end of the lines is the end."""
        return True

    def do_sh(self, line: str) -> None:
        """Run a command outside of all nodes."""
        subprocess.run(line, shell=True, stdin=subprocess.DEVNULL, check=False)

    def default(self, line: str) -> None:
        """A command in a node, or none that is known."""
        node, words, _ = self.parseline(line)
        if words and node in self.mn:
            # The node's shell would wait for the rest of what it cannot parse, and we for the shell.
            if subprocess.run(["bash", "-n", "-c", words], stdin=subprocess.DEVNULL, check=False).returncode:
                return
            if not words.endswith("&"):  # what runs in the background has no input anyway
                line = f"{node} {{ {words.rstrip(' ;')} ; }} </dev/null"
        super().default(line)

    def waitForNode(self, node: LabNode) -> None:
        """Print what it says until it has done."""
        held = ""
        try:
            while node.waiting and node.shell.poll() is None:
                data = held + node.monitor(timeoutms=POLL_MS)
                held = "\r" if node.waiting and data.endswith("\r") else ""
                output(data.removesuffix(held).replace("\r\n", "\n"))
        except OSError:  # its shell's end
            node.waiting = True
        if node.waiting:
            node.end_shell()


async def run_prompt(plan: Plan, run_folder: Path) -> int:
    """Start the laboratory, give the prompt, and end with it (or by a request `down`)."""
    engine = Engine(plan, run_folder, by_hand=True)
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    status = DONE
    try:
        print(f"*** Starting {len(plan.topology.routers)} routers, keying {plan.keying}", file=sys.stderr, flush=True)
        await engine.start()
        control = Control(engine, run_folder, over.set)
        serving = loop.create_task(control.serve())
        telling = loop.create_task(_tell(engine)) if plan.live else None
        loop.add_signal_handler(signal.SIGINT, _interrupt, engine)
        kind = LabPrompt if sys.stdin.isatty() else Script
        prompt = type("Prompt", (kind,), {"engine": engine, "loop": loop})
        if kind is Script:
            lg.ch.setStream(sys.stdout)  # what commands say is our output

        def converse() -> None:
            try:
                prompt(engine.lab.net)
            finally:
                loop.call_soon_threadsafe(over.set)

        threading.Thread(target=converse, name="prompt", daemon=True).start()
        await over.wait()
        serving.cancel()
        if telling is not None:
            telling.cancel()
        return 0
    except LabError:
        status = FAILED
        raise
    finally:
        await engine.finish(status)
        engine.lab.close()


async def _tell(engine: Engine) -> None:
    """Whoever watches sees within a second what has happened."""
    while True:
        engine.tell()
        await asyncio.sleep(LIVE_S)


def _interrupt(engine: Engine) -> None:
    """Ctrl-C goes to the command that is running, as in Mininet; at the prompt it is ignored."""
    for node in engine.lab.nodes.values():
        if node.waiting:
            node.sendInt()
