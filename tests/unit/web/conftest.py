"""A Policy Server that answers, and a browser that asks: every test of pages opens them as people do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import axe_playwright_python
import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from agents.policy.api.access import opened
from agents.policy.api.app import create_app
from agents.policy.api.connections import bounded
from agents.policy.api.tokens import Role, TokenStore
from agents.policy.domain import Domain
from agents.policy.store import PolicyStore
from testbed.simulation.parties import POLICY_SERVER
from tests.unit.policy.test_rollout import domain

HOST = "127.0.0.1"
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
REFUSED = "Failed to load resource: the server responded with a status of 4"
"""What a browser says of a page that tells why something was not done."""


class Server:
    """A store and its Policy Server, in this process, so that a test has its clock."""

    def __init__(self, folder: Path, begin: Domain, *, commit: bool = True) -> None:
        self.folder = folder
        store = PolicyStore.create(folder, begin, POLICY_SERVER)
        if commit:
            store.commit("admin", "begin", int(time.time()))
        store.close()
        store = TokenStore(folder)
        self.tokens = {role.value: store.add(f"a-{role.value}", role, 1000) for role in Role}
        self.app = create_app(folder, [HOST])
        config = uvicorn.Config(self.app, host=HOST, port=0, log_config=None, http=bounded(), lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
        self.address = f"http://{HOST}:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def draft(self) -> Domain:
        with opened(self.folder) as store:
            return store.draft()

    def committed(self, version: int) -> Domain:
        with opened(self.folder) as store:
            return store.domain(version)

    def version(self) -> int:
        with opened(self.folder) as store:
            return store.version

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()


class Admin:
    """Somebody at a browser. Whatever the browser complains of, or axe finds, is a failure."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self._judged: set[object] = set()
        page.set_default_timeout(10_000)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(REFUSED):
            self.complaints.append(message.text)

    def sign_in(self, token: str) -> Admin:
        self.open("/login")
        self.page.fill("#token", token)
        self.press("Sign in")
        return self

    def open(self, path: str) -> None:
        self.page.goto(self.address + path)
        self.check()

    def press(self, name: str) -> None:
        """A button by what it says."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).click()
        self.check()

    def fill(self, **fields: str) -> None:
        """Fields of the page's last form that has them, by name."""
        for name, value in fields.items():
            self.page.locator(f"main form[method=post] [name={name}]:not([type=hidden])").last.fill(value)

    def check(self) -> None:
        """No complaint of the browser, nothing found by axe (once for each kind of page), nothing wider than the
        window."""
        kind = self.page.title(), *(self.page.locator(each).count() for each in (".problem", ".notice", "form"))
        if kind not in self._judged:
            self._judged.add(kind)
            self.page.evaluate(AXE)
            ask = "rules => axe.run(document, { runOnly: rules }).then(found => found.violations.map(each => "
            found = self.page.evaluate(f"{ask}`${{each.id}}: ${{each.nodes[0].html}}`))", RULES)
            assert found == [], self.page.url
        wide, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= window, self.page.url
        assert self.complaints == [], self.page.url

    @property
    def text(self) -> str:
        return self.page.locator("main").inner_text()

    @property
    def path(self) -> str:
        return self.page.url.removeprefix(self.address)


Open = Callable[..., Admin]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path="/usr/bin/chromium-headless-shell", args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(begin: Domain | None = None, *, commit: bool = True) -> Server:
        made.append(Server(tmp_path / f"store{len(made)}", domain() if begin is None else begin, commit=commit))
        return made[-1]

    yield start
    for server in made:
        server.close()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Open]:
    """Opens a browser of its own for somebody at a server."""
    contexts = []

    def come(server: Server, role: str | None = "write", **options: object) -> Admin:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        admin = Admin(context.new_page(), server.address)
        return admin.sign_in(server.tokens[role]) if role is not None else admin

    yield come
    for context in contexts:
        context.close()
