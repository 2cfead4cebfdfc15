"""All that an experiment leaves for readers, in one folder: summary.csv, figures/, report.html."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.analysis.run import Run
from testbed.errors import InputError
from testbed.record.flaws import lines_of, tried
from testbed.report.drawing import Drawing
from testbed.report.page import Drawn, write_page
from testbed.report.requests import asked, by_mode, local, origin
from testbed.report.style import ordered, slug
from testbed.report.table import Summary, write_csv


def write_report(
    folder: Path,
    summary: Summary,
    runs: Sequence[Run],
    more: Sequence[Drawn] = (),
    flaws: list[InputError] | None = None,
    drawing: Drawing | None = None,
) -> None:
    """Write the table, the figures and the page. The same input gives the same bytes.

    `summary` is what summary.json holds; `more` are figures of the experiment's own, drawn already; `runs` are those
    whose records can be read, which may be fewer than the summary speaks of. `drawing` draws the others; some it may
    have drawn already (`ask_timeline`). A figure that cannot be drawn is left out, and is one of the `flaws`, which the
    summary then names. Raises OSError when the folder cannot be written.
    """
    flaws, drawing = [] if flaws is None else flaws, drawing or Drawing()
    figures = (folder / "figures").resolve()
    figures.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "summary.csv", summary)
    whole = "partial" not in summary
    first = "Requests at the DKS in the first 60 s after the power returned. Every run is a point, the bar the median."
    extra = "The other measures, by keying mode. Every run is a point; the bar is the median."
    waiting: list[tuple[Drawn, Future[Any]]] = []

    def ask(drawn: Drawn, what: str, *of: Any) -> None:
        waiting.append((drawn, drawing.ask(f"testbed.report.{what}", figures, *of, printed=whole)))

    ask(Drawn("convergence", _convergence(summary), "column"), "convergence:draw_convergence", summary)
    ask(Drawn("ecdf", _ecdf(summary), "column"), "ecdf:draw_ecdf", summary)
    with _drawn("requests", flaws):
        ask(Drawn("requests", _requests(runs), "column"), "requests:draw_requests", by_mode(runs))
    ask(Drawn("requests-first-60s", first, "column"), "convergence:draw_first_minute", summary)
    ask(Drawn("extra", extra, "page"), "convergence:draw_extra", summary)
    firsts: list[tuple[Drawn, Future[Any]]] = []
    others: list[tuple[Drawn, Future[Any]]] = []
    for keying in ordered({run.plan.keying for run in runs}):
        mine = sorted((run for run in runs if run.plan.keying == keying), key=lambda run: run.plan.seed)
        for run in mine:
            with _drawn(f"timeline of {keying}, seed {run.plan.seed}", flaws):
                name, made = ask_timeline(drawing, folder, run, first=run is mine[0])
                # The first of each mode stands among the figures, the others are there to be opened.
                (firsts if run is mine[0] else others).append((Drawn(name, _timeline(run), "page"), made))
    drawings = [*_taken(waiting, flaws), *more, *_taken(firsts, flaws)]
    every = _taken(others, flaws)
    summary["flaws"] = lines_of(flaws, folder)
    write_page(folder / "report.html", summary, drawings, every, figures)


def ask_timeline(drawing: Drawing, folder: Path, run: Run, *, first: bool) -> tuple[str, Future[Any]]:
    """Have the timeline of a run drawn, unless it is; its figure's name. `first`: of its keying mode, to be printed."""
    name = f"timeline-{slug(run.plan.keying)}" + ("" if first else f"-{run.plan.seed}")
    figures = (folder / "figures").resolve()
    figures.mkdir(parents=True, exist_ok=True)
    what, again = "testbed.report.timeline:draw_timeline", (name, run.folder)
    return name, drawing.ask(what, figures, run, name, once=again, printed=first)


def _taken(waiting: Sequence[tuple[Drawn, Future[Any]]], flaws: list[InputError]) -> list[Drawn]:
    """Those that were drawn: some functions return False where there is nothing to draw."""
    files = []
    for drawn, made in waiting:
        with _drawn(drawn.name, flaws):
            if made.result() is not False:
                files.append(drawn)
    return files


@contextmanager
def _drawn(name: str, flaws: list[InputError]) -> Iterator[None]:
    """A figure of records, which may not be what they were; that the folder cannot be written is no flaw of these."""
    full: list[OSError] = []
    with tried(f"figure {name} cannot be drawn", flaws):
        try:
            yield
        except OSError as error:
            full.append(error)
    if full:
        raise full[0]


def _convergence(summary: Summary) -> str:
    main = summary["measured"]["main"]
    lost = {
        keying: sum(value is None for value in each.get("convergence_s", {}).get("values", []))
        for keying, each in summary["keyings"].items()
    }
    text = (
        f"Time from {main['since']} to {main['until']}, by keying mode. Every run is a point, in the order of the "
        "seeds; the bar is the median, the box the quartiles, the bracket beside it the 95 % interval of the median."
    )
    if "multicast" in summary["measured"]:
        hears = summary["measured"]["multicast"]
        text += f" Below, in the same way, multicast: to {hears['until']}."
    if not any(lost.values()):
        return text
    named = ", ".join(f"{key} {lost[key]}" for key in ordered(lost) if lost[key])
    return (
        f"{text} Open marks in the band at the top: runs in which it never happened before the record ended ({named})."
    )


def _ecdf(summary: Summary) -> str:
    main = summary["measured"]["main"]
    text = (
        f"The share of the runs in which the time from {main['since']} to {main['until']} was at most this many "
        "seconds, by keying mode: the empirical distribution."
    )
    if any(None in each.get("convergence_s", {}).get("values", []) for each in summary["keyings"].values()):
        text += (
            " A curve that ends below 1 belongs to a mode with runs in which it never happened before the record ended."
        )
    return text


def _requests(runs: Sequence[Run]) -> str:
    text = (
        "Requests that arrived at the DKS, retransmissions included, summed up. Thin lines are single runs, the bold "
        "line is their median at each moment."
    )
    if any(asked(run).planned_s is not None for run in runs if local(run.plan.keying)):
        text += " Dashed: the earliest reconnection that a router with an LKS scheduled; shaded: its range over runs."
    return text


def _timeline(run: Run) -> str:
    text = (
        f"One run, keying {run.plan.keying}, seed {run.plan.seed}. Each row is an OSPF adjacency: dark while it is "
        "down, hatched while only one of its two routers holds it up. Time counts from the moment that "
        f"{_clause(origin(run).name)}; dashed lines are faults."
    )
    if run.plan.streams:
        text += (
            " Below the adjacencies are the multicast streams: dark while no receiver gets a packet, hatched while "
            "some receivers get none; and their trees: dark while they are not right. A source without power sends "
            "nothing."
        )
    if run.where("agent"):
        text += (
            " At the bottom: requests at the DKS; small triangles on the axis are the reconnections that routers "
            "scheduled. Events long after the recovery are on the right, on a time scale of their own."
        )
    return text


def _clause(name: str) -> str:
    return {"power returned": "the power returned", "the record began": name}.get(name, f"{name} took place")
