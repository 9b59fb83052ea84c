//! What is sold beside plans: packs of credits, and credits for a code.

use crate::{DecideError, Decider, Stop, catalog::Plans};
use proviso_ledger::{
    model::{
        add_on::SoldAddOn,
        amounts::{Credits, Money},
        grant::{Category, CreditType},
        ids::{Key, Name},
        plan_grant::PlanExpiry,
        time::{Timestamp, Zone},
    },
    rules::{grants::GrantRequest, rejection::Rejection},
    state::{CustomerState, Draft},
};
use serde::{Deserialize, Serialize};

/// The credits that a bundle or a promotion gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credited {
    /// How many, above zero.
    pub amount: Credits,
    /// The credit type.
    pub credit: CreditType,
    /// The category.
    pub category: Category,
    /// A lower number is drawn first.
    #[serde(default)]
    pub priority: i32,
    /// The features that may draw on them; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Key>,
    /// When what is left of them expires.
    pub expires: PlanExpiry,
}

/// A pack of credits that is bought in one go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Its key.
    pub bundle: Name,
    /// For people.
    pub name: String,
    /// What one gives.
    pub credits: Credited,
    /// What one costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// Whether it may be bought.
    pub for_sale: bool,
    /// When it was first put.
    pub created_at: Timestamp,
}

/// Credits for those who know a code: once for each customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// The code.
    pub promotion: Name,
    /// For people.
    pub name: String,
    /// What it gives.
    pub credits: Credited,
    /// From when it may be redeemed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// Until when, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// How often in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_redemptions: Option<u64>,
    /// The plans whose customers may redeem it; empty means all customers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Name>,
    /// When it was first put.
    pub created_at: Timestamp,
}

/// Entitlements and credits on top of whatever plan a customer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOn {
    /// Its key.
    pub add_on: Name,
    /// For people.
    pub name: String,
    /// What its newest version sells. Customers stay on the one that they were sold until they are put on another.
    pub sold: SoldAddOn,
    /// The most of it that a customer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_quantity: Option<u32>,
    /// Whether customers may take it.
    pub for_sale: bool,
    /// When it was first put.
    pub created_at: Timestamp,
}

/// What is bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The bundle.
    pub bundle: Name,
    /// How many of it.
    pub quantity: u32,
    /// The payment's id.
    pub payment: Option<String>,
    /// What was paid; none means the price.
    pub cost_basis: Option<Money>,
}

/// What is redeemed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redemption {
    /// The promotion.
    pub promotion: Name,
    /// The number that was claimed for the customer.
    pub number: u64,
}

impl Credited {
    /// The grant of so many of them at `at`.
    fn request(
        &self,
        times: u32,
        at: Timestamp,
        zone: &Zone,
        cost_basis: Option<Money>,
        metadata: (&str, &Name),
    ) -> Result<GrantRequest, Rejection> {
        let amount =
            self.amount.repeated(times.into()).map_err(|_| Rejection::AmountOutOfRange("quantity"))?;
        if !amount.is_acceptable() {
            return Err(Rejection::AmountOutOfRange("quantity"));
        }
        Ok(GrantRequest {
            credit: self.credit.clone(),
            amount,
            category: self.category,
            priority: self.priority,
            effective_at: None,
            expires: self.expires.of(at, zone),
            features: self.features.clone(),
            cost_basis,
            metadata: vec![(metadata.0.to_owned(), metadata.1.to_string())],
        })
    }
}

/// The promotion, where the customer may redeem it at `at` and has not: as long as there are redemptions left.
///
/// # Errors
/// Whatever keeps the customer from it.
pub fn may_redeem<'p>(
    plans: &'p dyn Plans,
    state: &CustomerState,
    promotion: &Name,
    at: Timestamp,
) -> Result<&'p Promotion, DecideError> {
    let found =
        plans.promotion(promotion).ok_or_else(|| DecideError::PromotionNotFound(promotion.clone()))?;
    state.may_redeem(promotion)?;
    if let Some(starts_at) = found.starts_at.filter(|starts_at| *starts_at > at) {
        return Err(DecideError::PromotionNotStarted(promotion.clone(), starts_at));
    }
    if let Some(ends_at) = found.ends_at.filter(|ends_at| *ends_at <= at) {
        return Err(DecideError::PromotionEnded(promotion.clone(), ends_at));
    }
    let is_on = |plan: &Name| found.plans.contains(plan);
    if !found.plans.is_empty() && !state.plan().is_some_and(is_on) {
        return Err(DecideError::PromotionNotForPlan(promotion.clone()));
    }
    Ok(found)
}

impl Decider<'_> {
    /// The entry that gives what is bought.
    pub(crate) fn purchase(
        &self,
        state: &CustomerState,
        purchase: &Purchase,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let Purchase { bundle: name, quantity, payment, cost_basis } = purchase;
        let bundle = self.plans.bundle(name).ok_or_else(|| DecideError::BundleNotFound(name.clone()))?;
        if !bundle.for_sale {
            return Err(DecideError::BundleWithdrawn(name.clone()).into());
        }
        let price = bundle.price.map(|price| price.repeated((*quantity).into())).transpose();
        let price = price.map_err(|_| Rejection::AmountOutOfRange("quantity"))?;
        let cost_basis = cost_basis.or(price);
        let request = bundle.credits.request(*quantity, at, &state.zone(), cost_basis, ("bundle", name))?;
        let what = (name.clone(), *quantity, payment.clone());
        Ok(state.purchase(at, what, request, &self.grant_terms(state, at))?)
    }

    /// The entry that gives what is redeemed.
    pub(crate) fn redeem(
        &self,
        state: &CustomerState,
        redemption: &Redemption,
        at: Timestamp,
    ) -> Result<Draft, Stop> {
        let Redemption { promotion: name, number } = redemption;
        let promotion = may_redeem(self.plans, state, name, at)?;
        let request = promotion.credits.request(1, at, &state.zone(), None, ("promotion", name))?;
        Ok(state.redeem(at, (name.clone(), *number), request, &self.grant_terms(state, at))?)
    }
}
