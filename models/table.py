"""Which properties hold, and which fails when a defence is taken out or a fault beyond the design is put in.

Each line of a table is a check; tests/unit/models and `lab models` run them.
"""

from __future__ import annotations

from dataclasses import dataclass

EPOCHS = ("one_key_made", "one_key_used", "no_older", "no_step_back", "members_hear", "all_keyed",
          "ledger_not_behind", "ledger_equal", "order_served")  # fmt: skip
LKS_ALONE = ("one_key_made", "one_key_used", "no_older", "members_hear", "all_keyed")
"""Of a group whose keys no DKS makes."""

REMOVAL = ("stays_out", "all_told", "out_at_last")

MARKS = ("no_older", "heard_again", "no_step_back", "last_policy")
LISTS = ("gone_is_out", "not_alone")


@dataclass(frozen=True)
class Expected:
    """With these switches, this claim of the model holds or fails."""

    model: str
    switches: tuple[str, ...]
    claim: str
    holds: bool = False

    def __str__(self) -> str:
        return f"{self.model}-{'+'.join(self.switches) or 'whole'}-{self.claim}-{'holds' if self.holds else 'fails'}"


SHORT: tuple[str, ...] = ("FAULTS=1",)
"""Bounds of the short form: one crash or cut, one loss, two rekeys and one more when faults are over."""
NEWER: tuple[str, ...] = ("FAULTS=1", "POLICIES=1", "REKEYS=1")
"""The same, with one rekey, while a newer policy comes to speaker, receiver and DKS in any order."""
FULL: tuple[tuple[str, ...], ...] = (
    ("FAULTS=2",), ("FAULTS=1", "NR=2"), ("FAULTS=3", "REKEYS=1"), ("FAULTS=2", "POLICIES=1", "REKEYS=1"),
)  # fmt: skip
"""Bounds of the full form."""

REMOVAL_BOUNDS: tuple[tuple[str, ...], ...] = ((), ("FAULTS=4",))

WITHOUT = (
    Expected("epochs", ("NO_PARITY", "FAULTS=1"), "one_key_made"),
    Expected("epochs", ("NO_RESERVE", "FAULTS=1"), "one_key_used"),
    Expected("epochs", ("NO_DISK_FIRST", "FAULTS=1"), "one_key_used"),
    Expected("epochs", ("NO_LATE_CHECK", "FAULTS=1"), "no_step_back"),
    Expected("epochs", ("NO_FLOOR", "FAULTS=1"), "no_older"),
    Expected("epochs", ("NO_ACK", "FAULTS=1"), "members_hear"),
    Expected("epochs", ("NO_RETIRE", "FAULTS=1"), "members_hear"),
    Expected("epochs", ("NO_REREGISTER", "FAULTS=1"), "all_keyed"),
    Expected("epochs", ("NO_REPORT", "FAULTS=1"), "ledger_not_behind"),
    Expected("epochs", ("NO_REPORT", "FAULTS=1"), "ledger_equal"),
    Expected("epochs", ("NO_EVIDENCE", "FAULTS=1"), "order_served"),
    Expected("epochs", ("LKS_ONLY", "NO_RESERVE", "FAULTS=1"), "one_key_used"),
    Expected("epochs", ("NO_FLOOR", *NEWER), "no_older"),
    Expected("epochs", ("NO_VERSION_SHOWN", "ROLLBACK_S", "FAULTS=2", "POLICIES=1", "REKEYS=1"), "all_keyed"),
    Expected("epochs", ("NO_SHOWN", "ROLLBACK_S", "FAULTS=2"), "all_keyed"),
    Expected("epochs", ("NO_SHOWN", "ROLLBACK_S", "FAULTS=2"), "one_key_taken"),
    Expected("removal", ("NO_SIGNATURE",), "stays_out"),
    Expected("removal", ("NO_MONOTONE",), "stays_out"),
    Expected("removal", ("NO_DISK_FIRST",), "stays_out"),
    Expected("removal", ("NO_NUMBER", "PUT_BACK"), "stays_out"),
    Expected("removal", ("NO_PASS_ON",), "all_told"),
    Expected("removal", ("NO_LEASE", "ISOLATED"), "out_at_last"),
    Expected("marks", ("NO_KEY",), "heard_again"),
    Expected("marks", ("NO_FLOOR",), "no_older"),
    Expected("marks", ("NO_DISK_FIRST",), "no_older"),
    Expected("marks", ("NO_MARK",), "no_step_back"),
    Expected("marks", ("NO_FORGET",), "last_policy"),
    Expected("marks", ("NO_AGAIN",), "last_policy"),
    Expected("lists", ("NO_EXPIRED",), "gone_is_out"),
    Expected("lists", ("NO_WAIT",), "gone_is_out"),
    Expected("lists", ("NO_KEEP",), "gone_is_out"),
    Expected("lists", ("NO_MONOTONE",), "gone_is_out"),
    Expected("lists", ("NO_RESIGN",), "not_alone"),
)
"""A defence is taken out: its property fails."""

