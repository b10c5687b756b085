-- Users, sessions, clients, grants and tokens. `USING heap` is PostgreSQL's own default, written out where SQLite shall
-- keep a table as one tree without row numbers (`migrations/__init__.py`).

CREATE TABLE users (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    email TEXT COLLATE "C" NOT NULL UNIQUE,
    body TEXT NOT NULL
);
CREATE INDEX users_deleted_at ON users (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE factors (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    user_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES users (id),
    body TEXT NOT NULL
);
CREATE INDEX factors_deleted_at ON factors (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE user_links (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    issuer TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (issuer, subject)
);
CREATE INDEX user_links_user_id ON user_links (user_id, id);
CREATE INDEX user_links_deleted_at ON user_links (deleted_at) WHERE deleted_at IS NOT NULL;

-- `ends_at` is when a session or a grant ends or ended, by itself or by revocation; null for a grant without an end.
CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    ends_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX sessions_user_id ON sessions (user_id, id);
CREATE INDEX sessions_ends_at ON sessions (ends_at);
CREATE INDEX sessions_deleted_at ON sessions (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE clients (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    name TEXT COLLATE "C" NOT NULL,
    origin TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX clients_project_id ON clients (project_id, id);
CREATE INDEX clients_name ON clients (name, id);
CREATE INDEX clients_origin ON clients (origin, id);
CREATE INDEX clients_deleted_at ON clients (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE grants (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id),
    client_id TEXT COLLATE "C" NOT NULL REFERENCES clients (id),
    project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    ends_at BIGINT,
    body TEXT NOT NULL
);
-- A user has at most one grant in force per client.
CREATE UNIQUE INDEX grants_in_force ON grants (user_id, client_id) WHERE state <> 'revoked' AND state <> 'deleted';
CREATE INDEX grants_user_id ON grants (user_id, id);
CREATE INDEX grants_client_id ON grants (client_id, id);
CREATE INDEX grants_project_id ON grants (project_id, id);
CREATE INDEX grants_ends_at ON grants (ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX grants_deleted_at ON grants (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE signing_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX signing_keys_deleted_at ON signing_keys (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE upstreams (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    issuer TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX upstreams_issuer ON upstreams (issuer, id);
CREATE INDEX upstreams_deleted_at ON upstreams (deleted_at) WHERE deleted_at IS NOT NULL;

-- Small rows, many of them: `body` is positional (`stores/token_rows.py`), and an id that begins with its expiry needs no
-- index to be swept. Nothing here refers to records by a constraint: what is missing counts as revoked.
CREATE TABLE access_tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    client_id TEXT COLLATE "C" NOT NULL,
    api_id TEXT COLLATE "C",
    user_id TEXT COLLATE "C",
    grant_id TEXT COLLATE "C",
    session_id TEXT COLLATE "C",
    family_id TEXT COLLATE "C",
    key_id TEXT COLLATE "C",
    body BYTEA NOT NULL
) USING heap;

-- Access tokens, opaque or JWT, that are refused until they expire.
CREATE TABLE revoked_tokens (
    id TEXT COLLATE "C" PRIMARY KEY,
    expires_at BIGINT NOT NULL
) USING heap;
CREATE INDEX revoked_tokens_expires_at ON revoked_tokens (expires_at);

-- Families of refresh tokens. `ends_at` is as for sessions.
CREATE TABLE token_families (
    id TEXT COLLATE "C" PRIMARY KEY,
    client_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C",
    grant_id TEXT COLLATE "C",
    session_id TEXT COLLATE "C",
    key_id TEXT COLLATE "C",
    generation BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    revoked_at BIGINT,
    body BYTEA NOT NULL
);
CREATE INDEX token_families_client_id ON token_families (client_id);
CREATE INDEX token_families_user_id ON token_families (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX token_families_grant_id ON token_families (grant_id) WHERE grant_id IS NOT NULL;
CREATE INDEX token_families_session_id ON token_families (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX token_families_key_id ON token_families (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX token_families_ends_at ON token_families (ends_at);

-- What a refresh token was answered with, for its short grace: not in the family's own row, which would grow with it.
CREATE TABLE token_successors (
    family_id TEXT COLLATE "C" PRIMARY KEY REFERENCES token_families (id) ON DELETE CASCADE,
    rotated_at BIGINT NOT NULL,
    previous_digest BYTEA NOT NULL,
    sealed BYTEA NOT NULL
) USING heap;
CREATE INDEX token_successors_rotated_at ON token_successors (rotated_at);

-- What is made for one use and a short time. The kind is a part of the key.
CREATE TABLE artefacts (
    kind TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    pepper_id TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    attempts BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (kind, id)
) USING heap;
CREATE INDEX artefacts_subject ON artefacts (subject, kind) WHERE subject <> '';
CREATE INDEX artefacts_expires_at ON artefacts (expires_at);
