"""What all pages of this project share: colours, how a network is drawn, and the marks and words of protection.

The report, the run view and the administrator's pages take them from here. Knows no page.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
THEME, MAP = HERE / "theme.css", HERE / "map.css"

MARKS = {
    "full": ("━", "adjacency Full, at this end"),
    "between": ("╍", "on its way to Full"),
    "down": ("┈", "down"),
    "required": ("●", "required: keyed, in and out"),
    "some": ("◐", "required: keyed with some of a LAN"),
    "unkeyed": ("○", "required: not keyed"),
    "static": ("■", "static key"),
    "clear": ("–", "in clear"),
    "listen": ("ℓ", "listens for keys, sends in clear"),
    "permissive": ("p", "permissive"),
    "exposed": ("!", "routing packets captured in clear"),
    "off": ("×", "no power"),
    "dks": ("K", "the DKS is beside it"),
    "dead": ("K×", "the DKS is dead"),
    "rp": ("R", "rendezvous point"),
    "intruder": ("◆", "an intruder is on it"),
}
"""What stands for a state where it is drawn, and what it means; in the order of a legend."""


def visible(text: str) -> str:
    """The text with every character that shows nothing, or turns the direction of writing, as its escape."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
