"""Plays the plans of an experiment in guests, several at a time, and keeps their files.

The hash of everything that decides a run's result identifies it: its plan, the guest, and the code that plays it. A
finished run is not played again; an interrupted one is. Failures are kept separate from results.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import BaseModel

from testbed import owned
from testbed.analysis.run import Run
from testbed.errors import FULL, EnvironmentFailure, InputError, LabError, of_file
from testbed.faults.check import check_plan
from testbed.guest.boot import GuestSpec, Kernel, run_guest, tail
from testbed.record import origin
from testbed.record.live import LIVE
from testbed.record.plan import Plan
from testbed.record.reading import document
from testbed.record.summary import read_summary
from testbed.setup import children, made_of, previous, tree
from testbed.setup.artefact import digest, digest_of, require_space
from testbed.setup.paths import PROJECT
from testbed.setup.progress import say
from testbed.whole import put

# A guest that is this much slower than it should ever be is stuck.
TIMEOUT_S = 1800.0
SPACE_MIB = 200
NO_GUEST, NOT_MEASURED = "no guest", "not measured"
MEASURE_AGAIN = "the same command again after the experiment's file is corrected: the runs are kept, and only measured"
OUTCOME, RUNS, DAMAGED = "outcome.json", "runs", "damaged"
PLAYS = (
    "agents",
    "testbed/attach",
    "testbed/faults",
    "testbed/guest",
    "testbed/inside",
    "testbed/keying",
    "testbed/net",
    "testbed/probes",
    "testbed/record",
    "testbed/topology",
)


@dataclass(frozen=True)
class Outcome:
    """How one run ended. `status` is "done" or the error; `folder` holds its files. `counts`: the guest's cost on its
    host, as in testbed.guest.boot.GuestResult."""

    keying: str
    seed: int
    folder: Path
    status: str
    wall_s: float
    virtual_s: float
    detail: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.status == "done"


class _Kept(BaseModel):
    """The content of outcome.json."""

    keying: str
    seed: int
    status: str
    wall_s: float
    virtual_s: float
    detail: str = ""
    counts: dict[str, int] = {}


def code_digest() -> str:
    """The hash of all code that decides the events in a guest."""
    files = sorted(
        path
        for folder in PLAYS
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in (".py", ".j2") and path.is_file()
    )
    return digest_of(files)


def run_key(plan: Plan, kind: str, code: str) -> str:
    """The identity of everything that decides this run's result."""
    return digest(plan.model_dump_json(), kind, code, tree.identity(), made_of.kernel_identity(kind))


def refuse_file(folder: Path) -> None:
    """InputError for results that cannot be written there because other files exist; changes nothing."""
    for each in (folder, *folder.parents):
        if each.is_dir():
            return
        if each.exists() or each.is_symlink():
            raise InputError("is not a folder", where=str(each), allowed="a new folder or a results folder, with --out")


@contextmanager
def locked(folder: Path, *, new: bool = False) -> Iterator[None]:
    """Only one program at a time writes to a results folder. Raises InputError while another does; with `new`, for new
    results, also when the folder has other files and holds no results; nothing is written then."""
    import fcntl

    try:
        folder = folder.resolve()  # a link to another disk is as good
        if new and not _holds_results(folder):
            owned.claim(folder, str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        failure = of_file(error, folder, "a folder that you may write, with --out")
        failure.problem, failure.where = f"cannot be written: {failure.problem}", str(folder)
        raise failure from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "another lab command is writing there",
                where=str(folder),
                allowed="wait for it, or --out with another folder",
            ) from None
        yield


def _holds_results(folder: Path) -> bool:
    """True if unmarked results are there, such as those of an archive."""
    if any(folder.glob(f"{RUNS}/*/plan.json")) or any(folder.glob(f"{RUNS}/*/case.json")):
        return True
    try:
        return bool(read_summary(folder))
    except InputError:
        return False


