"""The pages and their forms. A form is sent to the page that it stands on, and does one operation of the API.

What was refused is told on that page, with what was typed still in it. Knows nothing of how a domain is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response

from agents import look
from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy.api import bodies, routes
from agents.policy.api.access import MAY, opened
from agents.policy.api.routes import RouterPath
from agents.policy.difference import difference, setting_text
from agents.policy.domain import Domain, field_word
from agents.policy.keys import public_key_from_spki, public_pem
from agents.policy.problems import problems
from agents.policy.rollout import segments
from agents.policy.web import fields, overview
from agents.policy.web.sessions import Notice
from agents.policy.web.visit import (
    HERE,
    PAGE_HEADERS,
    Form,
    Problem,
    Reading,
    Sending,
    Values,
    Visit,
    Writing,
    attempt,
    counted,
    forget_cookie,
    go,
    local,
    one,
    page,
    plain_page,
    sessions,
    set_cookie,
)

router = APIRouter(include_in_schema=False)

STATIC = {
    "theme.css": look.THEME,
    "map.css": look.MAP,
    **{name: HERE / "static" / name for name in ("admin.css", "graph.js", "live.js")},
}
Search = Annotated[str, Query(max_length=200)]
NOTHING: Values = {}


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Styles and scripts."""
    if name not in STATIC:
        raise HTTPException(404, "there is no such file")
    return FileResponse(STATIC[name], headers=PAGE_HEADERS)


# -- signing in -------------------------------------------------------------------------------------


@router.get("/login")
def login_page(next: str = "/", ended: bool = False) -> Response:
    """Asks for a token."""
    return plain_page("login.html.j2", back=local(next), ended=ended)


@router.post("/login")
def login(request: Request, given: Form) -> Response:
    """A token for a session."""
    token = request.app.state.tokens.find(one(given, "token").strip())
    back = local(one(given, "next", "/"))
    if token is None:
        return plain_page("login.html.j2", Problem(401, "That is no token that counts."), back=back, ended=False)
    request.state.token = token
    if "read" not in MAY[token.role]:
        problem = Problem(403, f"A token of role {token.role.value} is for a program, not for these pages.")
        return plain_page("login.html.j2", problem, back=back, ended=False)
    answer = go(back)
    set_cookie(request, answer, sessions(request).begin(token))
    return answer


@router.get("/session")
def session(visit: Reading) -> Response:
    """Whose session this is, and its end."""
    return page(visit, "session.html.j2", count=sessions(visit.request).count(visit.token))


@router.post("/session")
def end(visit: Sending, given: Form) -> Response:
    """Sign out here, or everywhere."""
    if one(given, "do") == "all":
        sessions(visit.request).end_all(visit.token)
    else:
        sessions(visit.request).end(visit.secret)
    answer = go("/login")
    forget_cookie(visit.request, answer)
    return answer


# -- reading ----------------------------------------------------------------------------------------


class Whole:
    """The domain in its three forms."""

    def __init__(self, visit: Visit) -> None:
        with opened(visit.folder) as store:
            self.draft, last = store.draft(), store.version
            self.committed: Domain | None = store.domain(last) if last else None
        confirmations: Any = attempt(lambda: routes.confirmations(visit.token, visit.folder)) if last else None
        self.said: overview.Said = confirmations["routers"] if isinstance(confirmations, dict) else {}
        self.wrong: tuple[str, ...] = tuple(confirmations["problems"]) if isinstance(confirmations, dict) else ()
        self.routers = overview.routers(self.draft, self.committed, self.said)
        self.adjacencies = overview.adjacencies(self.draft, self.committed, self.said)

    @property
    def places(self) -> list[str]:
        """Every interface of the draft, as forms name it."""
        return [f"{name}:{each.name}" for name, entry in self.draft.routers.items() for each in entry.interfaces]


@router.get("/")
def home(visit: Reading) -> Response:
    """The domain as a graph, and in numbers."""
    whole = Whole(visit)
    drawn = overview.graph(whole.draft, whole.routers, whole.adjacencies)
    return page(
        visit, "domain.html.j2", whole=whole, graph=drawn, values=NOTHING, settings=_settings(whole.draft),
        problems=problems(whole.draft),
    )  # fmt: skip


