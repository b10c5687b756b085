"""Who tells where found credentials stand, as the commands of ``keybearer leaks`` let one choose it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import InvalidInput
from ..scanner.id_filter import IdFilter
from ..scanner.matchers import Nobody
from ..scanner.sightings import Matcher
from .session import Session

Filter = Annotated[
    str | None, typer.Option("--filter", metavar="FILE", help="Ask a file of 'leaks digests export': ids only.")
]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nobody: prefix and checksum decide.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Ask the authority's own data directory, with or without a server.")
]
Database = Annotated[str | None, typer.Option("--database", help="With --data: where its database is.")]
Act = Annotated[bool, typer.Option("--act", help="Have the authority's policies do what they say: revoke, alert…")]
LogFormat = Annotated[
    str | None,
    typer.Option(
        "--log-format",
        metavar="FORMAT",
        help="As nginx or Apache write it: '$remote_addr [$time_local] …', 'combined'.",
    ),
]
RulesFile = Annotated[
    str | None, typer.Option("--rules", metavar="FILE", help="Find others' secrets too: rules of gitleaks, in TOML.")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is to be asked; with none of these, the authority at the URL."""

    offline: bool = False
    filter_file: str | None = None
    data: Path | None = None
    database: str | None = None

    @contextlib.contextmanager
    def matcher(self, url: str, allow_http: bool, *, act: bool) -> Iterator[Matcher]:
        """Open it; raises ``InvalidInput`` and ``ConfigurationError``, and ends the program where there is no key."""
        chosen = [self.offline, self.filter_file is not None, self.data is not None]
        if sum(chosen) > 1:
            raise InvalidInput.of("--offline, --filter, --data", "only one of them can be asked")
        if act and any(chosen):
            raise InvalidInput.of("--act", "only the server can act: leave out --offline, --filter and --data")
        if self.database is not None and self.data is None:
            raise InvalidInput.of("--database", "needs --data")
        if self.offline:
            yield Nobody()
        elif self.filter_file is not None:
            yield IdFilter(self.filter_file)
        elif self.data is not None:
            from .leaks_store import store_matcher  # loads the whole authority

            with store_matcher(self.data, self.database) as matcher:
                yield matcher
        else:
            from ..scanner.authority import AuthorityMatcher

            session = Session(url, False, False, False, allow_http)
            with session.client:
                yield AuthorityMatcher(session.client)
