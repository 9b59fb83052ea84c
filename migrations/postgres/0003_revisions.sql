-- The revision of the reference data that wrote a row, so that a host can ask for what has changed since the one it has.
-- Rows of older databases count as written by the first.
ALTER TABLE plans ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE plan_terms ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE policies ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE policy_versions ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE api_keys ADD COLUMN revision bigint NOT NULL DEFAULT 1;
