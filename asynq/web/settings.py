"""`WebSettings`: what a web interface is told when it is made."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, cast

from attrs import Factory, field, frozen, validators

from asynq.web.security.addresses import Addresses

if TYPE_CHECKING:
    from asynq.web.security.users import Authentication

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""The names by which a browser reaches this machine itself."""


@frozen(kw_only=True)
class WebSettings:
    """Settings of one web interface. Durations are seconds."""

    authentication: tuple[Authentication, ...] = ()
    """Ways to authenticate, tried in turn. None: everyone is an operator, but only from this machine."""
    insecure: bool = False
    """Whether requests from other machines are answered without authentication."""
    read_only: bool = False
    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    """The values of the Host header that are accepted, without the port; "*" for any."""
    hosts_option: str = "hosts= of create_app"
    """What names another one, for the one who reads the refusal."""
    root_path: str = ""
    """The path below which a proxy shows the interface, such as "/asynq"."""
    trusted_proxies: Addresses = field(default=cast("Addresses", ()), converter=Addresses)
    """Addresses or networks of proxies, such as "10.0.0.7", "10.0.0.0/24" or "unix". The client of a request
    that comes from one of them is the one that X-Forwarded-For names."""
    login_rate: int = field(default=10, validator=validators.ge(1))
    """Failed logins in a minute with one name from one address. Ten times as many with any names from one
    address, and with one name from any addresses."""
    secret: bytes = Factory(lambda: secrets.token_bytes(32))
    """Signs the tokens against cross-site requests. Processes that serve one site need the same."""
    prometheus_url: str | None = None
    """Address of a Prometheus server whose series the API passes on."""
    live_interval: float = 2.0
    """Time between two reads of the broker while a browser watches."""
    max_watchers: int = 200
    """Browsers that may watch at the same time."""
    max_topics: int = 100
    """Different tables, tasks and other things that they may watch: what each costs is read once for all."""
    max_stream: float = 300.0
    """How long a browser watches before its user is authenticated again."""
    bulk_rate: int = 30
    """Bulk actions that a user may start in a minute."""
    job_wait: float = 2.0
    """How long the answer to a bulk action waits for its end."""
    max_jobs: int = 4
    """Bulk actions under way at the same time."""
    max_address: int = 32 * 1024
    """Bytes of the path and the query of a request."""
    body_timeout: float = 30.0
    """Time within which a body must arrive."""
    max_body: int = 1024 * 1024
    """Bytes of the body of a request."""
    max_shown: int = 64 * 1024
    """Bytes of a payload, a result or an error that are shown of one task."""
    max_listed: int = 200
    """Bytes of the same for each task of a list."""
    max_scanned: int = 10_000
    """Tasks that one request looks at to find those that a filter selects."""
    audit_size: int = 500
    """Actions that the page of the audit remembers."""
