"""The guard's table: what is written is what is found again, and nobody looks without need."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from agents.ipsec import nftables
from agents.ipsec.guard import TABLE, GuardError, NftGuard, chains
from agents.ipsec.model import Guard
from agents.ipsec.nftables import UNTOUCHED, delete_all, generation
from agents.runtime.netlink import HEADER, attributes, parts

GUARDS = frozenset(
    Guard(name, family, number)
    for name in ("r1-eth0", "r1-eth1")
    for family in (socket.AF_INET, socket.AF_INET6)
    for number in (89, 103)
)


class Kernel:
    """nftables of one namespace, as netlink shows it: keeps tables, numbers changes, answers in an order of its own."""

    def __init__(self) -> None:
        self.number: int | None = UNTOUCHED
        self.foreign = self.looks = 0
        self.refuses: int | None = None
        self.devices = {"r1-eth0", "r1-eth1", "lo"}
        self.tables: dict[bytes, tuple[list[bytes], list[bytes]]] = {}
        """By name the attributes of chains and of rules."""
        self._answers: list[bytes] = []

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.clear()

    def send(self, data: bytes) -> None:
        found = list(parts(data))
        kind = found[0][0]
        if kind == 0x10:
            self._transaction(found)
        elif kind == 10 << 8 | 16:
            if self.number is not None:
                self._answers.append(
                    self._message(10 << 8 | 15, struct.pack("=HH", 8, 1) + struct.pack("!I", self.number))
                )
        else:
            self.looks += kind == 10 << 8 | 4
            part = {4: 0, 7: 1}[kind & 0xFF]
            listed = [each for table in self.tables.values() for each in table[part]]
            self._answers += [self._message(10 << 8 | (3, 6)[part], each) for each in listed]
            self._answers.append(self._message(3, bytes(4), generic=b""))

    def recv(self, _size: int) -> bytes:
        if not self._answers:
            raise TimeoutError
        return self._answers.pop(0)

    def _transaction(self, found: list[tuple[int, int, int, bytes]]) -> None:
        tables = {name: (list(a), list(b)) for name, (a, b) in self.tables.items()}
        for kind, _flags, number, body in found[1:-1]:
            found_there = dict(attributes(body[4:]))
            if error := self._job(kind & 0xFF, found_there, body, tables):
                self._answers.append(self._message(2, struct.pack("=i", -error), number, generic=b""))
        last = found[-2][2]
        if self._answers:
            self._answers.append(self._message(2, bytes(4), last, generic=b""))
            return
        self.tables = tables
        self.number = self.number and self.number + 1 + self.foreign
        self._answers.append(self._message(2, bytes(4), last, generic=b""))

    def _job(
        self, kind: int, found: dict[int, bytes], body: bytes, tables: dict[bytes, tuple[list[bytes], list[bytes]]]
    ) -> int:
        if self.refuses == kind:
            return errno.EOPNOTSUPP
        if kind == 2 and not found:
            tables.clear()
        elif kind == 2:
            return 0 if tables.pop(found[1], None) else errno.ENOENT
        elif kind == 0:
            tables.setdefault(found[1], ([], []))
        elif found[1] not in tables:
            return errno.ENOENT
        elif kind == 3:
            hook = dict(attributes(found[4]))
            if hook[3].rstrip(b"\0").decode() not in self.devices:
                return errno.ENOENT
            tables[found[1]][0].append(as_dumped(body[4:]))
        else:
            tables[found[1]][1].append(as_dumped(body[4:]))
        return 0

    @staticmethod
    def _message(kind: int, body: bytes, number: int = 1, generic: bytes = b"\x01\0\0\0") -> bytes:
        return HEADER.pack(HEADER.size + len(generic) + len(body), kind, 0, number, 0) + generic + body


def as_dumped(body: bytes) -> bytes:
    """The same attributes in the opposite order, without the flag of nested ones, but for lists: as kernels do."""
    found = []
    for kind, value in attributes(body):
        inner = as_dumped(value) if is_nested(value) else value
        found.append(struct.pack("=HH", 4 + len(inner), kind) + inner + bytes(-len(inner) % 4))
    is_list = len({kind for kind, _ in attributes(body)}) == 1
    return b"".join(found if is_list else reversed(found))


def is_nested(value: bytes) -> bool:
    """Whether these octets are attributes, whole and none of them empty; text and numbers are not."""
    try:
        inner = list(attributes(value))
    except ValueError:
        return False
    return bool(inner) and sum(4 + len(each) + -len(each) % 4 for _, each in inner) == len(value)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    found = Kernel()
    monkeypatch.setattr(nftables, "_connected", lambda octets=0: found)
    yield found


def test_what_is_written_is_found_again_by_whoever_looks(kernel: Kernel) -> None:
    assert NftGuard().apply(tuple(GUARDS))
    assert len(kernel.tables) == 1 and len(kernel.tables[TABLE.encode() + b"\0"][1]) == len(GUARDS)
    kernel.number = 7
    assert not NftGuard().apply(tuple(GUARDS))


@pytest.mark.parametrize("left_out", sorted(GUARDS, key=str))
def test_a_rule_that_is_missing_or_another_one_is_noticed(kernel: Kernel, left_out: Guard) -> None:
    NftGuard().apply(tuple(GUARDS - {left_out}))
    kernel.number = 7
    assert NftGuard().apply(tuple(GUARDS)) and not NftGuard().apply(tuple(GUARDS))


def test_a_table_with_a_rule_of_another_kind_is_made_anew(kernel: Kernel) -> None:
    ours = NftGuard()
    ours.apply(tuple(GUARDS))
    _chains, rules = kernel.tables[TABLE.encode() + b"\0"]
    accept = rules[0].replace(struct.pack("=HH", 8, 1) + bytes(4), struct.pack("=HH", 8, 1) + struct.pack("!I", 1))
    assert accept != rules[0]
    rules[0] = accept
    kernel.number = 7
    assert ours.apply(tuple(GUARDS))
    kernel.number = 9
    assert not ours.apply(tuple(GUARDS))


def test_no_guards_leave_no_table(kernel: Kernel) -> None:
    ours = NftGuard()
    assert ours.apply(tuple(GUARDS)) and ours.apply(())
    assert kernel.tables == {}


def test_a_name_that_could_carry_a_rule_is_refused_before_anything_is_done(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="interface name"):
        NftGuard().apply((Guard('x" drop', socket.AF_INET, 89),))
    assert kernel.number == UNTOUCHED


def test_a_register_that_passes_through_is_not_dropped_at_the_device() -> None:
    pim = [match for each in chains(GUARDS).values() for match in each if match.protocol == 103]
    groups = {socket.AF_INET: "224.0.0.13", socket.AF_INET6: "ff02::d"}
    assert pim and all(each.destination == socket.inet_pton(each.family, groups[each.family]) for each in pim)


def test_where_nothing_ever_was_nobody_looks(kernel: Kernel) -> None:
    assert not NftGuard().apply(()) and kernel.looks == 0
    assert NftGuard().apply(tuple(GUARDS)) and kernel.looks == 0
    assert not NftGuard().apply(tuple(GUARDS)) and kernel.looks == 1


def test_what_is_in_force_is_looked_at_again_only_when_somebody_changed_something(kernel: Kernel) -> None:
    ours = NftGuard()
    assert ours.apply(tuple(GUARDS)) and not ours.apply(tuple(GUARDS)) and kernel.looks == 0
    delete_all()
    kernel.number = 7
    assert ours.apply(tuple(GUARDS)) and kernel.looks == 1
    assert not NftGuard().apply(tuple(GUARDS))


def test_a_change_of_somebody_elses_beside_our_own_is_looked_for(kernel: Kernel) -> None:
    ours = NftGuard()
    kernel.foreign = 1
    assert ours.apply(tuple(GUARDS))
    kernel.foreign = 0
    delete_all()
    assert ours.apply(tuple(GUARDS)) and kernel.looks == 1


def test_a_kernel_that_does_not_say_its_generation_is_looked_at_each_time(kernel: Kernel) -> None:
    ours = NftGuard()
    kernel.number = None
    assert ours.apply(tuple(GUARDS)) and not ours.apply(tuple(GUARDS))
    assert kernel.looks == 2


def test_an_interface_that_is_gone_is_told_and_nothing_is_half_done(kernel: Kernel) -> None:
    ours = NftGuard()
    ours.apply(tuple(GUARDS))
    before = dict(kernel.tables)
    with pytest.raises(GuardError, match="No such file"):
        ours.apply((*GUARDS, Guard("gone0", socket.AF_INET, 89)))
    assert kernel.tables == before
    assert ours.apply(()) and kernel.tables == {}


@pytest.mark.parametrize("kind", [0, 3, 6])
def test_a_kernel_without_a_part_of_nftables_refuses_in_its_own_words(kernel: Kernel, kind: int) -> None:
    kernel.refuses = kind
    with pytest.raises(GuardError, match="not supported"):
        NftGuard().apply(tuple(GUARDS))
    assert kernel.tables == {}


def test_answers_that_are_no_answers_are_no_generation_and_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Kernel):
        def recv(self, _size: int) -> bytes:
            return b"\x20\0\0\0" + bytes(12)

    broken = Broken()
    broken.send = lambda data: None  # type: ignore[method-assign]
    monkeypatch.setattr(nftables, "_connected", lambda: broken)
    assert generation() is None
    with pytest.raises((OSError, ValueError)):
        nftables.holds(TABLE, {})
