"""A domain of 100 to 100,000 routers loses its power and gets it back: what load reaches one DKS, and for how long?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar

from testbed.analysis.measures import RequestCounts
from testbed.analysis.multicast import REGISTERS
from testbed.errors import InputError
from testbed.report.page import Drawn
from testbed.report.storm import draw_keyed, draw_load
from testbed.runner.experiment import Criterion, Measures, Span, Table, between
from testbed.runner.options import sizes_of, unknown_option
from testbed.runner.session import Request
from testbed.runner.simulated import Simulated
from testbed.storm.case import VERSIONS, Case
from testbed.storm.service import Service
from testbed.values import finite

SPREAD_S = 4.0
WHOLE = 1000
"""Up to this many routers, everything is computed, with several seeds."""
LARGE = 20_000
END_S = 3600.0
REST_S = 10.0
FIRST_S = 15.0
FEWEST, MOST = 3, 130_000
KEYINGS = ("central-mgmt", "lks")
COMPUTED, KEYED = "routers", "routers keyed at the end"


class StormAtScale(Simulated):
    name = "storm_at_scale"
    title = "A power failure of a large domain, computed"
    question = "How does the load of the DKS grow with the domain when the power returns, with and without LKSs?"
    method = (
        "The core of every router and of the DKS, with their cryptography, run on virtual time. The routers form "
        "rings of 20 with OSPF and PIM, the first of each ring its rendezvous point (-o pim=false: OSPF alone; -o "
        f"ospf=3 in addition: OSPFv3). Each router boots within {SPREAD_S:g} s at random, and so does the DKS. The "
        "DKS's socket queues up to 160 datagrams, and each datagram occupies it for a declared time (lab bench ike: "
        "about 1.05 ms a handshake). A router is keyed when it and both neighbours have each other's keys for both "
        "protocols. A case ends 10 s after all routers, and all pairs of routers with rendezvous points, are keyed."
    )
    shows_not = (
        "Routing: recovery_storm measures whether OSPF and PIM converge, and here pairs are keyed as if the path to "
        "the rendezvous point existed at once. The path to the DKS never loses or queues datagrams and exists at once "
        "in both modes, as over a management network. The DKS has no other load. It has read its documents when it "
        "boots; a DKS that reads 100,000 documents first is a minute late (-o 'service={\"document_ms\": 0.6}'). "
        f"With more than {WHOLE} routers, the LKSs' exchanges with neighbours and their pairs are computed ring by "
        "ring until all have their keys; then the same routers' visits to the DKS, with their interfaces down. Without "
        "LKSs, no pairs are computed. In these domains a router rests once it has had only keep-alives for "
        f"{REST_S:g} s: from then on its keep-alives are counted, not computed. With more than {LARGE} routers the DKS "
        "of the LKSs has two processes. Without LKSs the DKS cannot have more than one, and only the first "
        f"{FIRST_S:g} s are computed."
    )
    topology = "rings"
    keyings = KEYINGS
    seeds = 3
    main = Span(
        "power returned to last router keyed",
        "the return of the power",
        "the moment at which the last router has all keys of its neighbours",
    )
    requests_since = "the return of the power"
    module = "testbed.storm"
    options: ClassVar[Mapping[str, Any]] = {
        "sizes": [100, 1000, 10_000, 100_000],
        "first_s": FIRST_S,
        "rate": 500.0,
        "burst": 2000,
        "pim": True,
        "ospf": 2,
        "service": {},
    }

    # -- cases -------------------------------------------------------------------------------------------------------

    def cases(self, request: Request) -> list[tuple[str, int, dict[str, Any]]]:
        """One case for each keying, size and seed; large sizes have the first seed only. InputError."""
        asked = _options(request.options, self.options)
        keyings = request.keyings or self.keyings
        for name in keyings:
            if name not in KEYINGS:
                raise InputError(f"{name!r} is not computed", where="--keying", allowed=", ".join(KEYINGS))
        seeds = request.seeds or tuple(range(1, self.seeds + 1))
        cases = []
        for size in asked["sizes"]:
            for keying in keyings:
                for seed in seeds if size <= WHOLE else seeds[:1]:
                    case = _case(size, keying, seed, asked)
                    cases.append((case.label, seed, asdict(case)))
        return cases

    def read(self, result: Mapping[str, Any]) -> Measures:
        """The numbers of one case."""
        case, asked, keyed, paired = (result[name] for name in ("case", "requests", "keyed_s", "pairs_keyed_s"))
        waits, admitted = result["told_to_wait_s"], result["admitted_s"]
        own_keys = case["keying"] == "lks"
        return Measures(
            main_s=keyed["last"],
            dks=RequestCounts(
                total=asked["offered"],
                unique=sum(asked["served"].values()),
                before_schedule=asked["first_60s"] if own_keys else asked["offered"],
                peak_per_s=asked["peak_offered_per_s"],
                first_60s=asked["first_60s"],
            ),
            extra={
                KEYED: keyed["n"],
                "routers": case["routers"],
                "groups that these send to": result["groups"],
                **(
                    {"ends of pairs with rendezvous points": paired["of"], f"power returned{REGISTERS}": paired["last"]}
                    if paired["of"]
                    else {}
                ),
                "power returned to half of them keyed, s": keyed["median"],
                "power returned to 95 % of them keyed, s": keyed["p95"],
                "routers that the DKS has admitted": admitted["n"],
                "power returned to half of all admitted, s": admitted["median"],
                "power returned to all admitted, s": admitted["last"],
                "datagrams lost at the DKS's socket": asked["lost"],
                "retransmissions to the DKS": asked["repeats"],
                "registrations deferred": asked["refused"],
                **({} if waits["p95"] is None else {"wait that the DKS asks for, 95 %, s": waits["p95"]}),
                "longest queue, datagrams": result["longest_queue"],
                **{f"new {name} served": count for name, count in asked["served"].items()},
                "virtual seconds": result["until_s"],
            },
        )

    # -- judgement -------------------------------------------------------------------------------------------------

    def judge(self, table: Table) -> list[Criterion]:
        """The criteria of domains with LKSs, and of domains without that were computed to the end."""
        criteria = []
        for label, runs in table.measures.items():
            keyed, expected = (2 * sum(int(run.extra[name] or 0) for run in runs) for name in (KEYED, COMPUTED))
            if label.startswith("lks"):
                early = sum(run.asked.first_60s or 0 for run in runs)
                admitted = sum(run.extra["routers that the DKS has admitted"] or 0 for run in runs)
                every = sum(run.extra["routers"] or 0 for run in runs)
                lost = sum(run.extra["datagrams lost at the DKS's socket"] or 0 for run in runs)
                criteria += [
                    Criterion(label, "no request to the DKS in the first minute", str(early), early == 0),
                    Criterion(label, "the DKS admits every router", f"{admitted:g} of {every:g}", admitted == every),
                    Criterion(label, "no datagram is lost at the DKS's socket", f"{lost:g}", lost == 0),
                ]
            if label.startswith("lks") or not _cut_short(runs):
                criteria.append(
                    Criterion(label, "every pair of neighbours is keyed", f"{keyed} of {expected}", keyed == expected)
                )
        return criteria

    def findings(self, table: Table) -> list[str]:
        """One sentence for each label."""
        sentences = []
        for label, runs in table.measures.items():
            n = f"n = {len(runs)}"
            peak = between(run.asked.peak_per_s or 0 for run in runs)
            first = between(run.asked.first_60s or 0 for run in runs)
            if _cut_short(runs):
                keyed, of = (int(runs[0].extra[name] or 0) for name in (KEYED, COMPUTED))
                lost_there = runs[0].extra["datagrams lost at the DKS's socket"]
                seconds = runs[0].extra["virtual seconds"]
                sentences.append(
                    f"{label} ({n}): in the first {seconds:g} s (no more is computed) {first} datagrams "
                    f"reach the DKS, at most {peak} in a second, and its socket drops {lost_there:g}; {keyed} of {of} "
                    "routers are keyed by then."
                )
                continue
            last = between(round(run.main_s, 2) for run in runs if run.main_s is not None)
            put_off = between(run.extra["registrations deferred"] or 0 for run in runs)
            lost = between(run.extra["datagrams lost at the DKS's socket"] or 0 for run in runs)
            sentences.append(
                f"{label} ({n}): the last router is keyed after {last} s; {first} datagrams to the DKS in the first "
                f"minute, at most {peak} in any second; {put_off} registrations deferred, {lost} datagrams lost."
            )
        return sentences

    def figures(self, folder: Path, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> Sequence[Drawn]:
        """Load over time, and the time to the last keyed router, by size."""
        return [*draw_load(folder, results), *draw_keyed(folder, results)]


def _cut_short(runs: Sequence[Measures]) -> bool:
    return any(run.main_s is None for run in runs)


def _case(size: int, keying: str, seed: int, asked: Mapping[str, Any]) -> Case:
    large, whole = size > LARGE, size <= WHOLE
    own_keys = keying == "lks"
    return Case(
        routers=size,
        keying=keying,
        seed=seed,
        spread_s=SPREAD_S,
        until_s=END_S if own_keys or not large else float(asked["first_s"]),
        service=Service(**asked["service"]),
        processes=2 if own_keys and large else 1,
        ring_by_ring=own_keys and not whole,
        rest_s=None if whole else REST_S,
        rate=float(asked["rate"]),
        burst=int(asked["burst"]),
        pim=asked["pim"],
        ospf=asked["ospf"],
    )


def _options(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults, overridden by the given options. InputError."""
    for name in given:
        if name not in known:
            raise unknown_option(name, known)
    asked = {**known, **given}
    asked["sizes"] = sizes_of(asked["sizes"], FEWEST, MOST, "100,1000")
    for name in ("first_s", "rate", "burst"):
        if not finite(asked[name]) or asked[name] <= 0:
            raise InputError(f"{asked[name]!r}", where=f"-o {name}", allowed="a number above 0")
    if not isinstance(asked["pim"], bool):
        raise InputError(f"{asked['pim']!r}", where="-o pim", allowed="true or false")
    if asked["ospf"] not in VERSIONS:
        raise InputError(f"{asked['ospf']!r}", where="-o ospf", allowed="2 or 3")
    if asked["ospf"] == 3 and asked["pim"]:
        raise InputError(
            "PIM needs IPv4 routes, and OSPFv3 alone provides none", where="-o ospf",
            allowed="-o ospf=3 -o pim=false",
        )  # fmt: skip
    names = {each.name for each in fields(Service)}
    service = asked["service"]
    if not isinstance(service, dict) or not all(
        name in names and finite(value) and value >= 0 for name, value in service.items()
    ):
        raise InputError(
            f"{service!r}", where="-o service", allowed=f"JSON with numbers for {', '.join(sorted(names))}"
        )
    return asked
