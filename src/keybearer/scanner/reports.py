"""Findings for programs: JSON lines, and SARIF 2.1.0. No secret is in either, only the public id of each credential."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from .. import __version__
from .scan import Summary
from .sightings import MAY_BE_LIVE, Sighting, State, Trouble, Verdict

Write = Callable[[str], None]
SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def document(sighting: Sighting, verdict: Verdict) -> dict[str, Any]:
    """Return a finding as a JSON object: what is not known is left out."""
    place = sighting.place
    found = {
        "state": verdict.state.value,
        "rule": sighting.rule,
        "credential_id": sighting.credential_id,
        "prefix": sighting.prefix,
        "source": place.kind,
        "name": place.name,
        "line": place.line,
        "column": place.column,
        "at": place.at,
        "client_ip": place.client_ip,
        "commit": place.commit,
        "spelling": sighting.spelling,
        "project_id": verdict.project_id,
        "project_name": verdict.project_name,
        "key_id": verdict.key_id,
        "key_name": verdict.key_name,
        "environment": verdict.environment,
        "incident_id": verdict.incident_id,
        "action": verdict.action,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def totals(summary: Summary) -> dict[str, Any]:
    """Return the end of a scan as a JSON object."""
    return {
        "findings": summary.findings,
        "states": dict(sorted(summary.states.items())),
        "wrong_checksums": summary.near_misses,
        "sources": summary.sources,
        "bytes": summary.size,
        "troubles": summary.troubles,
        "notes": summary.notes,
    }


class JsonLines:
    """A line for each finding and each trouble, then one with the totals."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def found(self, sighting: Sighting, verdict: Verdict) -> None:
        """Write a finding."""
        self._line({"finding": document(sighting, verdict)})

    def trouble(self, trouble: Trouble) -> None:
        """Write what could not be searched."""
        self._line({"trouble": {"name": trouble.name, "why": trouble.why}})

    def end(self, summary: Summary) -> None:
        """Write the totals."""
        self._line({"summary": totals(summary)})

    def _line(self, value: dict[str, Any]) -> None:
        self._write(msgspec.json.encode(value).decode() + "\n")


class Sarif:
    """A SARIF log with one run, written as it comes, so that memory does not grow with it. Spec: SARIF 2.1.0 §3.13."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._rules: dict[str, int] = {}
        self._troubles: list[Trouble] = []
        self._dropped = 0
        self._begun = False

    def found(self, sighting: Sighting, verdict: Verdict) -> None:
        """Write a finding as a result."""
        self._write(("," if self._begun else self._head()) + "\n")
        self._begun = True
        self._write(msgspec.json.encode(self._result(sighting, verdict)).decode())

    def trouble(self, trouble: Trouble) -> None:
        """Keep what could not be searched for the end; of very many, the first, and how many."""
        if len(self._troubles) < 10_000:
            self._troubles.append(trouble)
        else:
            self._dropped += 1

    def end(self, summary: Summary) -> None:
        """Write the rest: rules, and whether all was searched."""
        notifications = [
            {
                "level": "error",
                "message": {"text": f"{one.name}: {one.why}"},
                "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(one.name)}}}],
            }
            for one in self._troubles
        ]
        if self._dropped:
            notifications.append(
                {"level": "error", "message": {"text": f"{self._dropped} more could not be searched."}}
            )
        rules = [
            {
                "id": rule,
                "shortDescription": {"text": f"A leaked credential: {rule}"},
                "defaultConfiguration": {"level": "error"},
            }
            for rule in self._rules
        ]
        driver = {"name": "keybearer", "version": __version__, "rules": rules}
        invocation = {"executionSuccessful": not summary.troubles, "toolExecutionNotifications": notifications}
        rest = {
            "tool": {"driver": driver},
            "invocations": [invocation],
            "columnKind": "unicodeCodePoints",
            "properties": totals(summary),
        }
        encoded = msgspec.json.encode(rest).decode()
        self._write(("" if self._begun else self._head()) + "\n]," + encoded[1:] + "]}\n")

    def _head(self) -> str:
        return f'{{"$schema":"{SARIF_SCHEMA}","version":"2.1.0","runs":[{{"results":['

    def _result(self, sighting: Sighting, verdict: Verdict) -> dict[str, Any]:
        place = sighting.place
        number = self._rules.setdefault(sighting.rule, len(self._rules))
        about = document(sighting, verdict)
        whose = f" of {verdict.project_name}" if verdict.project_name else ""
        name = f" {verdict.key_name or sighting.credential_id}".rstrip()
        # The same credential in the same file is the same alert, on whichever line it stands.
        seed = f"{sighting.rule}\0{sighting.credential_id}\0{place.name}\0{place.line if sighting.is_foreign else ''}"
        return {
            "ruleId": sighting.rule,
            "ruleIndex": number,
            "level": _level(verdict.state),
            "message": {
                "text": f"A credential ({sighting.rule}){name}{whose} stands here; state: {verdict.state.value}."
            },
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _uri(place.name)},
                        "region": {"startLine": place.line, "startColumn": place.column},
                    }
                }
            ],
            "partialFingerprints": {"keybearer/v1": hashlib.sha256(seed.encode()).hexdigest()},
            "properties": about,
        }


def _level(state: State) -> str:
    return "error" if state in MAY_BE_LIVE else "note"


def _uri(name: str) -> str:
    return quote(name, safe="/:@!$&'()*+,;=~-._")
