//! The catalog: plans, their terms, policies and API keys, small enough to keep in memory. It is replaced as a whole by
//! an atomic swap; whoever reads it keeps the one it began with.

use crate::signatures::SignedBy;
pub use proviso_decide::catalog::Plan;
use proviso_decide::catalog::{Plans, sold_at};
pub use proviso_decide::selling::{AddOn, Bundle, Promotion};
use proviso_ledger::model::{
    answers::Manifest,
    canary::Canary,
    ids::{CustomerId, Digest, Name},
    resources::ResourceClass,
    terms::{Terms, TermsKey},
    time::Timestamp,
};
use proviso_store::{CatalogRows, ProductKind, ProductRow, StoreError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// A policy: a name under which versions are uploaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Its key.
    pub policy: Name,
    /// For people.
    pub description: String,
    /// How much its versions may use.
    #[serde(default, skip_serializing_if = "ResourceClass::is_default")]
    pub class: ResourceClass,
    /// When it was first put.
    pub created_at: Timestamp,
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The policy.
    pub policy: Name,
    /// Counted from 1.
    pub version: u32,
    /// SHA-256 of the module.
    pub digest: Digest,
    /// The module's size.
    pub size_bytes: u64,
    /// What the policy says of itself.
    pub manifest: Manifest,
    /// How long it took to compile, in milliseconds.
    pub compile_ms: u64,
    /// When it was uploaded.
    pub created_at: Timestamp,
    /// Who signed the module, where the host that took it was given keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<SignedBy>,
    /// Whether it may no longer be bound. What it decided can still be replayed.
    #[serde(skip)]
    pub deleted: bool,
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Check, charge, reserve.
    Usage,
    /// Read.
    Read,
    /// Customers, plans, grants, terms.
    Manage,
    /// Policies.
    Policies,
    /// API keys; and all the rest.
    Admin,
}

/// A key to the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: Name,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only customer it may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerId>,
    /// How the names of the only policies begin that it may touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_prefix: Option<Name>,
    /// Whether it may decide what its only customer gets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_grant: bool,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether a host's configuration brought it, not a caller: the next one of the kind replaces it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_configured: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl ApiKey {
    /// Whether it works at `at`.
    #[must_use]
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| at < expiry)
    }

    /// Whether it may manage everything.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.allows(Scope::Admin) && self.customer.is_none()
    }

    /// Whether it may do what `scope` stands for.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether it may decide what a customer gets: a customer's own key must say so.
    #[must_use]
    pub const fn may_grant(&self) -> bool {
        self.customer.is_none() || self.may_grant
    }

    /// Whether it is not narrowed away from this policy.
    #[must_use]
    pub fn sees_policy(&self, policy: &Name) -> bool {
        let prefix = self.policy_prefix.as_ref();
        prefix.is_none_or(|prefix| policy.as_str().starts_with(prefix.as_str()))
    }
}

/// All of it, as of one revision.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The revision.
    pub revision: u64,
    /// Plans by key, in their newest versions.
    pub plans: BTreeMap<Name, Arc<Plan>>,
    /// All versions by plan, in order: version n stands at n - 1.
    pub plan_versions: HashMap<Name, Vec<Arc<Plan>>>,
    /// Terms by plan, in the order they were bound.
    pub plan_terms: HashMap<Name, Vec<Arc<Terms>>>,
    /// Policies by key.
    pub policies: BTreeMap<Name, Arc<Policy>>,
    /// Versions by policy, in order: version n stands at n - 1.
    pub versions: HashMap<Name, Vec<Arc<Version>>>,
    /// API keys by the SHA-256 of their secret.
    pub api_keys: HashMap<[u8; 32], Arc<ApiKey>>,
    /// Add-ons by key, in their newest versions.
    pub add_ons: BTreeMap<Name, Arc<AddOn>>,
    /// Packs of credits by key.
    pub bundles: BTreeMap<Name, Arc<Bundle>>,
    /// Promotions by code, with the revision that wrote each.
    pub promotions: BTreeMap<Name, (Arc<Promotion>, u64)>,
    /// Canaries that are not rolled back and do not decide for all.
    canaries: HashMap<TermsKey, Arc<Terms>>,
    /// By module, where it is not the default.
    classes: HashMap<Digest, ResourceClass>,
}

