"""Where the server is, and how this client proves who it is."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from .errors import DiarizedError


@dataclass(frozen=True)
class Address:
    """A server such as `http://127.0.0.1:7007`; the path of a proxy may follow."""

    base: str
    token: str | None = None
    ca: str | None = None
    """PEM file of the authorities for the server's certificate; the system's without one."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
            raise DiarizedError(f"{self.base!r} is not an address; write it as http://127.0.0.1:7007")

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.base).scheme in ("https", "wss")

    def _url(self, scheme: str, path: str, query: dict[str, object]) -> str:
        parts = urlsplit(self.base)
        shown = {name: value for name, value in query.items() if value is not None}
        scheme += "s" if self.is_secure else ""
        return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/{path}", urlencode(shown), ""))

    def http(self, path: str = "", **query: object) -> str:
        return self._url("http", path, query)

    def socket(self, path: str, **query: object) -> str:
        return self._url("ws", path, query)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.ca) if self.is_secure else None