def _settings(domain: Domain) -> list[tuple[str, str, str]]:
    """What holds for all routers, as people write it, and the kind of step that changes it. What nobody has set is left
    out."""
    words = {name: field_word(name) for name, value in dict(domain.settings).items() if value is not None}
    return [
        (word.replace("-", " ").capitalize(), setting_text(name, getattr(domain.settings, name)), f"set.{word}")
        for name, word in words.items()
    ]


@router.get("/routers")
def routers_page(visit: Reading, q: Search = "") -> Response:
    """All routers, or those that a search finds."""
    return _routers(visit, None, NOTHING, q)


def _routers(visit: Visit, problem: Problem | None, values: Values, q: str = "") -> Response:
    whole = Whole(visit)
    routers = [each for each in whole.routers if each.fits(q)]
    return page(visit, "routers.html.j2", problem, whole=whole, routers=routers, q=q, values=values)


@router.get("/routers/{name}")
def router_page(visit: Reading, name: RouterPath) -> Response:
    """One router."""
    return _router(visit, None, NOTHING, name)


def _router(visit: Visit, problem: Problem | None, values: Values, name: str) -> Response:
    whole = Whole(visit)
    router = next((each for each in whole.routers if each.name == name), None)
    if router is None:
        raise HTTPException(404, f"there is no router {name}")
    entry = whole.draft.routers.get(name)
    pem = public_pem(public_key_from_spki(entry.key)).decode() if entry is not None else ""
    domain = whole.draft if entry is not None else whole.committed
    assert domain is not None
    return page(
        visit, "router.html.j2", problem, whole=whole, router=router, pem=pem, values=values,
        lease=setting_text("lease", domain.settings_of(name).lease),
        modes=[each.value for each in Mode], protocols=[each.value for each in RoutingProtocol],
    )  # fmt: skip


@router.get("/routers/{name}/document")
def document(visit: Reading, name: RouterPath) -> Response:
    """Its signed document, as a file: the first one is brought to it by hand."""
    return _file(routes.document(visit.token, visit.folder, name), f"{name}.cose")


@router.get("/policy-server.pem")
def public_key(visit: Reading) -> Response:
    """The key that every router and the DKS pin, as a file."""
    return _file(routes.public_key(visit.token, visit.folder), "policy-server.pem")


