"""The application: routes, what an error looks like, and the log of who changed what.

No answer, log line or error holds a token or what was sent. Knows nothing of listening.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException as BareHTTPException

from agents.policy.api.access import bearer, status_of
from agents.policy.api.guard import MAX_BODY, Guard
from agents.policy.api.metrics import PolicyCounts
from agents.policy.api.quiet import quieten
from agents.policy.api.routes import router
from agents.policy.api.tokens import Token, TokenStore
from agents.policy.deploy import Held
from agents.policy.errors import PolicyError, parts
from agents.policy.store import PolicyStore, Signer
from agents.policy.web.pages import router as pages
from agents.policy.web.sessions import Sessions
from agents.policy.web.visit import Problem, SignIn, cookie_name, forget_cookie, go, plain_page
from agents.runtime import invalid

API = "/v1/"
LOG = logging.getLogger("policy.api")
STRANGERS = logging.getLogger("policy.api.strangers")
quieten(STRANGERS)
OPENAPI = "/v1/openapi.json"


def create_app(folder: Path, hosts: Collection[str], max_body: int = MAX_BODY, signer: Signer | None = None) -> FastAPI:
    """The API of the store in `folder`, for requests to these host names. `signer`: an administrator who signs what is
    committed instead of the root key, which then need not be here. PolicyError when there is no store, or the signer
    may not sign for it."""
    with closing(PolicyStore(folder)) as store:
        if signer is not None:
            signer.check(
                store.public_key, store.domain(store.version) if store.version else store.draft(), int(time.time())
            )
    # Pages with examples load scripts from elsewhere, so there are none; the description itself is served.
    app = FastAPI(
        title="Policy Server", version="1", openapi_url=OPENAPI, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.folder, app.state.tokens, app.state.signer = folder, TokenStore(folder), signer
    app.state.sessions = Sessions(app.state.tokens)
    app.state.counts = PolicyCounts()
    app.include_router(router)
    app.include_router(pages)
    tokens = app.state.tokens
    app.add_middleware(
        Guard, hosts=hosts, known=partial(_known, tokens), private="/v1/", public=[OPENAPI], max_body=max_body
    )
    app.middleware("http")(_log)
    app.add_exception_handler(PolicyError, _policy_error)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(BareHTTPException, _refused)
    app.add_exception_handler(SignIn, _sign_in)
    return app


async def _known(tokens: TokenStore, authorization: str) -> Token | None:
    try:
        return await run_in_threadpool(bearer, tokens, authorization)
    except (PolicyError, OSError) as error:
        STRANGERS.warning("no token is recognised: %s", error)
        raise PolicyError("no token is recognised") from error


async def _log(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    began = time.monotonic()
    response = await answer(request)
    request.app.state.counts.answered(request.method, response.status_code, time.monotonic() - began)
    token = getattr(request.state, "token", None)
    who = None if token is None else token.name
    if request.method != "GET" or response.status_code in (401, 403):
        address = request.client.host if request.client is not None else "?"
        log = LOG if who is not None else STRANGERS
        words = (request.method, request.url.path, who or "nobody known", address)
        log.info(f"%s %s by %s from %s: {response.status_code}", *words)
    return response


def _error(status: int, text: str, **more: Any) -> JSONResponse:
    return JSONResponse({"error": text, **more}, status)


async def _policy_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PolicyError)
    if not request.url.path.startswith(API):
        return plain_page("error.html.j2", Problem(status_of(error), str(error)))
    shown = parts(str(error))
    if isinstance(error, Held):
        return _error(status_of(error), shown.problem, held=True, waiting_for=error.missing, problems=error.wrong)
    given = {"allowed": shown.allowed, "next_command": shown.next_command, "problems": shown.problems}
    return _error(status_of(error), shown.problem, **{name: value for name, value in given.items() if value})


async def _malformed(request: Request, error: Exception) -> Response:
    """Where and why, but nothing of what was sent."""
    assert isinstance(error, RequestValidationError)
    if not request.url.path.startswith(API):
        return plain_page("error.html.j2", Problem(422, "The address is not valid."))
    details = [{"at": invalid.where(each), "why": invalid.why(each)} for each in error.errors()[:20]]
    return _error(422, "the request is not valid", details=details)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, BareHTTPException)
    if not request.url.path.startswith(API):
        return plain_page("error.html.j2", Problem(error.status_code, str(error.detail)))
    answer = _error(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _sign_in(request: Request, error: Exception) -> Response:
    assert isinstance(error, SignIn)
    ended = cookie_name(request) in request.cookies
    answer = go(f"/login?{urlencode({'next': error.back, **({'ended': '1'} if ended else {})})}")
    forget_cookie(request, answer)
    return answer
