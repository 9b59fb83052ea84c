//! What is sold beside plans: how it is put and changed.

use crate::{
    catalog::{AddOn, Bundle, Catalog, Promotion},
    changes::json,
    engine::Engine,
    error::EngineError,
};
use proviso_decide::{
    DecideError,
    catalog::Plans as _,
    change::Change,
    precondition::{Expected, Tag},
    selling::Credited,
};
use proviso_ledger::model::{
    add_on::SoldAddOn,
    amounts::{Credits, Money},
    entitlement::Entitlement,
    grant::{Category, default_credit},
    ids::{Key, Name},
    period::Interval,
    plan_grant::{PlanExpiry, PlanGrant, Recurrence},
    time::Timestamp,
};
use proviso_store::{CatalogChange, ProductKind, ProductRow};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// A change of the credits that a product gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreditedChange {
    /// How many; required for a new product.
    pub amount: Option<Credits>,
    /// The credit type; defaults to `credits`.
    pub credit: Change<Key>,
    /// The category; its default depends on the product.
    pub category: Change<Category>,
    /// Defaults to 0.
    pub priority: Change<i32>,
    /// Defaults to all.
    pub features: Change<Vec<Key>>,
    /// Defaults to never.
    pub expires: Change<PlanExpiry>,
}

/// A change of an add-on, or a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AddOnProductChange {
    /// For people; cleared, it is the key.
    pub name: Change<String>,
    /// How long its cycle is.
    pub interval: Change<Interval>,
    /// What one gives, with each cycle or once.
    pub grants: Change<Vec<PlanGrant>>,
    /// What its customers are entitled to.
    pub entitlements: Change<BTreeMap<Key, Entitlement>>,
    /// The most of it that a customer may have.
    pub max_quantity: Change<u32>,
    /// Whether customers may take it; defaults to yes.
    pub for_sale: Change<bool>,
}

/// A change of a bundle, or a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BundleChange {
    /// For people; cleared, it is the key.
    pub name: Change<String>,
    /// What one gives; of category `prepaid`, where it says nothing else.
    pub credits: CreditedChange,
    /// What one costs.
    pub price: Change<Money>,
    /// Whether it may be bought; defaults to yes.
    pub for_sale: Change<bool>,
}

/// A change of a promotion, or a new one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PromotionChange {
    /// For people; cleared, it is the code.
    pub name: Change<String>,
    /// What it gives, of category `promotional`.
    pub credits: CreditedChange,
    /// From when it may be redeemed.
    pub starts_at: Change<Timestamp>,
    /// Until when, exclusive.
    pub ends_at: Change<Timestamp>,
    /// How often in all; cleared, any number.
    pub max_redemptions: Change<u64>,
    /// The plans whose customers may redeem it; cleared, all customers.
    pub plans: Change<Vec<Name>>,
}

impl CreditedChange {
    fn apply(&self, before: Option<&Credited>, category: Category) -> Result<Credited, EngineError> {
        let amount = self.amount.or_else(|| before.map(|before| before.amount));
        let amount = amount.ok_or(EngineError::ProductIncomplete("amount"))?;
        if !amount.is_positive() || !amount.is_acceptable() {
            let detail = format!("must be above 0 and at most {}", Credits::LARGEST);
            return Err(EngineError::ProductInvalid("amount", detail));
        }
        Ok(Credited {
            amount,
            credit: self
                .credit
                .clone()
                .apply(before.map(|before| before.credit.clone()))
                .unwrap_or_else(default_credit),
            category: self.category.apply(before.map(|before| before.category)).unwrap_or(category),
            priority: self.priority.apply(before.map(|before| before.priority)).unwrap_or_default(),
            features: self
                .features
                .clone()
                .apply(before.map(|before| before.features.clone()))
                .unwrap_or_default(),
            expires: self.expires.apply(before.map(|before| before.expires)).unwrap_or(PlanExpiry::Never),
        })
    }
}