BEYOND = (
    Expected("removal", ("PUT_BACK",), "stays_out", holds=True),
    Expected("removal", ("ISOLATED",), "out_at_last", holds=True),
    Expected("removal", ("ROLLBACK",), "stays_out"),
    Expected("removal", ("ROLLBACK",), "all_told", holds=True),
    Expected("epochs", ("ROLLBACK_S", "FAULTS=2"), "one_key_used"),
    Expected("epochs", ("ROLLBACK_S", "FAULTS=2", "REKEYS=1"), "all_keyed", holds=True),
    Expected("epochs", ("ROLLBACK_S", "FAULTS=2", "POLICIES=1", "REKEYS=1"), "no_older", holds=True),
    Expected("epochs", ("ROLLBACK_S", "FAULTS=2", "POLICIES=1", "REKEYS=1"), "one_key_taken", holds=True),
    Expected("epochs", ("AT_ONCE", "FAULTS=1"), "ledger_equal"),
    Expected("epochs", ("ROLLBACK_D", "FAULTS=2"), "one_key_made"),
    Expected("epochs", ("ROLLBACK_D", "FAULTS=2"), "one_key_used", holds=True),
)
"""What the design does not give (docs/models.md, limits), and what it gives all the same."""


@dataclass(frozen=True)
class Secure:
    """In this scenario no run leads to a state in which `goal` holds; without these defences one does."""

    scenario: str
    goal: str
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.scenario}-{self.goal}-{'+'.join(self.without) or 'whole'}"


SYMBOLIC = (
    Secure("pair", "leaked", ("sign",)),
    Secure("pair", "leaked", ("transcript",)),
    Secure("pair", "leaked", ("allowed",)),
    Secure("pair", "unmatched", ("transcript",)),
    Secure("pair", "back", ("messageId", "floor")),
    Secure("mirror", "mirrored", ("pin", "group", "state")),
    Secure("member", "unmatched", ("pin",)),
    Secure("pair", "unmatched", ("pin", "state")),
    Secure("insider", "unmatched", ("groupOfSession",)),
    Secure("multicast", "forged", ("rekeySign",)),
    Secure("multicast", "back", ("rekeyId",)),
    Secure("policy", "misled", ("label",)),
    Secure("policy", "misled", ("router",)),
    Secure("policy", "misled", ("version",)),
    Secure("dks", "leakedIssued", ("sign",)),
    Secure("dks", "leakedIssued", ("transcript",)),
    Secure("dks", "unissued", ("sign",)),
    Secure("dks", "unissued", ("pin", "state")),
    Secure("dks", "disagreed", ("pin", "state")),
    Secure("dks", "stale", ("messageId",)),
    Secure("dks", "stale", ("pin",)),
    Secure("dks, insider", "foreign", ("owner",)),
    Secure("dks, insider", "foreign", ("groupOfSession",)),
    Secure("dks, insider", "forgedReport", ("report",)),
    Secure("dks, insider", "otherVersion", ("signed",)),
    Secure("dks, insider", "otherVersion", ("issuer",)),
    Secure("dks or neighbour", "crossed", ("aim", "control")),
    Secure("neighbour or dks", "crossed", ("aim", "control")),
    Secure("lying dks", "misled", ("root",)),
    Secure("possession", "leaked", ("oneIdentity",)),
)
"""Where several defences stand together, each alone is enough: the tests check that too."""

SYMBOLIC_FULL: tuple[tuple[str, ...], ...] = (
    ("both ways", "unmatched"),
    ("both ways", "leaked"),
    ("twice", "unmatched"),
    ("twice", "back"),
)
"""Two sessions at once; minutes."""

UNBOUNDED: dict[str, tuple[str, ...]] = {
    "generations": ("PARITY", "RESERVE", "DISK_FIRST", "TRANSACTION", "LEDGER_FIRST"),
    "floors": ("FLOOR", "DISK_FIRST", "HIGHEST", "REACHED"),
    "versions": ("MARK", "DISK_FIRST", "REVOKED"),
}
"""Systems of invariants.py, and the defences without each of which a run breaks a claim."""
