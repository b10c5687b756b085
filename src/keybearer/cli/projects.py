"""``keybearer projects``: who calls, and which APIs they may call."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client import calls
from ..wire.records import ProjectView
from . import options, output
from .options import Meta, NameFilter, StateFilter, Texts
from .records import Quiet, RecordId, add_lifecycle, common_details, created, group
from .session import All, Max, Session, Yes, client_command

app = group("projects", "Projects: the calling applications and sites.")

Brand = Annotated[str | None, typer.Option("--brand", help="Stands in place of kb in its keys.")]
Apis = Annotated[Texts, typer.Option("--api", metavar="API", help="An API that it may call (id or identifier).")]
Plan = Annotated[str | None, typer.Option("--plan", help="Id of its plan.")]
ApiArgument = Annotated[str, typer.Argument(metavar="API", help="Id or identifier of the API.")]


def _show(session: Session, project: ProjectView) -> None:
    head, *rest = common_details(project)
    session.out.details(
        [
            head,
            ("name", project.name),
            ("brand", project.brand),
            ("may call", project.enabled_apis),
            ("plan", project.plan_id),
            *rest,
            ("metadata", output.metadata(project.metadata)),
        ]
    )


@client_command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Option(help="What people call it.")],
    brand: Brand = None,
    api: Apis = None,
    plan: Plan = None,
    meta: Meta = None,
    quiet: Quiet = False,
) -> None:
    """Register a calling application or site."""
    call = calls.projects.create(
        name=name, brand=brand or "kb", enabled_apis=api or (), plan_id=plan, metadata=options.metadata(meta)
    )
    session.show(call, created(session, quiet, _show))


@client_command(app, "update")
def update(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    brand: Brand = None,
    plan: Plan = None,
    meta: Meta = None,
    clear: Annotated[Texts, typer.Option(metavar="FIELD", help="Clear plan-id or metadata.")] = None,
) -> None:
    """Change a project. See also enable-api and disable-api."""
    given = {"name": name, "brand": brand, "plan_id": plan, "metadata": options.metadata(meta) or None}
    call = calls.projects.update(id, **options.changes(given, clear, {"plan_id": None, "metadata": {}}))
    session.show(call, lambda project: _show(session, project))


@client_command(app, "list")
def list_projects(
    session: Session,
    name: NameFilter = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Only with this plan.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List projects, oldest first."""

    def render(found: list[ProjectView]) -> None:
        rows = [
            (
                one.id,
                one.name,
                one.brand,
                len(one.enabled_apis),
                output.state(one.state.value),
                output.ago(one.created_at),
            )
            for one in found
        ]
        session.out.table(("id", "name", "brand", "apis", "state", "created"), rows, flexible=("name",))

    pages = calls.projects.list(name=name, plan_id=plan, state=state)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


@client_command(app, "enable-api")
def enable_api(session: Session, id: RecordId, api: ApiArgument) -> None:  # noqa: A002
    """Let a project call an API."""
    session.show(calls.projects.enable_api(id, api), lambda project: _show(session, project))


@client_command(app, "disable-api")
def disable_api(session: Session, id: RecordId, api: ApiArgument, yes: Yes = False) -> None:  # noqa: A002
    """Forbid a project to call an API; its keys are refused there at once."""
    session.confirm(f"Forbid {id} to call {api}? Its keys are refused there at once.", yes)
    session.show(calls.projects.disable_api(id, api), lambda project: _show(session, project))


add_lifecycle(app, "project", calls.projects, _show, "All its keys are refused.")
