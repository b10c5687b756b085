"""``keybearer secrets``: what the gateway shows to upstreams. Values come from standard input, and are never shown."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import UNSET

from ..client import calls
from ..wire.upstream_secrets import UpstreamSecretView
from . import output
from .options import StateFilter
from .records import Quiet, RecordId, add_lifecycle, common_details, created, group
from .session import All, Max, Session, client_command, read_secret

app = group("secrets", "Upstream secrets: what the gateway shows to the servers behind it.")

Description = Annotated[str | None, typer.Option(help="What it is for.")]


def _show(session: Session, secret: UpstreamSecretView) -> None:
    head, *rest = common_details(secret)
    session.out.details(
        [head, ("name", secret.name), ("version", secret.version), ("description", secret.description), *rest]
    )


@client_command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What routes call it.")],
    description: Description = None,
    quiet: Quiet = False,
) -> None:
    """Keep a secret, which is read from standard input."""
    call = calls.secrets.create(name=name, value=read_secret("Secret: "), description=description or "")
    session.show(call, created(session, quiet, _show))


@client_command(app, "rotate")
def rotate(session: Session, id: RecordId) -> None:  # noqa: A002
    """Replace a secret by the one on standard input; the gateway shows the new one within a second."""
    session.show(calls.secrets.update(id, value=read_secret("Secret: ")), lambda secret: _show(session, secret))


@client_command(app, "update")
def update(session: Session, id: RecordId, description: Description = None) -> None:  # noqa: A002
    """Change what is said of a secret."""
    given = UNSET if description is None else description
    session.show(calls.secrets.update(id, description=given), lambda secret: _show(session, secret))


@client_command(app, "list")
def list_secrets(
    session: Session,
    name: Annotated[str | None, typer.Option(help="Only with this name.")] = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List secrets, oldest first."""

    def render(found: list[UpstreamSecretView]) -> None:
        rows = [(one.id, one.name, one.version, one.description, output.state(one.state.value)) for one in found]
        session.out.table(("id", "name", "version", "description", "state"), rows, flexible=("description",))

    session.show_list(calls.secrets.list(name=name, state=state), at_most, everything, render)  # type: ignore[arg-type]


add_lifecycle(app, "secret", calls.secrets, _show, "Routes that need it answer 503 while it is not there.")
