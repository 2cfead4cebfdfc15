"""The kernel's SAD and SPD over XFRM netlink: add, update, delete, get, dump, flush.

One `Xfrm` is one netlink socket in one network namespace. It knows how to ask the kernel and how to read its answers;
`plan` and `reconciler` decide about the content. No key appears in an error or in a log.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from agents.ipsec import messages
from agents.ipsec.messages import Message
from agents.ipsec.model import (
    IpsecProtocol,
    Mark,
    Policy,
    SecurityAssociation,
)
from agents.ipsec.protection import IPAddress
from agents.runtime.netlink import (
    DONE,
    DUMPS,
    ERROR,
    F_ACK,
    F_CREATE,
    F_DUMP,
    F_DUMP_INTR,
    F_REQUEST,
    HEADER,
    attributes,
    error_code,
    message,
    parts,
    strict,
)

_NETLINK_XFRM = 6
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 10, 11
_F_EXCL, _F_CAPPED, _F_ACK_TLVS = 0x200, 0x100, 0x200
_SIOCGIFNAME, _SIOCGIFINDEX = 0x8910, 0x8933
_CLONE_NEWNET = 0x40000000
_BATCH_BYTES = 24 * 1024
_RECEIVE_BYTES = 256 * 1024

_T = TypeVar("_T")


class XfrmError(OSError):
    """The kernel refused. Holds errno, the operation, and the object's text (never a key)."""

    def __init__(self, code: int, operation: str, what: str, detail: str = "") -> None:
        reason = os.strerror(code) + (f" ({detail})" if detail else "")
        super().__init__(code, f"{operation} {what}: {reason}")
        self.operation = operation
        self.what = what


@dataclass(frozen=True)
class Request:
    """One change to ask for: made by `Xfrm.*_request`, done by `Xfrm.submit`."""

    message: Message
    flags: int
    body: bytes
    operation: str
    what: str

    def __repr__(self) -> str:
        return f"Request({self.operation} {self.what})"


