"""Every operation against every kind of caller, and every object of another project.

Spec: SECURITY-BAR 25; OWASP API1 (objects), API5 (functions).
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from keybearer.core.lifecycle import Change
from keybearer.core.own_api import PERMISSIONS
from keybearer.core.records import CredentialKind
from keybearer.services import keys, projects
from keybearer.web.asgi import OPERATIONS
from keybearer.web.operation import Operation
from keybearer.wire.keys import CreateKey, RestrictionsSpec, RevokeKey
from tests.support.embedded import Embedded
from tests.support.requests import BY_ID, Scene, line_of

pytestmark = pytest.mark.anyio

ALL = tuple(permission.name for permission in PERMISSIONS if permission.name != "keybearer:admin")
READING = tuple(permission.name for permission in PERMISSIONS if permission.read_only)
_numbers = itertools.count(1)

# The rule, written down a second time: which permission each operation needs, and whether only a key of the authority's
# own project may use it. A new operation fails the first test below until it is entered here.
WHOLE = {
    *(f"{kind}.{verb}" for kind in ("apis", "projects", "plans") for verb in ("create", "update")),
    *(
        f"{kind}.{verb}"
        for kind in ("apis", "projects", "plans")
        for verb in ("enable", "disable", "delete", "undelete")
    ),
    *(f"users.{verb}" for verb in ("create", "list", "get", "update", "enable", "disable", "delete", "undelete")),
    *(f"users.{verb}" for verb in ("factors", "set_password", "reset_second_factor", "send_link")),
    *(f"upstreams.{verb}" for verb in ("create", "list", "get", "update", "enable", "disable", "delete", "undelete")),
    *(f"routes.{verb}" for verb in ("create", "list", "get", "update", "enable", "disable", "delete", "undelete")),
    *(f"secrets.{verb}" for verb in ("create", "list", "get", "update", "enable", "disable", "delete", "undelete")),
    *("users.links", "users.add_link", "users.remove_link"),
    *("sessions.list", "sessions.get", "sessions.end", "sessions.end_all"),
    *("signing_keys.list", "signing_keys.get", "signing_keys.rotate", "signing_keys.revoke"),
    *("leaks.check", "leak_policies.set"),
    *("plans.list", "projects.enable_api", "projects.disable_api", "audit.verify", "events"),
}
SPECIAL = {
    "refund": "keybearer:verify",
    "users.factors": "keybearer:users.read",
    "users.links": "keybearer:users.read",
    "usage": "keybearer:usage.read",
    **{f"incidents.{verb}": "keybearer:leaks.read" for verb in ("list", "get")},
    **{f"incidents.{verb}": "keybearer:leaks.write" for verb in ("acknowledge", "resolve", "reopen")},
    "leaks.check": "keybearer:leaks.write",
    "leaks.urls": "keybearer:leaks.read",
    "webhooks.deliveries": "keybearer:webhooks.read",
    "leak_policies.get": "keybearer:leaks.read",
    "leak_policies.set": "keybearer:leaks.write",
    "audit.list": "keybearer:audit.read",
    "audit.verify": "keybearer:audit.read",
    "events": "keybearer:events.read",
}
KINDS = (
    *("apis", "projects", "plans", "identities", "keys", "users", "clients", "upstreams"),
    *("webhooks", "routes", "secrets"),
)
VERBS = ("create", "list", "get", "update", "enable", "disable", "delete", "undelete")
EXTRA = (
    *("keys.rotate", "keys.revoke", "keys.revoke_version", "keys.credits", "identities.credits"),
    *("projects.enable_api", "projects.disable_api"),
    *("users.set_password", "users.reset_second_factor", "users.send_link", "users.add_link", "users.remove_link"),
    *("sessions.list", "sessions.get", "sessions.end", "sessions.end_all"),
    *("clients.rotate", "clients.revoke"),
    *("webhooks.rotate", "webhooks.ping", "webhooks.redeliver"),
    *("grants.list", "grants.get", "grants.update", "grants.revoke"),
    *("signing_keys.list", "signing_keys.get", "signing_keys.rotate", "signing_keys.revoke"),
)
OF_PROJECTS = (
    "keys.",
    "identities.",
    "projects.get",
    "clients.",
    "grants.",
    "webhooks.",
    "incidents.",
    "leak_policies.get",
)
KNOWN = {f"{kind}.{verb}" for kind in KINDS for verb in VERBS} | {*EXTRA} | SPECIAL.keys()


def needed(operation_id: str) -> str:
    if operation_id in SPECIAL:
        return SPECIAL[operation_id]
    kind, _, verb = operation_id.partition(".")
    return f"keybearer:{kind}.{'read' if verb in ('list', 'get') else 'write'}"


class Callers:
    """One key of each kind."""

    def __init__(self, world: Embedded) -> None:
        self.world = world
        self.keys: dict[str, str] = {}

    async def make(self, name: str, project: str, *permissions: str, **settings: Any) -> str:
        body = CreateKey(project, name, permissions=list(permissions), **settings)
        issued = await keys.create(self.world.authority, self.world.root, body)
        self.keys[name] = issued.credential
        return issued.key.id

    @classmethod
    async def of(cls, world: Embedded, project: str) -> Callers:
        callers = cls(world)
        own = world.authority.own_project_id
        api = world.authority.own_api_id
        callers.keys["nobody"] = ""
        callers.keys["wrong"] = world.root_key[:20] + ("A" if world.root_key[20] != "A" else "B") + world.root_key[21:]
        revoked = await callers.make("revoked", own, "keybearer:admin")
        await keys.revoke(world.authority, world.root, revoked, RevokeKey())
        disabled = await callers.make("disabled", own, "keybearer:admin")
        await keys.set_state(world.authority, world.root, disabled, Change.DISABLE)
        await callers.make("without", own)
        await callers.make("verifier", own, "keybearer:verify")
        await callers.make("reader", own, *READING)
        await callers.make("owner", own, *ALL)
        await callers.make("admin", own, "keybearer:admin")
        await callers.make("stranger", project)  # the project may not call Keybearer's own API yet
        public = RestrictionsSpec(ip_networks=["192.0.2.1"])
        await callers.make("publishable", own, kind=CredentialKind.PUBLISHABLE_KEY, restrictions=public)
        await projects.enable_api(world.authority, world.root, project, api)
        await callers.make("project", project, *ALL)
        await callers.make("project_admin", project, "keybearer:admin")
        stranger = callers.keys.pop("stranger")
        other = await Scene.of(world, next(_numbers))
        await callers.make("stranger", other.project)
        assert stranger
        return callers


def expected(kind: str, operation_id: str, success: int) -> int:
    if kind in ("nobody", "wrong", "revoked", "disabled", "stranger", "publishable"):
        return 401
    held = {
        "without": (),
        "verifier": ("keybearer:verify",),
        "reader": READING,
        "owner": ALL,
        "admin": (needed(operation_id),),
        "project": ALL,
        "project_admin": (needed(operation_id),),
    }[kind]
    if needed(operation_id) not in held:
        return 403
    return 403 if kind.startswith("project") and operation_id in WHOLE else success


def test_every_operation_is_in_the_matrix() -> None:
    assert {operation.operation_id for operation in OPERATIONS} == KNOWN
    for operation in OPERATIONS:
        assert operation.permission == needed(operation.operation_id), operation.operation_id


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.operation_id)
async def test_operation(world: Embedded, operation: Operation) -> None:
    home = await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, home.project)
    # Those who must be refused come first: nothing may have changed after them.
    ordered = sorted(callers.keys, key=lambda kind: expected(kind, operation.operation_id, operation.status) < 300)
    for kind in ordered:
        wanted = expected(kind, operation.operation_id, operation.status)
        scene = await Scene.of(world, next(_numbers), home.project)
        path, body = await scene.request(operation)
        head, entries = await world.store.head(), len(await world.audit())
        async with world.http(callers.keys[kind]) as http:
            answer = (
                await http.request(operation.method, path, json=body)
                if body
                else await http.request(operation.method, path)
            )
        assert answer.status_code == wanted, f"{kind} at {operation.operation_id}: {answer.text}"
        if wanted >= 400:
            assert await world.store.head() == head, kind
            assert len(await world.audit()) == entries, kind
            assert answer.headers["content-type"] == "application/problem+json"
        if wanted == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            for word in ("REVOKED", "DISABLED", "EXPIRED", "revoked", "disabled"):
                assert word not in answer.text, "the public answer is one and the same"
        if wanted == 403 and kind != "project" and kind != "project_admin":
            assert answer.json()["missing"] == [needed(operation.operation_id)]


@pytest.mark.parametrize(
    "operation_id",
    sorted(op for op in KNOWN if "{id}" in BY_ID[op].path and op.startswith(OF_PROJECTS)),
)
async def test_another_projects_object_does_not_exist(world: Embedded, operation_id: str) -> None:
    """Also not by the words of the answer: it is that of an id which never was."""
    operation = BY_ID[operation_id]
    mine, theirs = await Scene.of(world, next(_numbers)), await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, mine.project)
    path, body = await theirs.request(operation)
    head = await world.store.head()
    told = theirs.id_of(operation_id.partition(".")[0])
    never = told[:-6] + "zzzzzz"
    async with world.http(callers.keys["project"]) as http:
        answers = [
            await http.request(operation.method, asked, **({"json": body} if body else {}))
            for asked in (path, path.replace(told, never))
        ]
    assert [answer.status_code for answer in answers] == [404, 404]
    details = [answer.json()["detail"] for answer in answers]
    assert details[0] == details[1].replace(never, told)
    assert await world.store.head() == head


@pytest.mark.parametrize(
    ("operation_id", "field"),
    [
        ("keys.create", "project_id"),
        ("identities.create", "project_id"),
        ("webhooks.create", "project_id"),
        ("refund", "key_id"),
    ],
)
async def test_another_projects_object_cannot_be_named_in_a_body(
    world: Embedded, operation_id: str, field: str
) -> None:
    mine, theirs = await Scene.of(world, next(_numbers)), await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, mine.project)
    body = theirs.body(operation_id)
    assert body is not None
    assert field in body
    async with world.http(callers.keys["project"]) as http:
        answer = await http.post(BY_ID[operation_id].path, json=body)
    assert answer.status_code == 404, answer.text


async def test_lists_show_the_callers_project_only(world: Embedded) -> None:
    mine, theirs = await Scene.of(world, next(_numbers)), await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, mine.project)
    async with world.http(callers.keys["project"]) as http:
        for path in (
            "/v1/keys",
            "/v1/identities",
            "/v1/projects",
            "/v1/apis",
            "/v1/audit",
            "/v1/usage",
            "/v1/incidents",
        ):
            answer = await http.get(path)
            assert answer.status_code == 200
            for other in (theirs.project, theirs.key, theirs.identity, theirs.api, theirs.incident, theirs.webhook):
                assert other not in answer.text, path


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("nobody", 401),
        ("revoked", 401),
        ("publishable", 401),
        ("verifier", 403),
        ("reader", 403),
        ("admin", 200),
        ("project", 200),
    ],
)
async def test_import(world: Embedded, kind: str, status: int) -> None:
    home = await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, home.project)
    head = await world.store.head()
    async with world.http(callers.keys[kind]) as http:
        headers = {"content-type": "application/x-ndjson"}
        answer = await http.post("/v1/keys/import", content=line_of(home.project, 1), headers=headers)
    assert answer.status_code == status
    assert (await world.store.head() > head) is (status == 200)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("nobody", 401), ("wrong", 401), ("reader", 403), ("project", 403), ("project_admin", 403), ("admin", 200)],
)
async def test_import_of_users(world: Embedded, kind: str, status: int) -> None:
    home = await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, home.project)
    head = await world.store.head()
    async with world.http(callers.keys[kind]) as http:
        headers = {"content-type": "application/x-ndjson"}
        answer = await http.post("/v1/users/import", content=b'{"email": "a@example.com"}\n', headers=headers)
    assert answer.status_code == status
    assert (await world.store.head() > head) is (status == 200)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("nobody", 401),
        ("wrong", 401),
        ("revoked", 401),
        ("without", 403),
        ("reader", 403),
        ("verifier", 200),
        ("admin", 200),
    ],
)
async def test_verify(world: Embedded, kind: str, status: int) -> None:
    home = await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, home.project)
    async with world.http(callers.keys[kind]) as http:
        answer = await http.post("/v1/verify", json={"credential": world.root_key})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("nobody", 401),
        ("wrong", 401),
        ("revoked", 401),
        ("disabled", 401),
        ("without", 200),
        ("publishable", 200),
        ("stranger", 200),
        ("project", 200),
    ],
)
async def test_whoami_is_for_every_good_key(world: Embedded, kind: str, status: int) -> None:
    home = await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, home.project)
    async with world.http(callers.keys[kind]) as http:
        answer = await http.get("/v1/whoami")
    assert answer.status_code == status
    if callers.keys[kind]:
        assert callers.keys[kind].rpartition("_")[2] not in answer.text


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("nobody", 401),
        ("wrong", 401),
        ("revoked", 200),
        ("disabled", 200),
        ("publishable", 403),
        ("stranger", 200),
        ("admin", 200),
    ],
)
async def test_whoever_holds_a_key_can_burn_it(world: Embedded, kind: str, status: int) -> None:
    home = await Scene.of(world, next(_numbers))
    callers = await Callers.of(world, home.project)
    async with world.http(callers.keys[kind]) as http:
        answers = [await http.post("/v1/revoke-mine"), await http.post("/v1/revoke-mine", json={"reason": "again"})]
    assert [answer.status_code for answer in answers] == [status, status]
    if status == 200:
        assert (await world.verify(callers.keys[kind]))["code"] == "REVOKED"
    if kind == "publishable":  # it stands in a page: whoever reads that could end it for all
        assert (await world.verify(callers.keys[kind], client_ip="192.0.2.1"))["valid"]
