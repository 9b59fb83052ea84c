-- Old entries, moved out of the way of new ones: runs of neighbouring numbers as one JSON array of [seq, at, hash in
-- hex, body], which is compressed as one value. A customer's last entry is never here. SQLite appends to a file that
-- does not get slower, and has no such table.
CREATE TABLE archived_entries (
    customer_id text   COLLATE "C" NOT NULL,
    first_seq   bigint NOT NULL CHECK (first_seq >= 1),
    last_seq    bigint NOT NULL CHECK (last_seq >= first_seq),
    first_at    bigint NOT NULL,
    last_at     bigint NOT NULL,
    entries     text   NOT NULL,
    PRIMARY KEY (customer_id, first_seq)
);
