"""What an administrator does with pages, one deed a function: of a simulated domain, and of one that a guest runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.policy.keys import public_pem, spki
from tests.unit.web.conftest import Admin


def add(admin: Admin, name: str, key: Ed25519PrivateKey, places: Mapping[str, tuple[str, str]]) -> None:
    """A router with its interfaces, their IPv4 and link-local addresses, approved under the fingerprint that the router
    shows."""
    admin.open("/routers")
    admin.fill(name=name, key=public_pem(key).decode())
    admin.press("Add to the draft")
    assert admin.path == f"/routers/{name}" and "Not approved" in admin.text
    digits = hashlib.sha256(spki(key)).hexdigest()
    assert admin.page.locator(".fingerprint").inner_text().replace(" ", "") == digits
    admin.page.get_by_label("I have compared").check()
    admin.press(f"Approve {name} under this key")
    for place, (address, link_local) in places.items():
        admin.fill(at=place, address=address, link_local=link_local)
        admin.press("Add to the draft")
        assert address in admin.text


def draw(admin: Admin, one: str, other: str) -> None:
    """From router to router with the mouse."""
    boxes = [admin.page.locator(f'.router[data-name="{name}"] circle').bounding_box() for name in (one, other)]
    (x1, y1), (x2, y2) = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes if box]
    admin.page.mouse.move(x1, y1)
    admin.page.mouse.down()
    admin.page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2 + 5, steps=3)
    admin.page.mouse.move(x2, y2, steps=3)
    admin.page.mouse.up()


def commit(admin: Admin, who: str, why: str, version: int) -> None:
    """The draft, with a reason; the history has it then."""
    admin.open("/draft")
    admin.fill(why=why)
    admin.press(f"Commit version {version}")
    row = admin.page.locator("tbody tr").first.inner_text()
    assert why in row and who in row and row.startswith(str(version))
