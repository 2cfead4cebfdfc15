"""`lab bench`: speeds as ratios within one run: of the laboratory, and of the DKS against strongSwan's charon."""

from __future__ import annotations

import json
import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.errors import EnvironmentFailure, InputError

REQUIRED_OF_CHARON = {"GSA_AUTH, policy": 1.0, "GSA_AUTH, keys": 0.8}
"""Handshakes per second, by exchange, with the responder as the bottleneck."""
MAX_WORKERS = 16


class Subject(StrEnum):
    """The benchmarks."""

    LABORATORY = "laboratory"
    IKE = "ike"
    DOS = "dos"


def register(app: typer.Typer) -> None:
    @app.command()
    def bench(
        subject: Annotated[
            Subject,
            typer.Argument(
                help="laboratory: speed of runs; ike: handshakes of the DKS; dos: registrations during attacks"
            ),
        ] = Subject.LABORATORY,
        topology: Annotated[str, typer.Option(help="laboratory: the topology of link_cut")] = "ring:20",
        handshakes: Annotated[int, typer.Option(help="ike: handshakes in each measurement")] = 1000,
        routers: Annotated[
            int, typer.Option(help="ike: routers that are registered for the memory measurement")
        ] = 1000,
        kernel: Annotated[str, typer.Option(help="ike: native (needs root) or uml; default: native as root")] = "",
        workers: Annotated[
            str,
            typer.Option(help="ike: measure how handshakes grow with the DKS's processes, such as 1,2,4 (needs root)"),
        ] = "",
        seconds: Annotated[float, typer.Option(help="ike, dos: seconds of each measurement")] = 20.0,
        rate: Annotated[float, typer.Option(help="dos: datagrams per second of an attack")] = 1000.0,
        keep: Annotated[
            bool, typer.Option("--keep", help="write the counts, or with ike the ratios, to results/counts.json")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="machine-readable JSON")] = False,
    ) -> None:
        """Measure speeds on this machine, and their ratios.

        laboratory: virtual seconds per second of wall time, of power_cycle, link_cut and recovery_storm, without
        security and with LKSs, one after the other. It also counts each run's cost, independent of the machine: round
        trips between the guest's kernel and its programs, system calls, page faults, started programs; and the round
        trips as a multiple of those of the same run without PIM and streams. Exit code 1 when a count differs by more
        than 5 % from results/counts.json, or when that ratio is too high.

        ike: handshakes of the DKS against those of strongSwan's charon, with the same initiator. The initiator takes
        more processor time than either, so both are also measured with a tenth of a processor each, where their own
        speed is the limit. Exit code 1 when the DKS then makes fewer handshakes than charon with policy, or less than
        0.8 of charon's with keys. With --workers, the DKS alone, each process limited to a twentieth of a processor, as
        the bottleneck.

        dos: registrations during a flood of the DKS against registrations without one; and a neighbour's boot during a
        flood of the LKS on the link.
        """
        if subject is Subject.IKE and workers:
            _workers(_counts(workers), seconds, routers, as_json)
        elif subject is Subject.IKE:
            _ike(handshakes, routers, kernel or ("native" if os.geteuid() == 0 else "uml"), seconds, keep, as_json)
        elif subject is Subject.DOS:
            _dos(seconds, rate, routers, kernel or ("native" if os.geteuid() == 0 else "uml"), as_json)
        else:
            _laboratory(topology, keep, as_json)


def _measured(kernel: str, module: str, *words: object, tests: bool = False) -> dict[str, Any]:
    """The result of a measurement in the guest tree, with the programs of `tests` if it needs them.
    EnvironmentFailure."""
    from testbed.guest.boot import GuestSpec, run_guest, tail

    with tempfile.TemporaryDirectory(prefix="lab-bench-") as name:
        folder = Path(name)
        command = ("python3", "-m", module, "/lab/run/bench.json", *map(str, words))
        result = run_guest(GuestSpec(kernel, command, folder, needs=(), tests=tests))  # type: ignore[arg-type]
        if result.exit_code:
            raise EnvironmentFailure(f"the measurement failed:\n{tail(result.console_log)}")
        return dict(json.loads((folder / "bench.json").read_text()))


