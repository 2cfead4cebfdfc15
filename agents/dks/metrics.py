"""What the DKS counts and measures. Knows nothing of messages."""

from __future__ import annotations

from agents.runtime.effects import Event
from agents.runtime.metrics import Counts

_COUNTED = {
    "request": ("requests_total", ("exchange", "retransmission"), "Request datagrams received."),
    "registered": ("registrations_total", ("kind",), "Registrations served: of control groups and of routers' groups."),
    "paced": ("paced_total", (), "Registrations put off because too many came at once."),
    "rekeyed": ("rekeys_total", ("reason",), "New generations made and pushed."),
    "rekey_message": ("rekey_messages_total", (), "New generations sent to members without an IKE SA (GSA_REKEY)."),
    "excluded": ("excluded_total", (), "Members without an IKE SA told that they are none any more."),
    "issued": ("issued_total", (), "New generations made for LKSs to give out."),
    "reported": ("reports_total", (), "Generations learnt that LKSs made alone."),
    "confirmed": ("confirmations_total", (), "Changed confirmations of routers taken."),
    "dropped": ("dropped_total", ("reason",), "Datagrams that were dropped, by reason."),
    "ike": ("ike_sas_total", ("state",), "IKE SAs that came up or ended, by how; authentication_failed is one."),
    "fault": ("faults_total", ("what",), "Faults of the program that ended one input alone."),
    "error": ("errors_total", ("what",), "Things that went wrong."),
}


def ailments(routers: int, serving: int = 1, of: int = 1) -> list[str]:
    """What keeps the DKS from its work, a sentence each: with documents of so many routers, and so many of its workers
    at work."""
    wrong = [] if serving == of else [f"{serving} of {of} workers serve"]
    return wrong if routers else [*wrong, "there are no documents of routers"]


class DksCounts(Counts):
    """Counters since the start."""

    def __init__(self) -> None:
        super().__init__("dks", _COUNTED)

    def observe(self, event: Event) -> None:
        """As Counts.observe; a registration is one of a control group or of a router's group."""
        if event.kind == "registered":
            self.add("registrations_total", ["group" if event.fields.get("generation") else "control"])
        else:
            super().observe(event)
