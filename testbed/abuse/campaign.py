"""The laboratory's own commands, ended at random moments; afterwards nothing may be left and the next one must work.

Every deed draws a command, a moment and a way to end it from the seed. Each command finds something to do: a set-up a
layer that is missing, a clean-up what a killed build left, a report a finished run. A blow counts when the command
still ran; one that came too late is dealt again, earlier. Knows nothing of how it is shown.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from testbed import owned
from testbed.abuse.processes import adopting, descendants, end_all, ended, of_the_host, start
from testbed.setup import python_env
from testbed.setup.installer import WHEELS
from testbed.setup.paths import PROJECT, cache_dir

PATIENCE_S = 60.0
"""After this time what still runs is taken for hung. Nothing takes nearly so long on an idle machine."""
WHOLE_S = 600.0
LONGEST_S = 12.0
"""The latest moment of a blow: on two free cores the commands are done by then."""
TRIES = 6
"""So often a blow is dealt again, at half the time, to a command that had ended before it."""
FULL_KIB = 512
LAYER = "grid"
"""What set-ups make: the smallest of the layers."""
LEFT_FILES = 3000
"""So many files of a killed build clean-ups find."""
WORK = ("power_cycle", "--topology", "line:2", "--keying", "none", "--seeds", "1", "--jobs", "1")
SWEEP = """experiment: power_cycle
factors:
  topology: ["line:2", "line:3"]
  keying: [none]
