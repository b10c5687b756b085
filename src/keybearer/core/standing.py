"""A finding that stands: a credential that was accepted at a door, and how long nobody needs to look again."""

from __future__ import annotations

from .instant import Instant
from .principal import Principal
from .records import Take
from .requirement import Requirement


class Standing:
    """What ``verify`` found out about a credential, for as long as it can have no other outcome.

    It stands while the view of the event log is ``view`` (no event has come that could alter any decision) and the
    time is before ``until`` (``None``: nothing expires). ``principal`` is who is counted for it, ``None`` for nobody
    (a client that asks about a token). ``takes`` is what each use takes. ``asker`` is who asked about
    the credential, where that is somebody else: it may do so for as long, and its key is used along with it. ``uses``
    and ``last_used`` are what the observer has not yet written down. Not frozen, so that counting is no more than that.
    """

    __slots__ = ("asker", "last_used", "principal", "requirement", "takes", "until", "uses", "view")

    def __init__(
        self,
        principal: Principal | None,
        requirement: Requirement,
        takes: tuple[Take, ...],
        view: int,
        until: Instant | None,
        asker: Standing | None = None,
    ) -> None:
        self.principal = principal
        self.requirement = requirement
        self.takes = takes
        self.view = view
        self.until = until
        self.asker = asker
        self.uses = 0
        self.last_used = 0

    def stands(self, view: int, now: Instant) -> bool:
        """Tell whether nothing has happened since."""
        return view == self.view and (self.until is None or now < self.until)
