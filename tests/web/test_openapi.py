"""The OpenAPI document is true: requests made of it get the answers that it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from asynq.web import BearerAuthentication, create_app
from asynq.web.api.table import ENDPOINTS
from asynq_sqlite import MemoryBroker
from tests.web.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from asynq.web.api.endpoint import Endpoint

TOKEN = {"Authorization": "Bearer secret", "Host": "localhost"}
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    broker = MemoryBroker()
    store = Store(broker)
    store.one_of_each()
    yield create_app(
        broker,
        authentication=BearerAuthentication({"ci": ("secret", "operator")}),
        hosts=["localhost", "127.0.0.1", "testserver"],
        bulk_rate=1_000_000,
    )
    broker.close()


@pytest.fixture(scope="module")
def described(app: Any) -> Any:
    """The document, read as a user of the API reads it."""
    return schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=TOKEN)


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=list(ENDPOINTS))
def test_answers_are_as_the_document_says(described: Any, endpoint: Endpoint[Any, Any]) -> None:
    operation = described[endpoint.path][endpoint.method]

    @settings(
        max_examples=10,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        response = case.call(headers=TOKEN)
        if response.status_code != 501:  # there is no Prometheus server
            case.validate_response(response, checks=CHECKS)

    check()


def test_the_document_has_each_endpoint_and_nothing_else(app: Any) -> None:
    from asynq.web.api.openapi import document

    found = {
        (method.upper(), path): operation["operationId"]
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    }
    assert found == {(each.method, each.path): each.name for each in ENDPOINTS.values()}


def test_each_endpoint_says_what_it_does() -> None:
    for each in ENDPOINTS.values():
        assert each.description, each.name
        assert each.method == "GET" or each.description[0].isupper()
