-- All that the forum remembers. Times are seconds since 1970 (UTC). Who somebody is, only Keybearer knows: a person here
-- is the id that its tokens name, and the name to show.

CREATE TABLE IF NOT EXISTS person (
    id      TEXT PRIMARY KEY,
    name    TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;

-- Questions and answers alike. A question has a title and no question that it belongs to.
CREATE TABLE IF NOT EXISTS post (
    id             INTEGER PRIMARY KEY,
    question_id    INTEGER REFERENCES post (id),
    author_id      TEXT NOT NULL REFERENCES person (id),
    title          TEXT,
    body           TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    active_at      INTEGER NOT NULL,
    edited_at      INTEGER,
    accepted_id    INTEGER REFERENCES post (id),
    closed_because TEXT,
    deleted_at     INTEGER,
    CHECK ((question_id IS NULL) = (title IS NOT NULL))
) STRICT;
CREATE INDEX IF NOT EXISTS post_of_question ON post (question_id);
CREATE INDEX IF NOT EXISTS post_of_author ON post (author_id);
CREATE INDEX IF NOT EXISTS question_by_activity ON post (active_at) WHERE question_id IS NULL;

CREATE TABLE IF NOT EXISTS tag (
    name        TEXT NOT NULL,
    question_id INTEGER NOT NULL REFERENCES post (id),
    PRIMARY KEY (name, question_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tag_of_question ON tag (question_id);

CREATE TABLE IF NOT EXISTS revision (
    post_id   INTEGER NOT NULL REFERENCES post (id),
    number    INTEGER NOT NULL,
    editor_id TEXT NOT NULL REFERENCES person (id),
    title     TEXT,
    tags      TEXT NOT NULL,
    body      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (post_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS vote (
    post_id   INTEGER NOT NULL REFERENCES post (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    value     INTEGER NOT NULL CHECK (value IN (-1, 1)),
    PRIMARY KEY (post_id, person_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS comment (
    id         INTEGER PRIMARY KEY,
    post_id    INTEGER NOT NULL REFERENCES post (id),
    author_id  TEXT NOT NULL REFERENCES person (id),
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS comment_of_post ON comment (post_id);

-- What moderators shall look at: one flag per person and post.
CREATE TABLE IF NOT EXISTS flag (
    post_id    INTEGER NOT NULL REFERENCES post (id),
    person_id  TEXT NOT NULL REFERENCES person (id),
    reason     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    settled_by TEXT REFERENCES person (id),
    PRIMARY KEY (post_id, person_id)
) STRICT, WITHOUT ROWID;

-- What moderators did, and why.
CREATE TABLE IF NOT EXISTS moderation (
    id           INTEGER PRIMARY KEY,
    post_id      INTEGER NOT NULL REFERENCES post (id),
    moderator_id TEXT NOT NULL REFERENCES person (id),
    what         TEXT NOT NULL,
    reason       TEXT NOT NULL,
    at           INTEGER NOT NULL
) STRICT;

-- One row per question, under its id: title, tags, and the bodies of the question and of its answers.
CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5 (title, tags, body, tokenize = 'porter unicode61');

CREATE VIEW IF NOT EXISTS score AS
SELECT post.id AS post_id, coalesce(sum(vote.value), 0) AS score
FROM post LEFT JOIN vote ON vote.post_id = post.id
GROUP BY post.id;

-- Reputation is never stored, so that it cannot be wrong: it is what votes and acceptances add up to.
CREATE VIEW IF NOT EXISTS reputation AS
SELECT person.id AS person_id,
       max(1, 1
           + coalesce((SELECT sum(CASE WHEN vote.value < 0 THEN -2 WHEN post.question_id IS NULL THEN 5 ELSE 10 END)
                       FROM vote JOIN post ON post.id = vote.post_id
                       WHERE post.author_id = person.id AND post.deleted_at IS NULL), 0)
           + 15 * (SELECT count(*)
                   FROM post AS question JOIN post AS answer ON answer.id = question.accepted_id
                   WHERE answer.author_id = person.id AND question.author_id <> person.id
                     AND answer.deleted_at IS NULL AND question.deleted_at IS NULL)) AS reputation
FROM person;
