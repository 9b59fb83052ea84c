//! What the entries of leases change: what they hold, of grants and in budgets.

use crate::{
    journal::{BudgetCount, Entry, LeaseExtended, LeaseOpened, Settled},
    model::{amounts::Credits, ids::ReservationId},
    state::{CustomerState, HeldFor, ReservationState, counters::Part},
};

impl CustomerState {
    pub(super) fn add_lease(&mut self, entry: &Entry, opened: &LeaseOpened) {
        let hold = ReservationState {
            held_for: HeldFor::Lease(opened.lease.clone()),
            credit: opened.credit.clone(),
            holds: Vec::new(),
            revived: Vec::new(),
            overage: Credits::ZERO,
            counts: Vec::new(),
            budgets: entry.budgets.clone(),
            reserved_at: entry.at,
            expires_at: opened.expires_at,
        };
        self.reservations.insert(ReservationId { entry: entry.seq, index: 0 }, hold);
    }

    /// A lease that got more; what it holds in budgets with it.
    pub(super) fn extend_hold(&mut self, extended: &LeaseExtended, more: &[BudgetCount]) {
        self.reservations.change(&extended.lease.hold(), |hold| {
            hold.expires_at = extended.expires_at;
            if let HeldFor::Lease(lease) = &mut hold.held_for {
                lease.amount = extended.amount;
            }
            for count in more {
                let same = |held: &&mut BudgetCount| {
                    held.budget == count.budget && held.window_id == count.window_id
                };
                if let Some(held) = hold.budgets.iter_mut().find(same) {
                    held.add = held.add.saturating_add(count.add);
                }
            }
        });
    }

    /// What a lease paid is no longer held, neither of grants nor in budgets: there it holds at most what it has left.
    pub(super) fn finish_settlement(&mut self, settled: &Settled) -> Result<(), String> {
        if settled.ended {
            return Ok(());
        }
        let id = settled.lease.hold();
        let freed = self.spend_held(id, &settled.taken, |hold| {
            let mut freed = Vec::new();
            let left = hold.held().decimal();
            for count in &mut hold.budgets {
                let rest = count.add.min(left);
                let add = count.add.saturating_sub(rest);
                if !add.is_zero() {
                    freed.push(BudgetCount { add, ..count.clone() });
                }
                count.add = rest;
            }
            Ok(freed)
        })?;
        freed.iter().try_for_each(|count| self.budgets.take_back(count, Part::Held, id.entry))
    }
}
