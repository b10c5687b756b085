"""The endpoints that all kinds of record have alike: create, list, read, change, and the changes of state."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..core.lifecycle import Change
from ..services import apis, identities, keys, plans, projects, routes, upstream_secrets, upstreams, users, webhooks
from ..wire import keys as key_types
from ..wire import records as types
from ..wire import routes as route_types
from ..wire import upstream_secrets as secret_types
from ..wire import upstreams as upstream_types
from ..wire import users as user_types
from ..wire import webhooks as webhook_types
from ..wire.listing import Listing
from .operation import CURSOR, LIMIT, Call, Operation, Parameter

_STATES = (
    ("enable", Change.ENABLE, "POST", "/enable", "Enable"),
    ("disable", Change.DISABLE, "POST", "/disable", "Disable"),
    ("delete", Change.DELETE, "DELETE", "", "Delete; it can be brought back for 30 days:"),
    ("undelete", Change.UNDELETE, "POST", "/undelete", "Bring back"),
)


def collection(
    noun: str,
    plural: str,
    service: ModuleType,
    create: Any,
    update: Any,
    view: Any,
    answer: Any,
    filters: tuple[str, ...],
) -> tuple[Operation, ...]:
    """Return the operations that every kind of record has."""
    base = f"/v1/{plural}"
    article = "an" if noun[0] in "Aai" or noun.startswith("up") else "a"
    read, write = f"keybearer:{plural}.read", f"keybearer:{plural}.write"

    async def do_create(call: Call) -> Any:
        return await service.create(call.authority, call.caller, call.body)

    async def do_page(call: Call) -> Any:
        return await service.page(call.authority, call.caller, call.page(*filters))

    async def do_get(call: Call) -> Any:
        return await service.get(call.authority, call.caller, call.path["id"])

    async def do_update(call: Call) -> Any:
        return await service.update(call.authority, call.caller, call.path["id"], call.body)

    def operation(method: str, path: str, name: str, summary: str, **rest: Any) -> Operation:
        return Operation(
            method=method, path=path, operation_id=f"{plural}.{name}", summary=summary, tag=plural.capitalize(), **rest
        )

    def state_operation(name: str, wanted: Change, method: str, suffix: str, verb: str) -> Operation:
        async def do(call: Call) -> Any:
            return await service.set_state(call.authority, call.caller, call.path["id"], wanted)

        return operation(
            method,
            f"{base}/{{id}}{suffix}",
            name,
            f"{verb} {article} {noun}",
            handler=do,
            response=view,
            permission=write,
        )

    parameters = (*(Parameter(name, f"Only those whose {name} is this.") for name in filters), LIMIT, CURSOR)
    return (
        operation(
            "POST", base, "create", f"Create {article} {noun}",
            handler=do_create, body=create, response=answer, permission=write, status=201,
        ),
        operation(
            "GET", base, "list", f"List {plural}",
            handler=do_page, response=Listing[view], permission=read, parameters=parameters,
        ),
        operation(
            "GET", f"{base}/{{id}}", "get", f"Read {article} {noun}", handler=do_get, response=view, permission=read
        ),
        operation(
            "PATCH", f"{base}/{{id}}", "update", f"Change {article} {noun}",
            handler=do_update, body=update, response=view, permission=write,
        ),
        *(state_operation(*state) for state in _STATES),
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    *collection(
        "API", "apis", apis, types.CreateApi, types.UpdateApi, types.ApiView, types.ApiView,
        ("identifier", "name", "state"),
    ),
    *collection(
        "project", "projects", projects, types.CreateProject, types.UpdateProject, types.ProjectView, types.ProjectView,
        ("name", "plan_id", "state"),
    ),
    *collection(
        "plan", "plans", plans, types.CreatePlan, types.UpdatePlan, types.PlanView, types.PlanView, ("name", "state")
    ),
    *collection(
        "identity", "identities", identities, types.CreateIdentity, types.UpdateIdentity, types.IdentityView,
        types.IdentityView, ("project_id", "external_id", "state"),
    ),
    *collection(
        "key", "keys", keys, key_types.CreateKey, key_types.UpdateKey, key_types.KeyView, key_types.IssuedKey,
        ("project_id", "identity_id", "plan_id", "kind", "environment", "owner", "name", "tag", "state"),
    ),
    *collection(
        "user", "users", users, user_types.CreateUser, user_types.UpdateUser, user_types.UserView, user_types.UserView,
        ("email", "state"),
    ),
    *collection(
        "upstream provider", "upstreams", upstreams, upstream_types.CreateUpstream, upstream_types.UpdateUpstream,
        upstream_types.UpstreamView, upstream_types.UpstreamView, ("issuer", "state"),
    ),
    *collection(
        "webhook", "webhooks", webhooks, webhook_types.CreateWebhook, webhook_types.UpdateWebhook,
        webhook_types.WebhookView, webhook_types.IssuedWebhook, ("project_id", "state"),
    ),
    *collection(
        "route", "routes", routes, route_types.CreateRoute, route_types.UpdateRoute, route_types.RouteView,
        route_types.RouteView, ("name", "state"),
    ),
    *collection(
        "upstream secret", "secrets", upstream_secrets, secret_types.CreateUpstreamSecret,
        secret_types.UpdateUpstreamSecret, secret_types.UpstreamSecretView, secret_types.UpstreamSecretView,
        ("name", "state"),
    ),
)  # fmt: skip
