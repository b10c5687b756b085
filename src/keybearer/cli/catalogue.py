"""``keybearer apis``, ``plans`` and ``identities``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..client import calls
from ..core.records import CredentialKind, TokenFormat
from ..wire.records import ApiView, IdentityView, PermissionSpec, PermissionView, PlanView
from . import options, output, values
from .credits import add_credits_command
from .options import Credits, Limits, Meta, NameFilter, ProjectFilter, Quotas, StateFilter, Texts
from .records import Quiet, RecordId, add_lifecycle, common_details, created, credit_text, group, limit_lines
from .session import All, Max, Session, client_command

apis = group("apis", "APIs: the resource servers that keys and tokens open.")
plans = group("plans", "Plans: named limits and quotas that projects share.")
identities = group("identities", "Identities: external subjects whose keys share limits and credits.")

Name = Annotated[str | None, typer.Option("--name", help="What people call it.")]
ApiPermissions = Annotated[
    Texts,
    typer.Option(
        "--permission",
        "-p",
        metavar="NAME[=WORDS]",
        help="A permission it understands, as orders:read='See your orders'; users read the words when they consent.",
    ),
]
Accepts = Annotated[
    list[CredentialKind] | None, typer.Option("--accept", help="A kind of credential it accepts; default: all.")
]
Restricted = Annotated[
    Texts,
    typer.Option("--restricted", metavar="NAME[=WORDS]", help="A permission that only users who hold it can grant."),
]
Tokens = Annotated[
    TokenFormat | None, typer.Option("--token-format", help="How its access tokens are written; default: opaque.")
]
TokenLife = Annotated[str | None, typer.Option("--token-in", metavar="TIME", help="How long one lives, as 10m.")]
KeyHeader = Annotated[str | None, typer.Option("--key-header", help="The header that carries the key.")]
InQuery = Annotated[
    bool | None,
    typer.Option(
        "--publishable-in-query/--no-publishable-in-query", help="Accept publishable keys in the query string."
    ),
]
TokenCookie = Annotated[
    str | None,
    typer.Option(
        "--token-cookie", metavar="NAME", help="The cookie that may carry an access token, as __Host-token; '': none."
    ),
]
DefaultPlan = Annotated[str | None, typer.Option("--default-plan", help="Id of the plan for projects without one.")]


def _permissions(names: Texts, restricted: Texts) -> list[PermissionSpec]:
    plain = [PermissionSpec(*values.worded(text)) for text in names or ()]
    return plain + [PermissionSpec(*values.worded(text), restricted=True) for text in restricted or ()]


def _permission_line(permission: PermissionView) -> str:
    notes = [
        word for word, holds in (("read only", permission.read_only), ("restricted", permission.restricted)) if holds
    ]
    words = f": {permission.description}" if permission.description else ""
    return permission.name + (f" ({', '.join(notes)})" if notes else "") + words


def _show_api(session: Session, api: ApiView) -> None:
    head, *rest = common_details(api)
    session.out.details(
        [
            head,
            ("identifier", api.identifier),
            ("name", api.name),
            ("permissions", [_permission_line(permission) for permission in api.permissions]),
            ("accepts", ", ".join(kind.value for kind in api.accepts)),
            ("tokens", api.token_format.value),
            ("token life", None if api.token_in is None else output.span(api.token_in)),
            ("key header", api.key_header),
            ("in query", "publishable keys" if api.allow_publishable_in_query else None),
            ("token cookie", api.token_cookie or None),
            ("default plan", api.default_plan_id),
            *rest,
            ("metadata", output.metadata(api.metadata)),
        ]
    )


@client_command(apis, "create")
def create_api(
    session: Session,
    identifier: Annotated[str, typer.Option(help="Its audience URI, as https://api.example.com; never changes.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    permission: ApiPermissions = None,
    restricted: Restricted = None,
    accept: Accepts = None,
    token_format: Tokens = None,
    token_in: TokenLife = None,
    key_header: KeyHeader = None,
    publishable_in_query: InQuery = None,
    token_cookie: TokenCookie = None,
    default_plan: DefaultPlan = None,
    meta: Meta = None,
    quiet: Quiet = False,
) -> None:
    """Register an API."""
    call = calls.apis.create(
        identifier=identifier,
        name=name,
        permissions=_permissions(permission, restricted),
        accepts=accept or None,
        token_format=token_format or TokenFormat.OPAQUE,
        token_in=values.maybe("--token-in", token_in, values.duration),
        key_header=key_header or "x-api-key",
        allow_publishable_in_query=bool(publishable_in_query),
        token_cookie=token_cookie or "",
        default_plan_id=default_plan,
        metadata=options.metadata(meta),
    )
    session.show(call, created(session, quiet, _show_api))


@client_command(apis, "update")
def update_api(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Name = None,
    permission: ApiPermissions = None,
    restricted: Restricted = None,
    accept: Accepts = None,
    token_format: Tokens = None,
    token_in: TokenLife = None,
    key_header: KeyHeader = None,
    publishable_in_query: InQuery = None,
    token_cookie: TokenCookie = None,
    default_plan: DefaultPlan = None,
    meta: Meta = None,
    clear: Annotated[
        Texts, typer.Option(metavar="FIELD", help="Clear permissions, token-in, default-plan-id or metadata.")
    ] = None,
) -> None:
    """Change an API. Permissions and accepted kinds replace what was there."""
    given = {
        "name": name,
        "permissions": _permissions(permission, restricted),
        "accepts": accept or None,
        "token_format": token_format,
        "token_in": values.maybe("--token-in", token_in, values.duration),
        "key_header": key_header,
        "allow_publishable_in_query": publishable_in_query,
        "token_cookie": token_cookie,
        "default_plan_id": default_plan,
        "metadata": options.metadata(meta) or None,
    }
    emptied: dict[str, Any] = {"permissions": [], "token_in": None, "default_plan_id": None, "metadata": {}}
    call = calls.apis.update(id, **options.changes(given, clear, emptied))
    session.show(call, lambda api: _show_api(session, api))


@client_command(apis, "list")
def list_apis(
    session: Session,
    identifier: Annotated[str | None, typer.Option(help="Only with this identifier.")] = None,
    name: NameFilter = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List APIs, oldest first."""

    def render(found: list[ApiView]) -> None:
        rows = [(api.id, api.name, api.identifier, output.state(api.state.value)) for api in found]
        session.out.table(("id", "name", "identifier", "state"), rows, flexible=("name", "identifier"))

    pages = calls.apis.list(identifier=identifier, name=name, state=state)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


