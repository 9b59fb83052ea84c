//! Leases in the model: credits that are held for whatever a client lets pass, and what it reports of that.

use super::{Model, Reservation, plain, usage::Funding};
use crate::{
    answer::{Answer, Id},
    calendar,
    commands::{LeaseSpec, UsageSpec, Who},
    settings::{Amount, DAY, SECOND},
};
use std::collections::BTreeMap;

/// What a hold is for, if not for one usage.
#[derive(Debug, Clone)]
pub struct Lease {
    /// All that was handed out.
    pub total: Amount,
    pub features: Vec<&'static str>,
}

impl Model {
    pub fn open_lease(&mut self, spec: &LeaseSpec) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        let Some(draws) = self.tranche(spec.credit, &spec.features, spec.amount) else {
            return plain("error:lease_exceeds");
        };
        let mut budgets = Vec::new();
        let chain = spec.entity.into_iter().chain(self.above(spec.entity)).map(Who::Entity);
        for who in chain.chain([Who::Customer]) {
            for (id, budget) in self.budgets.iter().filter(|(_, one)| one.spec.who == who) {
                let own = &budget.spec.features;
                let meets = own.is_empty()
                    || spec.features.is_empty()
                    || own.iter().any(|feature| spec.features.contains(feature));
                if !budget.spec.units && budget.spec.credit == spec.credit && meets {
                    let window = calendar::window(
                        budget.spec.window,
                        self.now,
                        self.within(self.now),
                        &self.zone_at(self.now),
                    );
                    budgets.push((*id, window, spec.amount));
                }
            }
        }
        if self.is_over_budget(&budgets) {
            return plain("error:lease_over_budget");
        }
        self.hold_budgets(&budgets);
        self.hold(&draws);
        self.entries += 1;
        let hold = Reservation {
            spec: UsageSpec { feature: "chat", units: 0, entity: spec.entity, model: None, ago: None },
            units: 0,
            at: self.now,
            credit: spec.credit.to_owned(),
            settings: None,
            lease: Some(Lease { total: spec.amount, features: spec.features.clone() }),
            holds: draws.clone(),
            expired: Vec::new(),
            overage: 0,
            counts: Vec::new(),
            above: Vec::new(),
            budgets,
            since: self.now,
            expires_at: self.now + i64::from(spec.ttl) * SECOND,
        };
        self.reservations.insert((self.entries, 0), hold);
        self.leases.push((self.entries, 0));
        Answer { what: "leased".to_owned(), draws: draws.into_iter().collect(), ..Answer::default() }
    }

    pub fn extend_lease(&mut self, id: Id, total: Option<Amount>, ttl: Option<u32>) -> Answer {
        let Some(hold) = self.reservations.get(&id).cloned() else { return plain("error:lease_gone") };
        let lease = hold.lease.unwrap();
        let end = ttl.map(|ttl| self.now + i64::from(ttl) * SECOND);
        if end.is_some_and(|end| end > hold.since + 7 * DAY) {
            return plain("error:too_long");
        }
        let more = total.map_or(0, |total| (total - lease.total).max(0));
        let mut draws = Vec::new();
        if more > 0 {
            if self.closed {
                return plain("error:closed");
            }
            match self.tranche(&hold.credit, &lease.features, more) {
                Some(found) => draws = found,
                None => return plain("error:lease_exceeds"),
            }
            let counting = hold
                .budgets
                .iter()
                .filter(|(budget, ..)| self.budgets.get(budget).is_some_and(|budget| budget.since < id.0));
            let counts: Vec<_> = counting.map(|(budget, window, _)| (*budget, *window, more)).collect();
            if self.is_over_budget(&counts) {
                return plain("error:lease_over_budget");
            }
            self.hold_budgets(&counts);
            let held = self.reservations.get_mut(&id).unwrap();
            for (budget, window, more) in counts {
                let same = held.budgets.iter_mut().find(|one| one.0 == budget && one.1 == window);
                same.unwrap().2 += more;
            }
        }
        self.hold(&draws);
        let hold = self.reservations.get_mut(&id).unwrap();
        hold.holds.extend(draws.iter().copied());
        hold.lease.as_mut().unwrap().total += more;
        hold.expires_at = hold.expires_at.max(end.unwrap_or(0));
        self.entries += 1;
        Answer { what: "lease_extended".to_owned(), draws: draws.into_iter().collect(), ..Answer::default() }
    }

    pub fn close_lease(&mut self, id: Id) -> Answer {
        if !self.reservations.contains_key(&id) {
            return plain("error:lease_gone");
        }
        self.end_reservation(id);
        if self.closed {
            self.settle_after_closing();
        }
        plain("lease_ended")
    }

    /// Bills what a client let pass: out of the lease, then of what is available, the rest as overage.
    pub fn settle_usage(&mut self, id: Id, spec: &UsageSpec) -> Answer {
        let at = match self.time_of(spec) {
            Ok(at) => at,
            Err(error) => return error,
        };
        let Some(settings) = self.terms_for(at) else { return plain("error:no_terms_in_force") };
        let late = self.late(at);
        let windows = self.windows(&settings, spec, at);
        let (cost, credit) = match self.rate_done(&settings, spec, &windows) {
            Ok(rated) => rated,
            Err(code) => return self.refuse(code, late, None, None),
        };
        let pays = |hold: &&Reservation| {
            let features = &hold.lease.as_ref().unwrap().features;
            features.is_empty() || features.contains(&spec.feature)
        };
        let hold = self.reservations.get(&id).filter(pays).cloned();
        let mut taken: Vec<(Id, Amount)> = Vec::new();
        let mut left = cost;
        if let Some(hold) = hold.as_ref().filter(|hold| hold.credit == credit) {
            for (place, (grant, held)) in hold.holds.iter().enumerate() {
                let features = &self.grant(*grant).features;
                let fits = features.is_empty() || features.iter().any(|one| one == spec.feature);
                let part = if fits { left.min(*held) } else { 0 };
                left -= part;
                self.reservations.get_mut(&id).unwrap().holds[place].1 -= part;
                if part > 0 {
                    taken.push((*grant, part));
                }
            }
        }
        let feature = Some(spec.feature);
        let (draws, shortfall) = self.plan_draws(credit, feature, at, left, &[], settings.newest_first);
        let mut funding = Funding { draws, ..Funding::default() };
        if shortfall > 0 {
            self.fund_done(&settings, spec.feature, credit, cost, shortfall, &mut funding);
        }
        let above = self.above(spec.entity);
        let held = hold.as_ref().map(|hold| (id.0, hold.budgets.as_slice()));
        let budgets = self.budget_counts(spec, &above, (credit, cost, spec.units), at, held);
        self.shrink_budgets(id);
        self.use_budgets(&budgets);
        for window in &windows {
            let add = if window.0.cost { cost } else { spec.units };
            self.counters.entry(window.clone()).or_default().0 += add;
        }
        for (grant, part) in &taken {
            let grant = self.grant_mut(*grant);
            grant.held -= part;
            grant.spent += part;
        }
        let expired = self.expired_of(&funding);
        let drawn = self.carry_out(&settings, credit, &funding, false);
        self.add_to_book(credit, cost, 0);
        self.entries += 1;
        let mut sums: BTreeMap<Id, Amount> = BTreeMap::new();
        let mut draws: Vec<(Id, Amount)> = Vec::new();
        for (grant, part) in taken.into_iter().chain(drawn) {
            *sums.entry(grant).or_default() += part;
            match draws.iter_mut().find(|draw| draw.0 == grant) {
                Some(draw) => draw.1 += part,
                None => draws.push((grant, part)),
            }
        }
        let charge = super::Charge {
            at,
            credit: credit.to_owned(),
            cost,
            units: spec.units,
            draws,
            expired,
            overage: funding.overage,
            windows,
            budgets,
            refunds: 0,
            refunded: 0,
            refunded_units: 0,
        };
        self.charges.insert((self.entries, 0), charge);
        if self.closed {
            self.settle_after_closing();
        }
        Answer {
            what: "charged".to_owned(),
            cost: Some(cost),
            overage: funding.overage,
            exceeded: funding.exceeded,
            draws: sums,
            top_up: funding.top_up.map(|(_, amount)| amount),
            late,
            ..Answer::default()
        }
    }

    /// A lease holds no more in budgets than it has left.
    fn shrink_budgets(&mut self, id: Id) {
        let Some(hold) = self.reservations.get_mut(&id) else { return };
        let left: Amount = hold.holds.iter().map(|hold| hold.1).sum();
        let mut freed = Vec::new();
        for (budget, window, add) in &mut hold.budgets {
            let rest = left.min(*add);
            freed.push((*budget, *window, *add - rest));
            *add = rest;
        }
        self.free_budgets(id, &freed);
    }

    /// The draws of so much out of grants that each of these features may draw; none when less is available.
    fn tranche(&self, credit: &str, features: &[&'static str], amount: Amount) -> Option<Vec<(Id, Amount)>> {
        let covers = |own: &[String], feature: &str| own.is_empty() || own.iter().any(|one| one == feature);
        let narrow =
            self.grants.iter().filter(|grant| !features.iter().all(|one| covers(&grant.features, one)));
        let barred: Vec<Id> = narrow.map(|grant| grant.id).collect();
        let first = features.first().copied();
        let (draws, missing) = self.plan_draws(credit, first, self.now, amount, &barred, false);
        (missing == 0).then_some(draws)
    }

    fn hold(&mut self, draws: &[(Id, Amount)]) {
        for (grant, part) in draws {
            let grant = self.grant_mut(*grant);
            grant.remaining -= part;
            grant.held += part;
        }
    }
}
