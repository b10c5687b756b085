"""A file of public ids, for scans where the authority is not at hand: it says whose a credential would be.

The authority keeps ``HMAC(pepper, credential)`` only, and the pepper never leaves it, so nobody elsewhere can compare
secrets. What matches here has a known id and a right checksum; that its secret is right is not proven (ADR 16), and
nothing is ever done on the word of such a match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from ..core.errors import ConfigurationError
from ..formats import prefixes
from .sightings import Sighting, State, Verdict

FORMAT: Final = "keybearer ids 1"
MAX_LINE: Final = 65_536


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One credential's public side, as the authority knew it when the file was written."""

    id: str
    kind: str
    state: str
    project_id: str = ""
    project_name: str = ""
    key_id: str = ""
    key_name: str = ""
    environment: str = ""


def lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the lines of a filter."""
    yield msgspec.json.encode({"format": FORMAT}) + b"\n"
    for entry in entries:
        yield msgspec.json.encode(entry) + b"\n"


class IdFilter:
    """Tells whose ids are known; raises ``ConfigurationError`` when the file is no filter."""

    def __init__(self, path: str) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        decoder = msgspec.json.Decoder(Entry)
        try:
            with open(path, "rb") as file:
                if msgspec.json.decode(file.readline(MAX_LINE)) != {"format": FORMAT}:
                    raise ConfigurationError(f"{path} is not a filter of 'keybearer leaks digests export'.")
                while line := file.readline(MAX_LINE):
                    entry = decoder.decode(line)
                    self._entries[entry.kind, entry.id] = entry
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The filter {path} cannot be read: {error}.") from error

    def check(self, sightings: Sequence[Sighting], *, act: bool) -> Sequence[Verdict]:
        """Return ``id_match`` for ids that might be live, their state for those that were not, else ``unknown``."""
        return [self._verdict(one) for one in sightings]

    def _verdict(self, sighting: Sighting) -> Verdict:
        kind = prefixes.kind_of(sighting.prefix)
        entry = self._entries.get((kind, sighting.credential_id))
        if entry is None:
            return Verdict(State.UNKNOWN, kind=kind, credential_id=sighting.credential_id)
        state = State.ID_MATCH if entry.state == State.LIVE or entry.state not in set(State) else State(entry.state)
        return Verdict(
            state,
            kind,
            entry.id,
            entry.project_id,
            entry.project_name,
            entry.key_id,
            entry.key_name,
            entry.environment,
        )
