-- Which host is at work on a customer that came due, and until when. Never filled here, where there is one host only;
-- the columns are there so that both databases have the same.
ALTER TABLE customers ADD COLUMN claimed_by TEXT;
ALTER TABLE customers ADD COLUMN claimed_until INTEGER;
