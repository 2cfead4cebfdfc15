"""Who keeps whose documents: the Policy Server says so, in the documents or by leaving it to them."""

from __future__ import annotations

import pytest

from agents.policy.compile import compile_documents
from agents.policy.document import MAX_CARRIES, PolicyDocument, encode_document
from agents.policy.domain import Settings
from testbed.simulation.network import Network

TREE = {"a--b": ("a", "b"), "b--c": ("b", "c"), "c--d": ("c", "d"), "b--e": ("b", "e")}


def carried(router: str, count: int | None) -> tuple[str, ...]:
    network = Network(TREE, settings=Settings(carries=count))
    return network.documents[router].carried


def test_a_router_carries_the_documents_of_the_nearest_and_where_there_is_no_room_for_all_names_decide() -> None:
    assert carried("a", 1) == ("b",)
    assert carried("a", 2) == ("b", "c")
    assert carried("a", 3) == ("b", "c", "e")
    assert carried("d", 16) == ("a", "b", "c", "e")
    assert carried("d", 0) == ()


def test_a_document_that_says_nothing_of_it_has_the_octets_that_it_had_and_its_router_carries_its_neighbours() -> None:
    document = Network(TREE, settings=Settings()).documents["b"]
    assert b"carries" not in encode_document(document)
    assert document.carried == ("a", "c", "e")


def test_a_link_more_changes_no_other_document_where_everybody_carries_all() -> None:
    network = Network(TREE, settings=Settings(carries=16))
    before = network.documents
    later = compile_documents(network.domain, 7, 0, before)
    assert later == before


@pytest.mark.parametrize(
    "wrong", [("b", "a"), ("a", "a"), ("c",), tuple(f"r{number:02}" for number in range(MAX_CARRIES + 1))]
)
def test_a_document_names_other_routers_once_each_in_order_and_not_too_many(wrong: tuple[str, ...]) -> None:
    document = Network({"c--d": ("c", "d")}).documents["c"]
    with pytest.raises(ValueError, match=r"carries|at most 64"):
        PolicyDocument.model_validate({**dict(document), "carries": wrong})
