"""A deployment at a Policy Server's store: begin it, take a step, show it, reverse it. For the command line and the
API.

The present deployment is kept beside the store in deployment.json; confirmations are an input. Each step is one
committed version. Knows nothing of the caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import confirmation_folder, rollout
from agents.policy.confirmation import Confirmation
from agents.policy.difference import shown_modes
from agents.policy.document import PolicyDocument, verify_document
from agents.policy.domain import Domain
from agents.policy.errors import NothingToDo, PolicyError
from agents.policy.numbered import format_of
from agents.policy.rollout import Deployment, Segment, Step
from agents.policy.store import Commit, PolicyStore, Signer
from agents.runtime import invalid
from agents.runtime.storage import read_all, write_atomic

FILE, DEPLOYMENT_FORMAT = "deployment.json", 1

Said = Callable[[Domain], tuple[dict[str, Confirmation], list[str]]]
"""The confirmations, and the errors of rejected ones."""


class Held(PolicyError):
    """The next step is not taken: these routers have not confirmed the one before."""

    def __init__(self, missing: list[str], wrong: list[str]) -> None:
        self.missing, self.wrong = missing, wrong
        lines = [*(f"  - {each}" for each in missing), *(f"  ! {each}" for each in wrong)]
        super().__init__("not all routers have confirmed the step before, so none was taken:\n" + "\n".join(lines))


@dataclass(frozen=True, slots=True)
class Done:
    """A step was taken: its version, and the number of steps left."""

    step: Step
    commit: Commit
    routers: frozenset[str]
    left: int


class Deployer:
    """The deployment of one store. `said`: the source of confirmations."""

    def __init__(self, store: PolicyStore, said: Said, signer: Signer | None = None) -> None:
        """`signer`: an administrator who signs the steps instead of the root key."""
        self._store, self._said, self._signer = store, said, signer
        self._path = store.folder / FILE

    # -- the present deployment

    def current(self) -> Deployment | None:
        """The deployment that was begun last; None without one. PolicyError for a damaged file."""
        try:
            data = read_all(self._path)
            format_of(self._path, data, DEPLOYMENT_FORMAT)
            return Deployment.model_validate_json(data)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise PolicyError(f"{self._path} holds no deployment: {invalid.sentence(error.errors()[0])}") from error

    def _save(self, deployment: Deployment) -> None:
        write_atomic(self._path, deployment.model_dump_json(indent=1).encode())

    def _present(self, domain: Domain) -> Deployment | None:
        deployment = self.current()
        return None if deployment is None else rollout.present(domain, deployment)

    def _under_way(self, domain: Domain) -> Deployment:
        deployment = self._present(domain)
        if deployment is None:
            raise PolicyError("no deployment is under way; the next step is: policy deploy start")
        return deployment

    def _committed(self) -> Domain:
        last = self._store.version
        if not last:
            raise PolicyError("nothing has been committed yet; the next step is: policy commit -m REASON")
        return self._store.domain(last)

    def _documents(self, domain: Domain) -> dict[str, PolicyDocument]:
        key = self._store.public_key
        signed = self._store.documents()
        return {name: verify_document(each, key, domain=domain.name, router=name) for name, each in signed.items()}

    # -- verbs

    def plan(
        self, words: Iterable[str], goal: Mode, at_once: int, protocols: Iterable[RoutingProtocol] = ()
    ) -> list[Step]:
        """Every step that `start` and `step` would take."""
        domain = self._committed()
        made = rollout.begin(domain, words, goal=goal, at_once=at_once, protocols=protocols)
        return list(rollout.steps(domain, made))

    def start(
        self,
        words: Iterable[str],
        goal: Mode,
        at_once: int,
        who: str,
        at: int,
        without: Collection[str] = (),
        protocols: Iterable[RoutingProtocol] = (),
    ) -> Done:
        """Begin and take the first step. PolicyError while another deployment has not ended; Held."""
        domain = self._committed()
        before = self._present(domain)
        if before is not None and rollout.next_step(domain, before) is not None:
            raise PolicyError(
                f"a deployment to {before.goal.value} is under way; policy deploy step continues it, policy deploy "
                "back reverses it"
            )
        made = rollout.begin(domain, words, goal=goal, at_once=at_once, protocols=protocols)
        last = before.last if before is not None else ()
        return self._step(domain, made.model_copy(update={"last": last}), who, at, without)

    def step(self, who: str, at: int, without: Collection[str] = ()) -> Done | None:
        """Take the next step; None when there is none left. Held."""
        domain = self._committed()
        deployment = self._under_way(domain)
        if rollout.next_step(domain, deployment) is None:
            missing = self._waiting(domain, deployment.last, without)
            if missing[0]:
                raise Held(*missing)
            return None
        return self._step(domain, deployment, who, at, without)

    def back(self, goal: Mode, at_once: int | None, who: str, at: int, without: Collection[str] = ()) -> Done:
        """Reverse it: the same segments towards `goal`, the last one first, and take the first step.

        Reversing the latest step needs no confirmation: every member has the mode before it or after it, and these two
        understand each other. Held in any other case; NothingToDo when all have the goal.
        """
        domain = self._committed()
        deployment = self._under_way(domain)
        turned = rollout.back(deployment, goal)
        if at_once is not None:
            turned = turned.model_copy(update={"at_once": at_once})
        if rollout.next_step(domain, turned) is None:
            raise NothingToDo(f"every segment of the deployment is already {goal.value}")
        backwards = goal.step < deployment.goal.step
        return self._step(domain, turned, who, at, without, taken_back=deployment.last if backwards else ())

    def status(self) -> dict[str, Any]:
        """The present deployment, its next step, and the missing confirmations, in JSON form."""
        domain = self._committed()
        deployment = self._present(domain)
        if deployment is None:
            return {"deployment": None, "segments": _modes(domain, rollout.segments(domain))}
        step = rollout.next_step(domain, deployment)
        concerned = {*deployment.last, *(step.segments if step else ())}
        missing, wrong = self._waiting(domain, concerned)
        return {
            "deployment": {
                "goal": deployment.goal.value,
                "protocols": [each.value for each in deployment.protocols],
                "at_once": deployment.at_once,
            },
            "version": self._store.version,
            "segments": _modes(domain, deployment.segments),
            "next": None if step is None else [str(each) for each in step.changes],
            "waiting_for": missing,
            "problems": wrong,
            "left": len(list(rollout.steps(domain, deployment))),
            "done": step is None and not missing,
        }

    # -- the step itself

    def _waiting(
        self, domain: Domain, concerned: Iterable[Segment], without: Collection[str] = ()
    ) -> tuple[list[str], list[str]]:
        said, wrong = self._said(domain)
        return rollout.waiting(self._documents(domain), said, concerned, without), wrong

    def _step(
        self,
        domain: Domain,
        deployment: Deployment,
        who: str,
        at: int,
        without: Collection[str],
        taken_back: tuple[Segment, ...] = (),
    ) -> Done:
        step = rollout.next_step(domain, deployment)
        assert step is not None
        for name in without:
            domain.router(name)
        missing, wrong = self._waiting(domain, {*deployment.last, *step.segments} - set(taken_back), without)
        if missing:
            raise Held(missing, wrong)
        version = self._store.version
        # First record what is waited for, then the version: a failure in between only causes one superfluous wait.
        self._save(deployment.model_copy(update={"last": step.segments}))
        why = step.reason + (f" (not waiting for {', '.join(sorted(without))})" if without else "")
        after = rollout.taken(domain, step)
        commit, routers = self._store.commit(who, why[:1000], at, expected=version, domain=after, signer=self._signer)
        left = len(list(rollout.steps(self._committed(), deployment)))
        return Done(step, commit, routers, left)


def _modes(domain: Domain, segments: Iterable[Segment]) -> list[dict[str, Any]]:
    return [
        {
            "segment": each.name,
            "modes": {str(at): shown_modes(entry) for at, entry in rollout.entries(domain, each)},
        }
        for each in segments
    ]


def from_folder(folder: Path) -> Said:
    """Confirmations from a folder."""
    return lambda domain: confirmation_folder.read(domain, folder)


def now() -> int:
    """Unix seconds."""
    return int(time.time())