def play(
    plans: Sequence[Plan],
    folder: Path,
    kind: Kernel,
    jobs: int,
    *,
    fresh: bool,
    progress: Callable[[Outcome, int, int], None],
) -> list[Outcome]:
    """Play all plans, seed by seed; the outcomes in the order of the plans. `progress` is called with each finished run
    and their number. When the work is stopped (`children.stoppable`), all guests end and unfinished runs are left out.

    Raises InputError for a plan that cannot be played, EnvironmentFailure without disk space. On Ctrl-C all guests end.
    """
    for plan in plans:
        check_plan(plan)
    room_for_runs(folder)
    require_space(folder, SPACE_MIB)
    code = code_digest()
    outcomes: dict[int, Outcome] = {}
    with pool_of(jobs) as pool:
        waiting = {
            pool.submit(play_one, plans[index], folder, kind, code, fresh): index
            for index in shuffled([plan.seed for plan in plans])
        }
        take(pool, waiting, outcomes, lambda outcome: progress(outcome, len(outcomes), len(plans)))
    return [outcomes[index] for index in sorted(outcomes)]


def room_for_runs(folder: Path) -> None:
    """Make the folder of the runs. InputError when other files are there."""
    try:
        (folder / RUNS).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be made: {error.strerror}", where=str(folder / RUNS), allowed="another results folder, with --out"
        ) from error


