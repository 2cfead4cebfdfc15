"""`policy set` and `policy unset`: every setting of a document, for the domain, a group or a router.

Knows nothing of a setting's effect.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import typer

from agents.ikev2.config import PostQuantum
from agents.ipsec.protection import Suite
from agents.policy import steps
from agents.policy.desk import Json, Protocols, pem, seconds, take
from agents.policy.document import MAX_CARRIES, Issuer
from agents.policy.errors import PolicyError

app = typer.Typer(
    no_args_is_help=True,
    help="Settings of the domain, or with --group and --router of some routers only. Times are 90, 90s, 4h, 1d12h.",
)

Routers = Annotated[list[str] | None, typer.Option("--router", help="Only for this router. Repeatable.")]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Only for this group of routers. Repeatable.")]


class OnOff(Enum):
    """A switch."""

    ON = "on"
    OFF = "off"


class AtEnd(Enum):
    """A router's action at the end of its lease."""

    CLOSE = "close"
    OPEN = "open"


Setting = Enum("Setting", {each: each for each in steps.OWN_SETTINGS})  # type: ignore[misc]


@app.command("lease")
def lease(
    context: typer.Context,
    length: Annotated[str | None, typer.Argument(metavar="[TIME]", help="Duration, such as 4h or 30d.")] = None,
    at_end: Annotated[
        AtEnd | None, typer.Option(help="close: stop accepting all neighbours. open: continue, with an alarm.")
    ] = None,
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Set how long a router acts without an answer of the DKS, and what it does then. The lease bounds how long a
    removed router is accepted by a neighbour that has no other peer."""
    end: Literal["close", "open"] | None = None if at_end is None else at_end.value
    take(
        context,
        as_json,
        lambda: steps.SetLease(
            seconds=seconds("TIME", length), at_end=end, routers=tuple(router or ()), groups=tuple(group or ())
        ),
    )


@app.command("reconnect")
def reconnect(
    context: typer.Context,
    first_min: Annotated[str | None, typer.Option(metavar="TIME", help="Lower bound of the first wait.")] = None,
    first_max: Annotated[str | None, typer.Option(metavar="TIME", help="Upper bound of the first wait.")] = None,
    factor: Annotated[float | None, typer.Option(help="Factor from one wait to the next (1 to 16).")] = None,
    longest: Annotated[str | None, typer.Option("--max", metavar="TIME", help="Upper bound of later waits.")] = None,
    jitter: Annotated[
        float | None, typer.Option(help="Random variation of a wait, as a fraction of it (0 to 1).")
    ] = None,
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Set the schedule on which a router without the DKS visits it."""
    take(
        context,
        as_json,
        lambda: steps.SetReconnect(
            first_min_s=seconds("--first-min", first_min),
            first_max_s=seconds("--first-max", first_max),
            factor=factor,
            max_s=seconds("--max", longest),
            jitter=jitter,
            routers=tuple(router or ()),
            groups=tuple(group or ()),
        ),
    )


@app.command("validity")
def validity(
    context: typer.Context,
    length: Annotated[str, typer.Argument(metavar="TIME")],
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Set how long documents are valid from their signature. A revocation list keeps the keys that they name for as
    long."""
    take(
        context,
        as_json,
        lambda: steps.SetValidity(
            validity_s=seconds("TIME", length) or 0, routers=tuple(router or ()), groups=tuple(group or ())
        ),
    )


@app.command("local-key-server")
def local_key_server(
    context: typer.Context,
    on: Annotated[OnOff, typer.Argument()],
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Set whether routers are key servers of their own groups. Without, the DKS must be (policy set issuer dks)."""
    take(
        context,
        as_json,
        lambda: steps.SetLocalKeyServer(on=on is OnOff.ON, routers=tuple(router or ()), groups=tuple(group or ())),
    )


@app.command("generation-block")
def generation_block(
    context: typer.Context,
    size: Annotated[int, typer.Argument(help=f"1 to {steps.MAX_BLOCK}.")],
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Set how many generations of a group's keys a router reserves on the disk at once. With more, it waits for the
    disk less often, and skips more numbers at a reboot."""
    take(
        context,
        as_json,
        lambda: steps.SetGenerationBlock(size=size, routers=tuple(router or ()), groups=tuple(group or ())),
    )


@app.command("post-quantum")
def post_quantum(
    context: typer.Context,
    asked: Annotated[PostQuantum, typer.Argument()],
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Set whether IKE uses ML-KEM-768 in addition to X25519: required, preferred (with every peer that supports it; the
    default) or off. Take a running network from off to preferred, and to required once every router has that."""
    take(
        context,
        as_json,
        lambda: steps.SetPostQuantum(asked=asked, routers=tuple(router or ()), groups=tuple(group or ())),
    )


@app.command("carries")
def carries(
    context: typer.Context,
    count: Annotated[int, typer.Argument(help=f"0 to {MAX_CARRIES}.")],
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Set how many documents of the routers nearest to it a router carries beside its own. A router that is cut off
    from the DKS gets its newer document from a neighbour that carries it."""
    take(
        context,
        as_json,
        lambda: steps.SetCarries(count=count, routers=tuple(router or ()), groups=tuple(group or ())),
    )


@app.command("issuer")
def issuer_(
    context: typer.Context,
    issuer: Annotated[
        Issuer,
        typer.Argument(
            help="lks: each router's own Local Key Server. dks: the DKS, or the Local Key Server while the DKS is away."
        ),
    ],
    protocol: Protocols = None,
    as_json: Json = False,
) -> None:
    """Set which key server makes the keys of all groups, or of one protocol's."""
    take(context, as_json, lambda: steps.SetIssuer(issuer=issuer, protocols=tuple(protocol or ())))


@app.command("suite")
def suite_(context: typer.Context, suite: Annotated[Suite, typer.Argument()], as_json: Json = False) -> None:
    """Set the algorithms that protect routing packets. All groups get new keys; until all have the new document,
    neighbours with the old and with the new one cannot understand each other."""
    take(context, as_json, lambda: steps.SetSuite(suite=suite))


@app.command("lifetimes")
def lifetimes(
    context: typer.Context,
    group: Annotated[
        str | None, typer.Option(metavar="TIME", help="Lifetime of a group's key; its rekey is at 3/4.")
    ] = None,
    ike: Annotated[str | None, typer.Option(metavar="TIME", help="Lifetime of an IKE SA.")] = None,
    atd: Annotated[
        str | None, typer.Option(metavar="TIME", help="Delay from installing a new key to sending with it.")
    ] = None,
    dtd: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time for which the previous key is still accepted.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Set how long keys live, and how long a rekey takes (RFC 9838 §4.4.3)."""
    take(
        context,
        as_json,
        lambda: steps.SetLifetimes(
            group_s=seconds("--group", group),
            ike_s=seconds("--ike", ike),
            atd_s=seconds("--atd", atd),
            dtd_s=seconds("--dtd", dtd),
        ),
    )


@app.command("dks")
def dks(
    context: typer.Context,
    key: Annotated[Path | None, typer.Option(help="Its new public key, PEM.")] = None,
    address: Annotated[list[str] | None, typer.Option(help="All its addresses from now on.")] = None,
    port: Annotated[int | None, typer.Option(help="Its UDP port.")] = None,
    as_json: Json = False,
) -> None:
    """Set the DKS's addresses, port and key."""
    try:
        addresses = tuple(ip_address(each) for each in address) if address else None
    except ValueError as error:
        raise PolicyError(f"--address: {error}\n  allowed: IPv4 and IPv6 addresses") from error
    take(
        context,
        as_json,
        lambda: steps.SetDks(key=None if key is None else pem(key), addresses=addresses, port=port),
    )


def unset(
    context: typer.Context,
    setting: Annotated[Setting, typer.Argument()],
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """Remove a router's or group's own setting: that of its group or of the domain is in force again."""
    take(
        context,
        as_json,
        lambda: steps.Unset(setting=setting.value, routers=tuple(router or ()), groups=tuple(group or ())),
    )