class Xfrm:
    """The IPsec databases of one network namespace.

    `namespace` is a path (as /run/netns/r1), an open descriptor, or None for the current one. Needs CAP_NET_ADMIN
    there. Usable as a context manager.
    """

    def __init__(self, namespace: str | int | None = None) -> None:
        self._socket, self._ioctl = _in_namespace(namespace, _open_sockets)
        self.port: int = self._socket.getsockname()[0]
        """The netlink port that the kernel names in notifications of changes made by this one."""
        self._number = 0
        self._indices: dict[str, int] | None = None
        """Names and numbers of interfaces, while they are cached."""
        self._names: dict[int, str] | None = None

    def close(self) -> None:
        """Close the sockets. Nothing in the kernel changes."""
        self._socket.close()
        self._ioctl.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- interfaces

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Within the block, the kernel is asked once for an interface's name or number, not once for each policy."""
        self._indices, self._names = {}, {}
        try:
            yield
        finally:
            self._indices = self._names = None

    def interface_index(self, name: str) -> int:
        """The number of an interface of this namespace. XfrmError (ENODEV) if it does not exist."""
        if name.startswith("#") and name[1:].isdigit():
            return int(name[1:])
        if self._indices is not None and name in self._indices:
            return self._indices[name]
        try:
            answer = fcntl.ioctl(self._ioctl, _SIOCGIFINDEX, struct.pack("16s24x", name.encode()))
        except OSError as error:
            raise XfrmError(error.errno or 0, "look up", f"interface {name}") from None
        index_of_it = int(struct.unpack_from("=i", answer, 16)[0])
        if self._indices is not None:
            self._indices[name] = index_of_it
        return index_of_it

    def interface_name(self, index: int) -> str:
        """The name of an interface; `#7` for number 7 when it has gone."""
        if self._names is not None and index in self._names:
            return self._names[index]
        try:
            answer = fcntl.ioctl(self._ioctl, _SIOCGIFNAME, struct.pack("=16si20x", b"", index))
        except OSError:
            return f"#{index}"
        name = answer[:16].rstrip(b"\0").decode()
        if self._indices is not None and self._names is not None:
            self._names[index], self._indices[name] = name, index
        return name

    # -- security associations

    def add_sa(self, sa: SecurityAssociation) -> None:
        """Add one; XfrmError (EEXIST) when destination, SPI and protocol are taken."""
        self.submit([self.add_sa_request(sa)])

    def add_sa_request(self, sa: SecurityAssociation) -> Request:
        """The request behind `add_sa`."""
        body = messages.encode_sa(sa, self.interface_index)
        return Request(Message.NEWSA, F_CREATE | _F_EXCL, body, "add", str(sa))

    def update_sa(self, sa: SecurityAssociation) -> None:
        """Change what the kernel allows to change (lifetimes, not keys); XfrmError (ESRCH) if absent."""
        self.submit([self.update_sa_request(sa)])

    def update_sa_request(self, sa: SecurityAssociation) -> Request:
        """The request behind `update_sa`."""
        body = messages.encode_sa(sa, self.interface_index)
        return Request(Message.UPDSA, 0, body, "update", str(sa))

    def delete_sa(self, sa: SecurityAssociation) -> None:
        """Remove one, found by its identity; XfrmError (ESRCH) when absent."""
        self.submit([self.delete_sa_request(sa)])

    def delete_sa_request(self, sa: SecurityAssociation) -> Request:
        """The request behind `delete_sa`."""
        body = messages.encode_sa_id(sa.destination, sa.spi, sa.protocol, sa.mark)
        return Request(Message.DELSA, 0, body, "delete", str(sa))

    def get_sa(
        self,
        destination: IPAddress,
        spi: int,
        protocol: IpsecProtocol = IpsecProtocol.ESP,
        mark: Mark | None = None,
    ) -> SecurityAssociation | None:
        """The SA of this identity with its counters as of now, or None."""
        body = messages.encode_sa_id(destination, spi, protocol, mark)
        what = f"{protocol.name} SA spi {spi:#010x} dst {destination}"
        try:
            answers = self._ask(Message.GETSA, F_REQUEST, body, "get", what)
        except XfrmError as error:
            if error.errno == errno.ESRCH:
                return None
            raise
        return messages.decode_sa(answers[0], self.interface_name)

    def dump_sas(self) -> list[SecurityAssociation]:
        """Every ESP and AH SA of the namespace; larval ones, without an SPI, are left out."""
        bodies = self._dump(Message.GETSA, "SAs")
        return [sa for sa in (messages.decode_sa(b, self.interface_name) for b in bodies) if sa]

    def flush_sas(self) -> None:
        """Remove every SA of the namespace, whoever owns it."""
        self._ask_ack(Message.FLUSHSA, b"\0", "flush", "SAs")

    def sequence(self, spi: int, destination: IPAddress) -> int:
        """The last sequence number sent (outbound) or the highest received (inbound) on an ESP SA.

        Raises LookupError when the kernel has no such SA.
        """
        sa = self.get_sa(destination, spi)
        if sa is None:
            raise LookupError(f"no ESP SA spi {spi:#010x} dst {destination}")
        return sa.sequence

    # -- policies

    def add_policy(self, policy: Policy) -> None:
        """Add one; XfrmError (EEXIST) when its selector and direction are taken."""
        body = messages.encode_policy(policy, self.interface_index)
        self.submit([Request(Message.NEWPOLICY, F_CREATE | _F_EXCL, body, "add", str(policy))])

    def update_policy(self, policy: Policy) -> None:
        """Add one, or replace the one of the same identity in one atomic step."""
        self.submit([self.update_policy_request(policy)])

    def update_policy_request(self, policy: Policy) -> Request:
        """The request behind `update_policy`."""
        body = messages.encode_policy(policy, self.interface_index)
        return Request(Message.UPDPOLICY, 0, body, "update", str(policy))

    def delete_policy(self, policy: Policy) -> None:
        """Remove the policy of this identity; XfrmError (ENOENT) when absent."""
        self.submit([self.delete_policy_request(policy)])

    def delete_policy_request(self, policy: Policy) -> Request:
        """The request behind `delete_policy`."""
        body = messages.encode_policy_id(policy, self.interface_index)
        return Request(Message.DELPOLICY, 0, body, "delete", str(policy))

    def dump_policies(self) -> list[Policy]:
        """Every main policy of the namespace; sockets' own policies are left out."""
        bodies = self._dump(Message.GETPOLICY, "policies")
        return [p for p in (messages.decode_policy(b, self.interface_name) for b in bodies) if p]

    def flush_policies(self) -> None:
        """Remove every policy of the namespace, whoever owns it."""
        self._ask_ack(Message.FLUSHPOLICY, b"", "flush", "policies")

    # -- netlink

    def submit(self, requests: Iterable[Request]) -> None:
        """Do the changes in order, many to a system call.

        The kernel continues after a refusal. The first refusal is raised as XfrmError when its batch is done, and later
        batches are not sent. The kernel always reports a refusal, so the success of a batch's last change is the
        success of all.
        """
        for batch in _batches(list(requests)):
            self._submit_batch(batch)

    def _submit_batch(self, batch: list[Request]) -> None:
        pending: dict[int, Request] = {}
        wire = []
        for request in batch:
            flags = F_REQUEST | request.flags | (F_ACK if request is batch[-1] else 0)
            number, octets = self._message(request.message, flags, request.body)
            pending[number] = request
            wire.append(octets)
        last = number
        self._socket.send(b"".join(wire))
        failure: XfrmError | None = None
        while last in pending:
            for kind, flags, number, body in self._receive():
                if kind != ERROR or number not in pending:
                    continue
                request = pending.pop(number)
                code = error_code(body)
                if code and failure is None:
                    detail = _extended_text(flags, body)
                    failure = XfrmError(code, request.operation, request.what, detail)
        if failure is not None:
            raise failure

    def _message(self, kind: int, flags: int, body: bytes) -> tuple[int, bytes]:
        self._number = self._number % 0xFFFFFFFF + 1
        return self._number, message(
            kind, flags, self._number, body, self.port
        )  # notifications of the change bear this port

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        return parts(self._socket.recv(_RECEIVE_BYTES))

    def _ask(self, kind: int, flags: int, body: bytes, operation: str, what: str) -> list[bytes]:
        number, octets = self._message(kind, flags, body)
        self._socket.send(octets)
        answers: list[bytes] = []
        while True:
            for answer, answer_flags, answer_number, answer_body in self._receive():
                if answer_number != number:
                    continue
                if answer == DONE:
                    return answers
                if answer == ERROR:
                    code = error_code(answer_body)
                    if code:
                        detail = _extended_text(answer_flags, answer_body)
                        raise XfrmError(code, operation, what, detail)
                    return answers
                if answer_flags & F_DUMP_INTR:
                    raise _DumpInterrupted
                answers.append(answer_body)
            if answers and not flags & (F_ACK | F_DUMP):
                return answers

    def _ask_ack(self, kind: int, body: bytes, operation: str, what: str) -> None:
        try:
            self._ask(kind, F_REQUEST | F_ACK, body, operation, what)
        except XfrmError as error:
            # Flushing an empty database is answered with ESRCH.
            if operation != "flush" or error.errno != errno.ESRCH:
                raise

    def _dump(self, kind: int, what: str) -> list[bytes]:
        for _ in range(DUMPS):
            try:
                return self._ask(kind, F_REQUEST | F_DUMP, b"", "dump", what)
            except _DumpInterrupted:
                continue
        raise XfrmError(errno.EAGAIN, "dump", what, "they kept changing")


