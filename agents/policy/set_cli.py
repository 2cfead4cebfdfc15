"""`policy set` and `policy unset`: every setting that a document carries, for the domain, a group or a router.

Knows nothing of what a setting does.
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
    help="Settings: of the domain, or with --group and --router of some routers alone. Times are 90, 90s, 4h, 1d12h.",
)

Routers = Annotated[
    list[str] | None, typer.Option("--router", help="For this router alone. May be given several times.")
]
Groups = Annotated[
    list[str] | None, typer.Option("--group", help="For this group of routers alone. May be given several times.")
]


class OnOff(Enum):
    """A switch."""

    ON = "on"
    OFF = "off"


class AtEnd(Enum):
    """What a router does when its lease is over."""

    CLOSE = "close"
    OPEN = "open"


Setting = Enum("Setting", {each: each for each in steps.OWN_SETTINGS})  # type: ignore[misc]


@app.command("lease")
def lease(
    context: typer.Context,
    length: Annotated[str | None, typer.Argument(metavar="[TIME]", help="How long, as 4h or 30d.")] = None,
    at_end: Annotated[
        AtEnd | None, typer.Option(help="close: nobody is heard any more. open: go on, and alarm.")
    ] = None,
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """How long a router acts without a word of the DKS, and what it does then. It bounds how long a removed router can
    be accepted by somebody who hears of nobody else."""
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
    first_min: Annotated[str | None, typer.Option(metavar="TIME", help="The first wait is no shorter.")] = None,
    first_max: Annotated[str | None, typer.Option(metavar="TIME", help="And no longer.")] = None,
    factor: Annotated[float | None, typer.Option(help="Each further wait is so many times longer (1 to 16).")] = None,
    longest: Annotated[str | None, typer.Option("--max", metavar="TIME", help="Up to this one.")] = None,
    jitter: Annotated[float | None, typer.Option(help="And varies by up to this part of itself (0 to 1).")] = None,
    router: Routers = None,
    group: Groups = None,
    as_json: Json = False,
) -> None:
    """When a router that was without the DKS goes back to it."""
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
    """How long documents are valid from their signature. So long a revocation list remembers whom they name."""
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
    """Whether routers are key servers of their own groups. Without, the DKS must be (policy set issuer dks)."""
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
    """For how many generations of a group's keys a router sets its mark on the disk at once. More: it waits for the
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
    """Whether IKE has ML-KEM-768 beside X25519: required, preferred (with every peer that can; the default) or off. For
    a network in service from off to preferred, and to required once every router has that."""
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
    """How many documents of the routers that are nearest to it a router keeps beside its own. Whose way to the DKS is
    cut gets its newer document from a neighbour that keeps it."""
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
            help="lks: each router's own Local Key Server. dks: the DKS, and the Local Key Server while it is away."
        ),
    ],
    protocol: Protocols = None,
    as_json: Json = False,
) -> None:
    """Who makes the keys of all groups, or of one protocol's."""
    take(context, as_json, lambda: steps.SetIssuer(issuer=issuer, protocols=tuple(protocol or ())))


@app.command("suite")
def suite_(context: typer.Context, suite: Annotated[Suite, typer.Argument()], as_json: Json = False) -> None:
    """With which algorithms routing packets are protected. All groups get new keys, so that neighbours with the one and
    with the other document do not hear each other."""
    take(context, as_json, lambda: steps.SetSuite(suite=suite))


@app.command("lifetimes")
def lifetimes(
    context: typer.Context,
    group: Annotated[str | None, typer.Option(metavar="TIME", help="Of a group's key; its rekey is at 3/4.")] = None,
    ike: Annotated[str | None, typer.Option(metavar="TIME", help="Of an IKE SA.")] = None,
    atd: Annotated[str | None, typer.Option(metavar="TIME", help="Until a new key is sent with.")] = None,
    dtd: Annotated[str | None, typer.Option(metavar="TIME", help="For which the key before is still heard.")] = None,
    as_json: Json = False,
) -> None:
    """How long keys live, and how long a change of keys takes (RFC 9838 §4.4.3)."""
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
    """Where the DKS is, and which key it has."""
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
    """Take a setting of a router's or group's own back: that of its group or of the domain holds again."""
    take(
        context,
        as_json,
        lambda: steps.Unset(setting=setting.value, routers=tuple(router or ()), groups=tuple(group or ())),
    )
