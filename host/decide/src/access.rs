//! Entitlements: what a customer may do with a feature, by the one evaluation that charges are subject to as well.

use crate::{DecideError, Decider, Stop};
use proviso_ledger::{
    journal::{Event, Rated},
    model::{
        add_on::Attachment,
        amounts::{Credits, Decimal, Price, Quantity},
        answers::{Line, Overage, Rating, RefusalKind},
        budget::Measured,
        counter::Measure,
        entitlement::{self, Entitlement, Source},
        grant::CreditType,
        ids::Key,
        terms::Terms,
        time::Timestamp,
        usage::{Purpose, Usage},
    },
    rules::context::{Asked, Detail},
    state::CustomerState,
};
use std::{borrow::Cow, sync::Arc};

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
    /// Whether the policy gave that code.
    pub by_policy: bool,
    /// The credit type that it draws, when it is metered.
    pub credit: Option<CreditType>,
    /// Units of fuel that policies burnt for it.
    pub fuel: u64,
}

/// The reason where the policy failed, and what decides in its place did, too.
const FAULT: &str = "policy_fault";

/// How many quantities of a feature are asked about.
const MOST_NAMES: usize = 8;

/// What a check of the smallest usage of a quantity says, with the credit type; none where it is no quantity of the feature.
struct Verdict {
    said: Option<(Reason, CreditType)>,
    fuel: u64,
}

/// Why a feature may be used or not.
enum Reason {
    Ours(Cow<'static, str>),
    /// The code of a policy's refusal, whatever it says.
    OfPolicy(String),
}

/// It may.
const YES: Reason = Reason::ours("ok");

impl Reason {
    const fn ours(code: &'static str) -> Self {
        Self::Ours(Cow::Borrowed(code))
    }

    fn is(&self, code: &str) -> bool {
        matches!(self, Self::Ours(ours) if ours == code)
    }
}

/// Why a feature may be used or not, what it draws, and what it took to find out.
struct Metered {
    reason: Reason,
    credit: Option<CreditType>,
    fuel: u64,
}

/// The add-ons that a customer has at `at`.
fn add_ons(state: &CustomerState, at: Timestamp) -> impl Iterator<Item = &Attachment> {
    state.add_ons.values().map(|state| &state.attachment).filter(move |one| one.covers(at))
}

impl Decider<'_> {
    /// What a customer may do with a feature now.
    ///
    /// # Errors
    /// A feature that neither the plan, nor an add-on, nor an override knows; a policy that is not loaded yet.
    pub fn access(&self, state: &CustomerState, feature: &Key) -> Result<Access, Stop> {
        let at = self.now.max(state.at);
        let (source, entitlement) = self.entitlement(state, feature, at);
        let entitlement = entitlement.ok_or_else(|| DecideError::FeatureNotFound(feature.clone()))?.clone();
        let plain = |reason| Metered { reason: Reason::ours(reason), credit: None, fuel: 0 };
        let Metered { reason, credit, fuel } = match (&entitlement, state.closed) {
            (_, true) => plain("closed"),
            (Entitlement::Boolean { value: false }, _) => plain("switched_off"),
            (Entitlement::Boolean { value: true } | Entitlement::Static { .. }, _) => plain("ok"),
            (Entitlement::Metered {}, _) => self.metered(state, feature, at)?,
        };
        let has_access = reason.is("ok");
        let (reason, by_policy) = match reason {
            Reason::Ours(reason) => (reason.into_owned(), false),
            Reason::OfPolicy(code) => (code, true),
        };
        let feature = feature.clone();
        Ok(Access { feature, entitlement, source, has_access, reason, by_policy, credit, fuel })
    }

    /// What a customer may do with the features that the plan, an add-on or an override names: up to `limit` of those after `after`, and
    /// none after policies have burnt `most_fuel` for them; and whether there are more.
    ///
    /// # Errors
    /// A policy that is not loaded yet.
    pub fn access_page(
        &self,
        state: &CustomerState,
        after: Option<&Key>,
        limit: usize,
        most_fuel: u64,
    ) -> Result<(Vec<Access>, bool), Stop> {
        let (mut page, mut fuel) = (Vec::new(), 0_u64);
        for feature in self.features(state) {
            if after.is_some_and(|after| feature <= *after) {
                continue;
            }
            if page.len() >= limit || fuel >= most_fuel {
                return Ok((page, true));
            }
            let access = self.access(state, &feature)?;
            fuel = fuel.saturating_add(access.fuel);
            page.push(access);
        }
        Ok((page, false))
    }

