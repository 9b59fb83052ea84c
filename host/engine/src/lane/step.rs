//! What becomes of a job that was decided: whether its reply can be relied on, and when it may be sent.
//!
//! A reply that is an entry is proved by the entry's commit, which fails when another host wrote the customer, when the
//! key was used before, or when the catalog has changed. Any other reply has to be known to be right.

/// What a decision came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decided {
    /// An entry, which awaits its commit.
    Entry,
    /// A state, or what a charge would do.
    Question,
    /// An error, which no entry records.
    Error,
}

/// What is known of the decision and of what it was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Evidence {
    pub decided: Decided,
    /// Whether entries were written for what was due before the command.
    pub wrote_due: bool,
    /// Whether the open batch has entries of the customer, so that a commit proves the state.
    pub is_in_open_batch: bool,
    /// Whether the commit in flight has.
    pub is_in_flight: bool,
    /// Whether other hosts may write the customer.
    pub is_shared: bool,
    /// Whether the state was read from the store after the request came in.
    pub has_fresh_state: bool,
    /// Whether the catalog was, too.
    pub has_fresh_catalog: bool,
    /// Whether the request has no key, or the store was asked for it.
    pub knows_key: bool,
}

/// What to do with the job next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Reply now.
    Reply,
    /// Reply once the open batch is durable.
    ReplyAfterCommit,
    /// Ask the store for state, catalog and key, and decide again.
    Recheck,
    /// Decide again once the commit in flight has ended: what the store says before then is older.
    Defer,
}

impl Evidence {
    pub fn next_step(self) -> Step {
        let has_current_state = self.wrote_due
            || self.is_in_open_batch
            || !self.is_shared
            // An error may come from an old catalog; a question may be answered on one.
            || self.has_fresh_state && (self.has_fresh_catalog || self.decided == Decided::Question);
        let is_certain = self.knows_key && has_current_state;
        match self.decided {
            Decided::Entry => Step::ReplyAfterCommit,
            _ if !is_certain && self.is_in_flight => Step::Defer,
            _ if !is_certain => Step::Recheck,
            // It shows what is not durable yet.
            _ if self.wrote_due || self.is_in_open_batch || self.is_in_flight => Step::ReplyAfterCommit,
            _ => Step::Reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known, in words, and the step.
    #[test]
    fn every_decision_has_its_step() {
        for (evidence, step) in [
            // An entry is proved by its commit, whatever is known.
            ("entry, shared", Step::ReplyAfterCommit),
            ("entry, shared, in flight, no key", Step::ReplyAfterCommit),
            ("entry, no key", Step::ReplyAfterCommit),
            // No other host writes: the state in memory is the newest.
            ("question", Step::Reply),
            ("error", Step::Reply),
            ("error, no key", Step::Recheck),
            ("error, no key, in flight", Step::Defer),
            ("question, in flight", Step::ReplyAfterCommit),
            ("error, in flight", Step::ReplyAfterCommit),
            ("question, open batch", Step::ReplyAfterCommit),
            ("question, wrote due", Step::ReplyAfterCommit),
            ("error, wrote due", Step::ReplyAfterCommit),
            // Other hosts write: the state must have been read after the request.
            ("question, shared", Step::Recheck),
            ("error, shared", Step::Recheck),
            ("question, shared, in flight", Step::Defer),
            ("error, shared, in flight", Step::Defer),
            ("question, shared, fresh state", Step::Reply),
            ("question, shared, fresh state, in flight", Step::ReplyAfterCommit),
            // An error may come from an old catalog, or from an old key.
            ("error, shared, fresh state", Step::Recheck),
            ("error, shared, fresh state, fresh catalog", Step::Reply),
            ("error, shared, fresh state, fresh catalog, no key", Step::Recheck),
            ("error, shared, fresh catalog", Step::Recheck),
            // A commit will prove the state that it was decided on.
            ("question, shared, open batch", Step::ReplyAfterCommit),
            ("error, shared, open batch", Step::ReplyAfterCommit),
            ("error, shared, open batch, no key", Step::Recheck),
            ("error, shared, wrote due", Step::ReplyAfterCommit),
            ("error, shared, wrote due, no key", Step::Recheck),
            ("error, shared, wrote due, no key, in flight", Step::Defer),
            ("question, shared, wrote due", Step::ReplyAfterCommit),
        ] {
            assert_eq!(read(evidence).next_step(), step, "{evidence}");
        }
    }

    /// Whoever asked the store for everything is never told to ask again, or a lane would not come to an end.
    #[test]
    fn a_recheck_is_made_once() {
        for decided in [Decided::Entry, Decided::Question, Decided::Error] {
            for bits in 0..16_u8 {
                let evidence = Evidence {
                    decided,
                    wrote_due: bits & 1 > 0,
                    is_in_open_batch: bits & 2 > 0,
                    is_in_flight: bits & 4 > 0,
                    is_shared: bits & 8 > 0,
                    // Not asked for where a batch has entries of the customer.
                    has_fresh_state: bits & 6 == 0,
                    has_fresh_catalog: true,
                    knows_key: true,
                };
                assert_ne!(evidence.next_step(), Step::Recheck, "{evidence:?}");
            }
        }
    }

    fn read(text: &str) -> Evidence {
        let mut words = text.split(", ");
        let mut evidence = Evidence {
            decided: match words.next() {
                Some("entry") => Decided::Entry,
                Some("question") => Decided::Question,
                Some("error") => Decided::Error,
                other => panic!("{other:?}"),
            },
            wrote_due: false,
            is_in_open_batch: false,
            is_in_flight: false,
            is_shared: false,
            has_fresh_state: false,
            has_fresh_catalog: false,
            knows_key: true,
        };
        for word in words {
            match word {
                "wrote due" => evidence.wrote_due = true,
                "open batch" => evidence.is_in_open_batch = true,
                "in flight" => evidence.is_in_flight = true,
                "shared" => evidence.is_shared = true,
                "fresh state" => evidence.has_fresh_state = true,
                "fresh catalog" => evidence.has_fresh_catalog = true,
                "no key" => evidence.knows_key = false,
                other => panic!("{other}"),
            }
        }
        evidence
    }
}
