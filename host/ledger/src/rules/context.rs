//! What of a customer's state a policy is shown.

use super::{draw::Use, late::Leftovers, opening::NextPeriod};
use crate::{
    journal::{Balance, CloseReason, Cycle, Period},
    model::{
        amounts::Credits,
        ids::{Key, ReservationId},
        terms::Terms,
        time::{Timestamp, Zone},
        usage::{Purpose, Usage},
        view::{
            BalanceView, Closing, Context, ContractView, CycleView, EntityView, Expiry, GrantView, Opening,
            PeriodView, UsageView,
        },
    },
    state::{CustomerState, GrantState},
};

/// A usage that a policy is asked about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked<'a> {
    /// The usage.
    pub usage: &'a Usage,
    /// The reservation whose actual usage it is.
    pub commits: Option<ReservationId>,
    /// What it is for.
    pub purpose: Purpose,
}

/// How much a policy is shown of a usage's surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// For `rate`: what its manifest needs.
    Rate,
    /// For `overage`: the balances, too.
    Overage,
}

impl Terms {
    /// The zone in which they are read at an instant.
    #[must_use]
    pub fn zone_at(&self, state: &CustomerState, at: Timestamp) -> Zone {
        self.time_zone.clone().unwrap_or_else(|| state.zone_at(at))
    }
}

