-- Leaks: incidents, policies, webhooks and the messages on their way to them.

CREATE TABLE incidents (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    subject TEXT COLLATE "C" NOT NULL UNIQUE,
    project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    kind TEXT COLLATE "C" NOT NULL,
    environment TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    key_id TEXT COLLATE "C",
    ends_at BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX incidents_project_id ON incidents (project_id, id);
CREATE INDEX incidents_status ON incidents (status, id);
CREATE INDEX incidents_key_id ON incidents (key_id, id) WHERE key_id IS NOT NULL;
CREATE INDEX incidents_ends_at ON incidents (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE leak_policies (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    project_id TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES projects (id),
    body TEXT NOT NULL
);

CREATE TABLE webhooks (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    project_id TEXT COLLATE "C" REFERENCES projects (id),
    body TEXT NOT NULL
);
CREATE INDEX webhooks_project_id ON webhooks (project_id, id) WHERE project_id IS NOT NULL;
CREATE INDEX webhooks_deleted_at ON webhooks (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE webhook_deliveries (
    id TEXT COLLATE "C" PRIMARY KEY,
    state TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    deleted_at BIGINT,
    webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id),
    project_id TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    due_at BIGINT NOT NULL,
    ends_at BIGINT,
    body TEXT NOT NULL
);
CREATE INDEX webhook_deliveries_webhook_id ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_status ON webhook_deliveries (status, id);
CREATE INDEX webhook_deliveries_due_at ON webhook_deliveries (due_at) WHERE status = 'waiting';
CREATE INDEX webhook_deliveries_ends_at ON webhook_deliveries (ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX incidents_deleted_at ON incidents (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX leak_policies_deleted_at ON leak_policies (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX webhook_deliveries_deleted_at ON webhook_deliveries (deleted_at) WHERE deleted_at IS NOT NULL;