    /// What a customer is entitled to of a feature at `at`, and by which source.
    pub(crate) fn entitlement<'a>(
        &'a self,
        state: &'a CustomerState,
        feature: &Key,
        at: Timestamp,
    ) -> (Source, Option<&'a Entitlement>) {
        let of_plan = self.sold_to(state).and_then(|plan| plan.entitlements.get(feature));
        entitlement::evaluate(feature, at, &state.overrides, add_ons(state, at), of_plan)
    }

    /// The features that the plan, an add-on or an override names, in order.
    #[must_use]
    pub fn features(&self, state: &CustomerState) -> Vec<Key> {
        let plan = self.sold_to(state);
        let mut features: Vec<Key> = plan.iter().flat_map(|plan| plan.entitlements.keys().cloned()).collect();
        let at = self.now.max(state.at);
        features.extend(add_ons(state, at).flat_map(|one| one.sold.entitlements.keys().cloned()));
        features.extend(state.overrides.iter().filter(|one| one.covers(at)).map(|one| one.feature.clone()));
        features.sort();
        features.dedup();
        features
    }

    /// What a check of the smallest usage would say: its code, and the credit type that it draws. The feature may be used if any of
    /// its quantities may be.
    fn metered(&self, state: &CustomerState, feature: &Key, at: Timestamp) -> Result<Metered, Stop> {
        let Some(terms) = self.terms_at(state, state.plan(), at) else {
            return Ok(Metered { reason: Reason::ours("no_terms_in_force"), credit: None, fuel: 0 });
        };
        let said = self.metered_by(state, &terms, feature, at)?;
        match self.fallback(state, state.plan(), &terms, at).filter(|_| said.reason.is(FAULT)) {
            Some(other) => {
                let instead = self.metered_by(state, &other, feature, at)?;
                Ok(Metered { fuel: said.fuel.saturating_add(instead.fuel), ..instead })
            }
            None => Ok(said),
        }
    }

    fn metered_by(
        &self,
        state: &CustomerState,
        terms: &Arc<Terms>,
        feature: &Key,
        at: Timestamp,
    ) -> Result<Metered, Stop> {
        let mut fuel = 0_u64;
        let mut first: Option<Metered> = None;
        for name in names_of(state, terms, feature) {
            let verdict = self.smallest_of(state, terms, feature, &name, at)?;
            fuel = fuel.saturating_add(verdict.fuel);
            // Else it is none of its quantities.
            let Some((reason, credit)) = verdict.said else { continue };
            let is_ok = reason.is("ok");
            let said = Metered { reason, credit: Some(credit), fuel: 0 };
            if is_ok {
                return Ok(Metered { fuel, ..said });
            }
            first.get_or_insert(said);
        }
        let said = match first {
            Some(said) => said,
            None => self.unnamed(state, terms, feature, at)?,
        };
        Ok(Metered { fuel: fuel.saturating_add(said.fuel), ..said })
    }

    /// What a check of the smallest usage of one quantity would say: a part of a unit that is as small as can be, or, where that
    /// costs less than can be billed, one unit.
    fn smallest_of(
        &self,
        state: &CustomerState,
        terms: &Arc<Terms>,
        feature: &Key,
        name: &str,
        at: Timestamp,
    ) -> Result<Verdict, Stop> {
        let mut fuel = 0_u64;
        let smallest = Quantity::new(Decimal::from_units(1));
        for amount in [smallest, Quantity::ONE] {
            let usage = usage_of(feature, vec![(name.to_owned(), amount)], at);
            let draft = self.would_charge(state, usage, terms, at)?;
            fuel = fuel.saturating_add(draft.event.decision().map_or(0, |decision| decision.fuel));
            let said = match draft.event {
                Event::Charged(charged) => {
                    let Rated { cost, lines, credit, .. } = charged.rated;
                    let has_price = lines.iter().any(|line| !line.unit_cost.is_zero());
                    if cost.is_zero() && has_price && amount == smallest {
                        continue;
                    }
                    Some((YES, credit))
                }
                Event::Refused(refused) if refused.invalid => None,
                Event::Refused(refused) => {
                    let code = refused.code;
                    let reason =
                        if refused.by_policy { Reason::OfPolicy(code) } else { Reason::Ours(code.into()) };
                    Some((reason, refused.credit))
                }
                _ => None,
            };
            return Ok(Verdict { said, fuel });
        }
        Ok(Verdict { said: None, fuel })
    }

    /// What a check of a usage without known quantities would say, if it cost as little as can be.
    fn unnamed(
        &self,
        state: &CustomerState,
        terms: &Arc<Terms>,
        feature: &Key,
        at: Timestamp,
    ) -> Result<Metered, Stop> {
        let failed = |fuel| Ok(Metered { reason: Reason::ours(FAULT), credit: None, fuel });
        let Ok(policy) = self.policy(terms)? else { return failed(0) };
        let usage = usage_of(feature, Vec::new(), at);
        let asked = Asked { usage: &usage, commits: None, purpose: Purpose::Charge };
        let view = state.usage_view(terms, asked, at);
        let context = state.usage_context(terms, asked, at, Detail::Rate);
        let named = terms.prepared.credit_of(feature);
        // What has a price by itself costs that. What is priced by quantities costs something above nothing, unless it is free.
        let mut cost = Credits::new(Decimal::from_units(1));
        let (credit, rate_fuel) = match policy.rate(&view, &context, &terms.prepared.form) {
            Ok(decided) => match decided.value {
                Ok(rating) => {
                    let counts = |line: &Line| line.quantity > Quantity::ZERO;
                    if rating.cost.is_positive() {
                        cost = rating.cost;
                    } else if rating.lines.iter().any(counts) {
                        let credit = Some(named.cloned().unwrap_or(rating.credit));
                        return Ok(Metered { reason: YES, credit, fuel: decided.fuel });
                    }
                    (rating.credit, decided.fuel)
                }
                // A usage of nothing may have no price although the feature has one.
                Err(refusal) => match (refusal.kind, named) {
                    (RefusalKind::Invalid, Some(credit)) => (credit.clone(), decided.fuel),
                    _ => {
                        let (reason, fuel) = (Reason::OfPolicy(refusal.code), decided.fuel);
                        return Ok(Metered { reason, credit: named.cloned(), fuel });
                    }
                },
            },
            Err(failure) => return failed(failure.fuel),
        };
        let credit = named.cloned().unwrap_or(credit);
        if state.is_over_budget(&usage, &credit, cost, at) {
            let reason = Reason::ours("budget_exceeded");
            return Ok(Metered { reason, credit: Some(credit), fuel: rate_fuel });
        }
        let available = state.available(&credit, Some(feature), at);
        if available >= cost {
            return Ok(Metered { reason: YES, credit: Some(credit), fuel: rate_fuel });
        }
        let line =
            Line { label: feature.to_string(), quantity: Quantity::ZERO, unit_cost: Price::ZERO, cost };
        let rating = Rating { credit: credit.clone(), cost, lines: vec![line], draw_order: Vec::new() };
        let context = state.usage_context(terms, asked, at, Detail::Overage);
        let drawn = state.accounts.get(&credit).map_or(Credits::ZERO, |account| account.overage);
        let short = cost.saturating_sub(available);
        let (reason, fuel) = match policy.overage(&view, &rating, short, &context, &terms.prepared.form) {
            Ok(decided) => {
                let reason = match decided.value {
                    Overage::TopUp(_) => YES,
                    Overage::Allow(limit) if drawn.saturating_add(short) <= limit => YES,
                    Overage::Allow(_) | Overage::Reduce(_) => Reason::ours("insufficient_credits"),
                    Overage::RequirePurchase(_) => Reason::ours("purchase_required"),
                    Overage::Deny(refusal) => Reason::OfPolicy(refusal.code),
                };
                (reason, rate_fuel.saturating_add(decided.fuel))
            }
            Err(failure) => return failed(rate_fuel.saturating_add(failure.fuel)),
        };
        Ok(Metered { reason, credit: Some(credit), fuel })
    }
}

/// The quantities of a feature that are known: those that its policy counts, as it must to give units away, to tier or to cap; and
/// those that a budget of the whole customer limits.
fn names_of(state: &CustomerState, terms: &Terms, feature: &Key) -> Vec<String> {
    let counted = terms.prepared.counters.iter().filter(|counter| counter.counts(feature));
    let counted = counted.filter_map(|counter| match &counter.measure {
        Measure::Quantity(name) => Some(name),
        Measure::Cost => None,
    });
    let usage = usage_of(feature, Vec::new(), state.at);
    let budgets = state.budgets_of(&usage).filter(|budget| budget.hard);
    let limited = budgets.filter_map(|budget| match &budget.measured {
        Measured::Quantity(name) => Some(name),
        Measured::Credits(_) => None,
    });
    let mut names: Vec<String> = Vec::new();
    for name in counted.chain(limited) {
        if names.len() < MOST_NAMES && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn usage_of(feature: &Key, quantities: Vec<(String, Quantity)>, at: Timestamp) -> Usage {
    Usage {
        feature: feature.clone(),
        quantities,
        attributes: Vec::new(),
        entity: None,
        ancestors: Vec::new(),
        occurred_at: at,
    }
}
