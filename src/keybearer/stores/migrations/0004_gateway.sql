-- The gateway: its routes, and the secrets that it shows to upstreams (sealed).

CREATE TABLE routes (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    name TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX routes_name ON routes (name);
CREATE INDEX routes_deleted_at ON routes (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE upstream_secrets (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    name TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX upstream_secrets_name ON upstream_secrets (name);
CREATE INDEX upstream_secrets_deleted_at ON upstream_secrets (deleted_at) WHERE deleted_at IS NOT NULL;
