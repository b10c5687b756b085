"""``keybearer incidents`` and ``leak-policies``: what leaked, and what is done about it."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client import calls
from ..core.leaks import Measure
from ..wire.leaks import IncidentDetail, IncidentView, LeakPolicyView, SightingView, UrlReport
from . import output, values
from .observe import moment
from .options import ProjectFilter, Texts
from .records import RecordId, common_details, group
from .session import All, Max, Session, client_command

app = group("incidents", "Incidents: credentials that got out, and what was done about them.")
policies = group("leak-policies", "Leak policies: what is done about a credential that got out.")

Note = Annotated[str, typer.Option("--note", help="What to enter beside it in the history.")]
GROUPS = (app, policies)
SHOWN = 20
"""Lines of sightings, and of requests, that one incident shows."""


@client_command(app, "list")
def list_incidents(
    session: Session,
    status: Annotated[str | None, typer.Option(help="open, acknowledged or resolved.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="secret_key, publishable_key, access_token, refresh_token or client_secret."),
    ] = None,
    project: ProjectFilter = None,
    key: Annotated[str | None, typer.Option("--for-key", metavar="ID", help="Only of the key with this id.")] = None,
    at_most: Max = 50,
    everything: All = False,
) -> None:
    """List incidents, oldest first."""

    def when(one: IncidentView) -> str:
        return output.ago(one.last_seen_at)

    def render(found: list[IncidentView]) -> None:
        rows = [
            (one.id, one.status.value, one.kind.value, one.name, one.action.value, one.sighted, when(one))
            for one in found
        ]
        columns = ("id", "status", "kind", "name", "done", "seen", "last")
        session.out.table(columns, rows, flexible=("name",))

    pages = calls.incidents.list(status=status, kind=kind, project_id=project, key_id=key)  # type: ignore[arg-type]
    session.show_list(pages, at_most, everything, render)


@client_command(app, "show")
def show(session: Session, id: RecordId) -> None:  # noqa: A002
    """Show an incident: where it was seen, what was done, and what the credential was used for since."""
    session.show(calls.incidents.get(id), lambda incident: _show(session, incident))


@client_command(app, "acknowledge")
def acknowledge(session: Session, id: RecordId, note: Note = "") -> None:  # noqa: A002
    """Say that somebody looks into an incident."""
    session.show(calls.incidents.acknowledge(id, note=note), lambda one: _changed(session, one))


@client_command(app, "resolve")
def resolve(session: Session, id: RecordId, note: Note = "") -> None:  # noqa: A002
    """Say that an incident is over. It comes back when the credential is found elsewhere and still works."""
    session.show(calls.incidents.resolve(id, note=note), lambda one: _changed(session, one))


@client_command(app, "reopen")
def reopen(session: Session, id: RecordId, note: Note = "") -> None:  # noqa: A002
    """Say that an incident is not over."""
    session.show(calls.incidents.reopen(id, note=note), lambda one: _changed(session, one))


def _changed(session: Session, incident: IncidentView) -> None:
    session.out.line(f"{incident.id} {incident.status.value}")


def _show(session: Session, incident: IncidentDetail) -> None:
    head, _, *rest = common_details(incident)
    session.out.details(
        [
            head,
            ("status", incident.status.value),
            ("kind", f"{incident.kind.value} ({incident.environment.value})"),
            ("name", incident.name),
            ("credential", incident.credential_id),
            ("secret", incident.version or None),
            ("key", incident.key_id),
            ("client", incident.client_id),
            ("owner", incident.owner),
            ("project", incident.project_id),
            ("done", incident.action.value),
            ("first seen", output.when(incident.first_seen_at)),
            ("last seen", output.when(incident.last_seen_at)),
            ("resolved", output.when(incident.resolved_at)),
            *rest,
        ]
    )
    session.out.line("")
    places = [
        (
            one.kind.value,
            _place(one),
            output.when(one.at or one.reported_at),
            one.client_ip or "-",
        )
        for one in incident.sightings[:SHOWN]
    ]
    session.out.table(("seen in", "where", "time", "address"), places, flexible=("where",))
    if incident.sighted > len(places):
        session.out.note(f"Seen {incident.sighted} times in all; --json shows all that are kept.")
    session.out.line("")
    steps = [(output.when(step.at), step.what, step.actor, step.note) for step in incident.history]
    session.out.table(("time", "what", "by", "note"), steps, flexible=("by", "note"))
    if incident.requests:
        session.out.line("")
        lines = [(output.when(one.at), output.state(one.code), one.count) for one in incident.requests[-SHOWN:]]
        session.out.table(("requests since", "outcome", "count"), lines)
    if incident.requesters:
        session.out.line("")
        lines = [(one.source, output.state(one.code), one.count) for one in incident.requesters[:SHOWN]]
        session.out.table(("from", "outcome", "count"), lines)


def _place(seen: SightingView) -> str:
    return ":".join(str(part) for part in (seen.name or "-", seen.line, seen.column) if part is not None)


@client_command(app, "in-urls")
def in_urls(
    session: Session,
    since: Annotated[str, typer.Option(metavar="WHEN", help="From: 7d (ago), or 2027-01-31.")] = "7d",
    project: ProjectFilter = None,
    key: Annotated[str | None, typer.Option("--for-key", metavar="ID", help="Only of the key with this id.")] = None,
) -> None:
    """List who still sends credentials in URLs, where they end up in logs."""

    def render(report: UrlReport) -> None:
        rows = [
            (one.project_id, one.key_id, one.source or "-", output.state(one.code), one.count, output.ago(one.last_at))
            for one in report.uses
        ]
        columns = ("project", "key", "address", "outcome", "count", "last hour")
        session.out.table(columns, rows, flexible=("project",))
        if report.truncated:
            session.out.note("There are more; ask for a shorter time.")

    session.show(calls.leaks.urls(start=moment("--since", since), project_id=project, key_id=key), render)


@client_command(policies, "show")
def show_policy(session: Session, project: RecordId) -> None:
    """Show what is done about the leaks of a project."""
    session.show(calls.leaks.policy(project), lambda policy: _show_policy(session, policy))


@client_command(policies, "set")
def set_policy(
    session: Session,
    project: RecordId,
    measure: Annotated[
        Texts,
        typer.Option(
            "--measure",
            metavar="KIND=MEASURE",
            help="As live.secret_key=rotate: revoke, disable, rotate, alert or ignore; default takes it back.",
        ),
    ] = None,
    grace: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long a leaked secret that is rotated still works, as 24h.")
    ] = None,
    in_urls: Annotated[
        str | None, typer.Option("--in-urls", metavar="MEASURE", help="Credentials in URLs: alert or ignore.")
    ] = None,
) -> None:
    """Say what is done about the leaks of a project; of the authority's own project: of all that say nothing."""
    given: dict[str, object] = {}
    if measure:
        pairs = values.each("--measure", measure, values.pair)
        given["measures"] = {name: _measure("--measure", text) for name, text in pairs}
    if grace is not None:
        given["grace_in"] = None if grace == "default" else values.one("--grace", grace, values.duration)
    if in_urls is not None:
        given["in_urls"] = _measure("--in-urls", in_urls)
    if not given:
        raise typer.BadParameter("nothing to change was given")
    session.show(calls.leaks.set_policy(project, **given), lambda policy: _show_policy(session, policy))  # type: ignore[arg-type]


def _measure(option: str, text: object) -> Measure | None:
    if text == "default":
        return None
    if text not in list(Measure):
        raise typer.BadParameter(f"{text!r}: use {', '.join(Measure)} or default", param_hint=option)
    return Measure(str(text))


def _show_policy(session: Session, policy: LeakPolicyView) -> None:
    def whence(name: str) -> str:
        return "this project" if name in policy.own else "default"

    rows = [(name, measure.value, whence(name)) for name, measure in policy.measures.items()]
    rows.append(("grace of a rotation", output.span(policy.grace_in), whence("grace_in")))
    rows.append(("credentials in URLs", policy.in_urls.value, whence("in_urls")))
    session.out.table(("leaked", "measure", "from"), rows)
