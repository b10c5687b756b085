"""The authority as the one who tells where credentials stand: over the network, each credential in the body alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ..client import InvalidRequest, Keybearer
from ..client.leaks import Found
from ..core.incidents import SourceKind
from ..wire.leaks import MAX_PLACE, CheckedFinding, LeakSource
from .sightings import Place, Sighting, State, Verdict

_KINDS: Final = {"file": SourceKind.FILE, "git": SourceKind.GIT, "stdin": SourceKind.STDIN, "log": SourceKind.LOG}


class AuthorityMatcher:
    """Asks ``POST /v1/leaks/check``; with ``act``, the authority's policies decide what is done."""

    def __init__(self, client: Keybearer) -> None:
        self._client = client

    def check(self, sightings: Sequence[Sighting], *, act: bool) -> Sequence[Verdict]:
        """Return what the authority says of each; raises ``ClientError``."""
        return [_verdict(answer, one) for answer, one in zip(self._ask(sightings, act), sightings, strict=True)]

    def _ask(self, sightings: Sequence[Sighting], act: bool) -> list[CheckedFinding]:
        try:
            return self._send(sightings, [_source(one.place) for one in sightings], act)
        except InvalidRequest:
            # One place that the authority does not take must not keep it from learning of the others.
            if len(sightings) == 1:
                return self._send(sightings, [LeakSource(kind=_KINDS[sightings[0].place.kind])], act)
            half = len(sightings) // 2
            return [*self._ask(sightings[:half], act), *self._ask(sightings[half:], act)]

    def _send(self, sightings: Sequence[Sighting], sources: Sequence[LeakSource], act: bool) -> list[CheckedFinding]:
        found = [Found(one.credential, source) for one, source in zip(sightings, sources, strict=True)]
        return self._client.leaks.check(found, act=act).findings


def _source(place: Place) -> LeakSource:
    return LeakSource(
        kind=_KINDS[place.kind],
        # The end of a path says more than its beginning; and a file may be called anything.
        name="".join(one if one.isprintable() else " " for one in place.name[-MAX_PLACE:]),
        line=place.line,
        column=place.column,
        at=_moment(place.at),
        client_ip=place.client_ip,
        commit=place.commit,
    )


def _moment(text: str | None) -> datetime | None:
    """Return an instant; one whose line names no time zone is taken for UTC."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _verdict(answer: CheckedFinding, sighting: Sighting) -> Verdict:
    return Verdict(
        state=State(answer.state.value),
        kind=answer.kind.value if answer.kind else sighting.rule,
        credential_id=answer.credential_id or sighting.credential_id,
        project_id=answer.project_id or "",
        project_name=answer.project_name or "",
        key_id=answer.key_id or answer.client_id or "",
        key_name=answer.key_name or "",
        environment=answer.environment.value if answer.environment else "",
        incident_id=answer.incident_id or "",
        action=answer.action.value,
    )