seeds: 1
"""


class Way(Enum):
    """How a command is ended."""

    KILL = "kill -9 of the command"
    KILL_ANY = "kill -9 of one of its processes"
    KILL_ALL = "kill -9 of all its processes but one"
    INTERRUPT_TWICE = "Ctrl-C twice"
    TERMINATE = "SIGTERM"
    TWO_AT_ONCE = "a second one beside it, then kill -9 of the first"
    FULL_DISK = "full disk"


@dataclass(frozen=True)
class Deed:
    """`at_s`: seconds after the start. `draw`: chooses the process."""

    number: int
    command: str
    way: Way
    at_s: float
    draw: int

    def __str__(self) -> str:
        return f"{self.number}: lab {self.command}, {self.way.value} after {self.at_s:.2f} s"


@dataclass
class Tally:
    """What came of it. `wrong`: sentences; empty when all was well."""

    deeds: Counter[str] = field(default_factory=Counter)
    """Those that met a command that ran, by way."""
    missed: int = 0
    """Those that never did."""
    proofs: int = 0
    wrong: list[str] = field(default_factory=list)


def deeds(seed: int, times: int, *, root: bool) -> list[Deed]:
    """So many. Disks are filled by root alone, who may mount one."""
    draw = random.Random(f"abuse/{seed}")
    ways = [way for way in Way if root or way is not Way.FULL_DISK]
    return [
        Deed(
            number,
            draw.choice(("run", "run", "sweep", "setup", "clean", "report")),
            draw.choice(ways),
            draw.uniform(0, LONGEST_S) ** 2 / LONGEST_S,  # more often early, where things are being made
            draw.randrange(1 << 30),
        )
        for number in range(times)
    ]


class Abuse:
    """One folder's commands. `prove_every`: after so many deeds the run and the sweep are let come to their end."""

    def __init__(self, folder: Path, prove_every: int, say: Callable[[str], None]) -> None:
        self._folder, self._prove_every, self._say = folder, prove_every, say
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True)
        (folder / "sweep.yaml").write_text(SWEEP)
        self._cache, self._done = _cache(folder / "cache"), folder / "done"
        self._environment = {**os.environ, "TMPDIR": str(self._temporary), "LAB_CACHE": str(self._cache)}
        self.tally = Tally()

    def do(self, all_of_them: list[Deed]) -> Tally:
        """All deeds, and a last proof."""
        with adopting():
            before = of_the_host()
            for deed in all_of_them:
                self._one(deed)
                self._compare(str(deed), before)
                if (deed.number + 1) % self._prove_every == 0:
                    self._prove(f"after deed {deed.number}")
            self._prove("in the end")
            self._compare("in the end", before)
        return self.tally

    def _words(self, command: str, out: Path) -> list[str]:
        lab = [sys.executable, str(PROJECT / "lab")]
        return {
            "run": [*lab, "run", *WORK, "--out", str(out / "run")],
            "done": [*lab, "run", *WORK, "--out", str(self._done)],
            "sweep": [*lab, "sweep", str(self._folder / "sweep.yaml"), "--out", str(out / "sweep"), "--jobs", "1"],
            "setup": [*lab, "setup", "--with", LAYER],
            "clean": [*lab, "clean"],
            "report": [*lab, "report", str(out / "report")],
        }[command]

    def _give_work(self, command: str, out: Path) -> None:
        """What is done is not done again: let there be something to do."""
        if command == "setup":
            owned.remove(self._layer)
        elif command == "clean":
            left = self._layer.with_name(f"{self._layer.name}.0.part")
            owned.claim(left, str(left))
            for number in range(LEFT_FILES):
                (left / str(number)).touch()
        elif command == "report":
            shutil.rmtree(out / "report", ignore_errors=True)
            if not self._done.is_dir():
                self._to_its_end("done", "a run for reports")
            with suppress(OSError):  # the disk may be full
                shutil.copytree(self._done, out / "report")
        elif (out / command / "report.html").exists() or (out / command / "results.parquet").exists():
            shutil.rmtree(out / command)

    @property
    def _layer(self) -> Path:
        return self._cache / python_env.layer(LAYER).name

    def _one(self, deed: Deed) -> None:
        self._say(str(deed))
        out = self._folder
        if deed.way is Way.FULL_DISK:
            out = self._folder / "full"
            out.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={FULL_KIB}k", "tmpfs", str(out)], check=True)
        try:
            for number in range(TRIES):
                self._give_work(deed.command, out)
                if self._strike(replace(deed, at_s=deed.at_s / 2**number), out):
                    self.tally.deeds[deed.way.value] += 1
                    return
            self.tally.missed += 1
            self._say("  it had ended each time")
        finally:
            if deed.way is Way.FULL_DISK:
                subprocess.run(["umount", "--lazy", str(out)], check=True)

    def _strike(self, deed: Deed, out: Path) -> bool:
        """Whether the blow met a command that ran."""
        words = self._words(deed.command, out)
        children = [start(words, self._folder / "output", self._environment)]
        if deed.way is Way.FULL_DISK:
            self._ends(deed, children, WHOLE_S)
            if deed.command in ("run", "sweep") and children[0].returncode == 0:
                self._wrong(f"{deed}: ended with 0 although the disk was full")
            return True
        time.sleep(deed.at_s)
        if deed.way is Way.TWO_AT_ONCE:
            children.append(start(words, self._folder / "output-2", self._environment))
            time.sleep(deed.at_s)
            met = children[0].poll() is None
            if met:
                os.kill(children[0].pid, signal.SIGKILL)
            self._ends(deed, children, WHOLE_S)
            if children[1].returncode not in (0, 2, 3):
                self._wrong(f"{deed}: the second ended with {children[1].returncode}: {self._last('output-2')}")
            return met
        met = children[0].poll() is None and self._hit(deed, children[0].pid)
        self._ends(deed, children, PATIENCE_S)
        return met

    def _hit(self, deed: Deed, leader: int) -> bool:
        """Whether anything ran that could be hit."""
        alive = descendants()
        if not alive:
            return False
        chosen = alive[deed.draw % len(alive)]
        blows = {
            Way.KILL: [(leader, signal.SIGKILL)],
            Way.KILL_ANY: [(chosen, signal.SIGKILL)],
            Way.KILL_ALL: [(each, signal.SIGKILL) for each in alive if each != chosen],
            Way.INTERRUPT_TWICE: [(leader, signal.SIGINT), (leader, signal.SIGINT)],
            Way.TERMINATE: [(leader, signal.SIGTERM)],
        }[deed.way]
        for pid, number in blows:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if deed.way is Way.INTERRUPT_TWICE:
                time.sleep(0.1)
        return True

    def _ends(self, deed: Deed, children: list[subprocess.Popen[str]], patience_s: float) -> None:
        # What was killed in its middle by one blow to a child may go on with the rest of its work.
        if deed.way is Way.KILL_ANY:
            patience_s = WHOLE_S
        if not ended(children, patience_s):
            self._wrong(f"{deed}: still there after {patience_s:g} s: {'; '.join(end_all())}")

    def _prove(self, when: str) -> None:
        """The next commands work, and are not held up by anything that was left."""
        self._give_work("report", self._folder)
        for command in ("setup", "clean", "run", "sweep", "report"):
            self._to_its_end(command, when)
            self.tally.proofs += 1
        if left := sorted(each.name for each in self._cache.glob("*.part")):
            self._wrong(f"{when}: lab clean left {', '.join(left)}")
        for name in ("run", "sweep"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _to_its_end(self, command: str, when: str) -> None:
        child = start(self._words(command, self._folder), self._folder / "output", self._environment)
        if not ended([child], WHOLE_S):
            self._wrong(f"{when}: lab {command} did not end: {'; '.join(end_all())}")
        elif child.returncode:
            self._wrong(f"{when}: lab {command} ended with {child.returncode}: {self._last('output')}")

    def _compare(self, when: str, before: dict[str, frozenset[str]]) -> None:
        now = of_the_host()
        for kind, names in before.items():
            if fresh := now[kind] - names:
                self._wrong(f"{when}: left the {kind} {', '.join(sorted(fresh))}")

    def _last(self, name: str) -> str:
        return "; ".join((self._folder / name).read_text(errors="replace").splitlines()[-3:])

    def _wrong(self, sentence: str) -> None:
        self._say(f"  WRONG: {sentence}")
        self.tally.wrong.append(sentence)


def _cache(folder: Path) -> Path:
    """A cache of the abuse's own, of links to all that is made; what set-ups are to make is not in it."""
    folder.mkdir()
    for each in cache_dir().iterdir() if cache_dir().is_dir() else ():
        if not each.name.startswith((f"{python_env.layer(LAYER).kind}-", WHEELS)) and each.suffix != ".part":
            (folder / each.name).symlink_to(each)
    return folder
