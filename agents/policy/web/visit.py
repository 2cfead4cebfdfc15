"""One request of a browser: whose session it belongs to, the form that it brings, the page that answers it.

What a form may do is what its token may do at the API; `agents.policy.api.access` says it. Knows no page.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError

from agents import look
from agents.policy import durations
from agents.policy.api.access import MAY, opened, permit, status_of
from agents.policy.api.tokens import Token
from agents.policy.deploy import Held
from agents.policy.difference import difference
from agents.policy.errors import PolicyError, parts
from agents.policy.store import Signer
from agents.policy.web.sessions import Notice, Session, Sessions
from agents.runtime import invalid

HERE = Path(__file__).parent
MOST_FIELDS = 1000
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # Without a referrer a browser sends forms with the origin "null", and the guard could not tell whose they are.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
T = TypeVar("T")


class SignIn(Exception):
    """Nobody is signed in, or the session has ended. `back`: the page to go to afterwards."""

    def __init__(self, back: str) -> None:
        super().__init__(back)
        self.back = back


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something was not done. `lines`: what more is to be said."""

    status: int
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of somebody who is signed in."""

    request: Request
    folder: Path
    session: Session
    secret: str

    @property
    def token(self) -> Token:
        """Whose it is."""
        return self.session.token

    @property
    def signer(self) -> Signer | None:
        """Who signs what is committed: None for the root key."""
        signer: Signer | None = self.request.app.state.signer
        return signer

    @property
    def may_write(self) -> bool:
        """Whether buttons that change something are shown."""
        return "write" in MAY[self.token.role]


Values = dict[str, tuple[str, ...]]


# -- sessions ---------------------------------------------------------------------------------------


def sessions(request: Request) -> Sessions:
    """Those of this server."""
    known: Sessions = request.app.state.sessions
    return known


def cookie_name(request: Request) -> str:
    """Under TLS no other host may set it (RFC 6265bis, section 4.1.3.2); browsers take that prefix nowhere else."""
    return ("__Host-" if request.url.scheme == "https" else "") + "policy-session"


def set_cookie(request: Request, answer: Response, secret: str) -> None:
    """Browsers keep Secure cookies of http://127.0.0.1 and http://localhost too, and of no other plain address."""
    answer.set_cookie(cookie_name(request), secret, secure=True, httponly=True, samesite="strict", path="/")


def forget_cookie(request: Request, answer: Response) -> None:
    """The browser has no session any more."""
    answer.delete_cookie(cookie_name(request), secure=True, httponly=True, samesite="strict", path="/")


def looking(request: Request) -> bool:
    """Whether a page asks again by itself: nobody is there, and the session does not live on from it."""
    return request.headers.get("x-live") == "1"


def visit(request: Request) -> Visit:
    """Whoever is signed in and may see the domain. SignIn, HTTPException."""
    secret = request.cookies.get(cookie_name(request), "")
    session = sessions(request).find(secret, use=not looking(request)) if secret else None
    if session is None:
        # A form that came too late is gone; what it changed is on the page that is shown again.
        raise SignIn(request.url.path if request.method != "GET" else _target(request))
    request.state.token = session.token
    permit(session.token, "read")
    return Visit(request, Path(request.app.state.folder), session, secret)


