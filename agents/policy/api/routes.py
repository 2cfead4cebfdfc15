"""Which address of the API does what: each is a verb of `policy`.

Every change carries the token's name into the store's history. Knows nothing of tokens' octets or of listening.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool

from agents.policy import bound, confirmation_folder, steps
from agents.policy.api import bodies
from agents.policy.api.access import Confirmer, Fetcher, Folder, Reader, SignedBy, Writer, deployer, opened
from agents.policy.confirmation import MAX_OCTETS, Confirmation, as_plain, missing
from agents.policy.deploy import Done
from agents.policy.difference import difference
from agents.policy.document import verify_document
from agents.policy.domain import Domain
from agents.policy.names import ROUTER_PATTERN
from agents.policy.problems import problems
from agents.policy.rollout import jumps
from agents.policy.store import PolicyStore, VersionConflict
from agents.runtime.storage import read_all

COSE, PEM = "application/cose", "application/x-pem-file"
ALWAYS = {
    400: "The request's length cannot be told for certain.",
    401: "No token, or one that is not valid.",
    403: "The token's role does not permit it, or the request comes from a page of another origin.",
    413: "The body is too long.",
    414: "The address is too long.",
    421: "The server does not answer to this name.",
    422: "The request, or the domain that it would make, is not valid.",
    503: "The server cannot read its tokens, or has too many connections.",
}
"""What any address may answer with. 421, 413 and the like come before the token is looked at."""
ABSENT, OVERTAKEN = {404: "There is none."}, {409: "Another change came first, or a confirmation is missing."}


def problems_of(*tables: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI is told of errors."""
    return {status: {"model": bodies.Problem, "description": text} for each in tables for status, text in each.items()}


router = APIRouter(prefix="/v1", responses=problems_of(ALWAYS))

VersionQuery = Annotated[int | None, Query(ge=1, lt=1 << 63)]
RouterPath = Annotated[str, InPath(pattern=ROUTER_PATTERN)]
LEASES = Query(max_length=1000, description="ROUTER=SECONDS: what `lks status` says of a neighbour's lease.")


def digest(domain: Domain) -> str:
    """What names a draft: SHA-256 of its JSON, hex."""
    return hashlib.sha256(domain.model_dump_json().encode()).hexdigest()


def _draft(store: PolicyStore, wanted: str | None) -> Domain:
    domain = store.draft()
    if wanted is not None and digest(domain) != wanted:
        raise VersionConflict("somebody else has changed the draft meanwhile: look at it first (GET /v1/draft)")
    return domain


# -- reading ------------------------------------------------------------------------------------------


@router.get("/domain", responses=problems_of(ABSENT))
def domain(_who: Reader, folder: Folder, version: VersionQuery = None) -> dict[str, Any]:
    """The domain as committed; the last version by default."""
    with opened(folder) as store:
        number = store.version if version is None else version
        if not number:
            raise HTTPException(404, "nothing has been committed yet")
        return {"version": number, "domain": store.domain(number).model_dump(mode="json")}


@router.get("/draft")
def draft(_who: Reader, folder: Folder) -> dict[str, Any]:
    """The domain as it is being edited, with the digest that edits and commits can name."""
    with opened(folder) as store:
        domain = store.draft()
        return {"version": store.version, "draft": digest(domain), "domain": domain.model_dump(mode="json")}


@router.get("/diff")
def diff(_who: Reader, folder: Folder) -> dict[str, Any]:
    """What a commit would change, what stands against it, and what it would break for a while."""
    with opened(folder) as store:
        domain, last = store.draft(), store.version
        committed = store.domain(last) if last else None
        return {
            "since": last,
            "draft": digest(domain),
            "changes": difference(committed, domain),
            "problems": problems(domain),
            "warnings": [*jumps(committed, domain), *store.unlisted_warnings()],
        }