@contextmanager
def pool_of(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for processes. When an error or Ctrl-C leaves the block, all processes end."""
    pool = ThreadPoolExecutor(max(1, jobs))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        children.end_all()
        raise
    finally:
        pool.shutdown()


def take(
    pool: ThreadPoolExecutor,
    waiting: dict[Future[Outcome], int],
    outcomes: dict[int, Outcome],
    progress: Callable[[Outcome], None],
) -> None:
    """Store each outcome under its number as it comes, and report it; none more once the work is stopped."""
    try:
        while waiting:
            ended = wait(waiting, return_when=FIRST_COMPLETED).done
            for future in [each for each in waiting if each in ended]:  # in the order of play
                outcomes[waiting[future]] = future.result()
                progress(outcomes[waiting.pop(future)])
    except KeyboardInterrupt:
        if not children.stopped():
            raise
        pool.shutdown(cancel_futures=True)
        for future, index in waiting.items():
            if not future.cancelled() and future.exception() is None:
                outcomes[index] = future.result()


def shuffled(seeds: Sequence[int]) -> list[int]:
    """The order of play of these seeds: every first seed before any second, so that first results come soon; shuffled
    within one seed, so that a drift of the machine affects no mode alone."""
    draw, order = random.Random(0), []
    for seed in dict.fromkeys(seeds):
        mine = [index for index, each in enumerate(seeds) if each == seed]
        draw.shuffle(mine)
        order += mine
    return order


def run_name(plan: Plan, kind: str, code: str) -> str:
    """The name of a run's folder."""
    return owned.plain_name(f"{plan.keying}-{plan.seed}-{run_key(plan, kind, code)}", "a run's folder")


def outcome_of(own: Path) -> Outcome:
    """The kept outcome of the run in a folder. InputError when it is missing or damaged."""
    kept = document(own / OUTCOME, _Kept)
    return Outcome(kept.keying, kept.seed, own, kept.status, kept.wall_s, kept.virtual_s, kept.detail, kept.counts)


def kept(own: Path, flaws: Callable[[Path], list[InputError]] = lambda own: Run(own).flaws()) -> Outcome | None:
    """The outcome of a finished run; None when it must be played: it failed, or its files are not all as it left them.
    Such a folder's files are moved to damaged/ for inspection."""
    if not own.exists():
        return None
    try:
        outcome = outcome_of(own)
        wrong = flaws(own) if outcome.done else []
    except InputError as error:
        # An interrupted run has not recorded its outcome yet: nothing of it is damaged.
        outcome, wrong = None, [error] if (own / OUTCOME).exists() or not own.is_dir() else []
    if wrong:
        _put_aside(own, wrong[0])
    return outcome if outcome and outcome.done and not wrong else None


def _put_aside(own: Path, why: InputError) -> None:
    aside = own.parent.parent / DAMAGED / own.name
    try:
        owned.remove(aside)
        aside.parent.mkdir(exist_ok=True)
        own.rename(aside)
    except OSError as error:
        raise InputError(
            f"{why.problem}, and it cannot be moved away: {error.strerror}", where=why.where,
            allowed=f"folders that you may write: {own.parent}, {aside.parent}",
        ) from error  # fmt: skip
    say(f"{why.where}: {why.problem}; played again, and the old files are in {aside}")


def keep(outcome: Outcome) -> None:
    """Record how a run ended, whole or not at all, for `kept` to find."""
    put(outcome.folder / OUTCOME, json.dumps({**asdict(outcome), "folder": outcome.folder.name}))


def play_one(plan: Plan, folder: Path, kind: Kernel, code: str, fresh: bool = False) -> Outcome:
    """Play one plan, or find it done."""
    own = folder / "runs" / run_name(plan, kind, code)
    if not fresh and (done := kept(own)) is not None:
        return done
    owned.fresh(own, str(own))
    plan.write(own / "plan.json")
    origin.here(kind, code).write(own)
    command = ("python3", "-m", "testbed.inside", "/lab/run/plan.json")
    memory = 1024 + 48 * len(plan.topology.routers)
    started = time.monotonic()
    try:
        spec = GuestSpec(kind, command, own, seed=plan.seed, memory_mib=memory, folders=folders_of(plan))
        ended = run_guest(spec, timeout_s=TIMEOUT_S)
        status = "done" if ended.exit_code == 0 else f"exit code {ended.exit_code}"
        detail = "" if ended.exit_code == 0 else tail(ended.console_log)
        outcome = Outcome(
            plan.keying, plan.seed, own, status, round(ended.wall_s, 2), round(ended.virtual_s, 2), detail,
            ended.counts,
        )  # fmt: skip
    except EnvironmentFailure as error:
        outcome = Outcome(plan.keying, plan.seed, own, NO_GUEST, time.monotonic() - started, 0.0, str(error))
    (own / LIVE).unlink(missing_ok=True)
    keep(outcome)
    return outcome


def folders_of(plan: Plan) -> dict[str, Path]:
    """The further needs of a plan's guest on the host: the previous release, if routers run it.

    Raises EnvironmentFailure when that is not available.
    """
    return {previous.FOLDER: previous.release().make()} if getattr(plan.options, "previous", ()) else {}


def play_alone(plan: Plan, folder: Path) -> Outcome:
    """Play one plan in virtual time, or find it done. Raises what first_problem tells."""
    outcome = play_one(plan, folder, "virtual", code_digest())
    if problem := first_problem([outcome]):
        raise problem
    return outcome


def first_problem(outcomes: Sequence[Outcome]) -> LabError | None:
    """An error about the failed runs; None when all are done."""
    failed = [outcome for outcome in outcomes if not outcome.done]
    if not failed:
        return None
    listed = "\n".join(f"  {each.keying}, seed {each.seed}: {each.status}\n{each.detail}" for each in failed[:3])
    return EnvironmentFailure(
        f"{len(failed)} of {len(outcomes)} runs failed:\n{listed}", where=str(failed[0].folder),
        next_command=_next(failed),
    )  # fmt: skip


def _next(failed: Sequence[Outcome]) -> str:
    """The remedy: in virtual time a run that failed by itself fails again, unless the disk was full."""
    if any(os.strerror(code) in each.detail for each in failed for code in FULL):
        return "df -h; with room, the same command again: finished runs are kept"
    if all(each.status == NOT_MEASURED for each in failed):
        return MEASURE_AGAIN
    if any(each.status == NO_GUEST or not _virtual(each.folder) for each in failed):
        return "the same command again: finished runs are kept"
    return f"less {failed[0].folder / 'console.log'}"


def _virtual(own: Path) -> bool:
    try:
        made = origin.read(own)
    except InputError:
        return False
    return made is not None and made.kind == "virtual"