def _dos(seconds: float, rate: float, routers: int, kernel: str, as_json: bool) -> None:
    _in_range("--seconds", seconds, 1, 600)
    _in_range("--rate", rate, 1, 100_000)
    _in_range("--routers", routers, 3, 20_000)
    _real_clock(kernel)
    measured = _measured(kernel, "testbed.bench.dos", seconds, rate, routers)
    if as_json:
        typer.echo(json.dumps(measured, indent=1))
        return
    typer.echo(f"{'attack':<38} sent/s  registered  failed  median, ms  p95, ms  CPU each, ms  memory, MiB")
    for row in measured["rows"]:
        typer.echo(
            f"{row['attack']:<38} {row['sent_per_s']:>6.0f} {row['registered']:>11} {row['failed']:>7}"
            f" {row['median_ms']:>11.1f} {row['p95_ms']:>8.1f} {row['cpu_ms']:>13.2f} {row['grown_kib'] / 1024:>+12.1f}"
        )
    typer.echo(f"{'attack on an LKS':<38}   sent  boot to keys, s  CPU each, ms: first  later")
    for row in measured["lks"]:
        keyed = "never" if row["keyed_s"] is None else f"{row['keyed_s']:.3f}"
        typer.echo(f"{row['attack']:<38} {row['sent']:>6} {keyed:>16} {row['first_ms']:>19.2f} {row['cpu_ms']:>6.2f}")


