-- Proviso on PostgreSQL, the first schema. Times are microseconds since 1970 in UTC, hashes raw bytes, bodies JSON text.
-- Tables and columns are those of migrations/sqlite, without what serves only its indexes that are written late: here
-- an entry is where its primary key says, and its idempotency key is in its own table alone.
--
-- Tables of customer data have customer_id first in their key, and neither sequences, triggers nor references to each
-- other, so that they can be distributed by customer_id. Keys compare by their bytes, as SQLite's do.

-- The journal of every customer. Its primary key is the compare-and-swap: a number can be written once.
CREATE TABLE entries (
    customer_id text   COLLATE "C" NOT NULL,
    seq         bigint NOT NULL CHECK (seq >= 1),
    at          bigint NOT NULL,
    hash        bytea  NOT NULL CHECK (octet_length(hash) = 32),
    body        text   NOT NULL,
    PRIMARY KEY (customer_id, seq)
) WITH (
    -- Only ever inserted into: visited while the newest part is still in memory, not when a fifth is new.
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.1
);

-- Which entry answered an idempotency key.
CREATE TABLE idempotency (
    customer_id text   COLLATE "C" NOT NULL,
    key_hash    bytea  NOT NULL CHECK (octet_length(key_hash) = 16),
    seq         bigint NOT NULL CHECK (seq >= 1),
    PRIMARY KEY (customer_id, key_hash)
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.1
);

-- How often reference data changed. Whoever changes it holds this row's lock.
CREATE TABLE progress (
    id                 integer PRIMARY KEY CHECK (id = 1),
    reference_revision bigint  NOT NULL
);

INSERT INTO progress (id, reference_revision) VALUES (1, 0);

-- Folded states: a cache, any row of which may be deleted.
CREATE TABLE snapshots (
    customer_id text   COLLATE "C" NOT NULL,
    seq         bigint NOT NULL CHECK (seq >= 1),
    at          bigint NOT NULL,
    state       text   NOT NULL,
    PRIMARY KEY (customer_id, seq)
);

-- What lists and the sweeper need of a customer; derived from the journal. The one table of customer data whose rows
-- are updated, so its pages keep room for a row's next version.
CREATE TABLE customers (
    customer_id text    COLLATE "C" NOT NULL PRIMARY KEY,
    created_at  bigint  NOT NULL,
    due_at      bigint,
    closed      boolean NOT NULL,
    profile     text    NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX customers_due ON customers (due_at, customer_id) WHERE due_at IS NOT NULL;

-- Reference data: small, and held in memory by every host.
CREATE TABLE plans (
    plan_id text COLLATE "C" NOT NULL PRIMARY KEY,
    body    text NOT NULL
);

CREATE TABLE plan_terms (
    plan_id text   COLLATE "C" NOT NULL REFERENCES plans (plan_id),
    number  bigint NOT NULL,
    body    text   NOT NULL,
    PRIMARY KEY (plan_id, number)
);

CREATE TABLE policies (
    policy_id text COLLATE "C" NOT NULL PRIMARY KEY,
    body      text NOT NULL
);

-- Modules by the SHA-256 of their bytes. Never deleted: what a module decided must stay replayable.
CREATE TABLE modules (
    digest bytea NOT NULL PRIMARY KEY CHECK (octet_length(digest) = 32),
    bytes  bytea NOT NULL
);

CREATE TABLE policy_versions (
    policy_id text    COLLATE "C" NOT NULL REFERENCES policies (policy_id),
    version   bigint  NOT NULL,
    digest    bytea   NOT NULL REFERENCES modules (digest),
    deleted   boolean NOT NULL,
    body      text    NOT NULL,
    PRIMARY KEY (policy_id, version)
);

CREATE TABLE api_keys (
    key_id      text  COLLATE "C" NOT NULL PRIMARY KEY,
    secret_hash bytea NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
    body        text  NOT NULL
);

-- What management requests came to, as JSON text, by the hash of their idempotency key.
CREATE TABLE requests (
    key_hash     bytea  NOT NULL PRIMARY KEY CHECK (octet_length(key_hash) = 16),
    request_hash bytea  NOT NULL CHECK (octet_length(request_hash) = 32),
    at           bigint NOT NULL,
    answer       text   NOT NULL
);
