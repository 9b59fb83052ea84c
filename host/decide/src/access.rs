//! Entitlements: what a customer may do with a feature, by the one evaluation that charges are subject to as well.

use crate::{DecideError, Decider, Stop};
use proviso_ledger::{
    model::{
        amounts::{Credits, Decimal, Price, Quantity},
        answers::{Line, Overage, Rating, RefusalKind},
        entitlement::{self, Entitlement, Source},
        grant::CreditType,
        ids::Key,
        time::Timestamp,
        usage::{Purpose, Usage},
    },
    rules::context::{Asked, Detail},
    state::CustomerState,
};

/// What a customer may do with a feature, and who says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// The feature.
    pub feature: Key,
    /// What it is entitled to.
    pub entitlement: Entitlement,
    /// Which source gave it.
    pub source: Source,
    /// Whether it may be used now.
    pub has_access: bool,
    /// `ok`, `switched_off`, `closed`, `no_terms_in_force`, or the code with which the policy refuses.
    pub reason: String,
    /// The credit type that it draws, when it is metered.
    pub credit: Option<CreditType>,
}

impl Decider<'_> {
    /// What a customer may do with a feature now.
    ///
    /// # Errors
    /// A feature that neither the plan nor an override knows; a policy that is not loaded yet.
    pub fn access(&self, state: &CustomerState, feature: &Key) -> Result<Access, Stop> {
        let at = self.now.max(state.at);
        let (source, entitlement) = self.entitlement(state, feature, at);
        let entitlement = entitlement.ok_or_else(|| DecideError::FeatureNotFound(feature.clone()))?.clone();
        let ok = || "ok".to_owned();
        let (reason, credit) = match (&entitlement, state.closed) {
            (_, true) => ("closed".to_owned(), None),
            (Entitlement::Boolean { value: false }, _) => ("switched_off".to_owned(), None),
            (Entitlement::Boolean { value: true } | Entitlement::Static { .. }, _) => (ok(), None),
            (Entitlement::Metered {}, _) => self.metered(state, feature, at)?,
        };
        let has_access = reason == "ok";
        Ok(Access { feature: feature.clone(), entitlement, source, has_access, reason, credit })
    }

    /// What a customer is entitled to of a feature at `at`, and by which source.
    pub(crate) fn entitlement<'a>(
        &'a self,
        state: &'a CustomerState,
        feature: &Key,
        at: Timestamp,
    ) -> (Source, Option<&'a Entitlement>) {
        let plan = state.plan().and_then(|plan| self.plans.plan(plan));
        let of_plan = plan.and_then(|plan| plan.entitlements.get(feature));
        entitlement::evaluate(feature, at, &state.overrides, of_plan)
    }

    /// The features that the plan or an override names, in order.
    #[must_use]
    pub fn features(&self, state: &CustomerState) -> Vec<Key> {
        let plan = state.plan().and_then(|plan| self.plans.plan(plan));
        let mut features: Vec<Key> = plan.iter().flat_map(|plan| plan.entitlements.keys().cloned()).collect();
        let at = self.now.max(state.at);
        features.extend(state.overrides.iter().filter(|one| one.covers(at)).map(|one| one.feature.clone()));
        features.sort();
        features.dedup();
        features
    }

    /// What a check of the smallest usage would say: its code, and the credit type that it draws.
    fn metered(
        &self,
        state: &CustomerState,
        feature: &Key,
        at: Timestamp,
    ) -> Result<(String, Option<CreditType>), Stop> {
        let Some(terms) = self.terms_at(state, state.plan(), at) else {
            return Ok(("no_terms_in_force".to_owned(), None));
        };
        let failed = || Ok(("policy_fault".to_owned(), None));
        let Ok(policy) = self.policy(&terms)? else { return failed() };
        let usage = Usage {
            feature: feature.clone(),
            quantities: Vec::new(),
            attributes: Vec::new(),
            entity: None,
            occurred_at: at,
        };
        let asked = Asked { usage: &usage, commits: None, purpose: Purpose::Charge };
        let view = state.usage_view(&terms, asked, at);
        let context = state.usage_context(&terms, asked, at, Detail::Rate);
        let named = terms.prepared.credit_of(feature);
        let credit = match policy.rate(&view, &context, &terms.prepared.form) {
            Ok(decided) => match decided.value {
                Ok(rating) => rating.credit,
                // A usage of nothing may have no price although the feature has one.
                Err(refusal) => match (refusal.kind, named) {
                    (RefusalKind::Invalid, Some(credit)) => credit.clone(),
                    _ => return Ok((refusal.code, named.cloned())),
                },
            },
            Err(_) => return failed(),
        };
        let credit = named.cloned().unwrap_or(credit);
        if state.available(&credit, Some(feature), at).is_positive() {
            return Ok(("ok".to_owned(), Some(credit)));
        }
        let cost = Credits::new(Decimal::from_units(1));
        let line =
            Line { label: feature.to_string(), quantity: Quantity::ZERO, unit_cost: Price::ZERO, cost };
        let rating = Rating { credit: credit.clone(), cost, lines: vec![line], draw_order: Vec::new() };
        let context = state.usage_context(&terms, asked, at, Detail::Overage);
        let drawn = state.accounts.get(&credit).map_or(Credits::ZERO, |account| account.overage);
        let code = match policy.overage(&view, &rating, cost, &context, &terms.prepared.form) {
            Ok(decided) => match decided.value {
                Overage::TopUp(_) => "ok".to_owned(),
                Overage::Allow(limit) if drawn < limit => "ok".to_owned(),
                Overage::Allow(_) | Overage::Reduce(_) => "insufficient_credits".to_owned(),
                Overage::RequirePurchase(_) => "purchase_required".to_owned(),
                Overage::Deny(refusal) => refusal.code,
            },
            Err(_) => return failed(),
        };
        Ok((code, Some(credit)))
    }
}
