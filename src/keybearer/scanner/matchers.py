"""Who tells where found credentials stand: an authority, a filter of ids, or nobody. None of them keeps a secret."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ..core.secret import Secret
from .sightings import Matcher, Sighting, State, Verdict

MAX_BATCH: Final = 1_000
MAX_REMEMBERED: Final = 100_000
MAX_PLACES: Final = 20
"""Places of one credential that the authority is told about; more of them would say nothing new."""


class Nobody:
    """Asks nobody: the checksum is right, and that is all that is known."""

    def check(self, sightings: Sequence[Sighting], *, act: bool) -> Sequence[Verdict]:
        """Return that nothing was checked."""
        return [Verdict(State.UNCHECKED, kind=one.rule, credential_id=one.credential_id) for one in sightings]


class Remembering:
    """Asks another matcher about each credential, and again for its first places only.

    With ``for_in`` seconds, all is forgotten that often, so that what has changed meanwhile is noticed.
    """

    def __init__(self, inner: Matcher, for_in: float = math.inf) -> None:
        self._inner = inner
        self._for_in = for_in
        self._since = time.monotonic()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[Verdict, int]] = OrderedDict()

    def check(self, sightings: Sequence[Sighting], *, act: bool) -> Sequence[Verdict]:
        """Return a verdict for each sighting."""
        if time.monotonic() - self._since > self._for_in:
            self._known.clear()
            self._since = time.monotonic()
        names = [self._name(one.credential) for one in sightings]
        asked = [number for number, one in enumerate(sightings) if self._asks(names[number], one)]
        answers: dict[int, Verdict] = {}
        for first in range(0, len(asked), MAX_BATCH):
            numbers = asked[first : first + MAX_BATCH]
            verdicts = self._inner.check([sightings[number] for number in numbers], act=act)
            for number, verdict in zip(numbers, verdicts, strict=True):
                answers[number] = verdict
                count = self._known.get(names[number], (verdict, 0))[1]
                self._known[names[number]] = (verdict, count + 1)
        found = [self._verdict(number, one, names, answers) for number, one in enumerate(sightings)]
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _asks(self, name: bytes, sighting: Sighting) -> bool:
        return not sighting.is_foreign and self._known.get(name, (None, 0))[1] < MAX_PLACES

    def _verdict(self, number: int, sighting: Sighting, names: Sequence[bytes], answers: dict[int, Verdict]) -> Verdict:
        if sighting.is_foreign:
            return Verdict(State.FOREIGN, kind=sighting.rule)
        if number in answers:
            return answers[number]
        return replace(self._known[names[number]][0], action="none")

    def _name(self, credential: Secret) -> bytes:
        """Return what a credential is called in memory: a digest under a key that ends with this process."""
        text = credential.reveal().encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, key=self._key, digest_size=16).digest()
