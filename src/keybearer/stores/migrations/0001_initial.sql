-- The first schema. Every statement ends with a semicolon at the end of a line; `migrations/__init__.py` says how types
-- are translated for SQLite.

-- One row: the newest event, and the newest audit entry with its digest. It is locked only by works that write either.
CREATE TABLE heads (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    head BIGINT NOT NULL,
    audit_head BIGINT NOT NULL,
    audit_digest BYTEA NOT NULL
);

CREATE TABLE events (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL
);

CREATE TABLE audit_log (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    outcome TEXT NOT NULL,
    project_id TEXT COLLATE "C",
    source TEXT,
    request_id TEXT,
    details TEXT NOT NULL,
    digest BYTEA NOT NULL
);
CREATE INDEX audit_log_actor ON audit_log (actor, seq);
CREATE INDEX audit_log_action ON audit_log (action, seq);
CREATE INDEX audit_log_target ON audit_log (target, seq);
CREATE INDEX audit_log_project_id ON audit_log (project_id, seq);

-- Records: the columns are what is searched and joined, `body` is the whole record as JSON.
CREATE TABLE plans (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    name TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX plans_name ON plans (name, id);
CREATE INDEX plans_deleted_at ON plans (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE apis (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    identifier TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    default_plan_id TEXT COLLATE "C" REFERENCES plans (id),
    body TEXT NOT NULL
);
CREATE INDEX apis_name ON apis (name, id);
CREATE INDEX apis_default_plan_id ON apis (default_plan_id);
CREATE INDEX apis_deleted_at ON apis (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE projects (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    name TEXT COLLATE "C" NOT NULL,
    plan_id TEXT COLLATE "C" REFERENCES plans (id),
    body TEXT NOT NULL
);
CREATE INDEX projects_name ON projects (name, id);
CREATE INDEX projects_plan_id ON projects (plan_id, id);
CREATE INDEX projects_deleted_at ON projects (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE identities (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    external_id TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (project_id, external_id)
);
CREATE INDEX identities_project_id ON identities (project_id, id);
CREATE INDEX identities_external_id ON identities (external_id, id);
CREATE INDEX identities_deleted_at ON identities (deleted_at) WHERE deleted_at IS NOT NULL;

-- `retires_at` is the end of the last version on its way out, null when there is none.
CREATE TABLE api_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    identity_id TEXT COLLATE "C" REFERENCES identities (id),
    plan_id TEXT COLLATE "C" REFERENCES plans (id),
    kind TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C",
    name TEXT COLLATE "C" NOT NULL,
    foreign_lookup TEXT COLLATE "C" UNIQUE,
    retires_at BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX api_keys_project_id ON api_keys (project_id, id);
CREATE INDEX api_keys_identity_id ON api_keys (identity_id, id);
CREATE INDEX api_keys_plan_id ON api_keys (plan_id, id);
CREATE INDEX api_keys_owner ON api_keys (owner, id);
CREATE INDEX api_keys_name ON api_keys (name, id);
CREATE INDEX api_keys_retires_at ON api_keys (retires_at) WHERE retires_at IS NOT NULL;
CREATE INDEX api_keys_deleted_at ON api_keys (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE key_tags (
    tag TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    PRIMARY KEY (tag, key_id)
);
CREATE INDEX key_tags_key_id ON key_tags (key_id);

-- The ledger. `balance = granted - spent` is checked by the database itself.
CREATE TABLE credits (
    owner TEXT COLLATE "C" PRIMARY KEY,
    balance BIGINT NOT NULL CHECK (balance >= 0),
    granted BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    refill_per TEXT NOT NULL,
    refills_at BIGINT,
    CHECK (balance = granted - spent)
);

CREATE TABLE quota_counters (
    owner TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    per TEXT COLLATE "C" NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (owner, name, per, starts_at)
);
CREATE INDEX quota_counters_ends_at ON quota_counters (ends_at);

-- What requests with an id took: makes them idempotent, and refundable once.
CREATE TABLE charges (
    key_id TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    refunded_at BIGINT,
    taken TEXT NOT NULL,
    PRIMARY KEY (key_id, request_id)
);
CREATE INDEX charges_at ON charges (at);

CREATE TABLE responses (
    actor TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    request_digest BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (actor, idempotency_key)
);
CREATE INDEX responses_created_at ON responses (created_at);

-- Observation. Minutes are rolled up into hours when they are a month old.
CREATE TABLE usage_minutes (
    minute BIGINT NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    api_id TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (minute, project_id, key_id, api_id, code)
);
CREATE INDEX usage_minutes_project_id ON usage_minutes (project_id, minute);
CREATE INDEX usage_minutes_key_id ON usage_minutes (key_id, minute);

CREATE TABLE usage_hours (
    hour BIGINT NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    api_id TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (hour, project_id, key_id, api_id, code)
);
CREATE INDEX usage_hours_project_id ON usage_hours (project_id, hour);
CREATE INDEX usage_hours_key_id ON usage_hours (key_id, hour);

-- What a key was used from or with: `facet` is source or tag, `value` the address or the tag.
CREATE TABLE facet_hours (
    hour BIGINT NOT NULL,
    facet TEXT COLLATE "C" NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (hour, facet, project_id, key_id, value, code)
);
CREATE INDEX facet_hours_project_id ON facet_hours (project_id, facet, hour);
CREATE INDEX facet_hours_key_id ON facet_hours (key_id, facet, hour);

CREATE TABLE key_uses (
    key_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (key_id, version)
);

CREATE TABLE foreign_schemes (
    scheme TEXT COLLATE "C" PRIMARY KEY
);

CREATE TABLE peppers (
    pepper_id TEXT COLLATE "C" PRIMARY KEY,
    fingerprint BYTEA NOT NULL
);