impl AddOnProductChange {
    fn apply(&self, key: &Name, before: Option<&AddOn>, now: Timestamp) -> Result<AddOn, EngineError> {
        let sold_before = before.map(|before| &before.sold);
        let grants = self.grants.clone().apply(sold_before.map(|sold| sold.grants.clone()));
        let entitlements = self.entitlements.clone().apply(sold_before.map(|sold| sold.entitlements.clone()));
        let mut sold = SoldAddOn {
            version: sold_before.map_or(1, |sold| sold.version),
            interval: self.interval.apply(sold_before.and_then(|sold| sold.interval)),
            grants: grants.unwrap_or_default(),
            entitlements: entitlements.unwrap_or_default(),
        };
        let needs_cycle = |grant: &PlanGrant| {
            grant.recurrence == Recurrence::Period || matches!(grant.expires, PlanExpiry::WithPeriod(_))
        };
        if sold.interval.is_none() && sold.grants.iter().any(needs_cycle) {
            let detail = "is missing: it says how often the grants of each period are given";
            return Err(EngineError::ProductInvalid("interval", detail.to_owned()));
        }
        if sold_before.is_some_and(|before| *before != sold) {
            sold.version = sold.version.saturating_add(1);
        }
        let name = self.name.clone().apply(before.map(|before| before.name.clone()));
        let after = AddOn {
            add_on: key.clone(),
            name: name.unwrap_or_else(|| key.to_string()),
            sold,
            max_quantity: self.max_quantity.apply(before.and_then(|before| before.max_quantity)),
            for_sale: self.for_sale.apply(before.map(|before| before.for_sale)).unwrap_or(true),
            created_at: before.map_or(now, |before| before.created_at),
        };
        if after.max_quantity == Some(0) {
            return Err(EngineError::ProductInvalid("max_quantity", "must be above 0".to_owned()));
        }
        Ok(after)
    }
}

impl BundleChange {
    fn apply(&self, key: &Name, before: Option<&Bundle>, now: Timestamp) -> Result<Bundle, EngineError> {
        let name = self.name.clone().apply(before.map(|before| before.name.clone()));
        Ok(Bundle {
            bundle: key.clone(),
            name: name.unwrap_or_else(|| key.to_string()),
            credits: self.credits.apply(before.map(|before| &before.credits), Category::Prepaid)?,
            price: self.price.apply(before.and_then(|before| before.price)),
            for_sale: self.for_sale.apply(before.map(|before| before.for_sale)).unwrap_or(true),
            created_at: before.map_or(now, |before| before.created_at),
        })
    }
}

impl PromotionChange {
    fn apply(
        &self,
        catalog: &Catalog,
        key: &Name,
        before: Option<&Promotion>,
        now: Timestamp,
    ) -> Result<Promotion, EngineError> {
        let name = self.name.clone().apply(before.map(|before| before.name.clone()));
        let after = Promotion {
            promotion: key.clone(),
            name: name.unwrap_or_else(|| key.to_string()),
            credits: self.credits.apply(before.map(|before| &before.credits), Category::Promotional)?,
            starts_at: self.starts_at.apply(before.and_then(|before| before.starts_at)),
            ends_at: self.ends_at.apply(before.and_then(|before| before.ends_at)),
            max_redemptions: self.max_redemptions.apply(before.and_then(|before| before.max_redemptions)),
            plans: self.plans.clone().apply(before.map(|before| before.plans.clone())).unwrap_or_default(),
            created_at: before.map_or(now, |before| before.created_at),
        };
        if let (Some(starts_at), Some(ends_at)) = (after.starts_at, after.ends_at)
            && ends_at <= starts_at
        {
            let detail = format!("must be later than {starts_at}, when it begins");
            return Err(EngineError::ProductInvalid("ends_at", detail));
        }
        if after.max_redemptions == Some(0) {
            return Err(EngineError::ProductInvalid("max_redemptions", "must be above 0".to_owned()));
        }
        match after.plans.iter().find(|plan| catalog.plan(plan).is_none()) {
            Some(unknown) => Err(DecideError::PlanNotFound(unknown.clone()).into()),
            None => Ok(after),
        }
    }
}

