"""The guard's ruleset: what is written is what is read back."""

from __future__ import annotations

import socket

import pytest

from agents.ipsec import guard
from agents.ipsec.guard import UNTOUCHED, NftGuard, guards_in, ruleset
from agents.ipsec.model import Guard

GUARDS = frozenset(
    Guard(name, family, number)
    for name in ("r1-eth0", "r1-eth1")
    for family in (socket.AF_INET, socket.AF_INET6)
    for number in (89, 103)
)


def test_the_guards_are_read_back_from_their_ruleset() -> None:
    assert guards_in(ruleset(GUARDS)) == GUARDS


def test_no_guards_leave_no_table() -> None:
    assert guards_in(ruleset([])) == frozenset()
    assert "{" not in ruleset([])


def test_a_name_that_could_carry_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="interface name"):
        ruleset([Guard('x" drop', socket.AF_INET, 89)])


def test_the_guards_are_read_back_from_what_nft_prints_in_numbers() -> None:
    listing = (
        "table inet routing_key_guard {\n\tchain ingress_0 {\n"
        '\t\ttype filter hook ingress device "lo" priority -500; policy accept;\n'
        "\t\tmeta nfproto 2 meta l4proto 89 drop\n"
        "\t\tmeta nfproto 10 meta l4proto 103 drop\n\t}\n}\n"
    )
    assert guards_in(listing) == {Guard("lo", socket.AF_INET, 89), Guard("lo", socket.AF_INET6, 103)}


def test_a_register_that_passes_through_is_not_dropped_at_the_device() -> None:
    rules = [line for line in ruleset(GUARDS).splitlines() if "l4proto 103" in line]
    assert rules and all("daddr 224.0.0.13 drop" in line or "daddr ff02::d drop" in line for line in rules)


def test_a_guard_of_a_group_is_read_back_when_nft_leaves_the_family_out() -> None:
    listing = 'device "lo"\n meta l4proto 103 ip daddr 224.0.0.13 drop\n meta l4proto pim ip6 daddr ff02::d drop\n'
    assert guards_in(listing) == {Guard("lo", socket.AF_INET, 103), Guard("lo", socket.AF_INET6, 103)}


class Kernel:
    """Stands for nftables: counts the looks at it, and numbers its changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number: int | None = UNTOUCHED
        self.text, self.looks, self.foreign = "", 0, 0
        monkeypatch.setattr(guard, "generation", lambda: self.number)
        monkeypatch.setattr(NftGuard, "_nft", self.nft)

    def nft(self, *arguments: str, script: str | None = None, missing_ok: bool = False) -> str:
        if script is None:
            self.looks += 1
        else:
            self.text = script
            self.number = self.number and self.number + 1 + self.foreign
        return self.text


def test_where_nothing_ever_was_and_nothing_is_wanted_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    assert not NftGuard().apply(()) and kernel.looks == 0
    kernel.number = 2
    assert not NftGuard().apply(()) and kernel.looks == 1


def test_what_is_in_force_is_looked_at_again_only_when_somebody_changed_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, ours = Kernel(monkeypatch), NftGuard()
    assert ours.apply(tuple(GUARDS)) and not ours.apply(tuple(GUARDS))
    assert kernel.looks == 1
    kernel.text, kernel.number = "", 7
    assert ours.apply(tuple(GUARDS)) and kernel.looks == 2
    assert guards_in(kernel.text) == GUARDS


def test_a_change_of_somebody_elses_beside_our_own_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, ours = Kernel(monkeypatch), NftGuard()
    kernel.foreign = 1
    assert ours.apply(tuple(GUARDS))
    kernel.text, kernel.foreign = "", 0
    assert ours.apply(tuple(GUARDS)) and guards_in(kernel.text) == GUARDS


def test_a_kernel_that_does_not_say_its_generation_is_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, ours = Kernel(monkeypatch), NftGuard()
    kernel.number = None
    assert ours.apply(tuple(GUARDS)) and not ours.apply(tuple(GUARDS))
    assert kernel.looks == 2
