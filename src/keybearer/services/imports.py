"""Import in bulk of keys that exist elsewhere: every line is checked, then all are written in one transaction, or none.

Lines are checked as they arrive, and only the keys made of them are kept; a body is never in memory twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ..core import own_api
from ..core.credential import new_id
from ..core.errors import FieldProblem, InvalidInput, KeybearerError, NotFound
from ..core.instant import Instant
from ..core.records import ApiKey, CredentialKind
from ..formats import foreign
from ..formats.api_key import prefix_for
from ..ports import UnitOfWork
from ..wire.keys import ImportKey, ImportProgress, ImportReport, RefusedLine
from ..wire.limits import CreditsSpec
from ..wire.plain_words import explained
from ..wire.repeated_keys import check_keys, may_repeat_a_key
from . import credits as accounts
from .authority import Authority, Caller, Deed
from .grounds import Ground, read_ground
from .key_drafts import draft_key
from .key_rules import may_hand_on
from .keys import check_identity
from .plans import check_plan, require_plan
from .problems import Problems
from .text import shown

IMPORT: Final = "keybearer:keys.import"
MAX_LINE: Final = 65_536
MAX_REFUSED_SHOWN: Final = 1_000
MAX_DUPLICATES_ASKED: Final = 200
LINES_PER_TURN: Final = 50
LINES_PER_PROGRESS: Final = 5_000
"""Rare on purpose: a client that reads only after it has sent all must not fill the connection meanwhile."""
PROGRESS_INTERVAL: Final = 0.5
_DECODER: Final = msgspec.json.Decoder(ImportKey)


@dataclass(slots=True)
class _Batch:
    """What an import has come to so far."""

    keys: list[ApiKey] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    credits: dict[str, CreditsSpec] = field(default_factory=dict)
    schemes: set[str] = field(default_factory=set)
    plans: dict[str, tuple[FieldProblem, ...]] = field(default_factory=dict)
    lookups: dict[str, int] = field(default_factory=dict)
    grounds: dict[str, Ground | None] = field(default_factory=dict)
    identities: dict[tuple[str, str], tuple[FieldProblem, ...]] = field(default_factory=dict)
    lines: int = 0
    blank: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    refused_lines: set[int] = field(default_factory=set)
    written: int = 0

    def refuse(self, line: int, problems: list[FieldProblem]) -> None:
        """Count a refused line, and list it unless very many are."""
        self.refused_lines.add(line)
        if len(self.refused) < MAX_REFUSED_SHOWN:
            self.refused.append(RefusedLine(line, [{"field": p.field, "message": p.message} for p in problems]))

    def report(self, *, dry_run: bool, imported: int = 0, error: str | None = None) -> ImportReport:
        """Return the end of the story."""
        refused = sorted(self.refused, key=lambda refused: refused.line)
        return ImportReport(self.lines - self.blank, imported, refused, len(self.refused_lines), dry_run, error)


async def run(
    authority: Authority, caller: Caller, lines: AsyncIterator[bytes], *, dry_run: bool
) -> AsyncIterator[ImportProgress | ImportReport]:
    """Check every line and, if all are right and this is no dry run, import them all. The report comes last.

    The permission is checked by ``require_import`` before this begins. ``lines`` may raise ``InvalidInput`` or another
    ``KeybearerError``: the import then ends with its text, and nothing was written.
    """
    batch = _Batch()
    now = authority.clock.now()
    try:
        async for line in lines:
            batch.lines += 1
            if batch.lines > authority.settings.max_import_lines:
                text = f"An import may have {authority.settings.max_import_lines:,} lines at most."
                yield batch.report(dry_run=dry_run, error=text)
                return
            await _check_line(authority, caller, batch, batch.lines, line, now)
            if batch.lines % LINES_PER_TURN == 0:
                await asyncio.sleep(0)
            if batch.lines % LINES_PER_PROGRESS == 0:
                yield ImportProgress("checking", batch.lines, batch.lines)
        await _check_against_store(authority, caller, batch)
    except KeybearerError as error:
        yield batch.report(dry_run=dry_run, error=error.public)
        return
    if dry_run or batch.refused_lines or not batch.keys:
        yield batch.report(dry_run=dry_run)
        return
    writing = asyncio.create_task(authority.change(caller, lambda uow: _write(uow, caller, batch, now)))
    while not writing.done():
        await asyncio.wait({writing}, timeout=PROGRESS_INTERVAL)
        yield ImportProgress("writing", batch.written, len(batch.keys))
    try:
        writing.result()
    except KeybearerError as error:
        yield batch.report(dry_run=False, error=error.public)
        return
    yield batch.report(dry_run=False, imported=len(batch.keys))


def require_import(caller: Caller) -> None:
    """Raise ``NotPermitted`` unless the caller may import keys."""
    caller.need(IMPORT)


async def _check_line(
    authority: Authority, caller: Caller, batch: _Batch, number: int, line: bytes, now: Instant
) -> None:
    if not line.strip():
        batch.blank += 1
        return  # an empty line is counted, so that numbers are those an editor shows
    problems = Problems()
    try:
        if len(line) > MAX_LINE:
            raise InvalidInput.of("line", f"a line may have {MAX_LINE:,} bytes at most")
        body = _decode(line)
        key = await _key_of(authority, caller, batch, body, problems, number, now)
    except InvalidInput as error:
        problems.absorb(error)
        key = None
        body = None
    if problems.found or key is None or body is None:
        batch.refuse(number, problems.found)
        return
    if batch.refused_lines:
        return  # nothing will be written any more: only what is wrong with later lines is of interest
    batch.keys.append(key)
    batch.numbers.append(number)
    if body.credits is not None:
        batch.credits[key.id] = body.credits


def _decode(line: bytes) -> ImportKey:
    if may_repeat_a_key(line):
        check_keys(line)
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise explained(error, "line") from None


async def _key_of(
    authority: Authority,
    caller: Caller,
    batch: _Batch,
    body: ImportKey,
    problems: Problems,
    number: int,
    now: Instant,
) -> ApiKey | None:
    ground = await _ground(authority, caller, batch, body.project_id)
    if ground is None:
        problems.add("project_id", f"there is no project {shown(body.project_id)}")
        return None
    declared = None
    try:
        declared = foreign.declare(body.secret, authority.keyring, now)
    except InvalidInput as error:
        problems.absorb(error)
    versions = () if declared is None else (declared.version,)
    key = draft_key(
        problems,
        caller,
        body,
        ground,
        now,
        credential_id=new_id(now),
        prefix=prefix_for(ground.project.brand, CredentialKind(body.kind), body.environment),
        versions=versions,
        foreign_lookup=None if declared is None else declared.lookup,
    )
    for index, permission in enumerate(key.permissions):
        if own_api.is_own(permission) and not may_hand_on(caller, permission):
            problems.add(f"permissions[{index}]", f"you may not hand {permission!r} on to other keys")
    if body.identity_id is not None:
        problems.found += await _identity_problems(authority, batch, body.project_id, body.identity_id)
    if declared is not None:
        first = batch.lookups.setdefault(declared.lookup, number)
        if first != number:
            problems.add("secret", f"line {first} has the same key, or one with the same start or short token")
        batch.schemes.add(declared.scheme)
    if key.plan_id is not None:
        problems.found += await _plan_problems(authority, batch, key.plan_id)
    return key


async def _ground(authority: Authority, caller: Caller, batch: _Batch, project_id: str) -> Ground | None:
    if project_id not in batch.grounds:
        try:
            batch.grounds[project_id] = await read_ground(authority, caller, project_id)
        except NotFound:
            batch.grounds[project_id] = None
    return batch.grounds[project_id]


async def _identity_problems(
    authority: Authority, batch: _Batch, project_id: str, identity_id: str
) -> tuple[FieldProblem, ...]:
    if (project_id, identity_id) not in batch.identities:
        found = Problems()
        await check_identity(found, authority, project_id, identity_id)
        batch.identities[project_id, identity_id] = tuple(found.found)
    return batch.identities[project_id, identity_id]


async def _plan_problems(authority: Authority, batch: _Batch, plan_id: str) -> tuple[FieldProblem, ...]:
    if plan_id not in batch.plans:
        found = Problems()
        await check_plan(found, authority.store, plan_id, "plan_id")
        batch.plans[plan_id] = tuple(found.found)
    return batch.plans[plan_id]


async def _check_against_store(authority: Authority, caller: Caller, batch: _Batch) -> None:
    """Refuse lines whose key the store has already; many are asked for at once, and singly only where one is found."""
    lookups = list(batch.lookups)
    for start in range(0, len(lookups), MAX_DUPLICATES_ASKED):
        some = lookups[start : start + MAX_DUPLICATES_ASKED]
        while some and (found := await authority.store.find_foreign(some)) is not None:
            lookup = found.key.foreign_lookup or ""
            # Which key of another project it is, is not this caller's to know.
            theirs = caller.project_id not in (None, found.key.project_id)
            name = "another key" if theirs else f"the key {found.key.id}"
            taken = f"{name} has the same secret, or one with the same start or short token"
            batch.refuse(batch.lookups[lookup], [FieldProblem("secret", taken)])
            some.remove(lookup)


async def _write(uow: UnitOfWork, caller: Caller, batch: _Batch, now: Instant) -> None:
    for plan_id in sorted({key.plan_id for key in batch.keys if key.plan_id is not None}):
        await require_plan(uow, plan_id, "plan_id")
    for key in batch.keys:
        await uow.insert(key)
        spec = batch.credits.get(key.id)
        if spec is not None:
            await accounts.write(uow, key, None, spec, now)
        batch.written += 1
    deed = Deed(uow, caller, now)
    for scheme in sorted(batch.schemes):
        if await uow.add_foreign_scheme(scheme):
            uow.emit("foreign.add", scheme)
    # One event for the whole import: it makes every cache forget which keys it knew to be missing.
    projects = {key.project_id for key in batch.keys}
    deed.note(
        "key.import",
        batch.keys[0].id,
        project_id=next(iter(projects)) if len(projects) == 1 else None,
        details={"keys": len(batch.keys), "last": batch.keys[-1].id},
    )