impl CustomerState {
    /// A usage as a policy with these terms sees it.
    #[must_use]
    pub fn usage_view<'a>(&self, terms: &Terms, asked: Asked<'a>, at: Timestamp) -> UsageView<'a> {
        let time = self.time_of(asked.usage);
        let zone = terms.zone_at(self, time);
        let found = self.period_at(time);
        let attributes = |id: &Key| {
            let entity = self.entities.get(id).filter(|_| terms.needs.entity_attributes);
            entity.map(|entity| entity.attributes.clone()).unwrap_or_default()
        };
        let entity = |id: &Key| EntityView { id: id.clone(), attributes: attributes(id) };
        UsageView {
            usage: asked.usage,
            entities: asked.usage.entities().map(entity).collect(),
            occurred_at: zone.moment(asked.usage.occurred_at),
            purpose: asked.purpose,
            late: found.as_ref().is_some_and(|found| found.is_past),
            period: found
                .map_or_else(|| self.period_view(&zone, at), |found| view_of_period(found.period, &zone)),
        }
    }

    /// The context of a decision about a usage by `terms` at `at`.
    #[must_use]
    pub fn usage_context(&self, terms: &Terms, asked: Asked<'_>, at: Timestamp, detail: Detail) -> Context {
        let usage = asked.usage;
        let zone = terms.zone_at(self, self.time_of(usage));
        let mut context = self.base_context(terms, &zone, at);
        let declared = &terms.prepared.counters;
        context.counters = self.counter_values(declared, terms.time_zone.as_ref(), usage, asked.commits);
        if let Some(found) = self.period_at(self.time_of(usage)).filter(|found| found.is_past) {
            context.plan = found.plan.cloned();
        }
        if terms.needs.balances || detail == Detail::Overage {
            let views = self.accounts.keys().map(|credit| {
                let available = self.available_to(self.using(credit, usage, at));
                self.balance_view(self.balance(credit, at), available)
            });
            context.balances = views.collect();
            if let Some(id) = asked.commits {
                self.count_own_hold(&mut context.balances, id);
            }
        }
        if terms.needs.grants {
            let time = self.time_of(usage);
            let shown = self.grants.iter().filter(|grant| grant.is_usable(at) || grant.was_usable(time));
            context.grants = shown.map(|grant| self.grant_view(grant)).collect();
        }
        context
    }

    /// A commit may take what its own reservation holds.
    fn count_own_hold(&self, balances: &mut [BalanceView], id: ReservationId) {
        let Some(reservation) = self.reservations.get(&id) else { return };
        let own = balances.iter_mut().find(|balance| balance.credit == reservation.credit);
        if let Some(balance) = own {
            let held = reservation.held();
            balance.available = balance.available.saturating_add(held.saturating_sub(reservation.overage));
            balance.reserved = balance.reserved.saturating_sub(held);
            balance.held_overage = balance.held_overage.saturating_sub(reservation.overage);
        }
    }

    /// What the end of the running period is called with.
    ///
    /// Returns none without a running period.
    #[must_use]
    pub fn closing_view(
        &self,
        terms: &Terms,
        at: Timestamp,
        reason: CloseReason,
    ) -> Option<(Closing, Context)> {
        let zone = terms.zone_at(self, at);
        let running = self.period.as_ref()?;
        let period = view_of_period(running, &zone);
        let cycle = match &self.cycle {
            Some(cycle) => view_of_cycle(cycle, &zone),
            None => CycleView { start: period.start, end: period.end },
        };
        let coming = self.coming_back();
        let mut context = self.period_context(terms, &zone, at, running.number);
        let concerned = |grant: &&GrantState| self.is_concerned_by_end(grant, at, reason);
        let grants = self.grants.iter().filter(|grant| grant.is_usable(at)).filter(concerned);
        context.grants = grants
            .map(|grant| {
                let mut view = self.grant_view(grant);
                // What comes back by way of others may be carried over like what it holds itself.
                let more = coming.get(&view.id).copied().unwrap_or_default();
                view.held = view.held.saturating_add(more);
                view
            })
            .collect();
        context.period = period;
        Some((Closing { period, cycle, reason: reason.as_str() }, context))
    }

    /// What the beginning of a period is called with.
    #[must_use]
    pub fn opening_view(&self, terms: &Terms, at: Timestamp, next: &NextPeriod) -> (Opening, Context) {
        let zone = terms.zone_at(self, at);
        let period = view_of_period(&next.period, &zone);
        let closed = next.period.number.saturating_sub(1);
        let mut context = self.period_context(terms, &zone, at, closed);
        let grants = self.grants.iter().filter(|grant| grant.is_usable(at));
        context.grants = grants.map(|grant| self.grant_view(grant)).collect();
        context.period = period;
        let opening = Opening {
            period,
            reason: next.reason.as_str(),
            cycle: view_of_cycle(&next.cycle.cycle, &zone),
            allowance: next.allowance.as_str(),
            given: next.cycle.given.clone(),
        };
        (opening, context)
    }

    /// At the end and the beginning of a period, with the counters of the one that ended.
    fn period_context(&self, terms: &Terms, zone: &Zone, at: Timestamp, ended: u32) -> Context {
        let counters = &terms.prepared.counters;
        let just_before = Timestamp(at.0.saturating_sub(1));
        Context {
            balances: self
                .accounts
                .keys()
                .map(|credit| {
                    let balance = self.balance(credit, at);
                    let available = balance.available;
                    self.balance_view(balance, available)
                })
                .collect(),
            counters: self.customer_counter_values(counters, terms.time_zone.as_ref(), ended, just_before),
            ..self.base_context(terms, zone, at)
        }
    }

    fn base_context(&self, terms: &Terms, zone: &Zone, at: Timestamp) -> Context {
        let profile = self.profile.as_ref();
        Context {
            customer: self.customer.clone(),
            plan: self.plan().cloned(),
            attributes: profile
                .filter(|_| terms.needs.customer_attributes)
                .map(|profile| profile.attributes.clone())
                .unwrap_or_default(),
            now: zone.moment(at),
            period: self.period_view(zone, at),
            terms_effective_at: zone.moment(terms.effective_at),
            contract: terms.contract.as_ref().map(|contract| ContractView {
                id: contract.id.clone(),
                start: zone.moment(contract.start),
                end: contract.end.map(|end| zone.moment(end)),
            }),
            time_zone: zone.name().to_owned(),
            balances: Vec::new(),
            grants: Vec::new(),
            counters: Vec::new(),
        }
    }

    /// The running period; of a customer without one, what has run since the last.
    fn period_view(&self, zone: &Zone, at: Timestamp) -> PeriodView {
        match &self.period {
            Some(period) => view_of_period(period, zone),
            None => {
                let start = self.past.last().and_then(|past| past.period.end).unwrap_or(self.created_at);
                PeriodView { number: self.periods.max(1), start: zone.moment(start.min(at)), end: None }
            }
        }
    }

    fn balance_view(&self, balance: Balance, available: Credits) -> BalanceView {
        BalanceView {
            restricted: balance.available.saturating_sub(available).max(Credits::ZERO),
            available,
            credit: balance.credit,
            granted: balance.granted,
            used: balance.used,
            reserved: balance.reserved,
            overage: balance.overage,
            held_overage: balance.held_overage,
        }
    }

    fn grant_view(&self, state: &GrantState) -> GrantView {
        let grant = &state.grant;
        let running = self.running_or_next();
        GrantView {
            id: grant.id,
            credit: grant.credit.clone(),
            category: grant.category,
            priority: grant.priority,
            amount: grant.amount,
            remaining: Leftovers::of(self).take(state),
            held: state.held,
            effective_at: grant.effective_at,
            expires: Expiry {
                at: grant.expires_at,
                with_period: state.ends_with.map(|with| with.number.saturating_sub(running)),
            },
            features: grant.features.clone(),
            cost_basis: grant.cost_basis,
        }
    }

    /// The balance of a credit type as a usage of `feature` sees it: what it may draw, and what only others may.
    #[must_use]
    pub fn balance_for(
        &self,
        credit: &crate::model::grant::CreditType,
        feature: &Key,
        at: Timestamp,
    ) -> BalanceView {
        let using = Use { feature: Some(feature), ..Use::general(credit, at) };
        let available = self.available_to(using);
        self.balance_view(self.balance(credit, at), available)
    }
}

/// A period in a local calendar.
fn view_of_period(period: &Period, zone: &Zone) -> PeriodView {
    PeriodView {
        number: period.number,
        start: zone.moment(period.start),
        end: period.end.map(|end| zone.moment(end)),
    }
}

fn view_of_cycle(cycle: &Cycle, zone: &Zone) -> CycleView {
    CycleView { start: zone.moment(cycle.nominal_start()), end: cycle.end.map(|end| zone.moment(end)) }
}
