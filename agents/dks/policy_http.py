"""One request at a time to the Policy Server's API, over HTTPS, or over HTTP on this machine.

The token goes to the configured address only: redirections are not followed, and no error contains it. Knows nothing of
the requests.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from agents.policy.errors import PolicyError
from agents.policy.keys import check_secret
from agents.runtime.stderr import advised
from agents.runtime.storage import open_regular

TIMEOUT_S = 60.0
"""The limit of each step of a request: a connection alone takes 20 s where the Policy Server is 10 s away, more with
losses."""
MAX_ANSWER = 64 << 20
MAX_TOKEN = 200


class PolicyServerError(Exception):
    """The Policy Server is unreachable, or gave no usable answer."""


class PolicyHttp:
    """`url`: https://HOST[:PORT]; `token_file`: a bearer token, mode 0600, of `user` (check_secret); `ca`: the trusted
    certificates, PEM (the system's by default)."""

    def __init__(self, url: str, token_file: Path, ca: Path | None = None, user: int | None = None) -> None:
        """PolicyServerError for an address that would reveal the token, or an unusable file."""
        self._host, self._port, tls = address_of(url)
        self._token = _read_token(token_file, user)
        self._tls: ssl.SSLContext | None = None
        if tls:
            try:
                self._tls = ssl.create_default_context(cafile=None if ca is None else str(ca))
            except OSError as error:
                raise PolicyServerError(f"{ca}: no certificates: {error}") from error

    def __call__(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and answer. PolicyServerError without an answer, or for one of more than MAX_ANSWER octets."""
        headers = {"Authorization": f"Bearer {self._token}", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/cose"
        connection = self._connection()
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise PolicyServerError(f"{self._host}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if len(data) > MAX_ANSWER:
            raise PolicyServerError(f"{self._host}: an answer of more than {MAX_ANSWER} octets")
        return answer.status, data

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=self._tls)


def address_of(url: str) -> tuple[str, int | None, bool]:
    """Host, port, and whether TLS is used. PolicyServerError for an address that must not be used."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise PolicyServerError(f"{url}: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.path not in ("", "/"):
        raise PolicyServerError(f"{url} is not https://HOST[:PORT]")
    if parts.username or parts.query or parts.fragment:
        raise PolicyServerError("the Policy Server's address has more parts than https://HOST[:PORT]")
    if parts.scheme == "http" and not _loopback(host):
        raise PolicyServerError(f"{url}: the token would cross the network in clear; use https")
    return host, port, parts.scheme == "https"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_token(path: Path, user: int | None) -> str:
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_TOKEN + 1)
    except OSError as error:
        raise PolicyServerError(advised(error)) from error
    try:
        check_secret(path, status, "a token's file", user)
    except PolicyError as error:
        raise PolicyServerError(str(error)) from error
    token = data.decode("ascii", errors="replace").strip()
    if not token or len(data) > MAX_TOKEN or not token.isprintable() or not token.isascii() or " " in token:
        raise PolicyServerError(
            f"{path} holds no token\n  next:    on the Policy Server: policy token add NAME --role confirm"
        )
    return token
