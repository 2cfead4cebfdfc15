"""`policy router|interface|adjacency|group|rp`: the parts of a domain, shown and changed.

Each command that changes something takes one step of `agents.policy.steps`. Knows nothing of settings or of commits.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import Annotated, Any, Literal

import typer

from agents.ipsec.protection import Mode, RoutingProtocol
from agents.policy import bound, steps
from agents.policy.desk import End, Json, KeyFile, Name, Protocols, answer, end, opened, pem, take
from agents.policy.difference import setting_text, shown_modes
from agents.policy.document import MAX_INTERFACES
from agents.policy.domain import Domain, GroupEntry, Own, RouterEntry, field_word
from agents.policy.errors import PolicyError
from agents.policy.revocation import key_hash

router_app = typer.Typer(no_args_is_help=True, help="Routers and their keys.")
interface_app = typer.Typer(no_args_is_help=True, help="Interfaces and their modes of protection.")
adjacency_app = typer.Typer(no_args_is_help=True, help="Adjacencies: pairs of interfaces that may be neighbours.")
group_app = typer.Typer(no_args_is_help=True, help="Groups of routers, which can have settings of their own.")
rp_app = typer.Typer(
    no_args_is_help=True, help="Rendezvous points: unicast PIM to and from them is protected by pairs."
)
GroupName = Annotated[str, typer.Argument(help="The group's name.")]
Members = Annotated[list[str], typer.Argument(metavar="ROUTER...")]


# -- routers -----------------------------------------------------------------------------------------


@router_app.command("add")
def router_add(
    context: typer.Context,
    name: Name,
    key: KeyFile,
    room: Annotated[
        int, typer.Option(min=1, max=MAX_INTERFACES, help="The number of interfaces to reserve SPIs for.")
    ] = 4,
    as_json: Json = False,
) -> None:
    """Add a router, not approved yet."""
    take(context, as_json, lambda: steps.AddRouter(name=name, key=pem(key), room=room))


@router_app.command("approve")
def router_approve(context: typer.Context, name: Name, key: KeyFile, as_json: Json = False) -> None:
    """Approve a router under the key that you have checked."""
    take(context, as_json, lambda: steps.ApproveRouter(name=name, key=pem(key)))


@router_app.command("replace")
def router_replace(context: typer.Context, name: Name, key: KeyFile, as_json: Json = False) -> None:
    """Give a router another key, for a new machine or a new key: the old key is revoked, and everything else stays.
    Approve it then."""
    take(context, as_json, lambda: steps.ReplaceRouter(name=name, key=pem(key)))


@router_app.command("remove")
def router_remove(
    context: typer.Context,
    name: Name,
    explain: Annotated[
        bool, typer.Option("--explain", help="Change nothing: print how long the removal takes to be effective.")
    ] = False,
    lease_left: Annotated[
        list[str] | None,
        typer.Option(metavar="ROUTER=SECONDS", help="The rest of a neighbour's lease, as `lks status` prints it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Remove a router and its adjacencies, and revoke its key."""
    if lease_left and not explain:
        raise PolicyError("--lease-left only works with --explain; without both, the router is removed")
    if explain:
        with opened(context) as store:
            domain = store.draft()
            bounds = bound.explain(domain, name, bound.leases(lease_left or [], domain, "--lease-left"))
        answer(as_json, bounds, bound.as_text(bounds))
        return
    take(context, as_json, lambda: steps.RemoveRouter(name=name))


def _router(router: RouterEntry, domain: Domain) -> dict[str, Any]:
    groups = [each.name for each in domain.groups if router.name in each.routers]
    return {
        "name": router.name,
        "approved": router.approved,
        "key": key_hash(router.key).hex(),
        "interfaces": [each.name for each in router.interfaces],
        "groups": groups,
        "own": router.own.model_dump(mode="json", exclude_none=True),
    }