class _DumpInterrupted(Exception):
    """The kernel's list changed while it was being read."""


def _batches(requests: list[Request]) -> Iterator[list[Request]]:
    batch: list[Request] = []
    size = 0
    for request in requests:
        if batch and size + len(request.body) > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += len(request.body) + 32
    if batch:
        yield batch


@strict
def _extended_text(flags: int, body: bytes) -> str:
    """The kernel's own words on a refusal (NLMSGERR_ATTR_MSG), if it gave any."""
    if not flags & _F_ACK_TLVS:
        return ""
    length = struct.unpack_from("=I", body, 4)[0]
    start = 4 + (HEADER.size if flags & _F_CAPPED else (length + 3) & ~3)
    for kind, payload in attributes(body[start:]):
        if kind == 1:
            return payload.rstrip(b"\0").decode("ascii", "replace")
    return ""


def _open_sockets() -> tuple[socket.socket, socket.socket]:
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_XFRM)
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
            raise
        error_code = OSError(error.errno, f"this kernel has no XFRM (IPsec): {error.strerror}")
        error_code.add_note("modprobe xfrm_user; zgrep XFRM_USER /proc/config.gz /boot/config-$(uname -r)")
        raise error_code from error
    netlink.bind((0, 0))
    for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
        netlink.setsockopt(_SOL_NETLINK, option, 1)
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    return netlink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _in_namespace(namespace: str | int | None, job: Callable[[], _T]) -> _T:
    """Run `job` inside a network namespace, in a thread of its own.

    The thread enters the namespace, so the caller's namespace never changes.
    """
    if namespace is None:
        return job()
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(namespace, os.O_RDONLY) if isinstance(namespace, str) else namespace
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(descriptor, _CLONE_NEWNET):
                    code = ctypes.get_errno()
                    raise XfrmError(code, "enter", f"network namespace {namespace}")
            finally:
                if isinstance(namespace, str):
                    os.close(descriptor)
            outcome.append(job())
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=enter, name="enter-namespace")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
