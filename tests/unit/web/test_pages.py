"""Pages as people and strangers meet them: who sees which button, what is refused, what is shown of hostile words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from agents.policy import edit
from agents.policy.api.access import opened
from agents.policy.api.app import create_app
from agents.policy.api.tokens import Role, TokenStore
from agents.policy.document import verify_document
from agents.policy.domain import Domain
from agents.policy.keys import public_key_from_pem, public_pem
from agents.policy.store import PolicyStore
from agents.policy.web import fields
from agents.policy.web.sessions import ALL, EACH, IDLE_S, MOST_S, Sessions
from agents.policy.web.visit import bounded
from tests.unit.policy.test_rollout import domain, key, say
from tests.unit.web.conftest import Open, Server

PAGES = [
    "/", "/routers", "/routers?q=r2", "/routers/r1", "/routers/r1/removal", "/adjacencies", "/draft", "/deployment",
    "/deployment?plan=1&to=listen", "/history", "/history?version=1", "/revocations", "/session", "/change",
    "/change/interface.add", "/change/set.lease",
]  # fmt: skip
POSTS = {
    "/routers": {"op": "router.add", "name": "r9", "key": public_pem(key("r9")).decode()},
    "/routers/r1": {"op": "interface.mode", "at": "r1:a", "mode": "listen"},
    "/routers/r1/removal": {"name": "r1"},
    "/adjacencies": {"op": "adjacency.deny", "a": "r1:a", "b": "r2:a"},
    "/change/group.add": {"name": "core"},
    "/draft": {"why": "because", "expected": "1"},
    "/history": {"version": "1"},
    "/deployment": {"do": "start"},
}
HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "\u202egnihton", "r1\x00", "x" * 64,
    "../../etc/passwd", "javascript:alert(1)", "r1' OR 1=1 --", "\ud7ff\u2028\u2029",
]  # fmt: skip
LONG = "r" + "-long" * 12 + "er"
"""A name of 63 characters."""


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), ("light", 2560), ("dark", 1400)])
def test_every_page_reads_well_on_a_telephone_and_on_a_wall_by_day_and_by_night(
    make: Callable[..., Server], visitor: Open, scheme: str, width: int
) -> None:
    server = make()
    admin = visitor(server, viewport={"width": width, "height": 900}, color_scheme=scheme)
    admin.open("/routers")
    admin.fill(name=LONG, key=public_pem(key("long")).decode())
    admin.press("Add to the draft")
    for path in [*PAGES, f"/routers/{LONG}", "/nowhere"]:
        admin.open(path)


def test_an_inline_script_or_style_does_not_run_and_makes_a_test_fail(
    make: Callable[..., Server], visitor: Open
) -> None:
    admin = visitor(make())
    put = "([tag, text]) => document.head.append(Object.assign(document.createElement(tag), { textContent: text }))"
    for tag, text in (("script", "document.title = 'run'"), ("style", "main { display: none }")):
        admin.page.evaluate(put, [tag, text])
        with pytest.raises(AssertionError):
            admin.check()
        assert "Content Security Policy" in admin.complaints.pop()
        assert not admin.complaints
    assert admin.page.title() != "run" and admin.page.locator("main").is_visible()


def test_who_may_only_read_sees_no_button_that_changes_anything_and_is_refused_all_the_same(
    make: Callable[..., Server], visitor: Open
) -> None:
    server = make()
    reader = visitor(server, "read")
    for path in PAGES:
        reader.open(path)
        for form in reader.page.locator("form[method=post]").all():
            assert form.get_attribute("action") == "/session", path
    csrf = reader.page.evaluate(
        'async () => (await (await fetch(\'/session\')).text()).match(/csrf" value="([^"]+)/)[1]'
    )
    cookies = {each["name"]: each["value"] for each in reader.page.context.cookies()}
    with httpx.Client(base_url=server.address, cookies=cookies) as client:
        for path, said in POSTS.items():
            answer = client.post(path, data={**said, "csrf": csrf})
            assert (answer.status_code, "a token of role read may not do that" in answer.text) == (403, True), path
    assert server.version() == 1 and server.draft() == server.committed(1)


def test_a_form_without_the_sessions_own_word_or_of_another_page_is_refused(
    make: Callable[..., Server], visitor: Open
) -> None:
    server = make()
    admin, other = visitor(server), visitor(server)
    words = [each.page.locator("[name=csrf]").first.get_attribute("value") for each in (admin, other)]
    cookies = {each["name"]: each["value"] for each in admin.page.context.cookies()}
    with httpx.Client(base_url=server.address, cookies=cookies) as client:
        for path, said in {**POSTS, "/session": {"do": "all"}}.items():
            for csrf in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": words[1]}):
                assert client.post(path, data={**said, **csrf}).status_code == 403, path
            own = {**said, "csrf": words[0]}
            for origin in ("https://evil.example", "null", server.address + "1", "http://localhost:1"):
                assert client.post(path, data=own, headers={"Origin": origin}).status_code == 403, (path, origin)
            assert client.post(path, json=own).status_code == 415
        assert client.post("/login", data={"token": "x" * (1 << 16)}).status_code == 413
        assert client.post("/draft", data={"why": "x" * (1 << 16), "csrf": words[0]}).status_code == 413
    assert server.draft() == server.committed(1)
    admin.open("/session")


def test_a_session_cookie_is_for_this_server_alone_and_no_script_sees_it(
    make: Callable[..., Server], visitor: Open, tmp_path: Path
) -> None:
    admin = visitor(make())
    (cookie,) = admin.page.context.cookies()
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, True, "Strict", "/")
    assert cookie["expires"] == -1 and admin.page.evaluate("document.cookie") == ""
    store = PolicyStore.create(tmp_path / "tls", domain())
    store.close()
    token = TokenStore(tmp_path / "tls").add("anna", Role.WRITE, 1)
    with TestClient(create_app(tmp_path / "tls", ["x.example"]), base_url="https://x.example") as client:
        answer = client.post("/login", data={"token": token}, follow_redirects=False)
    assert re.match(
        r"__Host-policy-session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", answer.headers["set-cookie"]
    )
    for name in ("content-security-policy", "referrer-policy", "x-content-type-options", "cache-control"):
        assert len(answer.headers.get_list(name)) == 1
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_session_ends_when_nobody_uses_it_and_what_comes_too_late_is_not_done(
    make: Callable[..., Server], visitor: Open
) -> None:
    server = make()
    sessions: Sessions = server.app.state.sessions
    real, ahead = sessions.clock, 0.0
    sessions.clock = lambda: real() + ahead
    admin = visitor(server)
    admin.open("/routers/r1")
    ahead += IDLE_S - 5
    assert admin.page.evaluate("fetch('/', { headers: { 'X-Live': '1' } }).then((answer) => answer.status)") == 200
    ahead += 10  # a page that asks by itself is nobody who is there
    admin.page.locator("select[name=mode]").first.select_option("listen")
    admin.page.locator("main").get_by_role("button", name="Set").first.click()
    admin.page.get_by_text("Your session has ended. What you sent last was not done.").wait_for()
    admin.check()
    assert server.draft() == server.committed(1)
    admin.page.fill("#token", server.tokens["write"])
    admin.press("Sign in")
    assert admin.path == "/routers/r1", "back where it was"
    for _ in range(int(MOST_S / IDLE_S)):
        ahead += IDLE_S - 1
        admin.page.goto(server.address + "/")
    ahead += IDLE_S - 1
    admin.open("/routers")
    assert admin.path.startswith("/login"), "four hours are the most"


def test_a_session_ends_with_its_token_by_signing_out_and_in_all_browsers_at_once(
    make: Callable[..., Server], visitor: Open
) -> None:
    server = make()
    one, other, third = (visitor(server) for _ in range(3))
    one.open("/session")
    one.press("Sign out")
    one.open("/")
    assert one.path.startswith("/login") and not one.page.context.cookies()
    other.open("/session")
    assert "in 2 browsers" in other.text
    other.press("Sign out in all browsers")
    third.open("/")
    assert third.path.startswith("/login")
    fourth = visitor(server)
    TokenStore(server.folder).revoke("a-write")
    fourth.open("/")
    assert fourth.path.startswith("/login")
    fourth.sign_in(server.tokens["write"])
    assert "That is no token that counts." in fourth.text
    fourth.sign_in(server.tokens["confirm"])
    assert "is for a program" in fourth.text


def test_the_end_of_a_session_is_announced_and_a_press_prevents_it(make: Callable[..., Server], visitor: Open) -> None:
    server = make()
    sessions: Sessions = server.app.state.sessions
    real, ahead = sessions.clock, IDLE_S - 100
    admin = visitor(server)
    sessions.clock = lambda: real() + ahead
    assert admin.page.evaluate("document.getElementById('ending').hidden")
    found = sessions.find
    sessions.find = lambda secret, *, use=True: found(secret, use=False)  # type: ignore[method-assign]
    admin.open("/routers")
    sessions.find = found  # type: ignore[method-assign]
    stay = admin.page.get_by_role("button", name="Stay signed in")
    stay.wait_for()
    stay.click()
    stay.wait_for(state="hidden")
    ahead += 200
    admin.open("/routers")
    assert admin.path == "/routers"


def test_of_two_administrators_at_once_the_second_is_told_and_loses_nothing(
    make: Callable[..., Server], visitor: Open
) -> None:
    server = make()
    anna, ben = visitor(server), visitor(server)
    anna.open("/routers/r1")
    anna.page.locator("select[name=mode]").first.select_option("listen")
    anna.page.locator("main").get_by_role("button", name="Set").first.click()
    anna.page.get_by_text("~ interface r1:a: mode clear -> listen").wait_for()
    for each in (anna, ben):
        each.open("/draft")
        each.fill(why=f"by {'anna' if each is anna else 'ben'}")
    anna.press("Commit version 2")
    ben.press("Commit version 2")
    assert ben.path == "/draft" and "Not done: the last version is 2, not 1" in ben.text
    assert server.version() == 2
    ben.open("/adjacencies?q=r1:a")
    ben.press("Deny r1:a and r2:a")
    for each in (anna, ben):
        each.open("/draft")
    ben.open("/routers/r2")
    ben.page.locator("select[name=mode]").first.select_option("listen")
    ben.page.locator("main").get_by_role("button", name="Set").first.click()
    ben.page.get_by_text("~ interface r2:a").wait_for()
    anna.fill(why="without r1--r2")
    anna.press("Commit version 3")
    assert "the draft was changed by another user meanwhile" in anna.text and server.version() == 2
    assert anna.page.input_value("[name=why]") == "without r1--r2", "what was typed is still there"
    assert "interface r2:a" in anna.text, "and what has changed is shown"
    anna.press("Commit version 3")
    assert server.version() == 3
    anna.open("/history")
    anna.press("Make version 1 the draft")
    assert "~ interface r1:a: mode listen -> clear" in anna.text


def test_hostile_words_in_any_field_are_refused_or_shown_as_words(make: Callable[..., Server], visitor: Open) -> None:
    server = make()
    admin = visitor(server)
    csrf = admin.page.locator("[name=csrf]").first.get_attribute("value")
    cookies = {each["name"]: each["value"] for each in admin.page.context.cookies()}
    refused = 0
    with httpx.Client(base_url=server.address, cookies=cookies) as client:
        for op in fields.models():
            for word in HOSTILE:
                said = {each.name: word for each in fields.fields(op)}
                answer = client.post(f"/change/{op}", data={**said, "csrf": csrf})
                assert answer.status_code == 422, (op, word)
                assert (
                    "<script>alert" not in answer.text
                    and "<img" not in answer.text
                    and "\u202e"
                    not in re.sub(r'value="[^"]*"|<textarea.*?</textarea>', "", answer.text, flags=re.DOTALL)
                )
                refused += 1
        for path in ("/routers", "/adjacencies", "/deployment", "/history", "/routers/r1/removal", "/login"):
            for word in HOSTILE:
                for name in ("q", "segments", "to", "at_once", "protocols", "version", "lease", "next"):
                    answer = client.get(path, params={name: word, "plan": "1"})
                    assert answer.status_code in (200, 422), (path, name, word)
                    assert "<script>alert" not in answer.text and "<img" not in answer.text
    assert refused == len(fields.models()) * len(HOSTILE)
    assert server.draft() == server.committed(1)
    admin.open("/change/adjacency.allow")
    admin.page.fill("[name=a]", HOSTILE[0])
    admin.page.fill("[name=b]", HOSTILE[1])
    admin.press("Change the draft")
    assert admin.page.input_value("[name=a]") == HOSTILE[0], "what was typed is still there"
    admin.open("/change/group.add")
    admin.fill(name=LONG)
    admin.press("Change the draft")
    admin.fill(why=f"{HOSTILE[0]} {HOSTILE[3]}")
    admin.press("Commit version 2")
    assert HOSTILE[0] in admin.text and "\\u202egnihton" in admin.text
    for path in ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)"):
        gone = visitor(server, None)
        gone.page.goto(f"{server.address}/login", wait_until="load")
        gone.page.evaluate("value => { document.querySelector('[name=next]').value = value }", path)
        gone.page.fill("#token", server.tokens["read"])
        gone.press("Sign in")
        assert gone.path == "/"


def test_without_javascript_everything_but_the_drawing_works(make: Callable[..., Server], visitor: Open) -> None:
    server = make()
    admin = visitor(server, None, java_script_enabled=False)
    admin.check = lambda: None  # type: ignore[method-assign]
    admin.sign_in(server.tokens["write"])
    assert "The drawing needs JavaScript" in admin.text
    admin.open("/adjacencies")
    admin.press("Deny r1:a and r2:a")
    admin.fill(a="r1:a", b="r2:a")
    admin.press("Allow the adjacency")
    admin.open("/routers")
    admin.fill(name="r9", key=public_pem(key("r9")).decode())
    admin.press("Add to the draft")
    admin.page.get_by_label("I have compared").check()
    admin.press("Approve r9 under this key")
    admin.open("/draft")
    admin.fill(why="r9 is here")
    admin.press("Commit version 2")
    assert server.version() == 2 and server.draft().routers["r9"].approved


def test_a_fingerprint_that_nobody_compared_approves_nothing(make: Callable[..., Server], visitor: Open) -> None:
    server = make()
    admin = visitor(server)
    admin.open("/routers")
    admin.fill(name="r9", key=public_pem(key("r9")).decode())
    admin.press("Add to the draft")
    admin.page.evaluate("document.querySelector('[name=compared]').required = false")
    admin.press("Approve r9 under this key")
    assert "Compare the fingerprint first" in admin.text and not server.draft().routers["r9"].approved
    admin.page.get_by_label("I have compared").check()
    admin.page.evaluate(
        "value => { document.querySelector('main [name=key]').value = value }", public_pem(key("x")).decode()
    )
    admin.press("Approve r9 under this key")
    assert "a different key" in admin.text and not server.draft().routers["r9"].approved


def test_a_search_finds_routers_by_what_is_said_of_them(make: Callable[..., Server], visitor: Open) -> None:
    admin = visitor(make())
    for words, found in (
        ("r4", {"r1", "r3", "r4"}),
        ("10.0.1.", {"r2", "r3"}),
        ("waits r2", {"r1", "r2", "r3"}),
        ("no such", set()),
    ):
        admin.page.fill("#find", words)
        with admin.page.expect_navigation():
            admin.page.keyboard.press("Enter")
        assert set(admin.page.locator("tbody th").all_inner_texts()) == found, words


def test_sessions_are_bounded_and_keep_no_secret(tmp_path: Path) -> None:
    PolicyStore.create(tmp_path / "s", domain()).close()
    store = TokenStore(tmp_path / "s")
    tokens = [store.find(store.add(f"t{number}", Role.READ, 1)) for number in range(3)]
    sessions = Sessions(store)
    assert tokens[0] is not None and tokens[1] is not None
    first, other = sessions.begin(tokens[0]), sessions.begin(tokens[1])
    later = [sessions.begin(tokens[0]) for _ in range(EACH)]
    assert sessions.find(first) is None and sessions.find(other) is not None
    assert all(sessions.find(each) is not None for each in later) and sessions.count(tokens[0]) == EACH
    assert not any(each in repr(vars(sessions)) for each in (*later, other))
    assert EACH < ALL
    assert sessions.find("") is None and sessions.find("\ud800") is None


def test_an_empty_domain_says_what_comes_first_and_a_removed_router_is_no_complaint(
    make: Callable[..., Server], visitor: Open
) -> None:
    dks = domain().dks
    admin = visitor(make(Domain(name="example", dks=dks), commit=False))
    assert "The domain has no routers yet" in admin.text
    admin.page.get_by_role("link", name="Add each router").click()
    assert admin.path == "/routers"
    server = make()
    with opened(server.folder) as store:
        say(store)
        store.edit(edit.remove_router(store.draft(), "r4"))
        store.commit("admin", "r4 is gone", int(time.time()))
    other = visitor(server)
    other.open("/deployment")
    assert "not taken" not in other.text and "r4" not in other.text


def test_the_first_document_of_a_router_and_the_key_that_it_pins_are_files_of_the_page(
    make: Callable[..., Server], visitor: Open
) -> None:
    admin = visitor(make(), "read")
    admin.open("/routers/r1")
    found = []
    for name in ("r1.cose", "policy-server.pem"):
        with admin.page.expect_download() as download:
            admin.page.get_by_role("link", name=name, exact=True).click()
        assert download.value.suggested_filename == name
        found.append(download.value.path().read_bytes())
    key = public_key_from_pem(found[1], "policy-server.pem")
    assert verify_document(found[0], key, domain="example", router="r1").version == 1


def test_an_interface_needs_its_name_alone_and_a_mistake_is_told_in_words(
    make: Callable[..., Server], visitor: Open
) -> None:
    server = make()
    admin = visitor(server)
    admin.open("/routers/r4")
    admin.fill(at="an interface", address="10.9.0.1/30", link_local="fe80::9")
    admin.press("Add to the draft")
    assert "at.interface: 'an interface' is not valid; allowed: the name of an interface, as eth0" in admin.text
    assert "Tuple" not in admin.text and "pattern" not in admin.text
    admin.fill(at="eth9")
    admin.press("Add to the draft")
    assert "+ interface r4:eth9 10.9.0.1/30 clear" in admin.text
    admin.page.get_by_role("link", name="See the draft").click()
    assert admin.path == "/draft"
    admin.open("/history")
    assert "The draft has 1 change; a rollback drops it." in admin.text
    admin.press("Drop the draft's changes")
    assert server.draft() == server.committed(1)
    admin.open("/history")
    assert "the draft is as this one" in admin.text


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "no bound"), (60.872, "1m1s"), (4580.73, "1h16m21s"), (7200.1, "2h1m"), (30 * 86400, "30d"), (0, "0s")],
)
def test_a_bound_is_rounded_up(value: float | None, words: str) -> None:
    assert bounded(value) == words