@router_app.command("list")
def router_list(context: typer.Context, as_json: Json = False) -> None:
    """List the draft's routers."""
    with opened(context) as store:
        domain = store.draft()
    routers = [_router(each, domain) for each in domain.routers.values()]
    width = max((len(each["name"]) for each in routers), default=0)
    lines = [
        f"{each['name']:{width}}  {'approved' if each['approved'] else 'not approved':12}  {each['key'][:16]}  "
        f"{len(each['interfaces'])} interfaces{''.join(f'  group {group}' for group in each['groups'])}"
        for each in routers
    ]
    answer(as_json, routers, lines or ["there are no routers"])


@router_app.command("show")
def router_show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show one router of the draft: its interfaces, neighbours and settings."""
    with opened(context) as store:
        domain = store.draft()
    router = domain.router(name)
    settings = domain.settings_of(name)
    document = {
        **_router(router, domain),
        "interfaces": _interfaces(domain, router),
        "sources": [str(each) for each in router.sources],
        "spi": router.spi.model_dump(),
        "settings": settings.model_dump(mode="json"),
    }
    lines = [
        f"router {name}, {'approved' if router.approved else 'not approved'}, key {document['key']}",
        *(f"  group {each}" for each in document["groups"]),
        *(f"  {each}" for each in own_lines(router.own)),
        *(_interface_line(each) for each in document["interfaces"]),
        "in force:",
        *settings_lines(settings),
    ]
    answer(as_json, document, lines)


def own_lines(own: Own) -> list[str]:
    """A router's or group's own settings, a line each."""
    return [f"{field_word(field)} {setting_text(field, value)} (its own)" for field, value in own.given().items()]


def settings_lines(settings: Any) -> list[str]:
    """All settings, a line each."""
    names = type(settings).model_fields
    width = max(len(field_word(each)) for each in names)
    return [f"  {field_word(each):{width}}  {setting_text(each, getattr(settings, each))}" for each in names]


# -- interfaces --------------------------------------------------------------------------------------


def _ipv4_interface(address: str) -> IPv4Interface:
    try:
        return IPv4Interface(address if "/" in address else "")
    except ValueError as error:
        raise PolicyError(f"--address is {address!r}\n  allowed: an IPv4 address with its prefix length") from error


def _link_local(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError as error:
        raise PolicyError(f"--link-local is {text!r}\n  allowed: an IPv6 address") from error


@interface_app.command("add")
def interface_add(
    context: typer.Context,
    at: End,
    link_local: Annotated[str, typer.Option(help="IPv6 link-local address.")],
    address: Annotated[
        str | None, typer.Option(help="IPv4 address with prefix length. Default: none, a link of IPv6 alone.")
    ] = None,
    lan: Annotated[bool, typer.Option(help="A LAN, and not a point-to-point link.")] = False,
    protocol: Annotated[list[RoutingProtocol] | None, typer.Option(help="May be given several times.")] = None,
    mode: Annotated[Mode, typer.Option()] = Mode.CLEAR,
    as_json: Json = False,
) -> None:
    """Add an interface to a router; `clear` unless said otherwise."""
    name, ipv6 = end(at), _link_local(link_local)
    ipv4 = None if address is None else _ipv4_interface(address)
    link: Literal["p2p", "lan"] = "lan" if lan else "p2p"
    protocols = tuple(protocol or (RoutingProtocol.OSPF,))
    take(
        context,
        as_json,
        lambda: steps.AddInterface(at=name, address=ipv4, link_local=ipv6, link=link, protocols=protocols, mode=mode),
    )


@interface_app.command("change")
def interface_change(
    context: typer.Context,
    at: End,
    address: Annotated[str | None, typer.Option(help="IPv4 address with prefix length.")] = None,
    link_local: Annotated[str | None, typer.Option(help="IPv6 link-local address.")] = None,
    lan: Annotated[bool | None, typer.Option("--lan/--p2p", help="A LAN, or a point-to-point link.")] = None,
    protocol: Annotated[list[RoutingProtocol] | None, typer.Option(help="All its protocols from now on.")] = None,
    as_json: Json = False,
) -> None:
    """Change the given fields. A new protocol has the mode of the interface's first one."""
    name = end(at)
    take(
        context,
        as_json,
        lambda: steps.ChangeInterface(
            at=name,
            address=None if address is None else _ipv4_interface(address),
            link_local=None if link_local is None else _link_local(link_local),
            link=None if lan is None else "lan" if lan else "p2p",
            protocols=tuple(protocol) if protocol else None,
        ),
    )


