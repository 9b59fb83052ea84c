//! What entries that move something in from another system change.

use crate::{
    journal::{GrantImported, UsageImported},
    model::ids::Seq,
    state::{CustomerState, ImportedSpan, history::add_given},
};

impl CustomerState {
    /// Adds a grant. As an allowance of the running period it counts as what that gave: a change of plan gives nothing twice.
    pub(super) fn add_imported_grant(&mut self, imported: &GrantImported) {
        let grant = &imported.grant;
        self.add_grant(grant);
        let Some(number) = self.period.as_ref().map(|period| period.number).filter(|_| imported.allowance)
        else {
            return;
        };
        add_given(&mut self.whole, &grant.credit, grant.amount);
        if let Ok(state) = self.grant_mut(grant.id) {
            state.allowance_of = Some(number);
        }
    }

    pub(super) fn note_imported(&mut self, seq: Seq, imported: &UsageImported) {
        self.imported = Some(ImportedSpan::with(self.imported, seq, imported.usage.occurred_at));
    }
}
