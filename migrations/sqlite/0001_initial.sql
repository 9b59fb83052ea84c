-- Proviso on SQLite. Times are microseconds since 1970 in UTC, hashes raw bytes, bodies JSON text.
--
-- Tables of customer data have customer_id first in their key; what both databases have has the same columns as in
-- migrations/postgres. Here are the tables and columns of an index that is written late; the archive and the tables of
-- hosts and claims are there alone.

-- The journal of every customer, in the order in which entries became durable. Rows are only appended, so a commit writes
-- a few neighbouring pages however many customers it touches. The format of an entry is in its body.
CREATE TABLE entries (
    pos         INTEGER PRIMARY KEY,
    customer_id TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    key_hash    BLOB,
    hash        BLOB    NOT NULL,
    body        TEXT    NOT NULL
) STRICT;

-- Further idempotency keys that an entry answers, appended likewise (pos counts through both tables) and deleted once
-- they are in the idempotency table.
CREATE TABLE further_keys (
    pos         INTEGER PRIMARY KEY,
    customer_id TEXT    NOT NULL,
    key_hash    BLOB    NOT NULL,
    seq         INTEGER NOT NULL
) STRICT;

-- Where each entry of a customer is. Written late, in sorted runs: rows that are missing have a pos above
-- progress.indexed_pos, and for one customer the rows are always the entries 1, 2, 3 up to some number.
CREATE TABLE entry_index (
    customer_id TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    pos         INTEGER NOT NULL,
    PRIMARY KEY (customer_id, seq)
) STRICT, WITHOUT ROWID;

-- Which entry answered an idempotency key. Written late, too.
CREATE TABLE idempotency (
    customer_id TEXT    NOT NULL,
    key_hash    BLOB    NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (customer_id, key_hash)
) STRICT, WITHOUT ROWID;

-- Folded states: a cache, any row of which may be deleted. Hosts read only those of the format that they write. With a
-- rowid, so that states are appended and only a short key goes to a random page.
CREATE TABLE snapshots (
    customer_id TEXT    NOT NULL,
    format      INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    PRIMARY KEY (customer_id, format, seq)
) STRICT;