@interface_app.command("remove")
def interface_remove(context: typer.Context, at: End, as_json: Json = False) -> None:
    """Remove an interface and its adjacencies."""
    name = end(at)
    take(context, as_json, lambda: steps.RemoveInterface(at=name))


@interface_app.command("mode")
def interface_mode(
    context: typer.Context,
    at: End,
    mode: Annotated[Mode, typer.Argument()],
    protocol: Protocols = None,
    as_json: Json = False,
) -> None:
    """Set an interface to clear, listen, permissive or required. For a network in service: policy deploy."""
    name = end(at)
    take(context, as_json, lambda: steps.SetMode(at=name, mode=mode, protocols=tuple(protocol or ())))


def _interfaces(domain: Domain, router: RouterEntry) -> list[dict[str, Any]]:
    return [
        {
            "router": router.name,
            "name": each.name,
            "address": None if each.address is None else str(each.address),
            "link_local": str(each.address6),
            "link": each.link,
            "modes": {protocol.value: mode.value for protocol, mode in each.by_protocol().items()},
            "mode": shown_modes(each),
            "neighbors": [f"{o.name}:{there.name}" for _index, o, there in domain.neighbors(router.name, each.name)],
        }
        for each in router.interfaces
    ]


def _interface_line(each: dict[str, Any]) -> str:
    protocols = ", ".join(each["modes"])
    at = f"{each['router']}:{each['name']}"
    heard = ", ".join(each["neighbors"]) or "nobody"
    return f"  {at}  {each['address'] or each['link_local']}  {each['link']}  {protocols}: {each['mode']}  with {heard}"


@interface_app.command("list")
def interface_list(
    context: typer.Context,
    routers: Annotated[list[str] | None, typer.Argument(metavar="[ROUTER]...", help="Default: all.")] = None,
    as_json: Json = False,
) -> None:
    """List the draft's interfaces: addresses, protocols, modes, neighbours."""
    with opened(context) as store:
        domain = store.draft()
    interfaces = [each for name in routers or domain.routers for each in _interfaces(domain, domain.router(name))]
    answer(as_json, interfaces, [_interface_line(each)[2:] for each in interfaces] or ["there are no interfaces"])


# -- adjacencies -------------------------------------------------------------------------------------


@adjacency_app.command("allow")
def adjacency_allow(context: typer.Context, a: End, b: End, as_json: Json = False) -> None:
    """Allow two interfaces to be neighbours."""
    one, other = end(a), end(b)
    take(context, as_json, lambda: steps.Allow(a=one, b=other))


@adjacency_app.command("deny")
def adjacency_deny(context: typer.Context, a: End, b: End, as_json: Json = False) -> None:
    """Remove an allowed adjacency."""
    one, other = end(a), end(b)
    take(context, as_json, lambda: steps.Deny(a=one, b=other))


@adjacency_app.command("list")
def adjacency_list(
    context: typer.Context,
    routers: Annotated[list[str] | None, typer.Argument(metavar="[ROUTER]...", help="Default: all.")] = None,
    as_json: Json = False,
) -> None:
    """List the draft's allowed adjacencies."""
    with opened(context) as store:
        domain = store.draft()
    wanted = {domain.router(name).name for name in routers or domain.routers}
    adjacencies = [each for each in domain.adjacencies if wanted & {each.a.router, each.b.router}]
    value = [{"a": str(each.a), "b": str(each.b)} for each in adjacencies]
    answer(as_json, value, [str(each) for each in adjacencies] or ["no adjacency is allowed"])


# -- groups of routers -------------------------------------------------------------------------------


@group_app.command("add")
def group_add(
    context: typer.Context,
    name: GroupName,
    routers: Annotated[list[str] | None, typer.Argument(metavar="[ROUTER]...")] = None,
    as_json: Json = False,
) -> None:
    """Make a group of routers. Settings for it: policy set SETTING --group NAME."""
    take(context, as_json, lambda: steps.AddGroup(name=name, routers=tuple(routers or ())))


