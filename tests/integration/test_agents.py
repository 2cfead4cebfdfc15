"""Real LKS daemons in namespaces, with a real kernel between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.policy.keys import write_private_key
from tests.integration.agents_lab import AgentLab, wait_for

pytestmark = pytest.mark.guest


@pytest.fixture
def pair() -> Iterator[AgentLab]:
    lab = AgentLab(("a", "b"))
    yield lab
    lab.close()


def _story(lab: AgentLab) -> str:
    return "\n".join(
        f"{name}: {router.log()}\n{[each for each in router.events() if each['kind'] != 'sa'][-12:]}"
        for name, router in lab.routers.items()
    )


def test_two_routers_key_themselves_and_multicast_passes(pair: AgentLab) -> None:
    for router in pair.routers.values():
        router.start()
    assert wait_for(pair.keyed, 20), _story(pair)
    assert pair.passes("a", "b") == 3, _story(pair)
    assert pair.passes("b", "a") == 3, _story(pair)


def test_a_router_without_a_keyed_neighbour_hears_nothing(pair: AgentLab) -> None:
    pair.routers["b"].start()
    assert wait_for(lambda: bool(pair.routers["b"].events("state_loaded")), 20), _story(pair)
    assert pair.passes("a", "b") == 0


def test_a_daemon_that_was_killed_comes_back_with_new_keys(pair: AgentLab) -> None:
    for router in pair.routers.values():
        router.start()
    assert wait_for(pair.keyed, 20), _story(pair)
    before = {each["spi"] for each in pair.routers["b"].events("sa") if each["direction"] == "out"}
    pair.routers["b"].kill()
    pair.routers["b"].start()
    assert wait_for(lambda: pair.keyed() and pair.passes("a", "b") == 3 and pair.passes("b", "a") == 3, 20), _story(
        pair
    )
    starts = [each["generation_floor"] for each in pair.routers["b"].events("state_loaded")]
    assert starts[0] == 0 and starts[1] > 0
    after = {each["spi"] for each in pair.routers["b"].events("sa") if each["direction"] == "out"}
    assert after > before


def test_a_router_with_a_wrong_key_is_refused(pair: AgentLab) -> None:
    wrong = pair.routers["b"].folder / "identity.pem"
    wrong.unlink()
    write_private_key(wrong, Ed25519PrivateKey.generate())
    for router in pair.routers.values():
        router.start()
    assert not wait_for(pair.keyed, 15)
    assert not pair.routers["a"].events("member")
    assert pair.passes("b", "a") == 0


def test_four_routers_on_a_lan_key_themselves() -> None:
    lab = AgentLab(("a", "b", "c", "d"))
    try:
        for router in lab.routers.values():
            router.start()
        assert wait_for(lab.keyed, 20), _story(lab)
        assert lab.passes("a", "d") == 3, _story(lab)
    finally:
        lab.close()