def _file(answer: Response, name: str) -> Response:
    answer.headers.update({**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'})
    return answer


@router.get("/adjacencies")
def adjacencies_page(visit: Reading, q: Search = "") -> Response:
    """All adjacencies, or those that a search finds."""
    return _adjacencies(visit, None, NOTHING, q)


def _adjacencies(visit: Visit, problem: Problem | None, values: Values, q: str = "") -> Response:
    whole, words = Whole(visit), q.lower().split()
    adjacencies = [each for each in whole.adjacencies if all(word in f"{each.a} {each.b}".lower() for word in words)]
    return page(visit, "adjacencies.html.j2", problem, whole=whole, adjacencies=adjacencies, q=q, values=values)


# -- editing the draft ------------------------------------------------------------------------------


def _edit(visit: Visit, given: Values) -> dict[str, Any] | Problem:
    """The steps of a form, by the API's own operation."""

    def deed() -> dict[str, Any]:
        body = bodies.Edits.model_validate({"steps": [fields.step(given)], "draft": one(given, "draft") or None})
        return routes.edit_draft(visit.token, visit.folder, body)

    return attempt(deed)


def _after(visit: Visit, done: dict[str, Any] | Problem, target: str, again: Callable[[Problem], Response]) -> Response:
    if isinstance(done, Problem):
        return again(done)
    changes = "; ".join(done["changes"]) or "nothing"
    notice = f"In the draft: {changes[:500]}. It counts when it is committed."
    visit.session.notice = Notice(notice) if target == "/draft" else Notice(notice, "/draft", "See the draft")
    return go(target)


@router.post("/routers")
def add_router(visit: Writing, given: Form) -> Response:
    """Adds a router to the draft."""
    done = _edit(visit, given)
    return _after(visit, done, f"/routers/{one(given, 'name').strip()}", lambda why: _routers(visit, why, given))


@router.post("/routers/{name}")
def edit_router(visit: Writing, given: Form, name: RouterPath) -> Response:
    """Any step about one router. An interface may be named without it."""
    if one(given, "op") == "interface.add" and one(given, "at").strip() and ":" not in one(given, "at"):
        given = {**given, "at": (f"{name}:{one(given, 'at').strip()}",)}
    if one(given, "op") == "router.approve" and one(given, "compared") != "yes":
        return _router(visit, Problem(422, "Compare the fingerprint first, and say so."), given, name)
    return _after(visit, _edit(visit, given), f"/routers/{name}", lambda why: _router(visit, why, given, name))


@router.post("/adjacencies")
def edit_adjacencies(visit: Writing, given: Form) -> Response:
    """Allows or denies one."""
    back = local(one(given, "back", "/adjacencies"))
    return _after(visit, _edit(visit, given), back, lambda why: _adjacencies(visit, why, given))


@router.get("/change")
def changes_page(visit: Reading) -> Response:
    """Every kind of step."""
    return page(visit, "changes.html.j2", every=[(op, fields.about(op)) for op in fields.models()])


@router.get("/change/{op}")
def change_page(visit: Reading, op: str) -> Response:
    """The form of one kind of step."""
    return _change(visit, None, NOTHING, op)


def _change(visit: Visit, problem: Problem | None, values: Values, op: str) -> Response:
    if op not in fields.models():
        raise HTTPException(404, "there is no such change")
    whole = Whole(visit)
    return page(
        visit, "change.html.j2", problem, whole=whole, op=op, about=fields.about(op), fields=fields.fields(op),
        values=values,
    )  # fmt: skip


@router.post("/change/{op}")
def change(visit: Writing, given: Form, op: str) -> Response:
    """Takes the step."""
    again = {**given, "op": (op,)}
    return _after(visit, _edit(visit, again), "/draft", lambda why: _change(visit, why, again, op))


# -- removal ----------------------------------------------------------------------------------------


@router.get("/routers/{name}/removal")
def removal_page(
    visit: Reading, name: RouterPath, lease: Annotated[tuple[str, ...], Query(max_length=1000)] = ()
) -> Response:
    """For how long a removed router would be accepted."""
    return _removal_page(visit, None, name, lease)


def _removal_page(visit: Visit, problem: Problem | None, name: str, lease: tuple[str, ...]) -> Response:
    words = tuple(each for word in lease for each in word.split())
    bounds = attempt(lambda: routes.removal(visit.token, visit.folder, name, words))
    if isinstance(bounds, Problem):
        if not words:
            raise HTTPException(404, bounds.text)
        problem, bounds = problem or bounds, routes.removal(visit.token, visit.folder, name, ())
    return page(visit, "removal.html.j2", problem, name=name, bounds=bounds, lease=" ".join(words))


@router.post("/routers/{name}/removal")
def remove(visit: Writing, given: Form, name: RouterPath) -> Response:
    """Takes the router out of the draft."""
    done = _edit(visit, {**given, "op": ("router.remove",), "name": (name,)})
    return _after(visit, done, "/draft", lambda why: _removal_page(visit, why, name, ()))


@router.get("/revocations")
def revocations(visit: Reading) -> Response:
    """The revocation list, and whom it has reached."""
    with opened(visit.folder) as store:
        lists = store.revocations()
    return page(visit, "revocations.html.j2", newest=lists[0] if lists else None, whole=Whole(visit))


# -- committing -------------------------------------------------------------------------------------


@router.get("/draft")
def draft_page(visit: Reading) -> Response:
    """What a commit would change, and what stands against it."""
    return _draft(visit, None, NOTHING)


def _draft(visit: Visit, problem: Problem | None, values: Values) -> Response:
    return page(visit, "draft.html.j2", problem, diff=routes.diff(visit.token, visit.folder), values=values)


@router.post("/draft")
def commit(visit: Writing, given: Form) -> Response:
    """Commits the draft that was looked at."""

    def deed() -> dict[str, Any]:
        said = {name: one(given, name).strip() for name in ("why", "expected", "draft", "renew") if name in given}
        return routes.commit(visit.token, visit.folder, visit.signer, bodies.Commit.model_validate(said))

    before = _lists(visit)
    done = attempt(deed)
    if isinstance(done, Problem):
        return _draft(visit, done, given)
    notice = f"Version {done['version']} is committed: {counted(len(done['documents']), 'new document')}."
    more = ("/revocations", "How far the revocation has spread") if _lists(visit) > before else ()
    visit.session.notice = Notice(notice, *more)
    return go("/history")


def _lists(visit: Visit) -> int:
    """How many revocation lists were signed."""
    with opened(visit.folder) as store:
        return len(store.revocations())


@router.get("/history")
def history_page(visit: Reading, version: routes.VersionQuery = None) -> Response:
    """Every version; one of them with what it changed."""
    return _history(visit, None, version)


def _history(visit: Visit, problem: Problem | None, version: int | None) -> Response:
    commits = routes.history(visit.token, visit.folder)
    changed: list[str] | Problem = []
    if version is not None:
        with opened(visit.folder) as store:
            before = store.domain(version - 1) if version > 1 else None
            changed = attempt(lambda: difference(before, store.domain(version)))
    if isinstance(changed, Problem):
        raise HTTPException(404, changed.text)
    return page(visit, "history.html.j2", problem, commits=commits, version_shown=version, changed=changed)


@router.post("/history")
def rollback(visit: Writing, given: Form) -> Response:
    """Makes the draft what a version was."""

    def deed() -> dict[str, Any]:
        return routes.rollback(
            visit.token, visit.folder, bodies.Rollback.model_validate({"version": one(given, "version")})
        )

    done = attempt(deed)
    if isinstance(done, Problem):
        return _history(visit, done, None)
    visit.session.notice = Notice(
        f"The draft is as version {one(given, 'version')} was. It counts when it is committed."
    )
    return go("/draft")


# -- deployment -------------------------------------------------------------------------------------


@router.get("/deployment")
def deployment_page(
    visit: Reading,
    plan: bool = False,
    segments: Annotated[str, Query(max_length=10_000)] = "",
    to: Annotated[str, Query(max_length=20)] = Mode.REQUIRED.value,
    at_once: Annotated[str, Query(max_length=20)] = "1",
    protocols: Annotated[tuple[str, ...], Query(max_length=10)] = (),
) -> Response:
    """Where every segment is; a plan, if one was asked for."""
    values = {"segments": (segments,), "to": (to,), "at_once": (at_once,), "protocols": protocols}
    return _deployment(visit, None, values, plan=plan)


def _deployment(visit: Visit, problem: Problem | None, values: Values, *, plan: bool = False) -> Response:
    with opened(visit.folder) as store:
        last = store.version
        known = [each.name for each in segments(store.domain(last))] if last else []
    status: Any = attempt(lambda: routes.rollout_status(visit.token, visit.folder)) if last else None
    if isinstance(status, Problem):
        problem, status = problem or status, None
    planned: Any = None
    if plan:
        planned = attempt(
            lambda: routes.rollout_plan(visit.token, visit.folder, bodies.Plan.model_validate(_plan(values)))
        )
        if isinstance(planned, Problem):
            problem, planned = problem or planned, None
    return page(
        visit, "deployment.html.j2", problem, status=status, known=known, values=values, planned=planned,
        modes=[each.value for each in Mode], protocols=[each.value for each in RoutingProtocol],
    )  # fmt: skip


def _plan(given: Values) -> dict[str, Any]:
    return {
        "segments": one(given, "segments").replace(",", " ").split(),
        "to": one(given, "to", Mode.REQUIRED.value),
        "at_once": one(given, "at_once") or "1",
        "protocols": [each for each in given.get("protocols", ()) if each],
    }


@router.post("/deployment")
def deploy(visit: Writing, given: Form) -> Response:
    """Starts, takes a step, or turns round."""
    without = one(given, "without").replace(",", " ").split()

    def deed() -> dict[str, Any]:
        match one(given, "do"):
            case "start":
                body = bodies.Start.model_validate({**_plan(given), "without": without})
                return routes.rollout_start(visit.token, visit.folder, visit.signer, body)
            case "step":
                return routes.rollout_step(
                    visit.token, visit.folder, visit.signer, bodies.Next.model_validate({"without": without})
                )
            case "back":
                turned = {"to": one(given, "to", Mode.CLEAR.value), "without": without}
                return routes.rollout_back(visit.token, visit.folder, visit.signer, bodies.Back.model_validate(turned))
            case _:
                raise HTTPException(422, "the form does not say what to do")

    done = attempt(deed)
    if isinstance(done, Problem):
        return _deployment(visit, done, given)
    if done["done"]:
        visit.session.notice = Notice("Every step is taken and confirmed.")
    else:
        changes = "; ".join(done["changes"])[:500]
        visit.session.notice = Notice(f"Version {done['version']}: {changes}. Steps left: {done['left']}.")
    return go("/deployment")
