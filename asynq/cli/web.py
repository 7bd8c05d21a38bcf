"""`asynq web`: the web interface."""

from __future__ import annotations

import ipaddress
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.arguments import refusal, usage_error
from asynq.cli.session import BrokerURL, connected

if TYPE_CHECKING:
    from asynq.web.security.users import Authentication

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at.")]
Port = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port to listen at; 0: any free one.")
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Refuse all that changes something.")]
RootPath = Annotated[
    str, typer.Option("--root-path", metavar="PATH", help="Path below which a proxy shows it, e.g. /asynq.")
]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Host name in the addresses that users enter."),
]
AuthFile = Annotated[
    Path | None,
    typer.Option(
        "--auth-file",
        metavar="FILE",
        envvar="ASYNQ_WEB_AUTH_FILE",
        show_envvar=True,
        help="TOML file with users, tokens or a proxy.",
    ),
]
TrustedProxies = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        metavar="ADDRESS",
        help="Proxy whose X-Forwarded-For names the address of a client.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Answer other machines, too, without authentication.")
]
Prometheus = Annotated[
    str | None, typer.Option("--prometheus", metavar="URL", help="Prometheus server whose series are shown.")
]


def web(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    read_only: ReadOnly = False,
    root_path: RootPath = "",
    allow_host: AllowedHosts = None,
    auth_file: AuthFile = None,
    trusted_proxy: TrustedProxies = None,
    insecure: Insecure = False,
    prometheus: Prometheus = None,
    broker: BrokerURL = None,
) -> None:
    """Serve the web interface.

    ASYNQ_WEB_PASSWORD is the password of the operator "admin", ASYNQ_WEB_TOKEN a bearer token of an operator.
    An address that other machines can reach needs authentication.
    """
    try:
        from asynq.web import create_app
        from asynq.web.serve import bind, serve
    except ModuleNotFoundError as error:
        raise refusal(f"{error.name} is missing: pip install 'asynq-py[web]'") from None

    from asynq.runtime.logs import configure

    ways = _authentication(auth_file)
    if not (ways or insecure or _is_loopback(host)):
        raise usage_error(
            f"--host {host}: other machines can reach this address, so users must authenticate:"
            " give --auth-file, ASYNQ_WEB_PASSWORD or ASYNQ_WEB_TOKEN, or else --insecure"
        )
    configure()
    with connected(broker, create=True) as made:
        app = create_app(
            made,
            authentication=ways,
            read_only=read_only,
            hosts=(*_named(host), *(allow_host or ())),
            hosts_option="--allow-host",
            root_path=root_path,
            insecure=insecure,
            trusted_proxies=tuple(trusted_proxy or ()),
            prometheus_url=prometheus,
        )
        try:
            bound = bind(host, port)
        except OSError as error:
            raise usage_error(f"--host {host} --port {port}: {error.strerror}") from None
        with closing(bound):
            shown = f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{bound.getsockname()[1]}{root_path}/"
            serve(app, bound, lambda: typer.echo(f"Web interface at {address}", err=True))


def _authentication(file: Path | None) -> tuple[Authentication, ...]:
    from asynq.web.security.auth_file import read_authentication

    try:
        return read_authentication(file, os.environ)
    except OSError as error:
        raise usage_error(f"--auth-file {file}: {error.strerror}") from None
    except ValueError as error:
        raise usage_error(f"--auth-file: {error}") from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _named(host: str) -> tuple[str, ...]:
    """The host that users name if the server listens at an address that is not every address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (host,)
    if address.is_unspecified:
        return ()
    return (f"[{host}]",) if address.version == 6 else (host,)
