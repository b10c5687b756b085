"""Import in bulk of users that exist elsewhere: every line is checked, then all are written at once, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ..core.credential import new_id
from ..core.errors import Conflict, FieldProblem, InvalidInput, KeybearerError, NotPermitted
from ..core.instant import Instant
from ..core.lifecycle import touch
from ..core.users import Link, User
from ..ports import Query, UnitOfWork
from ..wire.keys import ImportProgress, ImportReport, RefusedLine
from ..wire.users import ImportUser
from .authority import Authority, Caller, Deed
from .imports import LINES_PER_PROGRESS, LINES_PER_TURN, MAX_LINE, MAX_REFUSED_SHOWN, PROGRESS_INTERVAL
from .passwords import problem_of_hash
from .people import insert_user
from .problems import Problems
from .text import check_text, shown
from .user_links import insert_link
from .user_rules import check_person, require_may_grant

IMPORT: Final = "keybearer:users.write"
_DECODER: Final = msgspec.json.Decoder(ImportUser)


@dataclass(slots=True)
class _Batch:
    """What an import has come to so far."""

    people: list[tuple[int, str, ImportUser]] = field(default_factory=list)
    emails: dict[str, int] = field(default_factory=dict)
    links: dict[tuple[str, str], int] = field(default_factory=dict)
    lines: int = 0
    blank: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    refused_lines: int = 0
    written: int = 0

    def refuse(self, line: int, problems: list[FieldProblem]) -> None:
        """Count a refused line, and list it unless very many are."""
        self.refused_lines += 1
        if len(self.refused) < MAX_REFUSED_SHOWN:
            self.refused.append(RefusedLine(line, [{"field": p.field, "message": p.message} for p in problems]))

    def report(self, *, dry_run: bool, imported: int = 0, error: str | None = None) -> ImportReport:
        """Return the end of the story."""
        return ImportReport(self.lines - self.blank, imported, self.refused, self.refused_lines, dry_run, error)


def require_import(caller: Caller) -> None:
    """Raise ``NotPermitted`` unless the caller may import users."""
    caller.need_everything(IMPORT)


async def run(
    authority: Authority, caller: Caller, lines: AsyncIterator[bytes], *, dry_run: bool
) -> AsyncIterator[ImportProgress | ImportReport]:
    """Check every line and, if all are right and this is no dry run, import them all. The report comes last.

    The permission is checked by ``require_import`` before this begins. ``lines`` may raise a ``KeybearerError``: the
    import then ends with its text, and nothing was written.
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
            await _check_line(authority, caller, batch, line)
            if batch.lines % LINES_PER_TURN == 0:
                await asyncio.sleep(0)
            if batch.lines % LINES_PER_PROGRESS == 0:
                yield ImportProgress("checking", batch.lines, batch.lines)
    except KeybearerError as error:
        yield batch.report(dry_run=dry_run, error=error.public)
        return
    if dry_run or batch.refused_lines or not batch.people:
        yield batch.report(dry_run=dry_run)
        return
    writing = asyncio.create_task(authority.change(caller, lambda uow: _write(uow, authority, caller, batch, now)))
    while not writing.done():
        await asyncio.wait({writing}, timeout=PROGRESS_INTERVAL)
        yield ImportProgress("writing", batch.written, len(batch.people))
    try:
        writing.result()
    except KeybearerError as error:
        yield batch.report(dry_run=False, error=error.public)
        return
    yield batch.report(dry_run=False, imported=len(batch.people))


async def _check_line(authority: Authority, caller: Caller, batch: _Batch, line: bytes) -> None:
    if not line.strip():
        batch.blank += 1
        return
    problems = Problems()
    try:
        if len(line) > MAX_LINE:
            raise InvalidInput.of("", f"a line may have {MAX_LINE:,} bytes at most")
        body = _decode(line)
        email = await _check(authority, caller, batch, problems, body)
        problems.settle()
    except InvalidInput as error:
        batch.refuse(batch.lines, list(error.problems))
        return
    if not batch.refused_lines:  # else nothing will be written: only what is wrong with later lines is of interest
        batch.people.append((batch.lines, email, body))


def _decode(line: bytes) -> ImportUser:
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message, _, where = str(error).partition(" - at ")
        raise InvalidInput.of(where.strip("`").removeprefix("$").removeprefix("."), message) from None


async def _check(authority: Authority, caller: Caller, batch: _Batch, problems: Problems, body: ImportUser) -> str:
    check_text(problems, body)
    email = check_person(problems, body.email, body.claims, body.permissions, body.metadata)
    try:
        require_may_grant(caller, body.permissions, "Importing")
    except NotPermitted as error:
        problems.add("permissions", error.public)
    if body.password_hash is not None and (problem := problem_of_hash(body.password_hash)) is not None:
        problems.add("password_hash", problem)
    if email:
        first = batch.emails.setdefault(email, batch.lines)
        if first != batch.lines:
            problems.add("email", f"line {first} has this address too")
        elif not problems.found and await authority.store.page(User, Query({"email": email}, limit=1)):
            problems.add("email", f"there is a user with the address {shown(email)} already")
    for index, link in enumerate(body.links):
        first = batch.links.setdefault((link.issuer, link.subject), batch.lines)
        where = {"issuer": link.issuer, "subject": link.subject}
        if first != batch.lines:
            problems.add(f"links[{index}]", f"line {first} has this link too")
        elif not problems.found and await authority.store.page(Link, Query(where, limit=1)):
            problems.add(f"links[{index}]", "there is a user with this link already")
    return email


async def _write(uow: UnitOfWork, authority: Authority, caller: Caller, batch: _Batch, now: Instant) -> None:
    first = last = ""
    for number, email, body in batch.people:
        try:
            user, factors = await insert_user(
                uow,
                authority,
                new_id(now),
                email,
                body.name,
                verified=body.email_verified,
                claims=body.claims,
                permissions=tuple(dict.fromkeys(body.permissions)),
                metadata=body.metadata,
            )
            if body.password_hash is not None:
                # How long it is nobody knows; it was long enough where it comes from.
                changes = {"password_hash": body.password_hash, "password_changed_at": now, "password_is_long": True}
                await uow.update(touch(factors, now, **changes))
            for link in body.links:
                await insert_link(uow, user.id, link, now)
        except Conflict as error:
            text = "a user with this address or link was made meanwhile, or was deleted and can still be brought back"
            raise InvalidInput.of(f"line {number}", text) from error
        first, last = first or user.id, user.id
        batch.written += 1
    Deed(uow, caller, now).note("user.import", first, details={"users": len(batch.people), "last": last})
