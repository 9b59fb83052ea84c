-- Proviso on PostgreSQL. Times are microseconds since 1970 in UTC, hashes raw bytes, bodies JSON text.
--
-- What both databases have has the same columns as in migrations/sqlite. There an index of entries is written late, which
-- needs more tables and columns; here there may be several hosts, which hosts and the claims in customers serve, and an
-- archive.
--
-- Tables of customer data have customer_id first in their key, and neither sequences, triggers nor references to each
-- other, so that they can be distributed by customer_id. Keys compare by their bytes, as SQLite's do.

-- The journal of every customer. Its primary key is the compare-and-swap: a number can be written once. The format of an
-- entry is in its body.
CREATE TABLE entries (
    customer_id text   COLLATE "C" NOT NULL,
    seq         bigint NOT NULL CHECK (seq >= 1),
    at          bigint NOT NULL,
    hash        bytea  NOT NULL CHECK (octet_length(hash) = 32),
    body        text   NOT NULL,
    PRIMARY KEY (customer_id, seq)
) WITH (
    -- Rows are only inserted: vacuum them while the newest part is still in memory, not when a fifth is new.
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.1
);

-- Old entries: runs of neighbouring numbers as one JSON array of [seq, at, hash in hex, body], which is compressed as one
-- value. A customer's last entry is never here. SQLite appends to a file that does not get slower, and has no such table.
CREATE TABLE archived_entries (
    customer_id text   COLLATE "C" NOT NULL,
    first_seq   bigint NOT NULL CHECK (first_seq >= 1),
    last_seq    bigint NOT NULL CHECK (last_seq >= first_seq),
    first_at    bigint NOT NULL,
    last_at     bigint NOT NULL,
    entries     text   NOT NULL,
    PRIMARY KEY (customer_id, first_seq)
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

-- Folded states: a cache, any row of which may be deleted. Hosts read only those of the format that they write.
CREATE TABLE snapshots (
    customer_id text   COLLATE "C" NOT NULL,
    format      bigint NOT NULL,
    seq         bigint NOT NULL CHECK (seq >= 1),
    at          bigint NOT NULL,
    state       text   NOT NULL,
    PRIMARY KEY (customer_id, format, seq)
);

-- What lists and the sweeper need of a customer; derived from the journal. The one table of customer data whose rows are
-- updated, so its pages have space for new versions of their rows. A claim says which host is at work on a customer that
-- came due, and until when by this database's clock; it is in no index, so that claiming touches one page.
CREATE TABLE customers (
    customer_id   text    COLLATE "C" NOT NULL PRIMARY KEY,
    created_at    bigint  NOT NULL,
    due_at        bigint,
    closed        boolean NOT NULL,
    plan_id       text    COLLATE "C",
    plan_version  bigint,
    awaits_payment boolean NOT NULL,
    profile       text    NOT NULL,
    claimed_by    text,
    claimed_until bigint
) WITH (fillfactor = 80);

CREATE INDEX customers_due ON customers (due_at, customer_id) WHERE due_at IS NOT NULL;
-- Who is on which version of a plan.
CREATE INDEX customers_plan ON customers (plan_id, plan_version, customer_id) WHERE plan_id IS NOT NULL;
-- Who has a top-up that awaits its payment.
CREATE INDEX customers_awaiting ON customers (customer_id) WHERE awaits_payment;

-- The catalog's revision. Who changes the catalog locks this row.
CREATE TABLE progress (
    id               integer PRIMARY KEY CHECK (id = 1),
    catalog_revision bigint  NOT NULL
);

INSERT INTO progress (id, catalog_revision) VALUES (1, 0);

-- The catalog: small, and held in memory by every host. Each row has the revision that wrote it, so that a host reads
-- only what is new.
CREATE TABLE plans (
    plan_id  text   COLLATE "C" NOT NULL PRIMARY KEY,
    body     text   NOT NULL,
    revision bigint NOT NULL
);

-- What each version of a plan sells, numbered 1, 2, 3. Rows are only inserted: customers stay on the version that they were sold.
CREATE TABLE plan_versions (
    plan_id  text   COLLATE "C" NOT NULL REFERENCES plans (plan_id),
    version  bigint NOT NULL CHECK (version >= 1),
    body     text   NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (plan_id, version)
);

CREATE TABLE plan_terms (
    plan_id  text   COLLATE "C" NOT NULL REFERENCES plans (plan_id),
    number   bigint NOT NULL,
    body     text   NOT NULL,
    revision bigint NOT NULL,
    PRIMARY KEY (plan_id, number)
);

CREATE TABLE policies (
    policy_id text   COLLATE "C" NOT NULL PRIMARY KEY,
    body      text   NOT NULL,
    revision  bigint NOT NULL
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
    revision  bigint  NOT NULL,
    PRIMARY KEY (policy_id, version)
);

CREATE TABLE api_keys (
    key_id      text   COLLATE "C" NOT NULL PRIMARY KEY,
    secret_hash bytea  NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
    body        text   NOT NULL,
    revision    bigint NOT NULL
);

-- What is sold beside plans: a kind (`bundle`, `promotion`, `add_on`) and its key.
CREATE TABLE products (
    kind       text   COLLATE "C" NOT NULL,
    product_id text   COLLATE "C" NOT NULL,
    body       text    NOT NULL,
    revision   bigint  NOT NULL,
    PRIMARY KEY (kind, product_id)
);

-- Who may redeem a promotion, numbered 1, 2, 3 with no gaps: the numbers keep all hosts below a promotion's limit. Rows are only
-- inserted, before the customer's journal has the redemption; one without an entry is taken up when the customer redeems again.
CREATE TABLE redemptions (
    promotion_id text   COLLATE "C" NOT NULL,
    number       bigint  NOT NULL,
    customer_id  text   COLLATE "C" NOT NULL,
    at           bigint  NOT NULL,
    PRIMARY KEY (promotion_id, number),
    UNIQUE (promotion_id, customer_id)
);

-- The answers to requests that changed the catalog, by the hash of their idempotency key.
CREATE TABLE answers (
    key_hash     bytea  NOT NULL PRIMARY KEY CHECK (octet_length(key_hash) = 16),
    request_hash bytea  NOT NULL CHECK (octet_length(request_hash) = 32),
    at           bigint NOT NULL,
    answer       text   NOT NULL
);

-- Who changed plans, policies and API keys, when, and from what to what: numbered 1, 2, 3 with no gaps, written with the change
-- itself, and only ever inserted. `actor` is the id of an API key, or empty for a host's own configuration; `body` JSON. What
-- changed of a customer is in its journal.
CREATE TABLE audit (
    number  bigint NOT NULL PRIMARY KEY CHECK (number >= 1),
    at      bigint NOT NULL,
    actor   text   COLLATE "C" NOT NULL,
    kind    text   COLLATE "C" NOT NULL,
    subject text   NOT NULL,
    body    text   NOT NULL
);

-- Which hosts are alive, and the newest format of entries that each reads: no host writes a newer one. Repeated by each
-- host as long as it is alive; the time is this database's. A SQLite file has one host, and no such table.
CREATE TABLE hosts (
    host_id      text   COLLATE "C" NOT NULL PRIMARY KEY,
    reads_format bigint NOT NULL,
    seen_at      bigint NOT NULL
);

-- What hosts counted of canaries' decisions, each in a row of its own: what a canary's limits are judged by. `terms` is the terms'
-- key; `host_id` names one opening of the database, so that what was counted before a restart stays; `body` JSON.
CREATE TABLE rollout_counts (
    terms   text COLLATE "C" NOT NULL,
    host_id text COLLATE "C" NOT NULL,
    body    text NOT NULL,
    PRIMARY KEY (terms, host_id)
);

-- What was true at some time, signed by a host: who edits rows can't sign anew. `statement` is JSON text, and what is signed;
-- `catalog` a JSON list of the catalog's rows that were new since the checkpoint before.
CREATE TABLE checkpoints (
    number     bigint NOT NULL PRIMARY KEY CHECK (number >= 1),
    at         bigint NOT NULL,
    statement  text   NOT NULL,
    catalog    text   NOT NULL,
    signature  bytea  NOT NULL,
    public_key bytea  NOT NULL CHECK (octet_length(public_key) = 32)
);

-- The ends of journals that a checkpoint names: of those that had another end at the one before. Number 0 and a hash of
-- zeros stand for a journal that was gone. Rows are only inserted.
CREATE TABLE anchors (
    customer_id text   COLLATE "C" NOT NULL,
    checkpoint  bigint NOT NULL,
    seq         bigint NOT NULL,
    hash        bytea  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (customer_id, checkpoint)
);

-- Until when, by this database's clock, a host is writing a checkpoint. A SQLite file has one host, and no such table.
CREATE TABLE checkpoint_claim (
    id            integer PRIMARY KEY CHECK (id = 1),
    claimed_until bigint  NOT NULL
);

INSERT INTO checkpoint_claim (id, claimed_until) VALUES (1, 0);

-- Usage totals by time of use, so that reports need not read the journal: derived from it, and written after it. A grain is the
-- length of a slot, a kind what is totalled, key_hash of what; the body JSON. What is there is what the entries up to the
-- customer's cursor give. Rows of the running slots are updated again and again, so pages have space for new versions.
CREATE TABLE usage_rollups (
    customer_id text   COLLATE "C" NOT NULL,
    grain       bigint NOT NULL,
    kind        bigint NOT NULL,
    slot        bigint NOT NULL,
    key_hash    bytea  NOT NULL CHECK (octet_length(key_hash) = 16),
    body        text   NOT NULL,
    PRIMARY KEY (customer_id, grain, kind, slot, key_hash)
) WITH (fillfactor = 80);

-- Up to which entry a customer's totals go, and the format of their bodies: totals of another format are made anew.
CREATE TABLE rollup_cursors (
    customer_id text   COLLATE "C" NOT NULL PRIMARY KEY,
    seq         bigint NOT NULL CHECK (seq >= 0),
    format      bigint NOT NULL
) WITH (fillfactor = 80);
