//! What of a customer's state a policy is shown.

use crate::{
    decision::{Context, GrantView, PeriodView, Usage},
    state::{CustomerState, GrantState, GrantStatus, Period},
    terms::Terms,
    time::{Timestamp, Zone},
};

/// How much a policy is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// For `rate`: what its manifest needs.
    Rate,
    /// For `overage`: the balances, too.
    Overage,
    /// For `reset`: balances and grants, too.
    Reset,
}

impl CustomerState {
    /// The context of a decision by `terms` at `at`.
    #[must_use]
    pub fn context(&self, terms: &Terms, usage: Option<&Usage>, at: Timestamp, view: View) -> Context {
        let zone = self.zone();
        let profile = self.profile.as_ref();
        let balances = terms.needs.balances || view != View::Rate;
        let grants = terms.needs.grants || view == View::Reset;
        Context {
            customer: self.customer.clone(),
            plan: profile.and_then(|profile| profile.plan.clone()),
            attributes: profile
                .filter(|_| terms.needs.customer_attributes)
                .map(|profile| profile.attributes.clone())
                .unwrap_or_default(),
            now: zone.moment(at),
            period: self.period_view(&zone),
            terms_effective_at: zone.moment(terms.effective_at),
            balances: if balances { self.balances(at) } else { Vec::new() },
            grants: if grants {
                self.grants.iter().filter(|grant| grant.is_usable(at)).map(view_of).collect()
            } else {
                Vec::new()
            },
            counters: self.counter_values(&terms.prepared.counters, usage, at),
        }
    }

    fn period_view(&self, zone: &Zone) -> PeriodView {
        match &self.period {
            Some(period) => period.view(zone),
            None => PeriodView { number: 1, start: zone.moment(self.created_at), end: None },
        }
    }
}

impl Period {
    /// The period in the customer's local calendar.
    #[must_use]
    pub fn view(&self, zone: &Zone) -> PeriodView {
        PeriodView {
            number: self.number,
            start: zone.moment(self.start),
            end: self.end.map(|end| zone.moment(end)),
        }
    }
}

fn view_of(state: &GrantState) -> GrantView {
    debug_assert_eq!(state.status, GrantStatus::Live);
    let grant = &state.grant;
    GrantView {
        id: grant.id,
        credit: grant.credit.clone(),
        category: grant.category,
        priority: grant.priority,
        amount: grant.amount,
        remaining: state.remaining,
        effective_at: grant.effective_at,
        expires_at: grant.expires_at,
        features: grant.features.clone(),
        paid: grant.is_paid(),
    }
}
