"""The ports: what the authority needs from the world, each a Protocol that an engine fulfils.

Rules for every engine are in the docstrings here, and are tested by ``tests/contract/`` over all of them.
"""

from __future__ import annotations

from .charges import Charge, Charged, CreditBalance, CreditTake, QuotaTake
from .clock import Clock
from .fetcher import Fetched, Fetcher
from .keyring import Keyring
from .limiter import ImmediateLimiter, Limiter, Taken, Throttle
from .live_events import LiveEvents
from .observer import Observer
from .records import NotReady, Records
from .store import Event, ImmediateStore, Query, RememberedResponse, Store, Swept, UnitOfWork, Work
from .usage import IN_URL, ISSUED, FacetRow, KeyUse, UsageBatch, UsageQuery, UsageRow

__all__ = [
    "Charge",
    "Charged",
    "Clock",
    "CreditBalance",
    "CreditTake",
    "Event",
    "FacetRow",
    "Fetched",
    "Fetcher",
    "ISSUED",
    "IN_URL",
    "ImmediateLimiter",
    "ImmediateStore",
    "KeyUse",
    "Keyring",
    "Limiter",
    "LiveEvents",
    "NotReady",
    "Observer",
    "Query",
    "QuotaTake",
    "Records",
    "RememberedResponse",
    "Store",
    "Swept",
    "Taken",
    "Throttle",
    "UnitOfWork",
    "UsageBatch",
    "UsageQuery",
    "UsageRow",
    "Work",
]
