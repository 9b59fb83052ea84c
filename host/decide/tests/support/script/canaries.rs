//! What happens to a canary: its share is raised, or a host rolls it back.

use super::{Script, Words};
use crate::support::key;
use proviso_ledger::model::canary::{PassedLimit, RolledBack, Share, ShareStep};

impl Script {
    /// `raise plan/pro/terms_2 20`: a canary's share.
    pub(super) fn raise(&mut self, words: &Words<'_>) -> String {
        let (key, from) = (key(words.args[0]), self.world.now);
        let share_percent = Share::new(words.args[1].parse().unwrap()).unwrap();
        self.world.catalog.change(&key, |terms| {
            terms.canary.as_mut().unwrap().steps.push(ShareStep { share_percent, from });
        });
        "ok".to_owned()
    }

    /// `roll_back plan/pro/terms_2`: as a host does when a canary passes a limit.
    pub(super) fn roll_back(&mut self, words: &Words<'_>) -> String {
        let (key, at) = (key(words.args[0]), self.world.now);
        self.world.catalog.change(&key, |terms| {
            terms.ends_at = Some(at);
            terms.canary.as_mut().unwrap().rolled_back = Some(RolledBack {
                at,
                limit: PassedLimit::Faults,
                reason: "a test".to_owned(),
                decisions: 1,
                faults: 1,
                credit: None,
                cost: None,
                replaced_cost: None,
            });
        });
        "ok".to_owned()
    }
}