def _in_range(name: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InputError(f"{value:g} is out of range", where=name, allowed=f"{least} to {most}")


def _real_clock(kernel: str) -> None:
    if kernel not in ("native", "uml"):
        raise InputError(f"unknown kernel {kernel!r}", where="--kernel", allowed="native or uml, whose clocks are real")


def _counts(text: str) -> list[int]:
    try:
        counts = [int(each) for each in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(1 <= each <= MAX_WORKERS for each in counts):
        raise InputError(
            f"{text!r} is not a list of numbers", where="--workers", allowed=f"such as 1,2,4: each 1 to {MAX_WORKERS}"
        )
    return counts


def _workers(counts: list[int], seconds: float, routers: int, as_json: bool) -> None:
    _in_range("--seconds", seconds, 1, 600)
    measured = _measured("native", "testbed.bench.workers", seconds, routers, *counts)
    rows = measured["rows"]
    for row in rows:
        base = next(each for each in rows if each["what"] == row["what"])
        row["of_first"] = round(row["per_s"] / base["per_s"], 2)
    if as_json:
        typer.echo(json.dumps(measured, indent=1))
        return
    typer.echo(f"each worker has at most {measured['share']:.0%} of a processor")
    typer.echo(f"{'workers':>7}  {'asked for':<18} per second  × first  workers' CPU, ms  busiest × mean")
    for row in rows:
        typer.echo(
            f"{row['workers']:>7}  {row['what']:<18} {row['per_s']:>10.0f} {row['of_first']:>8.2f}"
            f" {row['cpu_ms']:>17.2f} {row['busiest']:>15.2f}"
        )


def _ike(handshakes: int, routers: int, kernel: str, seconds: float, keep: bool, as_json: bool) -> None:
    from testbed.bench import counts

    _in_range("--handshakes", handshakes, 10, 20_000)
    _in_range("--routers", routers, 3, 20_000)
    _in_range("--seconds", seconds, 1, 600)
    _real_clock(kernel)
    holds = kernel == "native" and os.geteuid() == 0
    measured = _measured(kernel, "testbed.bench.ike", handshakes, routers, seconds if holds else 0, tests=True)
    rows, narrow = measured["rows"], measured["narrow"]
    for each in (rows, narrow):
        base = {row["initiators"]: row for row in each if row["responder"] == "charon"}
        for row in each:
            row["of_charon"] = round(row["per_s"] / base[row["initiators"]]["per_s"], 2)
            row["cpu_of_charon"] = round(row["cpu_ms"] / base[row["initiators"]]["cpu_ms"], 2)
    ratios = {row["what"]: row["of_charon"] for row in narrow if row["responder"] == "dks"}
    if keep and ratios:
        counts.keep({"bench ike": {f"{what}, percent of charon": round(100 * each) for what, each in ratios.items()}})
    if as_json:
        typer.echo(json.dumps({"kernel": kernel, **measured}, indent=1))
    else:
        _print_handshakes(rows)
        if narrow:
            typer.echo(f"\neach responder limited to {measured['share']:.0%} of a processor:")
            _print_handshakes(narrow)
        typer.echo(
            f"DKS memory: {measured['memory_kib_per_1000_routers'] / 1024:.1f} MiB per 1,000 registered routers "
            f"(measured with {measured['routers']})"
        )
    if any(each < REQUIRED_OF_CHARON[what] for what, each in ratios.items()):
        raise typer.Exit(1)


def _print_handshakes(rows: list[dict[str, Any]]) -> None:
    typer.echo(f"{'responder':<28} at once  per second  × charon  responder's CPU, ms  × charon")
    for row in rows:
        typer.echo(
            f"{row['responder'] + ', ' + row['what']:<28} {row['initiators']:>7} {row['per_s']:>11.0f} "
            f"{row['of_charon']:>9.2f} {row['cpu_ms']:>20.2f} {row['cpu_of_charon']:>9.2f}"
        )


def _laboratory(topology: str, keep: bool, as_json: bool) -> None:
    from testbed.bench import counts
    from testbed.setup.all import make_all
    from testbed.topology.load import load

    load(topology)
    make_all("virtual")
    before = counts.kept()
    large = (counts.LARGE[0], topology)
    asked = [(*each, True) for each in (counts.SMALL, large, counts.STORM)]
    asked += [(*each, False) for each in (counts.SMALL, counts.STORM)]
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        for experiment, where, pim in asked:
            for keying in counts.KEYINGS:
                done = counts.played(experiment, where, keying, Path(folder), pim=pim)
                run = counts.name(experiment, where, keying, pim=pim)
                rows[run] = {
                    "run": run,
                    "virtual_s": done.virtual_s,
                    "wall_s": done.wall_s,
                    "speed": round(done.virtual_s / done.wall_s, 2),
                    "counts": dict(done.counts),
                    "changed": counts.changed(done.counts, before[run]) if run in before else [],
                }
    measured = {run: row["counts"] for run, row in rows.items()}
    none, lks = (rows[counts.name(*large, keying)]["speed"] for keying in counts.KEYINGS)
    for_pim = counts.for_pim(measured)
    ratios = {
        "lks_speed_of_none": round(lks / none, 2),
        "trips_for_pim": {run: round(each, 2) for run, each in for_pim.items()},
    }
    if keep:
        counts.keep(measured)
    if as_json:
        typer.echo(json.dumps({"runs": list(rows.values()), **ratios}, indent=1))
    else:
        _table(list(rows.values()))
        typer.echo(f"lks against none: {ratios['lks_speed_of_none']:.2f} × the speed")
        for run, each in for_pim.items():
            most = counts.MOST_FOR_PIM[run.split()[-1]]
            typer.echo(f"{run}: {each:.2f} × the trips of the same run without PIM and streams (limit {most:g})")
    if counts.dear(for_pim) or (not keep and any(row["changed"] for row in rows.values())):
        raise typer.Exit(1)


def _table(rows: list[dict[str, Any]]) -> None:
    typer.echo(
        f"{'run':<40} {'virtual, s':>10} {'wall, s':>8} {'× real':>7} {'trips':>9} {'calls':>9} {'faults':>8} starts"
    )
    for row in rows:
        counts = row["counts"]
        typer.echo(
            f"{row['run']:<40} {row['virtual_s']:>10.0f} {row['wall_s']:>8.1f} {row['speed']:>7.1f}"
            f" {counts['trips']:>9} {counts['syscalls']:>9} {counts['faults']:>8} {counts['programs']:>6}"
        )
        for line in row["changed"]:
            typer.echo(f"    {line}")