def _show_plan(session: Session, plan: PlanView) -> None:
    head, *rest = common_details(plan)
    limits = limit_lines(plan.limits, plan.quotas)
    meta = output.metadata(plan.metadata)
    session.out.details([head, ("name", plan.name), ("limits", limits), *rest, ("metadata", meta)])


@client_command(plans, "create")
def create_plan(
    session: Session,
    name: Annotated[str, typer.Option(help="What people call it.")],
    limit: Limits = None,
    quota: Quotas = None,
    meta: Meta = None,
    quiet: Quiet = False,
) -> None:
    """Name a set of limits and quotas."""
    call = calls.plans.create(
        name=name,
        limits=values.each("--limit", limit, values.rate_limit),
        quotas=values.each("--quota", quota, values.quota),
        metadata=options.metadata(meta),
    )
    session.show(call, created(session, quiet, _show_plan))


@client_command(plans, "update")
def update_plan(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Name = None,
    limit: Limits = None,
    quota: Quotas = None,
    meta: Meta = None,
    clear: Annotated[Texts, typer.Option(metavar="FIELD", help="Clear limits, quotas or metadata.")] = None,
) -> None:
    """Change a plan; it holds at once for all who have it. Limits and quotas replace what was there."""
    given = {
        "name": name,
        "limits": values.each("--limit", limit, values.rate_limit),
        "quotas": values.each("--quota", quota, values.quota),
        "metadata": options.metadata(meta) or None,
    }
    call = calls.plans.update(id, **options.changes(given, clear, {"limits": [], "quotas": [], "metadata": {}}))
    session.show(call, lambda plan: _show_plan(session, plan))


