"""The answer of `lks status`: the keys, the peers that have them, and the next actions. Never a key.

Reads the parts of a running LKS and changes nothing. Times are seconds from now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agents.lks.central import CentralGroups
from agents.lks.context import Context
from agents.lks.dks_link import DksLink
from agents.lks.generations import Hearing, Sending
from agents.lks.link import Link
from agents.policy.difference import shown_modes
from agents.policy.document import InterfacePolicy
from agents.policy.names import GroupId

REFUSED = "kernel: it has refused part of this and is tried again each second; `lks events` says what, and why"


def status(
    context: Context,
    links: Mapping[str, Link],
    central: CentralGroups | None,
    dks: DksLink | None,
    now: float,
    *,
    refused: bool,
) -> dict[str, Any]:
    """The whole status, fit for JSON. `refused`: the kernel has refused part of it, so no neighbour counts as keyed."""
    document = context.document
    return {
        "router": document.router,
        "domain": document.domain,
        "issuer": document.issuer,
        "issuers": {each.protocol.value: each.issuer for each in document.issuers or ()},
        "policy_version": document.version,
        "policy_expires_at": document.expires_at,
        "post_quantum": document.key_exchange.value,
        "generation_reserved": context.retained.reserved,
        "dks": None if dks is None else _dks(dks, now),
        "kernel": "refused" if refused else "in force",
        "interfaces": [
            _interface(each, context, links.get(each.name), central, now, refused=refused)
            for each in document.interfaces
        ],
    }


def _dks(dks: DksLink, now: float) -> dict[str, Any]:
    return {
        "connected": dks.sa is not None and dks.sa.established,
        "key_exchange": None if dks.sa is None or not dks.sa.established else dks.sa.key_exchange,
        "last_contact_s_ago": None if dks.last_contact is None else round(now - dks.last_contact, 3),
        "next_contact_in_s": None if dks.connect_at is None else round(max(0.0, dks.connect_at - now), 3),
    }


def _interface(
    policy: InterfacePolicy,
    context: Context,
    link: Link | None,
    central: CentralGroups | None,
    now: float,
    *,
    refused: bool,
) -> dict[str, Any]:
    return {
        "name": policy.name,
        "mode": shown_modes(policy),
        "protocols": [each.value for each in policy.protocols],
        "up": None if link is None else link.up,
        "groups": list(_groups(policy, link, central, now)),
        "neighbors": [
            {
                "router": each.router,
                "keyed": not refused and keyed(policy, each.router, link, central),
                "key_exchange": None if link is None else link.key_exchange(each.router),
                "heard": {
                    str(group): _heard(hearing, now) for group, hearing in _hearing(each.router, policy, link, central)
                },
            }
            for each in policy.neighbors
        ],
    }


def _groups(
    policy: InterfacePolicy, link: Link | None, central: CentralGroups | None, now: float
) -> Iterator[dict[str, Any]]:
    if central is not None:
        for group, sending in central.sending.items():
            if group.interface == policy.name:
                yield {"group": str(group), **_sent(sending)}
    for group, speaker in (link.speakers if link is not None else {}).items():
        rekey_in_s = round(max(0.0, speaker.rekey_at - now), 3)
        yield {
            "group": str(group),
            **_sent(speaker.sending),
            "members": sorted(speaker.members),
            "rekey_in_s": rekey_in_s,
        }


def _sent(sending: Sending) -> dict[str, Any]:
    return {
        "generation": None if sending.active is None else sending.active.generation,
        "next_generation": None if sending.waiting is None else sending.waiting.generation,
    }


def _hearing(
    router: str, policy: InterfacePolicy, link: Link | None, central: CentralGroups | None
) -> Iterator[tuple[GroupId, Hearing]]:
    if link is not None and router in link.listeners:
        yield from link.listeners[router].hearing.items()
    elif central is not None:
        for group, hearing in central.hearing.items():
            if group.router == router and hearing.interface == policy.name:
                yield group, hearing


def _heard(hearing: Hearing, now: float) -> dict[str, Any] | None:
    if hearing.current is None:
        return None
    left = None if hearing.expires_at is None else round(hearing.expires_at - now, 3)
    return {"generation": hearing.current.generation, "expires_in_s": left}


def keyed(policy: InterfacePolicy, router: str, link: Link | None, central: CentralGroups | None) -> bool:
    """True if a neighbour of this interface and we have each other's keys."""
    if link is not None:
        return router in link.listeners and link.keyed(router)
    return central is not None and central.keyed(policy.name, router)


def as_text(status: Mapping[str, Any]) -> str:
    """The status as text."""
    dks = status["dks"]
    lines = [
        f"{status['router']} in {status['domain']}: policy version {status['policy_version']}, "
        f"keys from the {status['issuer']}"
        + "".join(f", of {protocol} from the {issuer}" for protocol, issuer in status["issuers"].items())
        + f", post-quantum key exchange {status['post_quantum']}",
        "DKS: " + (f"connected{_by(dks)}" if dks["connected"] else _until(dks["next_contact_in_s"]))
        if dks
        else "DKS: none",
        *([REFUSED] if status["kernel"] == "refused" else []),
    ]
    for interface in status["interfaces"]:
        state = {True: "up", False: "down", None: "-"}[interface["up"]]
        protocols = ", ".join(interface["protocols"])
        lines.append(f"{interface['name']} ({state}), {interface['mode']}: {protocols or 'nothing protected'}")
        for group in interface["groups"]:
            generation = "no key" if group["generation"] is None else f"generation {group['generation']}"
            rekey = f", rekey in {group['rekey_in_s']:.0f} s" if "rekey_in_s" in group else ""
            lines.append(f"  sends {group['group']}: {generation}{rekey}")
        for neighbor in interface["neighbors"]:
            heard = [
                f"{name.rsplit('/', 1)[-1]} {each['generation']}" for name, each in neighbor["heard"].items() if each
            ]
            word = "keyed" if neighbor["keyed"] else "not keyed"
            lines.append(f"  {neighbor['router']}: {word}; hears {', '.join(heard) or 'nothing'}{_by(neighbor)}")
    return "\n".join(lines)


def _by(status: Mapping[str, Any]) -> str:
    """The key exchange of an IKE SA, if there is one."""
    return f" (IKE: {status['key_exchange']})" if status["key_exchange"] else ""


def _until(seconds: float | None) -> str:
    return "not connected" if seconds is None else f"not connected, next try in {seconds:.0f} s"