-- What lists and the sweeper need of a customer; derived from the journal. Claims are never written here, where there is
-- one host.
CREATE TABLE customers (
    customer_id   TEXT    NOT NULL PRIMARY KEY,
    created_at    INTEGER NOT NULL,
    due_at        INTEGER,
    closed        INTEGER NOT NULL CHECK (closed IN (0, 1)),
    plan_id       TEXT,
    plan_version  INTEGER,
    awaits_payment INTEGER NOT NULL CHECK (awaits_payment IN (0, 1)),
    profile       TEXT    NOT NULL,
    claimed_by    TEXT,
    claimed_until INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX customers_due ON customers (due_at, customer_id) WHERE due_at IS NOT NULL;
-- Who is on which version of a plan.
CREATE INDEX customers_plan ON customers (plan_id, plan_version, customer_id) WHERE plan_id IS NOT NULL;
-- Who has a top-up that awaits its payment.
CREATE INDEX customers_awaiting ON customers (customer_id) WHERE awaits_payment;

-- Up to which pos entry_index and idempotency are complete, and the catalog's revision.
CREATE TABLE progress (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    indexed_pos      INTEGER NOT NULL,
    catalog_revision INTEGER NOT NULL
) STRICT;

INSERT INTO progress (id, indexed_pos, catalog_revision) VALUES (1, 0, 0);

-- The catalog: small, and held in memory by every host. Each row has the revision that wrote it, so that a host reads
-- only what is new.
CREATE TABLE plans (
    plan_id  TEXT    NOT NULL PRIMARY KEY,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What each version of a plan sells, numbered 1, 2, 3. Rows are only inserted: customers stay on the version that they were sold.
CREATE TABLE plan_versions (
    plan_id  TEXT    NOT NULL REFERENCES plans (plan_id),
    version  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (plan_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE plan_terms (
    plan_id  TEXT    NOT NULL REFERENCES plans (plan_id),
    number   INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (plan_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE policies (
    policy_id TEXT    NOT NULL PRIMARY KEY,
    body      TEXT    NOT NULL,
    revision  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Modules by the SHA-256 of their bytes. Never deleted: what a module decided must stay replayable.
CREATE TABLE modules (
    digest BLOB NOT NULL PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;

CREATE TABLE policy_versions (
    policy_id TEXT    NOT NULL REFERENCES policies (policy_id),
    version   INTEGER NOT NULL,
    digest    BLOB    NOT NULL REFERENCES modules (digest),
    deleted   INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    body      TEXT    NOT NULL,
    revision  INTEGER NOT NULL,
    PRIMARY KEY (policy_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    key_id      TEXT    NOT NULL PRIMARY KEY,
    secret_hash BLOB    NOT NULL UNIQUE,
    body        TEXT    NOT NULL,
    revision    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is sold beside plans: a kind (`bundle`, `promotion`, `add_on`) and its key.
CREATE TABLE products (
    kind       TEXT    NOT NULL,
    product_id TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    revision   INTEGER NOT NULL,
    PRIMARY KEY (kind, product_id)
) STRICT, WITHOUT ROWID;

-- Who may redeem a promotion, numbered 1, 2, 3 with no gaps: the numbers keep all hosts below a promotion's limit. Rows are only
-- inserted, before the customer's journal has the redemption; one without an entry is taken up when the customer redeems again.
CREATE TABLE redemptions (
    promotion_id TEXT    NOT NULL,
    number       INTEGER NOT NULL,
    customer_id  TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (promotion_id, number),
    UNIQUE (promotion_id, customer_id)
) STRICT, WITHOUT ROWID;

-- The answers to requests that changed the catalog, by the hash of their idempotency key.
CREATE TABLE answers (
    key_hash     BLOB    NOT NULL PRIMARY KEY,
    request_hash BLOB    NOT NULL,
    at           INTEGER NOT NULL,
    answer       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Who changed plans, policies and API keys, when, and from what to what: numbered 1, 2, 3 with no gaps, written with the change
-- itself, and only ever inserted. `actor` is the id of an API key, or empty for a host's own configuration; `body` JSON. What
-- changed of a customer is in its journal.
CREATE TABLE audit (
    number  INTEGER NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

-- What hosts counted of canaries' decisions, each in a row of its own: what a canary's limits are judged by. `terms` is the terms'
-- key; `host_id` names one opening of the database, so that what was counted before a restart stays; `body` JSON.
CREATE TABLE rollout_counts (
    terms   TEXT NOT NULL,
    host_id TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (terms, host_id)
) STRICT, WITHOUT ROWID;

-- What was true at some time, signed by a host: who edits rows can't sign anew. `statement` is JSON text, and what is signed;
-- `catalog` a JSON list of the catalog's rows that were new since the checkpoint before.
CREATE TABLE checkpoints (
    number     INTEGER NOT NULL PRIMARY KEY,
    at         INTEGER NOT NULL,
    statement  TEXT    NOT NULL,
    catalog    TEXT    NOT NULL,
    signature  BLOB    NOT NULL,
    public_key BLOB    NOT NULL
) STRICT;

-- The ends of journals that a checkpoint names: of those that had another end at the one before. Number 0 and a hash of
-- zeros stand for a journal that was gone. Rows are only inserted.
CREATE TABLE anchors (
    customer_id TEXT    NOT NULL,
    checkpoint  INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    hash        BLOB    NOT NULL,
    PRIMARY KEY (customer_id, checkpoint)
) STRICT, WITHOUT ROWID;

-- Usage totals by time of use, so that reports need not read the journal: derived from it, and written after it. A grain is the
-- length of a slot, a kind what is totalled, key_hash of what; the body JSON. What is there is what the entries up to the
-- customer's cursor give.
CREATE TABLE usage_rollups (
    customer_id TEXT    NOT NULL,
    grain       INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    slot        INTEGER NOT NULL,
    key_hash    BLOB    NOT NULL,
    body        TEXT    NOT NULL,
    PRIMARY KEY (customer_id, grain, kind, slot, key_hash)
) STRICT, WITHOUT ROWID;

-- Up to which entry a customer's totals go, and the format of their bodies: totals of another format are made anew.
CREATE TABLE rollup_cursors (
    customer_id TEXT    NOT NULL PRIMARY KEY,
    seq         INTEGER NOT NULL,
    format      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
