"""For every operation of the management API, one request that succeeds, with the records that it needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from keybearer.core.assurance import ONE_FACTOR
from keybearer.core.clients import GrantType
from keybearer.core.credential import new_id
from keybearer.core.grants import GRANT_ID, Grant
from keybearer.core.incidents import SourceKind
from keybearer.core.lifecycle import Change, IncidentChange
from keybearer.core.records import Environment
from keybearer.core.users import USER_ID, User
from keybearer.services import (
    apis,
    clients,
    identities,
    incidents,
    keys,
    leaks,
    plans,
    projects,
    rotation,
    routes,
    sessions,
    upstream_secrets,
    upstreams,
    user_links,
    users,
    webhooks,
)
from keybearer.services.authority import SYSTEM
from keybearer.web.asgi import OPERATIONS
from keybearer.web.operation import Operation
from keybearer.wire.clients import CreateClient
from keybearer.wire.keys import CreateKey, RotateKey
from keybearer.wire.leaks import CheckLeaks, IncidentNote, LeakFinding, LeakSource
from keybearer.wire.limits import CreditsSpec
from keybearer.wire.records import CreateApi, CreateIdentity, CreatePlan, CreateProject, PermissionSpec, UpdateProject
from keybearer.wire.routes import CreateRoute
from keybearer.wire.upstream_secrets import CreateUpstreamSecret
from keybearer.wire.upstreams import CreateUpstream
from keybearer.wire.users import CreateUser, LinkSpec
from keybearer.wire.webhooks import CreateWebhook
from tests.support.embedded import Embedded

SERVICES: dict[str, Any] = {
    "apis": apis,
    "projects": projects,
    "plans": plans,
    "identities": identities,
    "keys": keys,
    "users": users,
    "clients": clients,
    "upstreams": upstreams,
    "webhooks": webhooks,
    "routes": routes,
    "secrets": upstream_secrets,
}
BY_ID: dict[str, Operation] = {operation.operation_id: operation for operation in OPERATIONS}


@dataclass
class Scene:
    """A project with an API, a plan, an identity and a key; ids are unique to each scene."""

    world: Embedded
    project: str = ""
    api: str = ""
    identifier: str = ""
    plan: str = ""
    identity: str = ""
    key: str = ""
    user: str = ""
    session: str = ""
    link: str = ""
    client: str = ""
    grant: str = ""
    signing_key: str = ""
    upstream: str = ""
    route: str = ""
    secret: str = ""
    incident: str = ""
    leaked: str = ""
    webhook: str = ""
    message: str = ""
    number: int = 0

    @classmethod
    async def of(cls, world: Embedded, number: int, project: str = "") -> Scene:
        """A new scene; in an existing project if one is given."""
        scene = cls(world, project, number=number, identifier=f"urn:orders:{number}")
        authority, root = world.authority, world.root
        body = CreateApi(scene.identifier, "Orders", [PermissionSpec(f"orders{number}:read")])
        scene.api = (await apis.create(authority, root, body)).id
        scene.plan = (await plans.create(authority, root, CreatePlan("Basic"))).id
        if project:
            before = await projects.get(authority, root, project)
            change = UpdateProject(plan_id=scene.plan, enabled_apis=[*before.enabled_apis, scene.api])
            await projects.update(authority, root, project, change)
        else:
            made = CreateProject("Shop", enabled_apis=[scene.api], plan_id=scene.plan)
            scene.project = (await projects.create(authority, root, made)).id
        identity = CreateIdentity(scene.project, f"user-{number}", credits=CreditsSpec(5))
        scene.identity = (await identities.create(authority, root, identity)).id
        key = CreateKey(scene.project, "k", credits=CreditsSpec(5))
        scene.key = (await keys.create(authority, root, key)).key.id
        scope = f"orders{number}:read"
        client = CreateClient(
            project_id=scene.project, name="c", grant_types=[GrantType.CLIENT_CREDENTIALS], scopes=[scope]
        )
        scene.client = (await clients.create(authority, root, client)).client.id
        scene.grant = await scene._consented(scope)
        scene.signing_key = (await authority.signing_keys.active("ES256")).id
        await scene._people()
        provider = CreateUpstream("Elsewhere", f"https://login.example/{scene.key[-16:]}", "keybearer")
        scene.upstream = (await upstreams.create(authority, root, provider)).id
        name = f"s{scene.key[-16:]}".lower()
        route = CreateRoute(name=name, upstream="https://site.example", path=f"/{name}", public=True)
        scene.route = (await routes.create(authority, root, route)).id
        secret = CreateUpstreamSecret(name, "a secret of somebody else")
        scene.secret = (await upstream_secrets.create(authority, root, secret)).id
        scene.incident = await scene._leaked()
        hook = CreateWebhook(scene.project, "pager", "https://pager.example/in")
        scene.webhook = (await webhooks.create(authority, root, hook)).webhook.id
        scene.message = (await webhooks.ping(authority, root, scene.webhook)).id
        return scene

    async def _consented(self, scope: str) -> str:
        """A user, and what that user allowed the client."""
        now = self.world.authority.clock.now()
        user = User(
            id=USER_ID + new_id(now), created_at=now, updated_at=now, email=f"{new_id(now)}@example.com".lower()
        )
        grant = Grant(
            id=GRANT_ID + new_id(now),
            created_at=now,
            updated_at=now,
            user_id=user.id,
            client_id=self.client,
            project_id=self.project,
            scopes=(scope,),
            resources=(self.api,),
        )

        async def work(uow: Any) -> None:
            await uow.insert(user)
            await uow.insert(grant)

        await self.world.authority.store.transact(work)
        return grant.id

    async def _people(self) -> None:
        """A user with a session and a link; there may be several scenes with the same number."""
        authority, root = self.world.authority, self.world.root
        email = f"user-{self.number}-{self.key[-16:]}@example.com"
        self.user = (await users.create(authority, root, CreateUser(email))).id
        elsewhere = LinkSpec("crm", self.user)
        self.link = (await user_links.add(authority, root, self.user, elsewhere)).id
        user = await self.world.store.get(User, self.user)
        visit: dict[str, Any] = {"amr": ("pwd",), "acr": ONE_FACTOR, "source": None, "user_agent": ""}
        session, _ = await self.world.store.transact(lambda uow: sessions.start(uow, authority, SYSTEM, user, **visit))
        self.session = session.id

    async def _leaked(self) -> str:
        """An incident of the project: a key for tests, about which nothing but that is done."""
        authority, root = self.world.authority, self.world.root
        made = await keys.create(authority, root, CreateKey(self.project, "leaky", environment=Environment.TEST))
        self.leaked = made.credential
        finding = LeakFinding(made.credential, LeakSource(SourceKind.FILE, "access.log", 7))
        checked = await leaks.check(authority, root, CheckLeaks([finding], act=True))
        return str(checked.findings[0].incident_id)

    def id_of(self, plural: str) -> str:
        """The record of this scene that an operation on ``plural`` is about."""
        return {
            "apis": self.api,
            "projects": self.project,
            "plans": self.plan,
            "identities": self.identity,
            "keys": self.key,
            "users": self.user,
            "sessions": self.session,
            "clients": self.client,
            "grants": self.grant,
            "signing_keys": self.signing_key,
            "upstreams": self.upstream,
            "routes": self.route,
            "secrets": self.secret,
            "incidents": self.incident,
            "leak_policies": self.project,
            "webhooks": self.webhook,
        }[plural]

    async def request(self, operation: Operation) -> tuple[str, dict[str, Any] | None]:
        """The path and body of a request that succeeds for an administrator; makes what it needs."""
        authority, root = self.world.authority, self.world.root
        plural, _, verb = operation.operation_id.partition(".")
        if operation.operation_id == "plans.delete":
            # A plan in use cannot go.
            self.plan = (await plans.create(authority, root, CreatePlan("Unused"))).id
        if plural == "projects" and verb in ("delete", "undelete", "disable"):
            # The callers' own project must stay.
            self.project = (await projects.create(authority, root, CreateProject("Other"))).id
        if verb == "undelete":
            if plural == "plans":
                self.plan = (await plans.create(authority, root, CreatePlan("Unused"))).id
            await SERVICES[plural].set_state(authority, root, self.id_of(plural), Change.DELETE)
        if verb == "reopen":
            await incidents.set_status(authority, root, self.incident, IncidentChange.RESOLVE, IncidentNote())
        if verb == "revoke_version":
            await rotation.rotate(authority, root, self.key, RotateKey())
        path = operation.path.replace("{number}", "1").replace("{api}", self.api).replace("{link}", self.link)
        path = path.replace("{message}", self.message)
        if path.startswith("/v1/users/{id}"):
            path = path.replace("{id}", self.user)
        if "{id}" in path:
            path = path.replace("{id}", self.id_of(plural))
        return path, self.body(operation.operation_id)

    def body(self, operation_id: str) -> dict[str, Any] | None:
        """A valid body."""
        bodies: dict[str, dict[str, Any]] = {
            "apis.create": {"identifier": f"{self.identifier}:new", "name": "New"},
            "apis.update": {"name": "Newer"},
            "projects.create": {"name": "New"},
            "projects.update": {"name": "Newer"},
            "plans.create": {"name": "New"},
            "plans.update": {"name": "Newer"},
            "identities.create": {"project_id": self.project, "external_id": f"new-{self.number}"},
            "identities.update": {"name": "Newer"},
            "identities.credits": {"add": 1},
            "keys.create": {"project_id": self.project, "name": "new"},
            "keys.update": {"name": "newer"},
            "keys.rotate": {"grace_in": 60},
            "keys.revoke": {"reason": "test"},
            "keys.revoke_version": {"reason": "test"},
            "keys.credits": {"add": 1},
            "users.create": {"email": f"new-{self.user[-16:]}@example.com"},
            "users.update": {"name": "Newer"},
            "users.set_password": {"password": "quartz lantern overture 41"},
            "users.send_link": {"kind": "password_reset"},
            "users.add_link": {"issuer": "erp", "subject": self.user},
            "clients.create": {
                "project_id": self.project,
                "name": "new",
                "grant_types": ["client_credentials"],
                "scopes": [f"orders{self.number}:read"],
            },
            "clients.update": {"name": "newer"},
            "clients.rotate": {"grace_in": 60},
            "grants.update": {"scopes": []},
            "grants.revoke": {},
            "signing_keys.rotate": {"at_once": True},
            "upstreams.create": {
                "name": "New",
                "issuer": f"https://login.example/{self.key[-16:]}/new",
                "client_id": "keybearer",
                "client_secret": "s" * 40,
            },
            "upstreams.update": {"name": "Newer"},
            "routes.create": {
                "name": f"new{self.key[-16:]}".lower(),
                "upstream": "https://site.example",
                "path": f"/new{self.key[-16:]}",
                "api": self.identifier,
            },
            "routes.update": {"retries": 2},
            "secrets.create": {"name": f"new{self.key[-16:]}".lower(), "value": "s" * 40},
            "secrets.update": {"value": "t" * 40},
            "leaks.check": {"findings": [{"credential": self.leaked, "source": {"kind": "stdin"}}], "act": True},
            "leak_policies.set": {"measures": {"live.secret_key": "rotate"}, "grace_in": 60, "in_urls": "alert"},
            "webhooks.create": {"project_id": self.project, "name": "new", "url": "https://pager.example/new"},
            "webhooks.update": {"name": "newer"},
            "webhooks.rotate": {"grace_in": 60},
            "refund": {"key_id": self.key, "request_id": "r"},
        }
        return bodies.get(operation_id)


def line_of(project: str, number: int) -> bytes:
    """One line of an import."""
    secret = {"scheme": "raw", "value": f"legacy-key-{number:08}"}
    return json.dumps({"project_id": project, "name": "old", "secret": secret}).encode() + b"\n"