@group_app.command("remove")
def group_remove(context: typer.Context, name: GroupName, as_json: Json = False) -> None:
    """Remove a group and its settings. Its routers stay."""
    take(context, as_json, lambda: steps.RemoveGroup(name=name))


@group_app.command("join")
def group_join(context: typer.Context, name: GroupName, routers: Members, as_json: Json = False) -> None:
    """Put routers into a group."""
    take(context, as_json, lambda: steps.JoinGroup(name=name, routers=tuple(routers)))


@group_app.command("leave")
def group_leave(context: typer.Context, name: GroupName, routers: Members, as_json: Json = False) -> None:
    """Take routers out of a group."""
    take(context, as_json, lambda: steps.LeaveGroup(name=name, routers=tuple(routers)))


def _group(group: GroupEntry) -> dict[str, Any]:
    own = group.own.model_dump(mode="json", exclude_none=True)
    return {"name": group.name, "routers": list(group.routers), "own": own}


@group_app.command("list")
def group_list(context: typer.Context, as_json: Json = False) -> None:
    """List the draft's groups."""
    with opened(context) as store:
        groups = store.draft().groups
    lines = [f"{each.name}  {len(each.routers)} routers  {', '.join(own_lines(each.own))}".rstrip() for each in groups]
    answer(as_json, [_group(each) for each in groups], lines or ["there are no groups"])


@group_app.command("show")
def group_show(context: typer.Context, name: GroupName, as_json: Json = False) -> None:
    """Show one group: its routers and settings."""
    with opened(context) as store:
        group = store.draft().group(name)
    lines = [f"group {name}", *(f"  {each}" for each in own_lines(group.own)), *(f"  {each}" for each in group.routers)]
    answer(as_json, _group(group), lines)


# -- rendezvous points -------------------------------------------------------------------------------


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise PolicyError(f"{text!r} is not an IPv4 address") from error


@rp_app.command("set")
def rp_set(
    context: typer.Context,
    point: Annotated[str, typer.Argument(metavar="ROUTER[:ADDRESS]", help="Usually the address of its loopback.")],
    as_json: Json = False,
) -> None:
    """Make a router a rendezvous point: every PIM router gets a pair with it."""
    router, separator, text = point.partition(":")
    address = _ipv4(text) if separator else None
    take(context, as_json, lambda: steps.SetPoint(router=router, address=address))


@rp_app.command("unset")
def rp_unset(context: typer.Context, router: Name, as_json: Json = False) -> None:
    """Make a rendezvous point an ordinary router again."""
    take(context, as_json, lambda: steps.UnsetPoint(router=router))


@rp_app.command("mode")
def rp_mode(context: typer.Context, mode: Annotated[Mode, typer.Argument()], as_json: Json = False) -> None:
    """Set unicast PIM with rendezvous points to clear, listen, permissive or required, a step at a time."""
    take(context, as_json, lambda: steps.SetPointsMode(mode=mode))


@rp_app.command("source")
def rp_source(
    context: typer.Context,
    router: Name,
    addresses: Annotated[list[str] | None, typer.Argument(help="Default: the addresses of its PIM interfaces.")] = None,
    as_json: Json = False,
) -> None:
    """Set the source addresses of a router's Registers: those of its links with multicast sources."""
    sources = tuple(_ipv4(each) for each in addresses or [])
    take(context, as_json, lambda: steps.SetSources(router=router, addresses=sources))


@rp_app.command("list")
def rp_list(context: typer.Context, as_json: Json = False) -> None:
    """List the draft's rendezvous points, and the mode of unicast PIM with them."""
    with opened(context) as store:
        domain = store.draft()
    points = [{"router": each.router, "address": str(each.address)} for each in domain.points]
    lines = [f"{each['router']}  {each['address']}  {domain.points_mode.value}" for each in points]
    answer(as_json, {"mode": domain.points_mode.value, "points": points}, lines or ["there are no rendezvous points"])