@client_command(plans, "list")
def list_plans(
    session: Session, name: NameFilter = None, state: StateFilter = None, at_most: Max = 50, everything: All = False
) -> None:
    """List plans, oldest first."""

    def render(found: list[PlanView]) -> None:
        rows = [
            (plan.id, plan.name, "; ".join(limit_lines(plan.limits, plan.quotas)), output.state(plan.state.value))
            for plan in found
        ]
        session.out.table(("id", "name", "limits", "state"), rows, flexible=("name", "limits"))

    session.show_list(calls.plans.list(name=name, state=state), at_most, everything, render)  # type: ignore[arg-type]


def _show_identity(session: Session, identity: IdentityView) -> None:
    head, *rest = common_details(identity)
    session.out.details(
        [
            head,
            ("external id", identity.external_id),
            ("name", identity.name),
            ("project", identity.project_id),
            ("limits", limit_lines(identity.limits, identity.quotas)),
            ("credits", credit_text(identity.credits)),
            *rest,
            ("metadata", output.metadata(identity.metadata)),
        ]
    )


@client_command(identities, "create")
def create_identity(
    session: Session,
    project: Annotated[str, typer.Option("--project", help="Id of its project.")],
    external_id: Annotated[str, typer.Option(help="What your own system calls it.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    limit: Limits = None,
    quota: Quotas = None,
    credits: Credits = None,  # noqa: A002
    meta: Meta = None,
    quiet: Quiet = False,
) -> None:
    """Register an external subject."""
    call = calls.identities.create(
        project_id=project,
        external_id=external_id,
        name=name,
        limits=values.each("--limit", limit, values.rate_limit),
        quotas=values.each("--quota", quota, values.quota),
        credits=values.maybe("--credits", credits, values.prepaid),
        metadata=options.metadata(meta),
    )
    session.show(call, created(session, quiet, _show_identity))


@client_command(identities, "update")
def update_identity(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Name = None,
    limit: Limits = None,
    quota: Quotas = None,
    credits: Credits = None,  # noqa: A002
    meta: Meta = None,
    clear: Annotated[Texts, typer.Option(metavar="FIELD", help="Clear limits, quotas, credits or metadata.")] = None,
) -> None:
    """Change an identity; it holds at once for all its keys."""
    given = {
        "name": name,
        "limits": values.each("--limit", limit, values.rate_limit),
        "quotas": values.each("--quota", quota, values.quota),
        "credits": values.maybe("--credits", credits, values.prepaid),
        "metadata": options.metadata(meta) or None,
    }
    emptied: dict[str, Any] = {"limits": [], "quotas": [], "credits": None, "metadata": {}}
    call = calls.identities.update(id, **options.changes(given, clear, emptied))
    session.show(call, lambda identity: _show_identity(session, identity))


@client_command(identities, "list")
def list_identities(
    session: Session,
    project: ProjectFilter = None,
    external_id: Annotated[str | None, typer.Option(help="Only with this external id.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List identities, oldest first."""

    def render(found: list[IdentityView]) -> None:
        rows = [
            (
                one.id,
                one.external_id,
                one.name,
                one.credits.balance if one.credits else "-",
                output.state(one.state.value),
            )
            for one in found
        ]
        columns = ("id", "external id", "name", "credits", "state")
        session.out.table(columns, rows, flexible=("external id", "name"))

    pages = calls.identities.list(project_id=project, external_id=external_id, state=state)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


add_lifecycle(apis, "API", calls.apis, _show_api, "Every key is refused there.")
add_lifecycle(plans, "plan", calls.plans, _show_plan, "Its limits no longer hold.")
add_lifecycle(identities, "identity", calls.identities, _show_identity, "All its keys are refused.")
add_credits_command(identities, "identity", calls.identities.set_credits)
