"""How much do people type, decide and keep secret to protect a network's OSPF by hand, with key chains, and with
LKSs?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from testbed.analysis.measures import Measures
from testbed.effort.case import TASKS, WAYS
from testbed.errors import InputError
from testbed.report.effort import NAMES, draw_effort
from testbed.report.page import Drawn
from testbed.runner.experiment import Criterion, Span, Table
from testbed.runner.options import sizes_of, unknown_option
from testbed.runner.session import Request
from testbed.runner.simulated import Simulated

FEWEST, MOST = 4, 2000
COUNTS = {
    "commands": "commands",
    "machines": "machines typed at",
    "secrets": "different secrets handled",
    "entries": "entries of a secret, typed or read",
    "decisions": "decisions",
    "rounds": "rounds over all machines",
}
TRIED, TAKEN = "lines run or parsed", "of them accepted"


class Effort(Simulated):
    name = "effort"
    title = "What people do for it"
    question = (
        "How much do people type, decide and keep secret, with keys by hand, with key chains, and with this system?"
    )
    method = (
        "Scripts are generated for a grid of routers with OSPF on point-to-point links, line by line as a person "
        "types them, and counted. The tasks: bring all routers into service; add one; replace one whose machine is "
        "broken; exclude a person who leaves with all the secrets of their work; replace all keys without a break. "
        "manual: static ESP keys as in RFC 4552, changed in the three rounds of its section 10. native: FRR's "
        "HMAC-SHA-256 with key chains, changed in two rounds. Both have one key for the network, or, as -link, one "
        "key for each link. lks: docs/install.md on each router and the DKS, and policy at the Policy Server. Nothing "
        "is estimated: policy's lines run against a store, ip and vtysh parse theirs, and a test runs the install "
        "page in namespaces. A secret counts each time a person types, carries or reads it. A decision is a value "
        "that does not follow from a drawing of the network: an SPI, a key id, a date, whose key is genuine, which "
        "routers may be neighbours."
    )
    shows_not = (
        "How long a person takes, and how much a configuration system saves: such a system types the same lines, and "
        "then holds the secrets. Installing packages, the routing configuration itself and making static keys survive "
        "a reboot are left out. Broadcast networks and OSPFv3 need more typing by hand. With lks keys are replaced "
        "automatically each hour; the task counts one dks rekey for each router, as if an administrator wanted new "
        "keys at once. A leaver who had root on routers also has their identities, whatever protects OSPF."
    )
    topology = "grid"
    keyings = ("native", "manual", "lks")
    seeds = 1
    main = Span("time", "no moment", "none: nothing is measured in seconds")
    module = "testbed.effort"
    options: ClassVar[Mapping[str, Any]] = {"sizes": [10, 100, 1000]}

    def cases(self, request: Request) -> list[tuple[str, int, dict[str, Any]]]:
        """One case for each way and size; a mode of `--keying` stands for all its ways. InputError."""
        keyings = request.keyings or self.keyings
        for name in keyings:
            if name not in self.keyings:
                raise InputError(f"{name!r} is not counted", where="--keying", allowed=", ".join(self.keyings))
        if len(request.seeds) > 1:
            raise InputError("a script is the same for every seed", where="--seeds", allowed="1")
        seed = (*request.seeds, 1)[0]
        ways = [way for way in WAYS if way.removesuffix("-link") in keyings]
        return [
            (f"{way} {size}", seed, {"way": way, "routers": size, "processes": 1})
            for size in _sizes(request.options, self.options)
            for way in ways
        ]

    def read(self, result: Mapping[str, Any]) -> Measures:
        """The counts of one case."""
        counts = {
            f"{NAMES[task]}: {text}": float(result["tasks"][task][count])
            for task in TASKS
            for count, text in COUNTS.items()
        }
        return Measures(
            main_s=None,
            extra={"routers": result["routers"], **counts, TRIED: result["tried"], TAKEN: result["taken"]},
        )

    def judge(self, table: Table) -> list[Criterion]:
        """Every line is accepted by the program it is for; with lks, the conditions that hold at every size."""
        criteria = []
        for label in table.measures:

            def value(name: str, label: str = label) -> int:
                return int(table.values(label, name)[0] or 0)

            tried, taken = value(TRIED), value(TAKEN)
            criteria.append(Criterion(label, "every line is accepted", f"{taken} of {tried}", 0 < tried == taken))
            if label.startswith("lks"):
                later = sum(value(f"{NAMES[task]}: {COUNTS['entries']}") for task in TASKS if task != "service")
                added = value(f"{NAMES['add']}: {COUNTS['machines']}")
                left = value(f"{NAMES['leaves']}: {COUNTS['machines']}")
                criteria += [
                    Criterion(
                        label, "no person handles a secret once the domain is in service", str(later), later == 0
                    ),
                    Criterion(label, "one more router needs commands at two machines", str(added), added == 2),
                    Criterion(label, "a leaver needs commands at one machine, and at no router", str(left), left == 1),
                ]
        return criteria

    def findings(self, table: Table) -> list[str]:
        """One sentence for each way and size."""
        sentences = []
        for label in table.measures:

            def value(task: str, count: str, label: str = label) -> str:
                return f"{table.values(label, f'{NAMES[task]}: {COUNTS[count]}')[0] or 0:,.0f}"

            sentences.append(
                f"{label}: all into service in {value('service', 'commands')} commands with "
                f"{value('service', 'entries')} entries of {value('service', 'secrets')} secrets; one more router at "
                f"{value('add', 'machines')} machines; a leaver: {value('leaves', 'commands')} commands at "
                f"{value('leaves', 'machines')} machines, {value('leaves', 'entries')} entries of secrets, "
                f"{value('leaves', 'rounds')} rounds."
            )
        return sentences

    def figures(self, folder: Path, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Sequence[Drawn]:
        """Commands and entries of secrets of each task, by size."""
        return draw_effort(folder, results)


def _sizes(given: Mapping[str, Any], known: Mapping[str, Any]) -> list[int]:
    """The sizes of the options. InputError."""
    for name in given:
        if name not in known:
            raise unknown_option(name, known)
    return sizes_of({**known, **given}["sizes"], FEWEST, MOST, "10,100")
