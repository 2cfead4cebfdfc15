"""From a domain to the documents of its routers. A pure function: the domain is checked first.

Knows nothing of signing keys, files or versions of the domain.
"""

from __future__ import annotations

from collections.abc import Mapping

from agents.ikev2.config import PostQuantum
from agents.policy.document import InterfacePolicy, Neighbor, PolicyDocument
from agents.policy.domain import Domain, InterfaceEntry, RouterEntry, Settings
from agents.policy.nearest import Nearest
from agents.policy.pairs import pairs_of, points_of
from agents.policy.problems import validate


def compile_documents(
    domain: Domain, version: int, issued_at: int, previous: Mapping[str, PolicyDocument] | None = None
) -> dict[str, PolicyDocument]:
    """The document of every approved router, at Unix time `issued_at`.

    A document with the content of the `previous` one keeps that one, version and dates included: only a router with
    changes gets a new one. PolicyError when the domain is not consistent.
    """
    validate(domain)
    documents: dict[str, PolicyDocument] = {}
    nearest = Nearest(domain)
    for name, settings in domain.every_settings():
        router = domain.routers[name]
        if not router.approved:
            continue
        document = _document(domain, router, settings, version, issued_at, nearest)
        before = (previous or {}).get(router.name)
        documents[router.name] = before if before is not None and _same(before, document) else document
    return documents


def _same(before: PolicyDocument, after: PolicyDocument) -> bool:
    stamps = {"version": after.version, "issued_at": after.issued_at, "expires_at": after.expires_at}
    return before.model_copy(update=stamps) == after


def _document(
    domain: Domain, router: RouterEntry, settings: Settings, version: int, issued_at: int, nearest: Nearest
) -> PolicyDocument:
    return PolicyDocument(
        domain=domain.name,
        router=router.name,
        version=version,
        issued_at=issued_at,
        expires_at=issued_at + settings.validity_s,
        issuer=settings.issuer,
        issuers=settings.issuers,
        local_key_server=settings.local_key_server,
        identity=router.key,
        spi=router.spi,
        dks=domain.dks,
        interfaces=tuple(_interface(domain, router, each) for each in router.interfaces),
        points=points_of(domain, router),
        pairs=pairs_of(domain, router),
        suite=settings.suite,
        lifetimes=settings.lifetimes,
        reconnect=settings.reconnect,
        lease=settings.lease,
        generation_block=settings.generation_block,
        post_quantum=None if settings.post_quantum is PostQuantum.PREFERRED else settings.post_quantum,
        carries=None if settings.carries is None else nearest.to(router.name, settings.carries),
    )


def _interface(domain: Domain, router: RouterEntry, entry: InterfaceEntry) -> InterfacePolicy:
    neighbors = tuple(
        Neighbor(
            router=other.name,
            key=other.key,
            interface=there.name,
            address=None if there.address is None else there.address.ip,
            address6=there.address6,
            index=index,
            spi=other.spi,
        )
        for index, other, there in domain.neighbors(router.name, entry.name)
        if other.approved
    )
    return InterfacePolicy(
        name=entry.name,
        index=entry.index,
        address=None if entry.address is None else entry.address.ip,
        subnet=None if entry.address is None else entry.address.network,
        address6=entry.address6,
        link=entry.link,
        mode=entry.mode,
        modes=entry.modes,
        protocols=entry.protocols,
        neighbors=tuple(sorted(neighbors, key=lambda neighbor: neighbor.index)),
    )