def _target(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def local(target: str) -> str:
    """The page of ours that a link or form names, "/" for anything else."""
    ours = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if ours and not urlsplit(target).netloc else "/"


# -- forms ------------------------------------------------------------------------------------------


async def form(request: Request) -> Values:
    """The fields of a form, each with all its values. HTTPException."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "a form is application/x-www-form-urlencoded")
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise HTTPException(403, "forms of other pages are not taken")
    values: Values = {}
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise HTTPException(422, "the form cannot be read") from error
    for name, value in pairs:
        values[name] = (*values.get(name, ()), value.replace("\r\n", "\n"))
    return values


Form = Annotated[Values, Depends(form)]
Reading = Annotated[Visit, Depends(visit)]


def _own_form(current: Reading, given: Form) -> Visit:
    if not current.session.brings(one(given, "csrf")):
        raise HTTPException(403, "the form is not one that this session was shown: load the page again")
    return current


Sending = Annotated[Visit, Depends(_own_form)]
"""A form of this session's, which changes nothing of the domain."""


def _writing(current: Sending) -> Visit:
    permit(current.token, "write")
    return current


Writing = Annotated[Visit, Depends(_writing)]


def one(given: Values, name: str, default: str = "") -> str:
    """The first value of a field."""
    return given.get(name, (default,))[0]


def attempt(deed: Callable[[], T]) -> T | Problem:
    """What an operation of the API gives, or why it was refused."""
    try:
        return deed()
    except Held as error:
        wrong = tuple(f"a confirmation was not taken: {each}" for each in error.wrong)
        return Problem(status_of(error), "The step before is not confirmed by all, so none was taken.",
                       (*error.missing, *wrong))  # fmt: skip
    except PolicyError as error:
        said = parts(str(error))
        allowed = (f"Allowed: {said.allowed}",) if said.allowed else ()
        command = (f"Next, on the server: {said.next_command}",) if said.next_command else ()
        return Problem(status_of(error), said.problem, (*said.problems, *allowed, *command))
    except ValidationError as error:
        mistakes = [each for each in error.errors() if each["loc"] != ("steps",)] or error.errors()
        return Problem(422, "The form is not valid.", tuple(map(_mistake, mistakes[:20])))
    except HTTPException as error:
        return Problem(error.status_code, str(error.detail))


ALLOWED = {
    "interface": "the name of an interface, as eth0; where the router is not named already, ROUTER:INTERFACE",
    "router": "the name of a router",
}
"""Fields whose pattern does not say enough, by the last part of their path."""


def _mistake(error: Mapping[str, Any]) -> str:
    """What is wrong with a field, in words of the page."""
    if error["type"] == "string_pattern_mismatch":
        allowed = ALLOWED.get(str(error["loc"][-1]), invalid.allowed(error))
        return f"{_field(error['loc'])}: {error['input']!r} is not valid; allowed: {allowed}"
    return f"{_field(error['loc'])}: {invalid.why(error)}"


def _field(path: tuple[int | str, ...]) -> str:
    """The field that is wrong, without the path to the step that has it."""
    parts = [str(each) for each in path]
    return ".".join(parts[3:] if parts[:1] == ["steps"] else parts) or "the form"


# -- answers ----------------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(visible=look.visible, utc=utc, ago=ago, bounded=bounded, counted=counted)
    made.globals.update(marks=look.MARKS, quote=lambda text: quote(text, safe=""))
    return made


def utc(at: int | float) -> str:
    """Unix seconds as a date, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def ago(at: int | float) -> str:
    """How long a moment (Unix seconds) is past, roughly."""
    passed = max(0, int(time.time() - at))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if passed >= 2 * unit:
            return f"{passed // unit} {name} ago"
    return f"{passed} s ago"


def bounded(value: float | None) -> str:
    """A bound in seconds as people read it, never too low: in whole seconds, and from two hours on in whole minutes; or
    that there is none."""
    if value is None:
        return "no bound"
    whole = 1 if value < 2 * 3600 else 60
    return durations.spell(math.ceil(value / whole) * whole)


def counted(number: int, word: str, words: str = "") -> str:
    """So many of something."""
    return f"{number} {word if number == 1 else words or word + 's'}"


def page(current: Visit, template: str, problem: Problem | None = None, /, **context: Any) -> HTMLResponse:
    """A page of somebody who is signed in."""
    with opened(current.folder) as store:
        draft, last = store.draft(), store.version
        changes = len(difference(store.domain(last) if last else None, draft))
    notice, current.session.notice = current.session.notice, Notice()
    return plain_page(
        template, problem, visit=current, csrf=current.session.csrf, domain=draft.name, version=last, changes=changes,
        notice=notice, here=current.request.url.path,
        left_s=int(current.session.left_s(sessions(current.request).clock())), **context,
    )  # fmt: skip


def plain_page(template: str, problem: Problem | None = None, /, **context: Any) -> HTMLResponse:
    """A page for anybody, who may be nobody."""
    nobody = {"visit": None, "notice": Notice(), "domain": "", "here": ""}
    text = _environment().get_template(template).render({**nobody, **context, "problem": problem})
    return HTMLResponse(text, 200 if problem is None else problem.status, PAGE_HEADERS)


def go(target: str) -> RedirectResponse:
    """To another page, to be asked for with GET."""
    return RedirectResponse(local(target), 303, PAGE_HEADERS)
