"""Plays runs on other machines through Dask distributed. They need this checkout and its caches, and nothing else.

A worker plays a run in a folder of its own and sends back all files; they are kept as if the run had been played here.
Knows nothing of a run's measures.
"""

from __future__ import annotations

import io
import os
import re
import socket
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from testbed import owned
from testbed.errors import EnvironmentFailure, InputError
from testbed.guest.boot import Kernel
from testbed.record import origin
from testbed.record.plan import Plan
from testbed.runner import execute
from testbed.runner.execute import Outcome
from testbed.runner.sweep import Player, Progress

CONNECT_S = 20
# A worker that dies takes its runs with it; they are tried elsewhere this often.
TRIES = 3


def dask(address: str) -> Player:
    """The workers of the scheduler at `address` (tcp://host:port), a guest for each of their threads."""

    def player(plans: Sequence[Plan], folder: Path, kind: Kernel, progress: Progress) -> list[Outcome]:
        client = _client(address)
        try:
            return _play(client, plans, folder, kind, progress)
        finally:
            client.close()

    return player


def check(address: str) -> None:
    """InputError for an invalid scheduler address."""
    if not re.fullmatch(r"(tcp|tls)://[^/]+:\d{1,5}", address):
        raise InputError(f"{address!r} is not a scheduler", where="--scheduler", allowed="tcp://host:port")


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise EnvironmentFailure("distributed is not installed", next_command="./lab setup --with grid") from error
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise EnvironmentFailure(
            f"no scheduler answers: {error}", where=address, next_command="dask scheduler, on that machine"
        ) from error


def _play(client: Any, plans: Sequence[Plan], folder: Path, kind: Kernel, progress: Progress) -> list[Outcome]:
    from distributed import as_completed

    made = origin.here(kind, execute.code_digest())
    names = [execute.run_name(plan, kind, made.code) for plan in plans]
    outcomes: dict[int, Outcome] = {}
    waiting = {}
    for index in execute.shuffled([plan.seed for plan in plans]):
        kept = execute.kept(folder / "runs" / names[index])
        if kept is not None:
            outcomes[index] = kept
            progress(kept, len(outcomes), len(plans))
            continue
        words = (plans[index].model_dump_json(), asdict(made))
        future = client.submit(play_one, *words, key=f"{names[index]}-{os.getpid()}", pure=False, retries=TRIES)
        waiting[future] = index
    for future in as_completed(list(waiting), loop=client.loop):  # type: ignore[no-untyped-call]
        index = waiting[future]
        own = folder / "runs" / names[index]
        try:
            outcome = _unpacked(future.result(), own)
        except Exception as error:
            plan = plans[index]
            outcome = Outcome(plan.keying, plan.seed, own, "no guest", 0.0, 0.0, str(error))
        outcomes[index] = outcome
        progress(outcome, len(outcomes), len(plans))
        future.release()
    return [outcomes[index] for index in range(len(plans))]


def play_one(plan_json: str, made: dict[str, Any]) -> bytes:
    """On the worker: play one plan and return its folder as a tar file. Raises EnvironmentFailure when this machine
    would play something else."""
    wanted = origin.Origin(**made)
    here = origin.here(wanted.kind, execute.code_digest())
    if differing := wanted.differs(here):
        raise EnvironmentFailure(f"worker {socket.gethostname()}: {'; '.join(differing)}")
    with tempfile.TemporaryDirectory(prefix="lab-worker-") as temporary:
        outcome = execute.play_one(
            Plan.model_validate_json(plan_json), Path(temporary), cast(Kernel, wanted.kind), wanted.code
        )
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
            archive.add(outcome.folder, arcname=".")
        return packed.getvalue()


def _unpacked(packed: bytes, own: Path) -> Outcome:
    """Keep a run that came back; its outcome last, so that a half-written run does not look complete."""
    part = own.with_name(f".{own.name}.part")
    owned.fresh(part, str(part))
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        archive.extractall(part, filter="data")
    owned.remove(own)
    part.rename(own)
    return execute.outcome_of(own)
