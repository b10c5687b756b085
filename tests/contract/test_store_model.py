"""SQLite and the in-memory model do the same, whatever is done to them."""

import asyncio
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keybearer.core.artefacts import ArtefactKind
from keybearer.core.clients import Client, ClientOrigin
from keybearer.core.credential import first_id_at
from keybearer.core.errors import KeybearerError
from keybearer.core.grants import Grant
from keybearer.core.instant import DAY, HOUR, Instant
from keybearer.core.lifecycle import Change, change, touch
from keybearer.core.quota import CalendarUnit
from keybearer.core.records import Api, ApiKey, CreditPolicy, Identity, Plan, Project, Quota
from keybearer.core.sessions import Session
from keybearer.core.users import User
from keybearer.ports import (
    Charge,
    CreditTake,
    FacetRow,
    KeyUse,
    Query,
    QuotaTake,
    RememberedResponse,
    UnitOfWork,
    UsageBatch,
    UsageQuery,
    UsageRow,
)
from keybearer.stores.memory import MemoryStore
from keybearer.stores.sqlite import SqliteStore
from tests.contract import making, making_tokens
from tests.contract.making import AUDIT_KEY, NOW, HandClock, draft

PREFIXES: dict[Any, str] = {
    Api: "api",
    Project: "proj",
    Plan: "plan",
    Identity: "idn",
    ApiKey: "key",
    User: "user",
    Session: "sess",
    Client: "client",
    Grant: "grant",
}
KINDS = tuple(PREFIXES)
numbers = st.integers(1, 3)
owners = st.sampled_from(["key:key_0001", "key:key_0002", "identity:idn_0001"])
policies = st.sampled_from(
    [
        CreditPolicy(),
        CreditPolicy(refill_to=10, refill_per=CalendarUnit.DAY),
        CreditPolicy(refill_to=4, refill_per=CalendarUnit.HOUR),
    ]
)
quotas = st.sampled_from(
    [Quota("calls", 5, CalendarUnit.HOUR), Quota("calls", 8, CalendarUnit.DAY), Quota("more", 3, CalendarUnit.MONTH)]
)
texts = st.one_of(st.sampled_from(["a", "b", "ü"]), st.text(max_size=3))
PLANS = st.sampled_from([None, "plan_0001"])
USERS = st.sampled_from(["user_0001", "user_0002"])
CLIENTS = st.sampled_from(["client_0001", "client_0002"])
SCOPES = st.sampled_from([(), ("openid",), ("openid", "orders:read")])
LINKS = ("client_id", "user_id", "grant_id", "session_id", "key_id")
FAMILIES = st.builds(
    making_tokens.family,
    numbers,
    client_id=CLIENTS,
    user_id=st.one_of(st.none(), USERS),
    grant_id=st.sampled_from([None, "grant_0001", "odd"]),
    session_id=st.sampled_from([None, "sess_0001"]),
    generation=st.integers(1, 3),
    idle_in=st.sampled_from([DAY, 20 * DAY]),
    sealed_successor=st.sampled_from([b"", b"s"]),
)
TOKEN_IDS = st.sampled_from([f"at_{first_id_at(Instant(NOW + day * DAY))}000000000" for day in (0, 1, 3)])
TOKENS = st.builds(
    making_tokens.token,
    id=TOKEN_IDS,
    client_id=CLIENTS,
    user_id=st.one_of(st.none(), USERS),
    grant_id=st.sampled_from([None, "grant_0001"]),
    session_id=st.sampled_from([None, "sess_0001"]),
    family_id=st.sampled_from([None, "rt_0001", "odd"]),
    key_id=st.sampled_from([None, None, "key_0001"]),
    api_id=st.sampled_from([None, "api_0001"]),
    scopes=SCOPES,
)
ARTEFACTS = st.builds(
    making_tokens.artefact,
    st.sampled_from(["a1", "a2"]),
    kind=st.sampled_from([ArtefactKind.PROOF_ID, ArtefactKind.DEVICE_CODE]),
    subject=st.sampled_from(["", "user_0001"]),
    expires_at=st.sampled_from([NOW, Instant(NOW + DAY)]),
)
RECORDS = st.one_of(
    st.builds(making.plan, numbers, name=texts),
    st.builds(making.api, numbers, name=texts, identifier=st.sampled_from(["x", "y"]), default_plan_id=PLANS),
    st.builds(making.project, numbers, name=texts, plan_id=PLANS),
    st.builds(making.identity, numbers, external_id=st.sampled_from(["u", "v"])),
    st.builds(making_tokens.user, numbers, email=st.sampled_from(["x", "y", "z"])),
    st.builds(making_tokens.session, numbers, user_id=USERS, idle_in=st.sampled_from([DAY, 40 * DAY])),
    st.builds(making_tokens.client, numbers, origin=st.sampled_from(list(ClientOrigin)), scopes=SCOPES),
    st.builds(making_tokens.consent, numbers, user_id=USERS, client_id=CLIENTS, scopes=SCOPES),
    st.builds(
        making.key,
        numbers,
        tags=st.lists(st.sampled_from(["red", "blue"])).map(tuple),
        owner=st.one_of(st.none(), texts),
        identity_id=st.sampled_from([None, "idn_0001"]),
        plan_id=PLANS,
        foreign_lookup=st.sampled_from([None, None, "f1", "f2"]),
        metadata=st.dictionaries(texts, st.one_of(st.none(), st.integers(), texts), max_size=2),
    ),
)
QUERIES = st.builds(
    Query,
    st.dictionaries(
        st.sampled_from(["state", "tag", "name", "project_id", "owner", "identifier", "nonsense"]),
        st.sampled_from(["red", "a", "proj_0001", "deleted", "enabled", "x"]),
        max_size=2,
    ),
    st.sampled_from([None, "key_0001", "proj_0001"]),
    st.integers(1, 4),
)
ROWS = st.builds(
    UsageRow,
    st.integers(NOW // 60_000_000 - 100, NOW // 60_000_000 + 100),
    st.sampled_from(["p1", ""]),
    st.sampled_from(["k1", "k2"]),
    st.just("a"),
    st.sampled_from(["VALID", "EXPIRED"]),
    st.integers(1, 5),
)
FACETS = st.builds(
    FacetRow,
    st.integers(NOW // HOUR - 3, NOW // HOUR + 3),
    st.just("p1"),
    st.sampled_from(["k1", "k2"]),
    st.sampled_from(["source", "tag"]),
    st.sampled_from(["s1", "s2"]),
    st.just("VALID"),
    st.integers(1, 5),
)
USES = st.builds(KeyUse, st.sampled_from(["key_0001", "key_0002"]), st.integers(1, 2), st.integers(NOW, NOW + 9))


class TwoStores(RuleBasedStateMachine):
    """Each rule does the same to both; the answers, and the errors, must be equal."""

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = HandClock()
        self.folder = tempfile.TemporaryDirectory()
        self.model = MemoryStore(AUDIT_KEY, clock=self.clock)
        self.sqlite = SqliteStore(Path(self.folder.name) / "k.db", AUDIT_KEY, clock=self.clock)
        self.runner.run(self.sqlite.open())

    def teardown(self) -> None:
        if hasattr(self, "sqlite"):
            self.runner.run(self.sqlite.close())
            self.runner.close()
            self.folder.cleanup()

    def both(self, method: str, *arguments: Any, **options: Any) -> Any:
        answers = []
        for store in (self.model, self.sqlite):
            try:
                answer = self.runner.run(getattr(store, method)(*arguments, **options))
            except KeybearerError as error:
                answer = type(error)
            answers.append(answer)
        assert answers[0] == answers[1]
        return answers[1]

    @rule(days=st.sampled_from([0.1, 0.9, 1, 8, 31, -1]))
    def time_passes(self, days: float) -> None:
        self.clock.at = Instant(self.clock.at + int(days * DAY))

    @rule(records=st.lists(RECORDS, min_size=1, max_size=4), fails=st.booleans())
    def insert(self, records: list[Any], fails: bool) -> None:
        async def work(unit: UnitOfWork) -> None:
            for record in records:
                await unit.insert(record)
                unit.emit("record.created", record.id)
            unit.audit(draft(details={"n": len(records)}))
            if fails:
                raise KeybearerError("no")

        self.both("transact", work)

    @rule(record=RECORDS, stale=st.integers(0, 9))
    def update(self, record: Any, stale: int) -> None:
        async def work(unit: UnitOfWork) -> None:
            before = await unit.get(type(record), record.id)
            changed = dataclasses.replace(record, state=before.state, deleted_at=before.deleted_at)
            await unit.update(dataclasses.replace(changed, revision=before.revision + (stale != 0)))
            unit.emit("record.updated", record.id)

        self.both("transact", work)

    @rule(kind=st.sampled_from(KINDS), number=numbers, wanted=st.sampled_from(list(Change)))
    def change(self, kind: Any, number: int, wanted: Change) -> None:
        prefix = PREFIXES[kind]

        async def work(unit: UnitOfWork) -> None:
            before = await unit.get(kind, f"{prefix}_{number:04}")
            after = change(before, wanted, self.clock.at)
            await unit.update(after if after is not before else touch(before, self.clock.at))

        self.both("transact", work)

    @rule(kind=st.sampled_from(KINDS), number=numbers)
    def forget(self, kind: Any, number: int) -> None:
        prefix = PREFIXES[kind]
        self.both("transact", lambda unit: unit.forget(kind, f"{prefix}_{number:04}"))

    @rule(token=TOKENS, fails=st.booleans())
    def add_token(self, token: Any, fails: bool) -> None:
        async def work(unit: UnitOfWork) -> None:
            await unit.add_token(token)
            if fails:
                raise KeybearerError("no")

        self.both("transact", work)

    @rule(token=TOKENS)
    def claim_token(self, token: Any) -> None:
        self.both("find_token", token.id, dataclasses.replace(token, digest=b""))

    @rule(token_id=TOKEN_IDS, days=st.integers(0, 3))
    def revoke_token(self, token_id: str, days: int) -> None:
        self.both("transact", lambda unit: unit.revoke_token(token_id, Instant(NOW + days * DAY)))

    @rule(family=FAMILIES, is_new=st.booleans(), generation=st.integers(1, 3))
    def put_family(self, family: Any, is_new: bool, generation: int) -> None:
        if is_new:
            self.both("transact", lambda unit: unit.add_family(family))
        else:
            self.both("transact", lambda unit: unit.update_family(family, generation=generation))

    @rule(column=st.sampled_from([*LINKS, "nonsense"]), value=st.one_of(USERS, CLIENTS, st.sampled_from(["odd"])))
    def revoke_families(self, column: str, value: str) -> None:
        self.both("transact", lambda unit: unit.revoke_families(column, value, self.clock.at))

    @rule(artefact=ARTEFACTS, is_new=st.booleans())
    def put_artefact(self, artefact: Any, is_new: bool) -> None:
        if is_new:
            self.both("transact", lambda unit: unit.add_artefact(artefact))
        else:
            self.both("transact", lambda unit: unit.update_artefact(artefact))

    @rule(subject=st.sampled_from(["", "user_0001"]))
    def remove_artefacts(self, subject: str) -> None:
        self.both("transact", lambda unit: unit.remove_artefacts(ArtefactKind.PROOF_ID, subject))

    @rule(owner=owners, amount=st.integers(-1, 12), policy=policies, add=st.booleans())
    def credit(self, owner: str, amount: int, policy: CreditPolicy, add: bool) -> None:
        if add:
            self.both("transact", lambda unit: unit.add_credits(owner, amount, self.clock.at))
        else:
            self.both("transact", lambda unit: unit.set_credits(owner, amount, policy, self.clock.at))

    @rule(
        request_id=st.one_of(st.none(), st.sampled_from(["r1", "r2", "r3"])),
        accounts=st.lists(st.builds(CreditTake, owners, policies, st.integers(0, 5)), max_size=2),
        quotas=st.lists(st.builds(QuotaTake, owners, quotas, st.integers(0, 4)), max_size=2),
    )
    def charge(self, request_id: str | None, accounts: list[CreditTake], quotas: list[QuotaTake]) -> None:
        self.both("charge", Charge("key_0001", request_id, tuple(accounts), tuple(quotas), self.clock.at))

    @rule(request_id=st.sampled_from(["r1", "r2", "r3"]))
    def refund(self, request_id: str) -> None:
        self.both("refund", "key_0001", request_id, self.clock.at)

    @rule(
        usage=st.lists(ROWS, max_size=5),
        facets=st.lists(FACETS, max_size=3),
        uses=st.lists(USES, max_size=3),
        audited=st.booleans(),
    )
    def flush(self, usage: list[Any], facets: list[Any], uses: list[Any], audited: bool) -> None:
        audit = (draft(),) if audited else ()
        self.both("add_usage", UsageBatch(tuple(usage), tuple(facets), tuple(uses), audit))

    @rule(
        group_by=st.lists(st.sampled_from(["minute", "hour", "day", "key_id", "code", "source", "tag"]), max_size=3),
        filters=st.dictionaries(st.sampled_from(["key_id", "source"]), st.sampled_from(["k1", "s1"]), max_size=2),
        start=st.integers(NOW - HOUR, NOW + HOUR),
        limit=st.integers(1, 9),
    )
    def usage(self, group_by: list[str], filters: dict[str, str], start: int, limit: int) -> None:
        self.both("usage", UsageQuery(Instant(start), Instant(start + HOUR), tuple(group_by), filters, limit))

    @rule(key=st.sampled_from(["i1", "i2"]))
    def remember(self, key: str) -> None:
        response = RememberedResponse("actor", key, b"d", b"s", self.clock.at)
        self.both("transact", lambda unit: unit.remember(response))
        self.both("recall", "actor", key)

    @rule(query=QUERIES, kind=st.sampled_from(KINDS))
    def page(self, query: Query, kind: Any) -> None:
        self.both("page", kind, query)
        self.both("transact", lambda unit: unit.page(kind, query))

    @rule()
    def sweep(self) -> None:
        self.both("sweep", self.clock.at)

    @invariant()
    def everything_reads_the_same(self) -> None:
        if not hasattr(self, "sqlite"):
            return
        for number in range(1, 4):
            self.both("find", f"key_{number:04}")
        self.both("find_foreign", ["f2", "f1"])
        for day in (0, 1, 3):
            self.both("find_token", f"at_{first_id_at(Instant(NOW + day * DAY))}000000000")
        for number in range(1, 4):
            self.both("get_family", f"rt_{number:04}")
        for artefact_id in ("a1", "a2"):
            self.both("get_artefact", ArtefactKind.PROOF_ID, artefact_id)
        self.both("events", 0)
        self.both("head")
        self.both("audit_page", 0, 5, newest_first=True)
        self.both("uses", ["key_0001", "key_0002"])
        for account in self.both("balances", ["key:key_0001", "key:key_0002", "identity:idn_0001"]):
            assert account.balance == account.granted - account.spent
            assert account.balance >= 0


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
