"""The authority's own database as the one who tells where credentials stand, on its own machine, without a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core.errors import ConfigurationError
from ..keyring import FILE_NAME
from ..scanner.sightings import Sighting, State, Verdict
from ..services.authority import Authority
from ..services.leak_finder import Leaked, find_all
from ..settings import load


class StoreMatcher:
    """Compares full digests with keyring and database. It only tells: incidents and measures need the server."""

    def __init__(self, runner: asyncio.Runner, authority: Authority) -> None:
        self._runner = runner
        self._authority = authority

    def check(self, sightings: Sequence[Sighting], *, act: bool) -> Sequence[Verdict]:
        """Return what each credential is."""
        secrets = [one.credential for one in sightings]
        found = self._runner.run(find_all(self._authority, secrets, with_slow_hashes=True))
        return [_verdict(leaked, one) for leaked, one in zip(found, sightings, strict=True)]


@contextlib.contextmanager
def store_matcher(data: Path, database: str | None) -> Iterator[StoreMatcher]:
    """Open the data directory of an authority; raises ``ConfigurationError`` when there is none in it."""
    from .. import app

    settings = load({"data": data, "database": database})
    if not (settings.data / FILE_NAME).exists():
        # Opening would make a new authority there.
        raise ConfigurationError(f"There is no authority in {settings.data}.")
    with asyncio.Runner() as runner:
        opened = app.standing_authority(settings)
        authority = runner.run(opened.__aenter__())
        try:
            yield StoreMatcher(runner, authority)
        finally:
            runner.run(opened.__aexit__(None, None, None))


def _verdict(leaked: Leaked | None, sighting: Sighting) -> Verdict:
    if leaked is None:
        return Verdict(State.UNKNOWN, kind=sighting.rule, credential_id=sighting.credential_id)
    return Verdict(
        state=State(leaked.state.value),
        kind=leaked.kind.value,
        credential_id=leaked.credential_id,
        project_id=leaked.project_id,
        project_name=leaked.project_name,
        key_id=leaked.key_id or leaked.client_id or "",
        key_name=leaked.name,
        environment=leaked.environment.value,
    )
