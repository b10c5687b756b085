"""Dictionaries that can take back what was done to them: the transaction of the in-memory engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from ..core.artefacts import Artefact
from ..core.audit_chain import AuditEntry
from ..core.records import R, Record
from ..core.tokens import AccessToken, TokenFamily
from ..ports import CreditBalance, Event, RememberedResponse
from .ledger import Receipt
from .tables import TABLES

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Any = object()
_Undo = list[tuple[dict[Any, Any], Any, Any]]


class Reversible(dict[K, V]):
    """A dictionary that notes what each change replaced. Only ``[]=`` and ``del`` are used on it."""

    def __init__(self, undo: _Undo) -> None:
        super().__init__()
        self._undo = undo

    def __setitem__(self, key: K, value: V) -> None:
        self._undo.append((self, key, self.get(key, _ABSENT)))
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self._undo.append((self, key, self.get(key, _ABSENT)))
        super().__delitem__(key)


class Account(NamedTuple):
    """The credits of one owner."""

    balance: int
    granted: int
    spent: int
    refill_per: str
    refills_at: int | None

    def as_balance(self, owner: str) -> CreditBalance:
        """Return it as the port says it."""
        return CreditBalance(owner, self.balance, self.granted, self.spent, self.refills_at)  # type: ignore[arg-type]


class Counter(NamedTuple):
    """A quota counter of one window."""

    used: int
    ends_at: int


class KeptCharge(NamedTuple):
    """A charge that can be repeated and refunded."""

    at: int
    receipt: Receipt
    refunded: bool = False


class MemoryTables:
    """All that the in-memory engine keeps."""

    def __init__(self) -> None:
        undo: _Undo = []
        self._undo = undo
        self.records: Mapping[type, Reversible[str, Any]] = {kind: Reversible[str, Any](undo) for kind in TABLES}
        self.tokens: Reversible[str, AccessToken] = Reversible(undo)
        self.revoked: Reversible[str, int] = Reversible(undo)
        self.families: Reversible[str, TokenFamily] = Reversible(undo)
        self.artefacts: Reversible[tuple[str, str], Artefact] = Reversible(undo)
        self.accounts: Reversible[str, Account] = Reversible(undo)
        self.counters: Reversible[tuple[str, str, str, int], Counter] = Reversible(undo)
        self.charges: Reversible[tuple[str, str], KeptCharge] = Reversible(undo)
        self.responses: Reversible[tuple[str, str], RememberedResponse] = Reversible(undo)
        self.schemes: Reversible[str, None] = Reversible(undo)
        self.peppers: Reversible[str, bytes] = Reversible(undo)
        self.minutes: Reversible[tuple[int, str, str, str, str], int] = Reversible(undo)
        self.hours: Reversible[tuple[int, str, str, str, str], int] = Reversible(undo)
        self.facets: Reversible[tuple[int, str, str, str, str, str], int] = Reversible(undo)
        self.uses: Reversible[tuple[str, int], int] = Reversible(undo)
        self.events: Reversible[int, Event] = Reversible(undo)
        self.audit: Reversible[int, AuditEntry] = Reversible(undo)
        self.head = 0

    def begin(self) -> None:
        """Forget how to undo what was committed."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Take back every change since ``begin``."""
        for table, key, before in reversed(self._undo):
            if before is _ABSENT:
                dict.pop(table, key, None)
            else:
                dict.__setitem__(table, key, before)
        self._undo.clear()

    def of(self, record: Record) -> Reversible[str, Any]:
        """Return the table that a record belongs to."""
        return self.records[type(record)]

    def found(self, kind: type[R], record_id: str | None) -> R | None:
        """Return a record that another one names, if it does and if there is one."""
        return None if record_id is None else self.records[kind].get(record_id)
