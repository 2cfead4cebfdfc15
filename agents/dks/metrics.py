"""The counters and gauges of the DKS. Knows nothing of messages."""

from __future__ import annotations

from agents.runtime.effects import Event
from agents.runtime.metrics import Counts

_COUNTED = {
    "request": ("requests_total", ("exchange", "retransmission"), "Request datagrams received."),
    "registered": ("registrations_total", ("kind",), "Registrations served, of control groups and of routers' groups."),
    "paced": ("paced_total", (), "Registrations deferred because too many came at once."),
    "rekeyed": ("rekeys_total", ("reason",), "New generations made and pushed."),
    "rekey_message": ("rekey_messages_total", (), "New generations sent to members without an IKE SA (GSA_REKEY)."),
    "excluded": ("excluded_total", (), "Members without an IKE SA that were told of their exclusion."),
    "issued": ("issued_total", (), "New generations made for LKSs to distribute."),
    "reported": ("reports_total", (), "Generations that LKSs made alone and reported."),
    "confirmed": ("confirmations_total", (), "Changed confirmations of routers accepted."),
    "dropped": ("dropped_total", ("reason",), "Datagrams that were dropped, by reason."),
    "ike": ("ike_sas_total", ("state",), "IKE SAs that came up or ended, by reason, such as authentication_failed."),
    "fault": ("faults_total", ("what",), "Faults of the program, each limited to one input."),
    "error": ("errors_total", ("what",), "Errors."),
}


def ailments(routers: int, serving: int = 1, of: int = 1) -> list[str]:
    """The problems that keep the DKS from its work, a sentence each, from the number of documents and of serving
    workers."""
    wrong = [] if serving == of else [f"{serving} of {of} workers serve"]
    return wrong if routers else [*wrong, "no router has a document"]


class DksCounts(Counts):
    """Counters since the start."""

    def __init__(self) -> None:
        super().__init__("dks", _COUNTED)

    def observe(self, event: Event) -> None:
        """As Counts.observe; a registration counts as one of a control group or of a router's group."""
        if event.kind == "registered":
            self.add("registrations_total", ["group" if event.fields.get("generation") else "control"])
        else:
            super().observe(event)
