-- Distributes Proviso's tables by customer on Citus. Optional: run it once, by hand, in the coordinator's database after a
-- host of this version has brought the schema up (migrations/postgres) and before there is much in it:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f migrations/citus/distribute.sql
--
-- All tables of customer data have customer_id first in every key and are colocated by it, so one customer's journal, keys
-- and states are on one node. The catalog and the list of hosts become reference tables, copied to every node, so that a
-- commit reads the catalog's revision where it writes. docs/scaling.md says when this is worth it, and what is untried.
BEGIN;

CREATE EXTENSION IF NOT EXISTS citus;

SELECT create_reference_table('progress');
SELECT create_reference_table('plans');
SELECT create_reference_table('plan_versions');
SELECT create_reference_table('plan_terms');
SELECT create_reference_table('policies');
SELECT create_reference_table('modules');
SELECT create_reference_table('policy_versions');
SELECT create_reference_table('api_keys');
SELECT create_reference_table('products');
SELECT create_reference_table('redemptions');
SELECT create_reference_table('answers');
SELECT create_reference_table('audit');
SELECT create_reference_table('hosts');
SELECT create_reference_table('rollout_counts');
SELECT create_reference_table('checkpoints');
SELECT create_reference_table('checkpoint_claim');

SELECT create_distributed_table('customers', 'customer_id');
SELECT create_distributed_table('entries', 'customer_id', colocate_with => 'customers');
SELECT create_distributed_table('archived_entries', 'customer_id', colocate_with => 'customers');
SELECT create_distributed_table('idempotency', 'customer_id', colocate_with => 'customers');
SELECT create_distributed_table('snapshots', 'customer_id', colocate_with => 'customers');
SELECT create_distributed_table('anchors', 'customer_id', colocate_with => 'customers');
SELECT create_distributed_table('usage_rollups', 'customer_id', colocate_with => 'customers');
SELECT create_distributed_table('rollup_cursors', 'customer_id', colocate_with => 'customers');

COMMIT;
