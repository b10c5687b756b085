"""``keybearer routes``: which requests the gateway sends where, and through which door."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ..client import calls
from ..wire.routes import CreateRoute, RouteView, UpdateRoute
from . import output
from .options import StateFilter
from .records import Quiet, RecordId, add_lifecycle, common_details, created, group
from .session import All, Max, Session, client_command

app = group("routes", "Routes of the gateway: which requests go where, and through which door.")

From = Annotated[
    str,
    typer.Option("--from", metavar="FILE", help="A JSON or TOML file with the fields of one route; - reads JSON here."),
]


def _show(session: Session, route: RouteView) -> None:
    head, *rest = common_details(route)
    door = "everybody" if route.public else " ".join(filter(None, (route.api, route.permissions)))
    session.out.details(
        [
            head,
            ("name", route.name),
            ("requests", _requests(route)),
            ("upstream", route.upstream),
            ("open to", door),
            ("shows", " ".join(f"{one.secret} ({one.place.value})" for one in route.inject)),
            ("phantom token", "yes" if route.phantom_token else "no"),
            ("sign-in", route.bff.path if route.bff is not None else route.session),
            *rest,
        ]
    )


def _requests(route: RouteView) -> str:
    return f"{' '.join(route.methods) or 'any method'} {route.host or '*'}{route.path}"


def _fields(source: str) -> dict[str, Any]:
    """Return what a file says; raises ``BadParameter``."""
    import tomllib

    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8")
        found = tomllib.loads(text) if source.endswith(".toml") else json.loads(text)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{source} cannot be read: {error}", param_hint="--from") from error
    if not isinstance(found, dict):
        raise typer.BadParameter("it must be one table of fields", param_hint="--from")
    return found


def _read(source: str, kind: Any) -> dict[str, Any]:
    try:
        body = msgspec.convert(_fields(source), kind)
    except msgspec.ValidationError as error:
        raise typer.BadParameter(str(error), param_hint="--from") from error
    return {name: getattr(body, name) for name in body.__struct_fields__}


@client_command(app, "create")
def create(session: Session, source: From, quiet: Quiet = False) -> None:
    """Make a route from the fields in a file; docs/gateway.md has them all."""
    session.show(calls.routes.create(**_read(source, CreateRoute)), created(session, quiet, _show))


@client_command(app, "update")
def update(session: Session, id: RecordId, source: From) -> None:  # noqa: A002
    """Change a route: the fields in the file replace what was there, the others stay."""
    session.show(calls.routes.update(id, **_read(source, UpdateRoute)), lambda route: _show(session, route))


@client_command(app, "list")
def list_routes(
    session: Session,
    name: Annotated[str | None, typer.Option(help="Only with this name.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List routes, oldest first."""

    def render(found: list[RouteView]) -> None:
        rows = [(one.id, one.name, _requests(one), one.upstream, output.state(one.state.value)) for one in found]
        session.out.table(
            ("id", "name", "requests", "upstream", "state"), rows, flexible=("name", "requests", "upstream")
        )

    session.show_list(calls.routes.list(name=name, state=state), at_most, everything, render)  # type: ignore[arg-type]


add_lifecycle(app, "route", calls.routes, _show, "Its requests find no route any more, or a wider one.")
