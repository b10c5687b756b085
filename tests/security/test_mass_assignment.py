"""No create or update takes a field that is not its caller's to set.

Spec: OWASP API3; Better Auth CVE-2025-61928 (``userId`` in the body minted keys for others).
"""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from keybearer.core.incidents import Incident
from keybearer.core.leaks import LeakPolicy
from keybearer.core.records import Api, ApiKey, Identity, Plan, Project
from keybearer.core.routes import Route
from keybearer.core.sessions import Session
from keybearer.core.upstream_secrets import UpstreamSecret
from keybearer.core.upstreams import Upstream
from keybearer.core.users import Factors, Link, User
from keybearer.core.webhooks import Delivery, Webhook
from keybearer.web.asgi import OPERATIONS
from keybearer.web.operation import Operation
from keybearer.wire.keys import KeyView
from keybearer.wire.records import ApiView, IdentityView, PlanView, ProjectView
from keybearer.wire.routes import RouteView
from keybearer.wire.upstream_secrets import UpstreamSecretView
from keybearer.wire.upstreams import UpstreamView
from keybearer.wire.users import FactorsView, SessionView, UserView
from tests.support.embedded import Embedded
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio

RECORDS = (
    Api,
    Project,
    Plan,
    Identity,
    ApiKey,
    User,
    Factors,
    Link,
    Session,
    Upstream,
    Route,
    UpstreamSecret,
    Incident,
    LeakPolicy,
    Webhook,
    Delivery,
)
VIEWS = (
    *(ApiView, ProjectView, PlanView, IdentityView, KeyView, UserView, FactorsView, SessionView, UpstreamView),
    *(RouteView, UpstreamSecretView),
)
EVERY_FIELD = (
    {field.name for record in RECORDS for field in dataclasses.fields(record)}
    | {name for view in VIEWS for name in view.__struct_fields__}
    | {
        "userId",
        "user_id",
        "permission",
        "role",
        "is_admin",
        "secret",
        "credential",
        "digest",
        "pepper_id",
        "__class__",
    }
)


@pytest.mark.parametrize(
    "operation", [op for op in OPERATIONS if op.body is not None], ids=lambda operation: operation.operation_id
)
async def test_fields_that_nobody_may_set(world: Embedded, operation: Operation) -> None:
    scene = await Scene.of(world, 1)
    path, body = await scene.request(operation)
    head = await world.store.head()
    foreign = sorted(EVERY_FIELD - set(operation.body.__struct_fields__))
    assert foreign
    async with world.http() as http:
        for field in foreign:
            answer = await http.request(operation.method, path, json={**(body or {}), field: "proj_0000000000000000"})
            assert answer.status_code == 400, f"{field}: {answer.text}"
            assert answer.json()["errors"][0]["field"] == field
    assert await world.store.head() == head


def test_every_body_is_strict() -> None:
    """Also those inside others."""
    seen: set[type] = set()

    def visit(kind: msgspec.inspect.Type) -> None:
        if isinstance(kind, msgspec.inspect.StructType):
            if kind.cls in seen:
                return
            seen.add(kind.cls)
            assert kind.cls.__struct_config__.forbid_unknown_fields, kind.cls
            for field in kind.fields:
                visit(field.type)
        for name in ("item_type", "value_type"):
            inner = getattr(kind, name, None)
            if isinstance(inner, msgspec.inspect.Type):
                visit(inner)
        for inner in getattr(kind, "types", ()):
            visit(inner)

    for operation in OPERATIONS:
        if operation.body is not None:
            visit(msgspec.inspect.type_info(operation.body))
    assert len(seen) > 10
