//! What plans give by themselves, in versions, and moves of the customer from one to another.

use super::{Script, Words, interval};
use crate::support::{catalog::gives, key};
use proviso_decide::command::{Command, CustomerMigration, Migrated, PlanChangePreview};
use proviso_ledger::{journal::Entry, model::entitlement::Entitlement};
use std::sync::Arc;

/// `migrate pro 2`, or `migrate pro 1-2` for those on version 1 only.
pub fn migration(words: &Words<'_>) -> Command {
    let (from, to) = match words.args[1].split_once('-') {
        Some((from, to)) => (Some(from.parse().unwrap()), to),
        None => (None, words.args[1]),
    };
    Command::Migrate(Box::new(CustomerMigration {
        plan: key(words.args[0]),
        from,
        to: to.parse().unwrap(),
        at_period_end: words.flag("period_end"),
        allowance: words.allowance(),
        dry_run: words.verb == "would_migrate",
    }))
}

impl Script {
    /// `gives pro month {"grants": […], "trial": {…}}`: what the plan gives whatever its policy does; no terms are bound.
    pub(super) fn gives(&mut self, words: &Words<'_>) -> String {
        let plan = self.world.catalog.put(&key(words.args[0]), interval(words), self.world.now);
        gives(plan, words.settings);
        "ok".to_owned()
    }

    /// `sells pro metered=chat {"grants": […], "trial": {…}}`: the same, as a new version of a plan that exists.
    pub(super) fn sells(&mut self, words: &Words<'_>) -> String {
        let version = self.world.catalog.put_version(&key(words.args[0]), self.world.now);
        gives(version, words.settings);
        version.entitlements.clear();
        for feature in words.option("metered").iter().flat_map(|text| text.split(',')) {
            version.entitlements.insert(key(feature), Entitlement::Metered {});
        }
        format!("version {}", version.version)
    }

    pub(super) fn migrated(&self, migrated: Migrated, made: &[Arc<Entry>]) -> String {
        match migrated {
            Migrated::NotConcerned => "not concerned".to_owned(),
            Migrated::Pending(at) => format!("pending until {at}"),
            Migrated::Done(done) => {
                let closed = made.iter().find(|one| one.event.kind() == "period_closed");
                assert_eq!(done.closed.as_ref(), closed);
                self.events(made)
            }
            Migrated::Preview(PlanChangePreview { effective_at, closed, opened, .. }) => {
                let entries: Vec<_> = closed.into_iter().chain(opened).collect();
                format!("at {effective_at}: {}", self.events(&entries))
            }
        }
    }
}
