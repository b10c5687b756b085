"""Draws the documents that say what the code says: lifecycle.md and settings.md. Run it after a change of either.

``python docs/draw.py`` writes them; ``tests/e2e/test_docs.py`` fails while they are out of date.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from keybearer.core.lifecycle import (
    DELIVERY_CHANGES,
    INCIDENT_CHANGES,
    RESTORED,
    TRANSITIONS,
    UNDELETE_IN,
    Change,
    VersionState,
)
from keybearer.core.records import State
from keybearer.settings import BOUNDS, Settings

HERE = Path(__file__).parent
FLAGS = ("host", "port", "ext_authz_port", "data", "database", "issuer", "workers", "log_format", "log_level")
VERSION_STATES = {
    VersionState.ACTIVE: "is the key's newest secret",
    VersionState.RETIRING: "was rotated out and still works: until its grace is over, or it has been quiet for long",
    VersionState.RETIRED: "its time is over; it is refused",
    VersionState.REVOKED: "was revoked alone; it is refused, the key's other secrets work on",
}


def smaller(table: Mapping[StrEnum, Mapping[StrEnum, StrEnum]], first: str) -> str:
    """A table of changes that is none of the records' own, as a drawing."""
    arrows = [f"    [*] --> {next(iter(table))}: {first}"]
    arrows += [
        f"    {state} --> {target}: {change}"
        for state, changes in table.items()
        for change, target in changes.items()
        if target != state
    ]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(arrows) + "\n```"


def lifecycle() -> str:
    """The states of a record and every change that is legal, as the table in ``core/lifecycle.py`` has them."""
    days = UNDELETE_IN // (24 * 3600 * 1_000_000)
    rows, arrows = [], ["    [*] --> enabled: create"]
    for state in State:
        cells = []
        for change in Change:
            target = TRANSITIONS[state].get(change)
            cells.append("—" if target is None else f"*{target}*" if target == RESTORED else str(target))
            if target is not None and target != state and target != RESTORED:
                arrows.append(f"    {state} --> {target}: {change}")
            elif target == RESTORED:
                # Back to each state that a deletion can start from.
                starts = [before for before in State if TRANSITIONS[before].get(Change.DELETE) is not None]
                arrows.extend(f"    {state} --> {before}: {change}" for before in starts)
        rows.append(f"| **{state}** | {' | '.join(cells)} |")
    arrows.append(f"    deleted --> [*]: {days} days later")
    heads = " | ".join(str(change) for change in Change)
    versions = "\n".join(f"| {state} | {VERSION_STATES[state]} |" for state in VersionState)
    return f"""\
# The states of a record

*Drawn from `src/keybearer/core/lifecycle.py` by `docs/draw.py`.*

APIs, projects, plans, identities and keys share one table of changes; only keys can be revoked. A change that leads to
the state a record already has does nothing and succeeds. A change that the table does not have (—) is a conflict, 409.

| from | {heads} |
|---|{"---|" * len(Change)}
{chr(10).join(rows)}

```mermaid
stateDiagram-v2
{chr(10).join(dict.fromkeys(arrows))}
```

A deleted record can be brought back for {days} days; then the sweeper removes it. A revoked key stays revoked, also
through deletion and back.

## The secrets of a key

A key has one record and one or more secrets, its versions. A rotation makes a new one and gives the old one an end:
the least of the grace that was asked for, the end it already had, and the key's own expiry.

| state | a secret in it |
|---|---|
{versions}

## Incidents

A leaked secret has one incident. It opens again by itself when the secret is found elsewhere and still works.

{smaller(INCIDENT_CHANGES, "found")}

## Messages to webhooks

{smaller(DELIVERY_CHANGES, "something happened")}
"""


def settings() -> str:
    """Every setting with its variable, flag and default, explained by the text below it in ``settings.py``."""
    explained = explanations(Settings)
    rows = []
    for item in dataclasses.fields(Settings):
        flag = f"`--{item.name.replace('_', '-')}`" if item.name in FLAGS else ""
        bounds = "{:,} – {:,}".format(*BOUNDS[item.name]) if item.name in BOUNDS else ""
        cells = (f"`KEYBEARER_{item.name.upper()}`", flag, shown(item.default), bounds, explained[item.name])
        rows.append(f"| {' | '.join(cells)} |")
    return f"""\
# Settings

*Drawn from `src/keybearer/settings.py` by `docs/draw.py`.*

A flag of `keybearer serve` wins over its variable, a variable over the default. Durations are in seconds, sizes in
bytes; lists are separated by commas. `keybearer settings` shows what holds on a machine, and which variables set it.
Wrong values are refused at start, in one line, with exit status 2.

| variable | flag | default | from – to | |
|---|---|---|---|---|
{chr(10).join(rows)}

## The keyring

The peppers that digests are made with live outside the database. Without these variables they are in `keyring.json` in
the data directory, which `init` or the first `serve` makes. Keep a copy apart from the database's backups: a database
without its keyring verifies nothing, and that is the point.

The first pepper is the active one. To change peppers, put a new one before it, `{{"id": "p2", "key": "…"}}` with 32
random bytes in base64, on every node, and start again: keys go over to it as they are used. Keep the old one while any
key has not. `"import_secrets": {{"name": "…"}}` holds secrets that made HMAC digests elsewhere, see
[import.md](import.md).

| variable | |
|---|---|
| `KEYBEARER_KEYRING` | the keyring itself, as JSON |
| `KEYBEARER_KEYRING_FILE` | a file that holds it; it must be readable by its owner only |
"""


def explanations(described: type) -> dict[str, str]:
    """The string below each field of a dataclass, as Markdown."""
    (body,) = ast.parse(inspect.getsource(described)).body
    statements = body.body if isinstance(body, ast.ClassDef) else []
    found: dict[str, str] = {}
    for statement, following in zip(statements, [*statements[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).split())
            found[statement.target.id] = re.sub("``", "`", text)
    return found


def shown(default: object) -> str:
    """A default as one would write it in a variable."""
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if str(default) else ""


DRAWN: dict[str, Callable[[], str]] = {"lifecycle.md": lifecycle, "settings.md": settings}


if __name__ == "__main__":
    for name, draw in DRAWN.items():
        (HERE / name).write_text(draw())
