"""`create_app`: the web interface as an ASGI application."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from asynq.protocol.connect import resolve
from asynq.web import root_path as root
from asynq.web.api import http
from asynq.web.api.document import document_route
from asynq.web.api.metrics import check_prometheus
from asynq.web.failures import FailuresMiddleware
from asynq.web.pages import errors
from asynq.web.pages.routes import page_routes
from asynq.web.security.authentication import AuthenticationMiddleware
from asynq.web.security.bodies import BodiesMiddleware
from asynq.web.security.csrf import CSRFMiddleware
from asynq.web.security.headers import HeadersMiddleware
from asynq.web.security.hosts import HostsMiddleware
from asynq.web.security.proxies import ProxiesMiddleware
from asynq.web.services import Services
from asynq.web.settings import LOOPBACK_HOSTS, WebSettings
from asynq.web.static_files import STATIC, VersionedFiles
from asynq.web.stopping import StoppingMiddleware
from asynq.web.streams import stream_routes
from asynq.web.writability import WritabilityMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asynq.protocol.broker import Broker
    from asynq.web.security.users import Authentication


def create_app(
    broker: Broker | str,
    *,
    authentication: Authentication | Iterable[Authentication] = (),
    read_only: bool = False,
    hosts: Iterable[str] = (),
    root_path: str = "",
    insecure: bool = False,
    prometheus_url: str | None = None,
    **settings: Any,
) -> Starlette:
    """Make the web interface of a broker: an ASGI application, to be served or mounted in another one.

    Without authentication, everyone on this machine is an operator, and requests from elsewhere are refused.

    Args:
        broker: The broker, or its URL.
        authentication: One way to authenticate, or several that are tried in turn.
        read_only: Whether all that changes something is refused.
        hosts: The host names in the addresses that users enter, without ports, beside those of this machine
            itself (`asynq.web.settings.LOOPBACK_HOSTS`). Requests for others are refused, so that no other
            site can point its name at this server. "*" accepts any.
        root_path: The path below which a proxy shows the application, such as "/asynq". Not for the path at
            which another ASGI application mounts it, which is known.
        insecure: Whether requests from other machines are answered without authentication.
        prometheus_url: Address of a Prometheus server whose series are shown.
        settings: Others of `asynq.web.settings.WebSettings`.

    Raises:
        BrokerURLError: The URL of the broker is malformed.
        TypeError, ValueError: A setting is not of its type, or has no meaning.
    """
    ways = tuple(authentication) if isinstance(authentication, Iterable) else (authentication,)
    made = WebSettings(
        authentication=ways,
        read_only=read_only,
        hosts=(*LOOPBACK_HOSTS, *hosts),
        root_path=root.check_root_path(root_path),
        insecure=insecure,
        prometheus_url=check_prometheus(prometheus_url),
        **settings,
    )
    resolved, owned = resolve(broker)
    return _application(Services(resolved, made), owned=owned)


def _application(services: Services, *, owned: bool) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        yield
        await services.aclose()
        if owned:
            await services.broker.aclose()

    app = Starlette(
        routes=[
            document_route(),
            *http.routes(),
            *stream_routes(),
            Mount("/static", VersionedFiles(directory=STATIC), name="static"),
            *page_routes(),
        ],
        middleware=_middleware(services),
        exception_handlers=errors.HANDLERS,
        lifespan=lifespan,
    )
    app.state.web = services
    return app


def _middleware(services: Services) -> list[Middleware]:
    """From the outermost to the innermost."""
    settings = services.settings
    return [
        Middleware(StoppingMiddleware, services.live.close),
        Middleware(HeadersMiddleware),
        *([Middleware(root.RootPathMiddleware, settings.root_path)] if settings.root_path else []),
        Middleware(FailuresMiddleware),
        Middleware(HostsMiddleware, settings),
        Middleware(ProxiesMiddleware, settings),
        Middleware(AuthenticationMiddleware, settings),
        Middleware(BodiesMiddleware, settings),
        Middleware(CSRFMiddleware, settings),
        Middleware(WritabilityMiddleware, services.writability),
    ]
