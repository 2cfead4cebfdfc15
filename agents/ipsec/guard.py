"""Drops cleartext routing packets at a `required` interface itself, with an nftables table.

The SPD cannot name the interface an IPv4 packet came in by. Where every interface is
`required` it need not; beside a `clear` one this closes the gap. The table sits on the
interfaces' ingress, where a protected packet is still ESP. It is ours alone: it is found
by its name, replaced in one transaction, and nothing else is touched. Of PIM only what goes
to its group is dropped: Registers of others pass through this router. Needs the `nft`
program and a kernel with inet ingress (5.10). Knows nothing of SAs.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Iterable

from agents.ipsec.model import Guard

TABLE = "routing_key_guard"
# Netlink's numbers: the request for nftables' generation, and its answer.
_NETFILTER, _REQUEST, _GET_GENERATION, _NEW_GENERATION = 12, 1, 10 << 8 | 16, 10 << 8 | 15
_ANSWER = struct.Struct("=IHHII4xHHI")
UNTOUCHED = 1
"""The generation of a network namespace in which nobody has ever changed nftables."""
_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")
_CHAIN = re.compile(r'device\s*=?\s*\{?\s*"(?P<device>[^"]+)"')
_RULE = re.compile(r"meta l4proto (?P<protocol>\w+)")
_FAMILIES = {
    socket.AF_INET: re.compile(r"meta nfproto (ipv4|2)\b|\bip daddr"),
    socket.AF_INET6: re.compile(r"meta nfproto (ipv6|10)\b|\bip6 daddr"),
}
_NUMBERS = {"ospf": 89, "ospfigp": 89, "pim": 103}
_GROUPS: dict[tuple[int, int], str] = {
    (socket.AF_INET, 103): " ip daddr 224.0.0.13",
    (socket.AF_INET6, 103): " ip6 daddr ff02::d",
}


class GuardError(RuntimeError):
    """nftables refused; the text is its own."""


def ruleset(guards: Iterable[Guard]) -> str:
    """The nft script that puts exactly these guards in force, in one transaction."""
    by_interface: dict[str, list[Guard]] = {}
    for guard in sorted(guards, key=lambda g: (g.interface, g.family, g.protocol)):
        if not _NAME.fullmatch(guard.interface):
            raise ValueError(f"{guard.interface!r} is no interface name")
        by_interface.setdefault(guard.interface, []).append(guard)
    # Adding first makes the deletion right whether the table was there or not.
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}"]
    if by_interface:
        lines.append(f"table inet {TABLE} {{")
        for number, (interface, rules) in enumerate(by_interface.items()):
            lines.append(f"  chain ingress_{number} {{")
            lines.append(f'    type filter hook ingress device "{interface}" priority -500; policy accept;')
            for guard in rules:
                family = "ipv4" if guard.family == socket.AF_INET else "ipv6"
                group = _GROUPS.get((guard.family, guard.protocol), "")
                lines.append(f"    meta nfproto {family} meta l4proto {guard.protocol}{group} drop")
            lines.append("  }")
        lines.append("}")
    return "\n".join(lines) + "\n"


def guards_in(listing: str) -> frozenset[Guard]:
    """The guards that `nft -nn list table` shows."""
    found = set()
    device = ""
    for line in listing.splitlines():
        if chain := _CHAIN.search(line):
            device = chain["device"]
        elif rule := _RULE.search(line):
            name = rule["protocol"]
            number = _NUMBERS[name] if name in _NUMBERS else int(name)
            found |= {Guard(device, each, number) for each, shown in _FAMILIES.items() if shown.search(line)}
    return frozenset(found)


def generation() -> int | None:
    """How often nftables was changed in the namespace that the caller is in, by whomever; None when it does not say."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
            kernel.settimeout(1.0)
            kernel.send(struct.pack("=IHHII4x", 20, _GET_GENERATION, _REQUEST, 1, 0))
            answer = kernel.recv(4096)
    except OSError:
        return None
    if len(answer) < _ANSWER.size:
        return None
    _length, kind, _flags, _sequence, _port, _size, _attribute, number = _ANSWER.unpack_from(answer)
    return socket.ntohl(number) if kind == _NEW_GENERATION else None


class NftGuard:
    """The guard table of the network namespace that the caller is in.

    Asking the kernel for its generation is one message; a look at the table is a program.
    """

    def __init__(self) -> None:
        self._in_force: tuple[int, frozenset[Guard]] | None = UNTOUCHED, frozenset()

    def apply(self, guards: tuple[Guard, ...]) -> bool:
        """Have exactly these guards in force; True when something had to change."""
        wanted = frozenset(guards)
        before = generation()
        if before is not None and (before, wanted) == self._in_force:
            return False
        self._in_force = None
        if guards_in(self._nft("-nn", "list", "table", "inet", TABLE, missing_ok=True)) == wanted:
            self._in_force = None if before is None else (before, wanted)
            return False
        self._nft("-f", "-", script=ruleset(wanted))
        # With more changes than our own in between, the next time looks.
        if before is not None and generation() == before + 1:
            self._in_force = before + 1, wanted
        return True

    @staticmethod
    def _nft(*arguments: str, script: str | None = None, missing_ok: bool = False) -> str:
        done = subprocess.run(["nft", *arguments], input=script, capture_output=True, text=True, check=False)
        if done.returncode and not (missing_ok and "No such file" in done.stderr):
            raise GuardError(done.stderr.strip())
        return done.stdout
