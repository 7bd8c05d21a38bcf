"""Parse Redis URLs strictly: an ambiguous URL is refused with advice on how to write it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from attrs import field, frozen

from asynq.errors import BrokerURLError
from asynq.protocol.connect import redact_url
from asynq.protocol.value_sizes import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
DEFAULT_HOST = "localhost"

Kind = Literal["single", "sentinel", "cluster"]


@frozen(cache_hash=True)
class Address:
    """Address of one server: a host and a port, or the path of a Unix socket."""

    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen(kw_only=True)
class TLS:
    """TLS settings. The files are PEM files.

    Args:
        ca_file: Certificate authorities to trust instead of the system's.
        cert_file: Client certificate. None: the client has no certificate.
        key_file: Private key of the client certificate. None: it is in `cert_file`.
        verify: False accepts any server certificate. The connection is still encrypted.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


@frozen(kw_only=True)
class Endpoint:
    """The servers of a broker and the credentials for them."""

    kind: Kind = "single"
    addresses: tuple[Address, ...] = (Address("127.0.0.1"),)
    """The server, the sentinels, or some nodes of the cluster."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    """Password of the servers that hold the data."""
    tls: TLS | None = None
    master: str = ""
    """Name under which the sentinels monitor the primary."""
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    min_replicas: int = 0
    """Number of replicas that must confirm an enqueue or a settlement."""
    max_value_bytes: int = MAX_VALUE_BYTES
    """Maximum bytes of a payload with its headers, and of a result."""

    def __str__(self) -> str:
        return ", ".join(map(str, self.addresses))


@frozen(kw_only=True)
class _Scheme:
    kind: Kind = "single"
    tls: bool = False
    unix: bool = False
    parameters: frozenset[str] = frozenset()


_ANY = frozenset({"min_replicas", "max_value_bytes"})
_ONE = _ANY | {"db"}
_TLS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"})
_SENTINEL = _ONE | {"master", "sentinel_username", "sentinel_password"}

SCHEMES: Mapping[str, _Scheme] = {
    "redis": _Scheme(parameters=_ONE),
    "rediss": _Scheme(tls=True, parameters=_ONE | _TLS),
    "unix": _Scheme(unix=True, parameters=_ONE),
    "redis-socket": _Scheme(unix=True, parameters=_ONE),
    "redis-sentinel": _Scheme(kind="sentinel", parameters=_SENTINEL),
    "rediss-sentinel": _Scheme(kind="sentinel", tls=True, parameters=_SENTINEL | _TLS),
    "redis-cluster": _Scheme(kind="cluster", parameters=_ANY),
    "rediss-cluster": _Scheme(kind="cluster", tls=True, parameters=_ANY | _TLS),
}
"""Meaning of each URL scheme, and the query parameters it accepts."""

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<path>[^?]*)(?:\?(?P<query>.*))?", re.IGNORECASE
)
_HOST = re.compile(r"(?:\[(?P<ip6>[0-9a-f:.%]+)\]|(?P<host>[^\[\]:]*))(?::(?P<port>[^:]*))?", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
_MASTER = re.compile(r"[A-Za-z0-9._-]+")
_DATABASE = re.compile(r"\+?[0-9]{1,9}")


def read_url(url: str) -> Endpoint:
    """Return the endpoint of a URL.

    Raises:
        BrokerURLError: The URL is invalid or ambiguous. The error contains no secrets.
    """
    return _Reader(url).endpoint()


class _Reader:
    """Parses one URL. Each error names the invalid part."""

    def __init__(self, url: str) -> None:
        self._url = url
        if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
            raise self._refusal("it contains a space or control character; percent-encode it")
        if "#" in url:
            raise self._refusal("it contains '#', which ends a URL; in a password write it as %23")
        if _BAD_ESCAPE.search(url):
            raise self._refusal(
                "a '%' is not followed by two hexadecimal digits; write the sign itself as %25"
            )
        parts = _URL.fullmatch(url)
        if parts is None:
            raise self._refusal("it has no scheme; write for example redis://127.0.0.1:6379")
        scheme = SCHEMES.get(parts["scheme"].lower())
        if scheme is None:
            raise self._refusal(f"scheme {parts['scheme']!r} is none of {', '.join(SCHEMES)}")
        self._scheme = scheme
        self._userinfo: str
        self._hosts: str
        self._userinfo, _, self._hosts = parts["authority"].rpartition("@")
        self._path = parts["path"]
        query = parts["query"] or ""
        if "@" in query or ("@" in self._path and not scheme.unix):
            raise self._refusal(
                "an '@' comes after a '/' or '?'; in a password write these as %40, %2F and %3F"
            )
        self._query = self._parameters(query)

    def endpoint(self) -> Endpoint:
        username, password = self._credentials()
        return Endpoint(
            kind=self._scheme.kind,
            addresses=self._addresses(),
            db=self._database(),
            username=username,
            password=password,
            tls=self._tls(),
            master=self._master(),
            sentinel_username=self._query.get("sentinel_username") or None,
            sentinel_password=self._query.get("sentinel_password") or None,
            min_replicas=self._min_replicas(),
            max_value_bytes=self._max_value_bytes(),
        )

    def _refusal(self, reason: str) -> BrokerURLError:
        return BrokerURLError(redact_url(self._url), reason)

    def _decoded(self, text: str) -> str:
        try:
            return unquote(text, errors="strict")
        except UnicodeDecodeError:
            raise self._refusal("its percent-encoded bytes are not UTF-8") from None

    def _parameters(self, query: str) -> dict[str, str]:
        values: dict[str, str] = {}
        for pair in filter(None, query.split("&")):
            name, _, value = pair.partition("=")
            if name not in self._scheme.parameters:
                known = ", ".join(sorted(self._scheme.parameters)) or "none"
                raise self._refusal(f"unknown parameter {name!r} (known: {known})")
            if name in values:
                raise self._refusal(f"parameter {name!r} is given twice")
            values[name] = self._decoded(value)
        return values

    def _credentials(self) -> tuple[str | None, str | None]:
        username, _, password = self._userinfo.partition(":")
        return self._decoded(username) or None, self._decoded(password) or None

    def _addresses(self) -> tuple[Address, ...]:
        if self._scheme.unix:
            if self._hosts:
                raise self._refusal(
                    "a socket path is absolute: write three slashes, as in unix:///run/redis.sock"
                )
            if self._path in ("", "/"):
                raise self._refusal("it names no socket path")
            return (Address(path=self._decoded(self._path)),)
        if self._scheme.kind == "single":
            return (self._address(self._hosts or DEFAULT_HOST, DEFAULT_PORT),)
        port = DEFAULT_SENTINEL_PORT if self._scheme.kind == "sentinel" else DEFAULT_PORT
        return tuple(self._address(host, port) for host in self._hosts.split(","))

    def _address(self, text: str, default_port: int) -> Address:
        parts = _HOST.fullmatch(text)
        if parts is None:
            raise self._refusal(f"{text!r} is not a host and a port; write an IPv6 address as [::1]:6379")
        host = self._decoded(parts["ip6"] or parts["host"])
        if not host:
            raise self._refusal("a host name is missing")
        return Address(host, self._port(parts["port"]) if parts["port"] else default_port)

    def _port(self, text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
            raise self._refusal(f"port {text!r} is not a number from 1 to 65535")
        return int(text)

    def _database(self) -> int:
        in_path = "" if self._scheme.unix else self._path.strip("/")
        in_query = self._query.get("db", "")
        if in_path and in_query and in_path != in_query:
            raise self._refusal("its path and its parameter 'db' name different databases")
        text = in_path or in_query
        if text and not _DATABASE.fullmatch(text):
            raise self._refusal(f"database {text!r} is not a number; {self._database_hint(text)}")
        database = int(text or 0)
        if database and self._scheme.kind == "cluster":
            raise self._refusal("a cluster has database 0 only")
        return database

    def _database_hint(self, text: str) -> str:
        if self._scheme.kind != "sentinel":
            return "write for example redis://localhost:6379/2"
        name = text if _MASTER.fullmatch(text) else "mymaster"
        return (
            "the name of the service is a parameter, the path is the database: "
            f"write for example redis-sentinel://localhost:26379/0?master={name}"
        )

    def _tls(self) -> TLS | None:
        if not self._scheme.tls:
            return None
        verify = self._query.get("ssl_cert_reqs", "required")
        if verify not in ("required", "none"):
            raise self._refusal("ssl_cert_reqs is neither 'required' nor 'none'")
        return TLS(
            ca_file=self._query.get("ssl_ca_certs"),
            cert_file=self._query.get("ssl_certfile"),
            key_file=self._query.get("ssl_keyfile"),
            verify=verify == "required",
        )

    def _min_replicas(self) -> int:
        text = self._query.get("min_replicas", "0")
        if not re.fullmatch(r"[0-9]{1,3}", text):
            raise self._refusal(f"min_replicas {text!r} is not a number of replicas")
        return int(text)

    def _max_value_bytes(self) -> int:
        text = self._query.get("max_value_bytes", str(MAX_VALUE_BYTES))
        if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
            raise self._refusal(f"max_value_bytes {text!r} is not a number of bytes below 1 GB")
        return int(text)

    def _master(self) -> str:
        master = self._query.get("master", "")
        if self._scheme.kind == "sentinel" and not master:
            raise self._refusal("?master= with the name the sentinels know the primary by is missing")
        return master
