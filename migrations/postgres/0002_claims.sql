-- Which host is at work on a customer that came due, and until when by this database's clock, in microseconds. Outside
-- the index on due_at, so that a claim is written within its page.
ALTER TABLE customers ADD COLUMN claimed_by text, ADD COLUMN claimed_until bigint;