@router.get("/removal/{name}", responses=problems_of(ABSENT))
def removal(
    _who: Reader, folder: Folder, name: RouterPath, lease_left: Annotated[tuple[str, ...], LEASES] = ()
) -> dict[str, Any]:
    """For how long others may go on accepting the router once it is removed from the draft; changes nothing."""
    with opened(folder) as store:
        domain = store.draft()
        if name not in domain.routers:
            raise HTTPException(404, f"there is no router {name} in the draft")
        return bound.explain(domain, name, bound.leases(lease_left, domain, "lease_left"))


@router.get("/history")
def history(_who: Reader, folder: Folder) -> list[dict[str, Any]]:
    """Every version, the newest first: when, who, why."""
    with opened(folder) as store:
        return [asdict(each) for each in store.history()]


@router.get("/documents")
def documents(_who: Fetcher, folder: Folder, version: VersionQuery = None) -> dict[str, Any]:
    """Every router's signed document, base64."""
    with opened(folder) as store:
        by_router = store.documents(version)
        return {
            "version": store.version if version is None else version,
            "documents": {name: base64.b64encode(each).decode() for name, each in by_router.items()},
        }


@router.get(
    "/documents/{name}", response_class=Response, responses={200: {"content": {COSE: {}}}, **problems_of(ABSENT)}
)
def document(_who: Fetcher, folder: Folder, name: RouterPath, version: VersionQuery = None) -> Response:
    """One router's signed document."""
    with opened(folder) as store:
        signed = store.documents(version).get(name)
    if signed is None:
        raise HTTPException(404, f"there is no document of {name}")
    return Response(signed, media_type=COSE)


@router.get("/revocation", response_class=Response, responses={200: {"content": {COSE: {}}}, **problems_of(ABSENT)})
def revocation(_who: Fetcher, folder: Folder) -> Response:
    """The newest signed revocation list."""
    with opened(folder) as store:
        signed = store.revocation()
    if signed is None:
        raise HTTPException(404, "no key was ever revoked")
    return Response(signed, media_type=COSE)


@router.get("/public-key", response_class=Response, responses={200: {"content": {PEM: {}}}})
def public_key(_who: Fetcher, folder: Folder) -> Response:
    """The key that documents are verified with."""
    return Response(read_all(folder / "key.pub"), media_type=PEM)


# -- changing -----------------------------------------------------------------------------------------


@router.post("/draft/edits", responses=problems_of(OVERTAKEN))
def edit_draft(_who: Writer, folder: Folder, body: bodies.Edits) -> dict[str, Any]:
    """Take these steps, all or none; nothing counts before it is committed."""
    with opened(folder) as store:
        before = _draft(store, body.draft)
        after = steps.take(before, body.steps)
        store.edit(after, before)
        return {"changes": difference(before, after), "draft": digest(after)}


@router.post("/commits", responses=problems_of(OVERTAKEN))
def commit(who: Writer, folder: Folder, signer: SignedBy, body: bodies.Commit) -> dict[str, Any]:
    """Check the whole domain, sign every document that changed, and keep the version."""
    with opened(folder) as store:
        done, fresh = store.commit(
            who.name, body.why, int(time.time()),
            expected=body.expected, draft=body.draft, signer=signer,
        )  # fmt: skip
        return {**asdict(done), "documents": sorted(fresh)}


@router.post("/renewals", responses=problems_of(OVERTAKEN))
def renew(who: Writer, folder: Folder, signer: SignedBy) -> dict[str, Any]:
    """Sign documents anew whose time it is; the draft stays as it is. `version`: null when nothing was due."""
    with opened(folder) as store:
        done = store.renew(who.name, int(time.time()), signer)
        version = None if done.commit is None else done.commit.version
        return {"version": version, "documents": sorted(done.routers), "warning": done.warning}


@router.post("/rollback", responses=problems_of(OVERTAKEN))
def rollback(_who: Writer, folder: Folder, body: bodies.Rollback) -> dict[str, Any]:
    """Make the draft what a version was; commit it to put it in force."""
    with opened(folder) as store:
        before = store.draft()
        after = store.rollback(body.version)
        return {"changes": difference(before, after), "draft": digest(after)}


