"""``keybearer doctor``: looks at an installation as a client would, and says what to mend."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from ..client.doctor import Doctor, Finding, Verdict
from .output import Printer, clean
from .session import DEFAULT_URL, FAILED, WRONG_USAGE, AsJson, NoColor

Issuer = Annotated[
    str, typer.Option("--issuer", "--url", envvar="KEYBEARER_URL", help="The issuer, exactly as clients name it.")
]
ClientDocument = Annotated[
    str, typer.Option("--client-document", metavar="URL", help="Also look at this Client ID Metadata Document.")
]
_STYLES = {Verdict.WELL: "green", Verdict.LOOK: "yellow", Verdict.ILL: "red"}


def doctor(
    issuer: Issuer = DEFAULT_URL,
    client_document: ClientDocument = "",
    as_json: AsJson = False,
    no_color: NoColor = False,
) -> None:
    """Look at an installation as a client would, and say what to mend. Needs no key; exit code 1 when it is ill."""
    out = Printer(color=not no_color)
    if not issuer.startswith(("https://", "http://")):
        out.note("keybearer: --issuer must be an http(s) URL.", "red")
        raise typer.Exit(WRONG_USAGE)
    findings: list[Finding] = []
    with Doctor(issuer) as examining:
        for finding in examining.examine(client_document):
            findings.append(finding)
            if not as_json:
                _show(out, finding)
    if as_json:
        out.json(msgspec.json.encode({"issuer": issuer, "findings": [finding._asdict() for finding in findings]}))
    if any(finding.verdict is Verdict.ILL for finding in findings):
        raise typer.Exit(FAILED)


def _show(out: Printer, finding: Finding) -> None:
    out.line(f"{finding.verdict.value:<5} {finding.what}: {clean(finding.says)}")
    if finding.mend:
        out.line(f"      {clean(finding.mend)}", _STYLES[finding.verdict])
