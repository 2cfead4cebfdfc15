"""A kernel's SAD and SPD in memory: it takes the very messages that go to the real one."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import replace

from agents.ipsec import messages
from agents.ipsec.messages import Message
from agents.ipsec.model import Policy, SecurityAssociation
from agents.ipsec.xfrm import Request, Xfrm, XfrmError


class MemoryKernel(Xfrm):
    """`wall_s`: Unix seconds of its clock, by which it ends SAs when it is looked at."""

    def __init__(self) -> None:
        self.wall_s = 1_000_000
        self.sas: dict[object, SecurityAssociation] = {}
        self.policies: dict[object, Policy] = {}
        self.requests: list[Message] = []

    def interface_index(self, name: str) -> int:
        return int(name.removeprefix("eth")) + 1

    def interface_name(self, index: int) -> str:
        return f"eth{index - 1}"

    def dump_policies(self) -> list[Policy]:
        return list(self.policies.values())

    def dump_sas(self) -> list[SecurityAssociation]:
        ended = [
            place
            for place, sa in self.sas.items()
            if sa.lifetime.hard_add_s and sa.added_s + sa.lifetime.hard_add_s <= self.wall_s
        ]
        for place in ended:
            del self.sas[place]
        return list(self.sas.values())

    def counted(self, spi: int, sequence: int) -> None:
        """So many packets went under an SA."""
        for place, sa in self.sas.items():
            if sa.spi == spi:
                self.sas[place] = replace(sa, sequence=sequence)

    def submit(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self.requests.append(request.message)
            self._do(request)

    def _do(self, request: Request) -> None:
        if request.message in (Message.NEWSA, Message.UPDSA):
            sa = messages.decode_sa(request.body, self.interface_name)
            assert sa is not None
            existing = self.sas.get(sa.identity)
            if (existing is None) is (request.message is Message.UPDSA):
                raise XfrmError(errno.EEXIST if existing else errno.ESRCH, request.operation, request.what)
            made = replace(sa, added_s=self.wall_s) if existing is None else replace(existing, lifetime=sa.lifetime)
            self.sas[sa.identity] = made
        elif request.message is Message.DELSA:
            place = next(place for place in self.sas if request.what == str(self.sas[place]))
            del self.sas[place]
        elif request.message is Message.UPDPOLICY:
            policy = messages.decode_policy(request.body, self.interface_name)
            assert policy is not None
            self.policies[policy.identity] = policy
        else:
            assert request.message is Message.DELPOLICY
            place = next(place for place in self.policies if request.what == str(self.policies[place]))
            del self.policies[place]
