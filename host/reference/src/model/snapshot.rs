//! What of the model is compared with the host after each command.

use super::*;

impl Model {
    pub fn snapshot(&self) -> Snapshot {
        let mut balances: BTreeMap<String, BalanceSnap> = BTreeMap::new();
        for (credit, books) in &self.books {
            balances.entry(credit.clone()).or_default().overage = books.overage;
        }
        for grant in &self.grants {
            if grant.effective > self.now {
                continue;
            }
            // Of one that has ended, only what is held still counts.
            let balance = balances.entry(grant.credit.clone()).or_default();
            balance.granted += grant.held;
            if grant.status == Status::Live && !grant.forgotten {
                balance.granted += grant.remaining + grant.spent;
                balance.used += grant.spent;
                balance.available += grant.remaining;
            }
        }
        for reservation in self.reservations.values() {
            let balance = balances.entry(reservation.credit.clone()).or_default();
            let held: Amount = reservation.holds.iter().map(|hold| hold.1).sum();
            balance.reserved += held + reservation.overage;
            balance.held_overage += reservation.overage;
            balance.overage -= reservation.overage;
        }
        let grants = self.grants.iter().map(|grant| {
            let snap = GrantSnap {
                credit: grant.credit.clone(),
                amount: grant.amount,
                category: grant.category.clone(),
                priority: grant.priority,
                effective: grant.effective,
                expires_at: grant.expires_at,
                with_period: grant.with_period,
                features: grant.features.clone(),
                paid: grant.paid,
                status: grant.status,
                remaining: grant.remaining,
                held: grant.held,
                spent: grant.spent,
                expired: grant.expired,
                ends_at: self.end_of(grant),
            };
            (grant.id, snap)
        });
        let reservations = self.reservations.iter().map(|(id, one)| {
            let snap = ReservationSnap {
                credit: one.credit.clone(),
                holds: one.holds.clone(),
                overage: one.overage,
                expires_at: one.expires_at,
            };
            (*id, snap)
        });
        Snapshot {
            entries: self.entries,
            closed: self.closed,
            plan: self.plan().map(|plan| format!("{plan} {}", self.profile.as_ref().unwrap().version)),
            pending: self.pending_at(),
            cycle: self.past.iter().chain(&self.period).last().map_or(0, |period| period.counts_from),
            period: self.period.as_ref().map(|period| (period.number, period.start, period.end)),
            balances,
            crowded: self.grants.len() > 256,
            books: self.books.clone(),
            grants: grants.collect(),
            reservations: reservations.collect(),
            top_ups: self
                .top_ups
                .iter()
                .map(|(credit, of)| {
                    let asked = of.asked.iter().map(|one| (one.id, one.amount, one.status.to_owned()));
                    ((*credit).to_owned(), (of.failures, asked.collect()))
                })
                .collect(),
            counters: self.counters.clone(),
            budgets: self
                .budgets
                .iter()
                .flat_map(|(id, one)| {
                    let window = one.spec.window;
                    one.windows.iter().map(move |(at, total)| (((*id).to_owned(), window, *at), *total))
                })
                .collect(),
        }
    }
}
