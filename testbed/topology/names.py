"""Which names a router, a host or a LAN can have, and how a graph's labels become such names.

The form is that of `units.NAME_PATTERN`; here is what it does not say: words that mean something else. Knows no files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from testbed.topology.units import MAX_NAME

# Words that stand for something else where nodes are named: in the record, in fault timelines, in policies.
RESERVED = {
    "dks": "the key server",
    "lab": "the laboratory in the record",
    "all": "every router in fault timelines",
    "wires": "the wires between the nodes, for lab shell",
    "intruder": "the intruder in the record",
    "management": "the network that joins the DKS to every router",
    "policy-server": "the signer of the domain's policy",
    "revocation": "the file of the domain's revoked keys",
}
# The first word at Mininet's prompt is a node or a command. Nodes go first, so these would hide what people need;
# `x` and `source` are left out, since xterm has another name and a script can be piped in.
PROMPT_WORDS = frozenset((
    "EOF", "dpctl", "dump", "exit", "fault", "gterm", "help", "intfs", "iperf", "iperfudp", "link", "links", "net",
    "nodes", "noecho", "pingall", "pingallfull", "pingpair", "pingpairfull", "ports", "px", "py", "quit", "sh",
    "switch", "time", "wait", "xterm",
))  # fmt: skip
_NUMBER = re.compile(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+))*", re.IGNORECASE)
# Letters that are no other letter with an accent.
_LETTERS = str.maketrans({"ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ß": "ss", "ł": "l", "Ł": "L",
                          "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"})  # fmt: skip
_NO_LABELS = frozenset({"", "None", "?"})


def refusal(name: str, *, node: bool = True) -> str | None:
    """Why nothing can be called so, None when something can. `node`: a router or a host, to which people type."""
    if name.lower() in RESERVED:
        return f"{name} is {RESERVED[name.lower()]}"
    if node and name in PROMPT_WORDS:
        return f"{name} is a command at the mininet> prompt"
    if node and _NUMBER.fullmatch(name):
        return f"{name} is a number or an address to ping and ssh"
    return None


def of_file(stem: str) -> str:
    """The name of a topology that gives itself none: it becomes part of paths."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:MAX_NAME] or "topology"


def alike(names: Iterable[str]) -> dict[str, str]:
    """Names that differ from an earlier one in letter case only, with that one."""
    first: dict[str, str] = {}
    return {name: first[name.lower()] for name in names if first.setdefault(name.lower(), name) != name}


def from_labels(labels: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """A name for each label, all different from each other and from those taken, letter case aside.

    Letters lose their accents; what else no name can have becomes a hyphen. A label of which too little is left
    becomes `n` and its place. The second of one name is `NAME-2`.
    """
    used = {name.lower() for name in taken}
    names = []
    for number, label in enumerate(labels, 1):
        plain = unicodedata.normalize("NFKD", label.translate(_LETTERS)).encode("ascii", "ignore").decode()
        base = re.sub(r"[-._]{2,}", "-", re.sub(r"[^A-Za-z0-9._]+", "-", plain)).strip("-._")[:MAX_NAME].strip("-._")
        name = base if base and label not in _NO_LABELS and not _NUMBER.fullmatch(base) else f"n{number}"
        again, first = 1, name
        while name.lower() in used or refusal(name):
            again += 1
            name = f"{first[: MAX_NAME - len(str(again)) - 1]}-{again}"
        used.add(name.lower())
        names.append(name)
    return names
