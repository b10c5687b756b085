"""The audit log: shown page by page, and its chain checked from the first entry to the last."""

from __future__ import annotations

import hmac
import re
from typing import Final

from ..core.audit_chain import GENESIS, AuditEntry, first_break
from ..core.errors import InvalidInput
from ..wire.base import moment
from ..wire.listing import AuditVerification, AuditView
from .authority import Authority, Caller
from .paging import MAX_PAGE, Page, PageQuery, cut

READ: Final = "keybearer:audit.read"
FILTERS: Final = ("actor", "action", "target", "project_id")
ENTRIES_PER_READ: Final = 1000
_EXPECTED: Final = re.compile(r"(\d{1,18}):([0-9a-f]{64})", re.ASCII)


async def page(
    authority: Authority, caller: Caller, query: PageQuery, *, oldest_first: bool = False
) -> Page[AuditView]:
    """Return one page of entries, the newest first; a project's caller sees the entries about its project."""
    caller.need(READ)
    if not 1 <= query.limit <= MAX_PAGE:
        raise InvalidInput.of("limit", f"must lie between 1 and {MAX_PAGE}")
    where = dict(query.narrowed(project_id=caller.project_id).where)
    after = int(query.after or 0)
    found = await authority.store.audit_page(after, query.limit + 1, where, newest_first=not oldest_first)
    some = cut(found, query.limit, lambda entry: str(entry.seq))
    return Page([view(entry) for entry in some.items], some.after)


async def verify(authority: Authority, caller: Caller, expected: str | None = None) -> AuditVerification:
    """Check the chain. ``expected`` (``seq:digest`` as an earlier check answered) also notices a cut-off end."""
    caller.need_everything(READ)
    anchor = _EXPECTED.fullmatch(expected) if expected is not None else None
    if expected is not None and anchor is None:
        raise InvalidInput.of("expected", "write 'seq:digest' as an earlier verification answered them")
    key = authority.keyring.derived("audit")
    seq, digest, anchor_met = 0, GENESIS, anchor is None or anchor[1] == "0"
    while entries := await authority.store.audit_page(seq, ENTRIES_PER_READ):
        broken = first_break(key, digest, seq + 1, list(entries))
        if broken is not None:
            return AuditVerification(
                False, broken - 1, seq, digest.hex(), broken, f"Entry {broken} does not follow from the one before."
            )
        for entry in entries:
            if anchor is not None and entry.seq == int(anchor[1]):
                anchor_met = hmac.compare_digest(entry.digest.hex(), anchor[2])
                if not anchor_met:
                    message = f"Entry {entry.seq} is not the one that was seen before: the log was rewritten."
                    return AuditVerification(False, entry.seq, entry.seq, entry.digest.hex(), entry.seq, message)
        seq, digest = entries[-1].seq, entries[-1].digest
    if not anchor_met:
        message = "The log ends before the entry that was seen before: its end was cut off."
        return AuditVerification(False, seq, seq, digest.hex(), seq + 1, message)
    return AuditVerification(True, seq, seq, digest.hex())


def view(entry: AuditEntry) -> AuditView:
    """Return an entry as it travels."""
    draft = entry.draft
    return AuditView(
        seq=entry.seq,
        at=moment(draft.at),
        actor=draft.actor,
        action=draft.action,
        target=draft.target,
        outcome=draft.outcome,
        project_id=draft.project_id,
        source=draft.source,
        request_id=draft.request_id,
        details=dict(draft.details),
        digest=entry.digest.hex(),
    )