impl Catalog {
    /// This catalog with rows that are newer, of which it may know older versions.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a body that is not what its table holds.
    pub fn updated(&self, newer: CatalogRows) -> Result<Self, StoreError> {
        let mut catalog = Self { revision: newer.revision, ..self.clone() };
        for row in newer.plans {
            catalog.plans.insert(row.plan.clone(), Arc::new(parse("plan", &row.plan, &row.body)?));
        }
        for row in newer.plan_versions {
            let version = Arc::new(parse("version of plan", &row.plan, &row.body)?);
            put(catalog.plan_versions.entry(row.plan).or_default(), row.version.into(), version);
        }
        for row in newer.plan_terms {
            let terms: Arc<Terms> = Arc::new(parse("terms of plan", &row.plan, &row.body)?);
            catalog.note_canary(&terms);
            put(catalog.plan_terms.entry(row.plan).or_default(), row.number, terms);
        }
        let reclassify = !newer.policies.is_empty() || !newer.policy_versions.is_empty();
        for row in newer.policies {
            catalog.policies.insert(row.policy.clone(), Arc::new(parse("policy", &row.policy, &row.body)?));
        }
        for row in newer.policy_versions {
            let mut version: Version = parse("version of policy", &row.policy, &row.body)?;
            version.deleted = row.deleted;
            put(catalog.versions.entry(row.policy).or_default(), row.version.into(), Arc::new(version));
        }
        for row in newer.api_keys {
            catalog.api_keys.insert(row.secret_hash, Arc::new(parse("API key", &row.id, &row.body)?));
        }
        for (row, revision) in newer.products {
            let ProductRow { kind, product, body } = row;
            match kind {
                ProductKind::AddOn => {
                    let add_on = Arc::new(parse("add-on", &product, &body)?);
                    catalog.add_ons.insert(product, add_on);
                }
                ProductKind::Bundle => {
                    let bundle = Arc::new(parse("bundle", &product, &body)?);
                    catalog.bundles.insert(product, bundle);
                }
                ProductKind::Promotion => {
                    let promotion = Arc::new(parse("promotion", &product, &body)?);
                    catalog.promotions.insert(product, (promotion, revision));
                }
            }
        }
        if reclassify {
            catalog.classes = catalog.classes();
        }
        Ok(catalog)
    }

    fn note_canary(&mut self, terms: &Arc<Terms>) {
        let is_watched = |canary: &Canary| canary.rolled_back.is_none() && !canary.is_complete();
        if terms.canary.as_ref().is_some_and(is_watched) {
            self.canaries.insert(terms.key.clone(), terms.clone());
        } else {
            self.canaries.remove(&terms.key);
        }
    }

    /// The canaries that are not rolled back and do not decide for all, whether or not they have begun or ended.
    pub fn canaries(&self) -> impl Iterator<Item = &Arc<Terms>> {
        self.canaries.values()
    }

    /// One of [`canaries`](Self::canaries).
    #[must_use]
    pub fn canary(&self, key: &TermsKey) -> Option<&Arc<Terms>> {
        self.canaries.get(key)
    }

    /// How much a module may use: as much as the policies may that have it, or the most of what they may.
    #[must_use]
    pub fn class_of(&self, module: &Digest) -> ResourceClass {
        self.classes.get(module).copied().unwrap_or_default()
    }

    fn classes(&self) -> HashMap<Digest, ResourceClass> {
        let mut classes = HashMap::new();
        for version in self.versions.values().flatten() {
            let class =
                self.policies.get(&version.policy).map_or_else(Default::default, |policy| policy.class);
            let known = classes.entry(version.digest).or_insert(class);
            *known = class.max(*known);
        }
        classes.retain(|_, class: &mut ResourceClass| !class.is_default());
        classes
    }

    /// A version, deleted or not.
    #[must_use]
    pub fn version(&self, policy: &Name, version: u32) -> Option<&Arc<Version>> {
        let place = usize::try_from(version).ok()?.checked_sub(1)?;
        self.versions.get(policy)?.get(place)
    }
}

impl Plans for Catalog {
    fn plan(&self, plan: &Name) -> Option<&Plan> {
        self.plans.get(plan).map(Arc::as_ref)
    }

    fn plan_version(&self, plan: &Name, version: u32) -> Option<&Plan> {
        let place = usize::try_from(version).ok()?.checked_sub(1)?;
        self.plan_versions.get(plan)?.get(place).map(Arc::as_ref)
    }

    fn plan_at(&self, plan: &Name, at: Timestamp) -> Option<&Plan> {
        sold_at(self.plan_versions.get(plan)?.iter().map(Arc::as_ref), at)
    }

    fn add_on(&self, add_on: &Name) -> Option<&AddOn> {
        self.add_ons.get(add_on).map(Arc::as_ref)
    }

    fn bundle(&self, bundle: &Name) -> Option<&Bundle> {
        self.bundles.get(bundle).map(Arc::as_ref)
    }

    fn promotion(&self, promotion: &Name) -> Option<&Promotion> {
        self.promotions.get(promotion).map(|(promotion, _)| &**promotion)
    }

    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>] {
        self.plan_terms.get(plan).map_or(&[], Vec::as_slice)
    }
}

/// Puts what has number n, counted from 1, in the place n - 1; rows come in the order of their numbers.
fn put<T>(list: &mut Vec<T>, number: u64, item: T) {
    let place = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    match list.get_mut(place) {
        Some(known) => *known = item,
        None => list.push(item),
    }
}

fn parse<T: DeserializeOwned>(what: &str, key: &Name, body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body)
        .map_err(|error| StoreError::Corrupt { detail: format!("{what} {key} can't be read: {error}") })
}
