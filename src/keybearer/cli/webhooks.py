"""``keybearer webhooks``: URLs that are told of incidents, and the messages to them."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client import calls
from ..client.webhooks import IssuedWebhook
from ..wire.webhooks import DeliveryView, WebhookView
from . import options, output, values
from .options import ProjectFilter, StateFilter, Texts
from .records import RecordId, add_lifecycle, common_details, group
from .session import All, Max, Session, client_command

app = group("webhooks", "Webhooks: URLs that are told of incidents, and the messages to them.")

Events = Annotated[
    Texts,
    typer.Option("--event", metavar="EVENT", help="What it is told of, as incident.opened; default: all of incidents."),
]
SecretOnly = Annotated[bool, typer.Option("--secret-only", help="Print nothing but the signing secret.")]
MessageId = Annotated[str, typer.Argument(metavar="MESSAGE", help="The id of the message.")]


def _show(session: Session, webhook: WebhookView) -> None:
    head, *rest = common_details(webhook)
    ends = [f", ends {output.when(one.expires_at)}" if one.expires_at else "" for one in webhook.secrets]
    secrets = [f"{one.number}{end}" for one, end in zip(webhook.secrets, ends, strict=True)]
    session.out.details(
        [
            head,
            ("name", webhook.name),
            ("url", webhook.url),
            ("project", webhook.project_id),
            ("events", " ".join(event.value for event in webhook.events)),
            ("signing secrets", "; ".join(secrets)),
            *rest,
        ]
    )


def _show_issued(session: Session, issued: IssuedWebhook, secret_only: bool) -> None:
    if not secret_only:
        _show(session, issued.webhook)
        session.out.note("The signing secret, shown this once:")
    session.out.line(issued.secret.reveal())


@client_command(app, "create")
def create(
    session: Session,
    project: Annotated[str, typer.Option(help="Whose incidents it is told of; the authority's own: of all.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where the messages go: an https URL.")],
    event: Events = None,
    secret_only: SecretOnly = False,
) -> None:
    """Have a URL told of incidents, and print the secret that its messages are signed with, this once."""
    given = {"events": event} if event else {}
    call = calls.webhooks.create(project_id=project, name=name, url=to, **given)  # type: ignore[arg-type]
    session.show(call, lambda issued: _show_issued(session, issued, secret_only))


@client_command(app, "update")
def update(
    session: Session,
    id: RecordId,  # noqa: A002
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Where the messages go: an https URL.")] = None,
    event: Events = None,
) -> None:
    """Change a webhook. Events replace what was there."""
    given = options.changes({"name": name, "url": to, "events": event or None}, None, {})
    session.show(calls.webhooks.update(id, **given), lambda webhook: _show(session, webhook))


@client_command(app, "list")
def list_webhooks(
    session: Session,
    project: ProjectFilter = None,
    state: StateFilter = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List webhooks, oldest first."""

    def render(found: list[WebhookView]) -> None:
        rows = [(one.id, one.name, one.url, one.project_id, output.state(one.state.value)) for one in found]
        session.out.table(("id", "name", "url", "project", "state"), rows, flexible=("name", "url"))

    session.show_list(calls.webhooks.list(project_id=project, state=state), at_most, everything, render)  # type: ignore[arg-type]


@client_command(app, "rotate")
def rotate(
    session: Session,
    id: RecordId,  # noqa: A002
    grace: Annotated[str, typer.Option("--grace", help="How long messages have the old signature too.")] = "1d",
    secret_only: SecretOnly = False,
) -> None:
    """Give a webhook a new signing secret and print it, this once."""
    call = calls.webhooks.rotate(id, grace_in=values.one("--grace", grace, values.duration))
    session.show(call, lambda issued: _show_issued(session, issued, secret_only))


@client_command(app, "ping")
def ping(session: Session, id: RecordId) -> None:  # noqa: A002
    """Try a webhook out; 'webhooks deliveries' tells how it answered."""
    session.show(calls.webhooks.ping(id), lambda message: session.out.line(f"{message.id} waiting"))


@client_command(app, "deliveries")
def deliveries(
    session: Session,
    id: RecordId,  # noqa: A002
    status: Annotated[str | None, typer.Option(help="waiting, delivered or dead.")] = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List the messages to a webhook, oldest first; with --status dead, those that were given up."""

    def render(found: list[DeliveryView]) -> None:
        rows = [
            (one.id, one.event.value, one.status.value, one.attempts, output.ago(one.due_at), one.why) for one in found
        ]
        columns = ("id", "event", "status", "tried", "next", "why")
        session.out.table(columns, rows, flexible=("why",))

    session.show_list(calls.webhooks.deliveries(id, status=status), at_most, everything, render)  # type: ignore[arg-type]


@client_command(app, "redeliver")
def redeliver(session: Session, id: RecordId, message: MessageId) -> None:  # noqa: A002
    """Send a message again, whatever became of it."""
    session.show(calls.webhooks.redeliver(id, message), lambda one: session.out.line(f"{one.id} waiting"))


add_lifecycle(app, "webhook", calls.webhooks, _show, "Messages to it are given up.")
