//! The SQL of what hosts count of canaries' decisions, which both databases share. Nothing is executed here.

/// Takes the terms, the opening and the body.
pub const PUT: &str = "INSERT INTO rollout_counts (terms, host_id, body) VALUES ($1, $2, $3) \
     ON CONFLICT (terms, host_id) DO UPDATE SET body = excluded.body";

/// Takes the terms.
pub const ALL: &str = "SELECT body FROM rollout_counts WHERE terms = $1 ORDER BY host_id";