# -- confirmations and deployment -----------------------------------------------------------------------


@router.post("/confirmations", responses=problems_of(ABSENT))
async def confirm(request: Request, _who: Confirmer, folder: Folder) -> dict[str, Any]:
    """A router's signed word (application/cose), from a DKS that passes it on."""
    signed = await request.body()
    if len(signed) > MAX_OCTETS:
        raise HTTPException(413, f"a confirmation has at most {MAX_OCTETS} octets")
    said = await run_in_threadpool(_keep, folder, signed)
    return {"router": said.router, "version": said.version}


def _keep(folder: Path, signed: bytes) -> Confirmation:
    with opened(folder) as store:
        return confirmation_folder.put(_committed(store), folder / confirmation_folder.FOLDER, signed)


@router.get("/confirmations", responses=problems_of(ABSENT))
def confirmations(_who: Reader, folder: Folder) -> dict[str, Any]:
    """What routers have said, and what is missing against the documents."""
    with opened(folder) as store:
        last = _committed(store)
        said, wrong = confirmation_folder.read(last, folder / confirmation_folder.FOLDER)
        routers = {}
        for name, signed in store.documents().items():
            policy = verify_document(signed, store.public_key, domain=last.name, router=name)
            confirmation = said.get(name)
            routers[name] = {
                "said": None if confirmation is None else as_plain(confirmation),
                "missing": missing(policy, confirmation),
            }
        return {"routers": routers, "problems": wrong}


def _committed(store: PolicyStore) -> Domain:
    last = store.version
    if not last:
        raise HTTPException(404, "nothing has been committed yet")
    return store.domain(last)


@router.get("/rollout")
def rollout_status(_who: Reader, folder: Folder) -> dict[str, Any]:
    """Where every segment is, what comes next, and who is waited for."""
    with opened(folder) as store:
        return deployer(store).status()


@router.post("/rollout/plan")
def rollout_plan(_who: Reader, folder: Folder, body: bodies.Plan) -> dict[str, Any]:
    """The steps of a deployment; changes nothing."""
    with opened(folder) as store:
        steps = deployer(store).plan(body.segments, body.to, body.at_once, body.protocols)
        return {"steps": [[str(each) for each in step.changes] for step in steps]}


@router.post("/rollout/start", responses=problems_of(OVERTAKEN))
def rollout_start(who: Writer, folder: Folder, signer: SignedBy, body: bodies.Start) -> dict[str, Any]:
    """Begin, and take the first step; 409 with names while somebody has not confirmed."""
    with opened(folder) as store:
        at = int(time.time())
        return _done(
            deployer(store, signer).start(
                body.segments, body.to, body.at_once, who.name, at, body.without, body.protocols
            )
        )


@router.post("/rollout/step", responses=problems_of(OVERTAKEN))
def rollout_step(who: Writer, folder: Folder, signer: SignedBy, body: bodies.Next) -> dict[str, Any]:
    """The next step; 409 with names while somebody has not confirmed the one before."""
    with opened(folder) as store:
        return _done(deployer(store, signer).step(who.name, int(time.time()), body.without))


@router.post("/rollout/back", responses=problems_of(OVERTAKEN))
def rollout_back(who: Writer, folder: Folder, signer: SignedBy, body: bodies.Back) -> dict[str, Any]:
    """Turn round, the last segment first, and take the first step back."""
    with opened(folder) as store:
        return _done(deployer(store, signer).back(body.to, body.at_once, who.name, int(time.time()), body.without))


def _done(done: Done | None) -> dict[str, Any]:
    if done is None:
        return {"done": True}
    return {
        "done": False,
        "version": done.commit.version,
        "changes": [str(each) for each in done.step.changes],
        "documents": sorted(done.routers),
        "left": done.left,
    }