/// A kind of what is sold beside plans.
trait Product: Serialize + PartialEq + Send + Sync + 'static {
    /// The kind.
    const KIND: ProductKind;

    /// The one of this key.
    fn find<'c>(catalog: &'c Catalog, key: &Name) -> Option<&'c Arc<Self>>;
}

impl Product for AddOn {
    const KIND: ProductKind = ProductKind::AddOn;

    fn find<'c>(catalog: &'c Catalog, key: &Name) -> Option<&'c Arc<Self>> {
        catalog.add_ons.get(key)
    }
}

impl Product for Bundle {
    const KIND: ProductKind = ProductKind::Bundle;

    fn find<'c>(catalog: &'c Catalog, key: &Name) -> Option<&'c Arc<Self>> {
        catalog.bundles.get(key)
    }
}

impl Product for Promotion {
    const KIND: ProductKind = ProductKind::Promotion;

    fn find<'c>(catalog: &'c Catalog, key: &Name) -> Option<&'c Arc<Self>> {
        catalog.promotions.get(key).map(|(promotion, _)| promotion)
    }
}

impl Engine {
    /// Creates or changes an add-on. Returns it, and whether it is new. Another cycle, other grants or entitlements make its next
    /// version: customers stay on the one that they were sold.
    ///
    /// # Errors
    /// Grants of each period without the length of a cycle; another add-on than was expected; the store's.
    pub async fn put_add_on(
        &self,
        key: Name,
        change: AddOnProductChange,
        expected: Expected,
    ) -> Result<(Arc<AddOn>, bool), EngineError> {
        let of = key.clone();
        self.put_product(key, expected, move |_, before, now| change.apply(&of, before, now)).await
    }

    /// Creates or changes a bundle. Returns it, and whether it is new.
    ///
    /// # Errors
    /// A new one without an amount; an amount out of range; another bundle than was expected; the store's.
    pub async fn put_bundle(
        &self,
        key: Name,
        change: BundleChange,
        expected: Expected,
    ) -> Result<(Arc<Bundle>, bool), EngineError> {
        let of = key.clone();
        self.put_product(key, expected, move |_, before, now| change.apply(&of, before, now)).await
    }

    /// Creates or changes a promotion. Returns it, and whether it is new.
    ///
    /// # Errors
    /// As of a bundle; an end that is not after the start; an unknown plan.
    pub async fn put_promotion(
        &self,
        key: Name,
        change: PromotionChange,
        expected: Expected,
    ) -> Result<(Arc<Promotion>, bool), EngineError> {
        let of = key.clone();
        let make =
            move |catalog: &Catalog, before: Option<&Promotion>, now| change.apply(catalog, &of, before, now);
        self.put_product(key, expected, make).await
    }

    /// Creates or changes a product: `make` is given what is in force, and the time. Returns it, and whether it is new.
    async fn put_product<P: Product>(
        &self,
        key: Name,
        expected: Expected,
        make: impl Fn(&Catalog, Option<&P>, Timestamp) -> Result<P, EngineError> + Send + Sync + 'static,
    ) -> Result<(Arc<P>, bool), EngineError> {
        let shared = self.shared.clone();
        let put = async move {
            shared
                .change(|catalog, now| {
                    let before = P::find(catalog, &key);
                    expected.check(|| before.map(|before| Tag::of(&**before)).transpose())?;
                    let after = Arc::new(make(catalog, before.map(|before| &**before), now)?);
                    let mut changes = Vec::new();
                    if before.is_none_or(|before| **before != *after) {
                        let row = ProductRow { kind: P::KIND, product: key.clone(), body: json(&*after)? };
                        changes.push(CatalogChange::PutProduct(row));
                    }
                    Ok((changes, (after, before.is_none())))
                })
                .await
        };
        self.changes.run(put).await
    }
}
