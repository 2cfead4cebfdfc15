"""The counters and gauges of an LKS, made of its events and of `lks status`. Knows nothing of the core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agents.runtime.effects import Event
from agents.runtime.metrics import Counts, Family, build, gauge

_COUNTED = {
    "rekeyed": ("rekeys_total", ("reason",), "New generations of own groups."),
    "dropped": ("dropped_total", ("interface", "reason"), "Datagrams that were dropped, by reason."),
    "ike": ("ike_sas_ended_total", ("state",), "IKE SAs that ended, by reason, such as authentication_failed."),
    "error": ("errors_total", ("what",), "Errors."),
    "fault": ("faults_total", ("what",), "Faults of the program, each limited to one input."),
    "mended": ("mended_total", (), "Times that changes of the kernel by other programs were corrected."),
    "revocation": ("revocations_total", ("origin",), "Revocation lists that came into force."),
    "dks_contact": ("dks_contacts_total", ("ok",), "Visits to the DKS."),
    "lost": ("events_lost_total", (), "Times that events could not be written."),
}
_STANDING = "established"


class LksCounts(Counts):
    """Counters since the start."""

    def __init__(self) -> None:
        super().__init__("lks", _COUNTED)

    def observe(self, event: Event) -> None:
        """As Counts.observe; an IKE SA that comes up is not one that ended."""
        if event.kind != "ike" or event.fields.get("state") != _STANDING:
            super().observe(event)


def families(status: Mapping[str, Any], counts: Counts) -> list[Family]:
    """From the answer of `status`."""
    dks = status["dks"] or {}
    return [
        build("lks"),
        gauge("lks_policy_version", "Version of the policy in force.", status["policy_version"]),
        gauge("lks_policy_expires_timestamp_seconds", "When it expires, Unix time.", status["policy_expires_at"]),
        gauge("lks_revocation_version", "Version of the revocation list in force.", status["revocation_version"]),
        gauge("lks_revoked", "1: this router's own key is revoked, so it accepts no neighbour.", status["revoked"]),
        gauge("lks_lease_seconds", "Length of the lease after a visit to the DKS.", status["lease_s"]),
        gauge("lks_lease_left_seconds", "How long it may act without the DKS.", status["lease_left_s"]),
        gauge("lks_all_keyed", "1: every neighbour on a running link is keyed.", status["all_keyed"]),
        gauge("lks_dks_connected", "1: an IKE SA with the DKS is established.", bool(dks.get("connected"))),
        gauge("lks_ike_sas", "Established IKE SAs, with neighbours and with the DKS.", _standing(status)),
        *_labelled(status),
        *counts.families(),
    ]


def _standing(status: Mapping[str, Any]) -> int:
    neighbors = [each for interface in status["interfaces"] for each in interface["neighbors"]]
    return sum(each["key_exchange"] is not None for each in [*neighbors, status["dks"] or {"key_exchange": None}])


def _labelled(status: Mapping[str, Any]) -> Iterator[Family]:
    interfaces = [each for each in status["interfaces"] if each["protocols"]]
    yield Family(
        "lks_interface_up", "gauge", "1: the interface runs and has its address.",
        [({"interface": each["name"]}, each["up"]) for each in interfaces if each["up"] is not None],
    )  # fmt: skip
    yield Family(
        "lks_neighbor_keyed", "gauge", "1: an allowed neighbour has our keys, and we have its keys; 0: not.",
        [
            ({"interface": interface["name"], "neighbor": each["router"]}, each["keyed"])
            for interface in interfaces
            for each in interface["neighbors"]
        ],
    )  # fmt: skip
    groups = [each for interface in interfaces for each in interface["groups"] if each["generation"] is not None]
    yield Family(
        "lks_group_generation", "gauge", "The generation that is used to send.",
        [({"group": each["group"]}, each["generation"]) for each in groups],
    )  # fmt: skip
    yield Family(
        "lks_group_rekey_in_seconds", "gauge", "When the next one is due, of groups whose keys this LKS makes.",
        [({"group": each["group"]}, each["rekey_in_s"]) for each in groups if "rekey_in_s" in each],
    )  # fmt: skip
    yield Family(
        "lks_group_age_seconds", "gauge", "How long it has been sent with.",
        [({"group": each["group"]}, each["age_s"]) for each in groups if each["age_s"] is not None],
    )  # fmt: skip


def ailments(status: Mapping[str, Any]) -> list[str]:
    """The problems that keep the LKS from its work, a sentence each."""
    wrong = [] if status["kernel"] == "in force" else ["the kernel has refused part of the protection"]
    if status["lease_left_s"] <= 0:
        wrong.append("the lease is over")
    if status["revoked"]:
        wrong.append("this router's key is revoked")
    return wrong
