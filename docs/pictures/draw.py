"""Draws the pictures of the documents: `python docs/pictures/draw.py` writes every SVG beside this file anew.

Boxes, arrows and texts only; light or dark as the reader's browser asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

STYLE = """
text { font: 14px 'DejaVu Sans', Verdana, sans-serif; fill: #222 }
.small { font-size: 12px } .title { font-weight: bold }
.box { fill: #eef4f9; stroke: #0072b2; stroke-width: 1.5 } .plain { fill: #f4f4f4; stroke: #777; stroke-width: 1.2 }
.line { stroke: #333; stroke-width: 1.5; fill: none } .dash { stroke-dasharray: 6 4 } .faint { stroke: #999 }
.bar { fill: #0072b2 } .wait { fill: #9cc7e4 } .other { fill: #e69f00 } .arrow { fill: #333 }
.paper { fill: #fff }
@media (prefers-color-scheme: dark) {
 text { fill: #e6e6e6 } .paper { fill: #16191d } .box { fill: #15293a; stroke: #56b4e9 }
 .plain { fill: #23272c; stroke: #999 } .line { stroke: #ccc } .arrow { fill: #ccc } .faint { stroke: #777 }
 .bar { fill: #56b4e9 } .wait { fill: #24506e }
}
"""


class Picture:
    """One SVG. Coordinates are pixels from the upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size, self._title = (width, height), title
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, *lines: str, look: str = "box") -> None:
        """A box with centred lines of text, the first one bold."""
        self._parts.append(f'<rect class="{look}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + 18 * number, line, "middle", "small" if number else "title")

    def text(self, x: float, y: float, words: str, anchor: str = "start", look: str = "") -> None:
        """One line of text; `anchor` is start, middle or end."""
        self._parts.append(f'<text class="{look}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, *points: tuple[float, float], look: str = "", arrow: str = "end") -> None:
        """A line through the points; `arrow` is end, both or none."""
        path = " ".join(f"{x},{y}" for x, y in points)
        marks = {"end": ' marker-end="url(#a)"', "both": ' marker-start="url(#a)" marker-end="url(#a)"', "none": ""}
        self._parts.append(f'<polyline class="line {look}" points="{path}"{marks[arrow]}/>')

    def bar(self, x: float, y: float, width: float, height: float, look: str = "bar") -> None:
        """A filled rectangle without a border."""
        self._parts.append(f'<rect class="{look}" x="{x}" y="{y}" width="{width}" height="{height}"/>')

    def svg(self) -> str:
        """The whole file."""
        width, height = self._size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{escape(self._title)}">\n<title>{escape(self._title)}</title>\n'
            f"<style>{STYLE}</style>\n"
            '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path class="arrow" d="M0,0 L8,4 L0,8 z"/></marker></defs>\n'
            f'<rect class="paper" width="{width}" height="{height}" rx="8"/>\n' + "\n".join(self._parts) + "\n</svg>\n"
        )


def architecture() -> Picture:
    """The paper's Figure 2 as built."""
    p = Picture(820, 520, "Policy Server, Domain Key Server, and a Local Key Server beside every router")
    p.box(300, 16, 220, 58, "Policy Server", "signs documents and lists")
    p.box(300, 128, 220, 58, "Domain Key Server", "carries them, numbers keys")
    p.line((410, 74), (410, 126))
    p.text(420, 104, "signed documents (files or HTTPS)", look="small")
    for x, name in ((40, "A"), (500, "B")):
        p.box(x, 250, 280, 250, look="plain")
        p.text(x + 14, 272, f"router {name}", look="title")
        p.box(x + 60, 286, 160, 52, "LKS", f"makes keys of {name}'s groups")
        p.box(x + 60, 372, 160, 46, "kernel IPsec", "policies and SAs")
        p.box(x + 60, 444, 160, 42, "FRR, unchanged", look="plain")
        p.line((x + 140, 338), (x + 140, 370))
        p.text(x + 148, 358, "XFRM", look="small")
        p.line((x + 140, 444), (x + 140, 420), arrow="both")
    p.line((180, 284), (180, 157), (298, 157), look="dash", arrow="both")
    p.line((640, 284), (640, 157), (522, 157), look="dash", arrow="both")
    p.text(190, 214, "visits on a schedule, not after", look="small")
    p.text(190, 230, "a boot: G-IKEv2, UDP 848", look="small")
    p.line((262, 312), (558, 312), arrow="both")
    p.text(410, 304, "keys from neighbour", "middle", "small")
    p.text(410, 330, "to neighbour: G-IKEv2", "middle", "small")
    p.line((262, 395), (558, 395), arrow="both")
    p.text(410, 387, "OSPF and PIM", "middle", "small")
    p.text(410, 413, "in ESP", "middle", "small")
    return p


def _sequence(title: str, names: list[str], steps: list[tuple[str, int, int, str]], height: int) -> Picture:
    """A sequence diagram. Steps: kind (message, note), from, to, words. A note stands at its first column."""
    gap = 300
    p = Picture(gap * (len(names) - 1) + 320, height, title)
    where = [160 + gap * number for number in range(len(names))]
    for x, name in zip(where, names, strict=True):
        p.line((x, 50), (x, height - 12), look="faint", arrow="none")
        p.box(x - 90, 14, 180, 36, name)
    y = 84
    for kind, start, end, words in steps:
        if kind == "note":
            p.box(where[start] - 130, y - 16, 260, 30, look="plain")
            p.text(where[start], y + 4, words, "middle", "small")
        else:
            p.line((where[start], y), (where[end], y))
            p.text((where[start] + where[end]) / 2, y - 6, words, "middle", "small")
        y += 40
    return p


def registration() -> Picture:
    steps = [
        ("message", 0, 1, "IKE_SA_INIT: X25519"),
        ("message", 1, 0, "IKE_SA_INIT"),
        ("message", 0, 1, "IKE_INTERMEDIATE: ML-KEM-768"),
        ("message", 1, 0, "IKE_INTERMEDIATE"),
        ("message", 0, 1, "GSA_AUTH: IDg, SAg, last state seen"),
        ("note", 1, 1, "checks key, policy, lists"),
        ("message", 1, 0, "GSA_AUTH: GSA, KD, signed GROUP_STATE"),
        ("note", 0, 0, "checks state; writes mark to disk"),
        ("note", 0, 0, "kernel: inbound SA, replay floor"),
    ]
    return _sequence("Registration of a member at the speaker's LKS", ["member's LKS", "speaker's LKS"], steps, 450)


def rekey() -> Picture:
    steps = [
        ("note", 0, 0, "reserves generation g + 1 on disk"),
        ("message", 0, 1, "GSA_INBAND_REKEY: keys of g + 1"),
        ("note", 1, 1, "hears g and g + 1"),
        ("message", 1, 0, "acknowledged"),
        ("message", 0, 2, "GSA_INBAND_REKEY: keys of g + 1"),
        ("message", 2, 0, "acknowledged"),
        ("note", 0, 0, "all members that live have answered:"),
        ("note", 0, 0, "sends with g + 1"),
        ("note", 0, 0, "dtd later: g leaves the kernels"),
    ]
    return _sequence("Rekey of a group by the speaker's LKS", ["speaker's LKS", "member 1", "member 2"], steps, 450)


def modes() -> Picture:
    """Each interface goes through them one at a time, forward and back."""
    p = Picture(820, 190, "The four modes of an interface")
    told = [
        ("clear", "sends clear", "hears clear", "no keys"),
        ("listen", "sends clear", "hears both", "keys in place"),
        ("permissive", "sends protected", "hears both", "clear without a key"),
        ("required", "sends protected", "hears protected", "else silence"),
    ]
    for number, lines in enumerate(told):
        p.box(20 + 202 * number, 20, 174, 100, *lines)
        if number:
            p.line((20 + 202 * number - 28, 70), (20 + 202 * number - 2, 70), arrow="both")
    p.text(410, 152, "A step is taken when every member of the link has confirmed the one before.", "middle", "small")
    p.text(410, 172, "Neighbours one step apart always hear each other.", "middle", "small")
    return p


def guest() -> Picture:
    """What runs where in one run of an experiment."""
    p = Picture(820, 470, "The laboratory: host, guest kernel, Mininet, routers")
    p.box(12, 12, 796, 446, look="plain")
    p.text(28, 36, "host: ./lab, no root needed", look="title")
    p.box(28, 52, 190, 388, look="plain")
    for number, words in enumerate(
        ("plan: seed, faults", "starts a guest", "per run", "", "record.jsonl", "captures, logs")
    ):
        p.text(44, 84 + 24 * number, words, look="small")
    for number, words in enumerate(("analysis:", "shortest paths,", "trees, statistics", "report and figures")):
        p.text(44, 260 + 24 * number, words, look="small")
    p.box(250, 52, 542, 388)
    p.text(266, 76, "guest: User-Mode Linux in virtual time", look="title")
    p.text(266, 96, "waiting takes no time; the same seed gives the same bytes", look="small")
    p.box(266, 112, 510, 230, look="plain")
    p.text(282, 134, "Mininet: a network namespace for each node", look="title")
    for number in range(3):
        x = 282 + 166 * number
        p.box(x, 150, 150, 130)
        p.text(x + 75, 172, ("router", "router", "DKS")[number], "middle", "title")
        inside = (
            ("zebra, ospfd, pimd", "LKS", "kernel IPsec") if number < 2 else ("dks", "documents", "ledger of numbers")
        )
        for line, words in enumerate(inside):
            p.text(x + 75, 200 + 24 * line, words, "middle", "small")
    p.line((432, 214), (446, 214), arrow="none")
    p.line((598, 214), (612, 214), arrow="none")
    p.text(282, 306, "wires with delay and loss (netem); faults cut links and power", look="small")
    p.text(282, 326, "probes: netlink, FRR's logs, streams, packet sockets", look="small")
    p.box(266, 356, 510, 68, "recorder: one clock, one record", "routes, adjacencies, keys, requests, losses, faults")
    p.line((266, 390), (220, 390))
    return p


def generations() -> Picture:
    """One group over time, at the speaker and at a receiver, and who makes which numbers."""
    p = Picture(820, 300, "Generations of a group's key over time")
    p.text(20, 34, "One group, issuer lks", look="title")
    for y, name in ((70, "speaker sends with"), (120, "receiver hears")):
        p.text(20, y + 16, name, look="small")
    spans = [(170, 360, "g"), (360, 560, "g + 1"), (560, 760, "g + 2")]
    for number, (start, end, name) in enumerate(spans):
        p.bar(start, 70, end - start - 3, 24, "bar" if number % 2 == 0 else "other")
        p.text((start + end) / 2, 64, name, "middle", "small")
        p.bar(start - 24, 120 + 14 * (number % 2), end - start + 48, 12, "bar" if number % 2 == 0 else "other")
    p.line((336, 160), (336, 180), arrow="none")
    p.line((360, 160), (360, 180), arrow="none")
    p.line((384, 160), (384, 180), arrow="none")
    p.text(330, 196, "g + 1 arrives, is used (atd), g is removed (dtd)", look="small")
    p.text(
        20,
        236,
        "issuer dks with Local Key Servers: the DKS makes even numbers, Local Key Servers odd ones.",
        look="small",
    )
    p.text(
        20,
        258,
        "Each maker goes above the highest number it knows of, and writes it to disk before it is used,",
        look="small",
    )
    p.text(20, 280, "so no number ever has two keys, whoever crashes.", look="small")
    return p


def pictures() -> Iterator[tuple[str, str]]:
    """File name and content of every picture."""
    for each in (architecture, registration, rekey, modes, guest, generations):
        yield f"{each.__name__}.svg", each().svg()


if __name__ == "__main__":
    for name, text in pictures():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
