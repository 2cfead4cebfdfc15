"""An administrator who has only the page, and routers that do what it says."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

from agents.policy import bound, durations
from agents.policy.document import DksEntry
from agents.policy.domain import Domain
from agents.policy.keys import spki
from testbed.domains.drawn import DKS_ADDRESS
from testbed.simulation.parties import key
from tests.unit.web.conftest import Admin, Open, Server
from tests.unit.web.deeds import add, commit, draw
from tests.unit.web.laboratory import PLACES, Laboratory


def to_the_end(admin: Admin, laboratory: Laboratory, steps: int) -> None:
    """Steps one after the other, each when all have confirmed the one before."""
    for _ in range(steps):
        laboratory.live()
        admin.open("/deployment")
        assert "What is waited for" not in admin.text
        admin.press("Take the next step")
        assert "Not done" not in admin.text


def test_an_administrator_with_only_the_page_takes_three_routers_to_required_removes_one_and_goes_back(
    make: Callable[..., Server], visitor: Open
) -> None:
    dks = DksEntry(name="dks", key=spki(key("dks")), addresses=(DKS_ADDRESS,))
    server = make(Domain(name="example", dks=dks), commit=False)
    admin, laboratory = visitor(server), Laboratory(server)

    # From nothing: routers, interfaces, adjacencies; one is drawn, one comes from the list.
    assert "nothing committed yet" in admin.page.locator("header").inner_text()
    for name in ("r1", "r2", "r3"):
        add(admin, name, key(name), {place: at for place, at in PLACES.items() if place.startswith(f"{name}:")})
    admin.open("/")
    draw(admin, "r1", "r2")
    assert [admin.page.input_value(f"#f-{end}") for end in "ab"] == ["r1:r1-e0", "r2:r2-e0"]
    admin.press("Allow the adjacency")
    admin.open("/adjacencies")
    admin.fill(a="r2:r2-e1", b="r3:r3-e0")
    admin.press("Allow the adjacency")
    assert "2 of 2 adjacencies" in admin.text
    commit(admin, "a-write", "three routers in a row", 1)
    laboratory.begin()

    # To required: nobody has confirmed anything at first, and the page says who is waited for, live.
    admin.open("/deployment")
    admin.press("Show the plan")
    assert admin.page.locator(".plan li").count() == 6
    admin.press("Start, and take the first step")
    assert "r1 has confirmed nothing" in admin.text and server.version() == 1
    laboratory.live(900)
    assert laboratory.modes("r1") == {"clear"}
    admin.press("Show the plan")
    admin.press("Start, and take the first step")
    assert "Version 2" in admin.text and "r1 has confirmed version 1, and not yet 2" in admin.text
    laboratory.live()
    admin.page.get_by_text("the next one can be taken").wait_for()
    assert "r1 has confirmed version 1" not in admin.text, "the page has asked again by itself"
    to_the_end(admin, laboratory, 5)
    laboratory.live()
    admin.open("/deployment")
    assert "Done: every segment is required" in admin.text
    assert [laboratory.modes(name) for name in ("r1", "r2", "r3")] == [{"required"}] * 3
    assert laboratory.hears("r2") == {"r2-e0", "r2-e1"}
    admin.open("/")
    assert admin.page.locator(".way.full").count() == 2

    # Without r3: the bound before the button, and then how far the list has spread.
    admin.open("/routers/r3/removal")
    within = bound.explain(server.draft(), "r3")["cases"]["dks"]["total_s"]
    assert durations.spell(math.ceil(within)) in admin.page.locator(".bounds div").first.inner_text()
    admin.press("Remove r3 in the draft")
    assert "key of router r3, permanently" in admin.text
    commit(admin, "a-write", "r3 was stolen", server.version() + 1)
    admin.open("/revocations")
    assert "0 of 2 routers" in admin.text and hashlib.sha256(spki(key("r3"))).hexdigest() in admin.text
    laboratory.live(within)
    admin.page.get_by_text("2 of 2 routers").wait_for()
    assert laboratory.hears("r2") == {"r2-e0"}

    # And back to clear.
    admin.open("/deployment")
    admin.press("Turn round, and take the first step")
    to_the_end(admin, laboratory, 5)
    laboratory.live()
    admin.open("/deployment")
    assert "Done: every segment is clear" in admin.text
    assert laboratory.modes("r1") == laboratory.modes("r2") == {"clear"}
    assert laboratory.hears("r1") == set()
