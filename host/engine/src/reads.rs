//! Questions about the past and the present that write nothing: journal pages, usage reports, balances as they were,
//! entitlements.

use crate::{
    Engine,
    command::{Idempotency, Outcome},
    decide::{Decider, Stop},
    error::EngineError,
    lane,
};
use proviso_ledger::{
    credits::{Credits, Quantity},
    customer::Profile,
    decision::Usage,
    entitlement::{self, Entitlement, Source},
    ids::{CustomerId, Digest, Key, Seq, hex},
    journal::Entry,
    state::CustomerState,
    time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc};

/// Entries that are read at a time.
const PAGE: u32 = 1_000;

/// A page of a journal, newest entries first.
#[derive(Debug)]
pub struct LedgerPage {
    /// Entries with their chained hash in hexadecimal.
    pub entries: Vec<(Entry, String)>,
    /// Where the next page begins; none on the last.
    pub next_before: Option<Seq>,
}

/// A customer in a list.
#[derive(Debug)]
pub struct CustomerSummary {
    /// The customer.
    pub customer: CustomerId,
    /// Its profile.
    pub profile: Profile,
    /// Whether it was closed.
    pub closed: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// By what usage is grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// By feature.
    Feature,
    /// By entity.
    Entity,
    /// By local day of the entry.
    Day,
    /// By an attribute's value.
    Attribute(String),
}

/// Usage of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageGroup {
    /// Accepted charges and commits.
    pub charges: u64,
    /// What they cost, by credit type.
    pub cost: BTreeMap<Key, Credits>,
    /// What was used, by name.
    pub quantities: BTreeMap<String, Quantity>,
}

/// What a customer may do with a feature, and who says so.
#[derive(Debug, Clone)]
pub struct EntitlementAnswer {
    /// The feature.
    pub feature: Key,
    /// What it is entitled to.
    pub entitlement: Entitlement,
    /// Which source gave it.
    pub source: Source,
    /// Whether it may be used now.
    pub has_access: bool,
    /// `ok`, `switched_off`, `closed`, `no_terms_in_force`, or the code with which the policy refuses overage.
    pub reason: String,
}

impl Engine {
    /// A page of a journal.
    ///
    /// # Errors
    /// An unknown customer, or the store's.
    pub async fn ledger(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<LedgerPage, EngineError> {
        self.state(customer).await?;
        let stored = self.shared.store.entries_before(customer, before, limit.saturating_add(1)).await?;
        let has_more = stored.len() > limit as usize;
        let mut entries = Vec::with_capacity(stored.len());
        for stored in stored.into_iter().take(limit as usize) {
            let entry = Entry::parse(stored.seq, &stored.body)
                .map_err(|error| EngineError::Damaged(customer.clone(), error))?;
            entries.push((entry, hex(&stored.hash)));
        }
        let next_before = entries.last().filter(|_| has_more).map(|(entry, _)| entry.seq);
        Ok(LedgerPage { entries, next_before })
    }

    /// What answered an earlier request of the customer with this key, for use cases that have something to prepare
    /// before they come to the customer's lane, which looks for itself.
    ///
    /// # Errors
    /// Another request under the same key, a damaged journal, or the store's.
    pub async fn answered(
        &self,
        customer: &CustomerId,
        idempotency: &Idempotency,
    ) -> Result<Option<Outcome>, EngineError> {
        let lookup = [(customer.clone(), lane::key_hash(&idempotency.0))];
        let found = self.shared.store.find_keys(&lookup).await?;
        let Some(seq) = found.first().copied().flatten() else { return Ok(None) };
        let entry = self.shared.entry(customer, seq).await?;
        lane::replay(&entry, Some(idempotency)).map(Some)
    }

    /// A page of customers by key.
    ///
    /// # Errors
    /// The store's.
    pub async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerSummary>, EngineError> {
        let rows = self.shared.store.customers(after, limit).await?;
        let mut customers = Vec::with_capacity(rows.len());
        for row in rows {
            let profile = serde_json::from_str(&row.profile).map_err(|error| {
                proviso_store::StoreError::Corrupt { detail: format!("profile of {}: {error}", row.customer) }
            })?;
            let (customer, closed, created_at) = (row.customer, row.closed, row.created_at);
            customers.push(CustomerSummary { customer, profile, closed, created_at });
        }
        Ok(customers)
    }

    /// The state as it was at `at`, with all that was due by then.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn state_at(&self, customer: &CustomerId, at: Timestamp) -> Result<CustomerState, EngineError> {
        // What is due by now is written first, at its own instants, so that the past is complete.
        self.state(customer).await?;
        let last = self.shared.store.seq_at(customer, at).await?;
        let snapshot = self.shared.store.snapshot_before(customer, last, crate::STATE_FORMAT).await?;
        let damaged = |error| EngineError::Damaged(customer.clone(), error);
        let mut state = match snapshot {
            Some(snapshot) => serde_json::from_str(&snapshot.state).map_err(|error| {
                let detail = error.to_string();
                damaged(proviso_ledger::error::FoldError::Unreadable { seq: snapshot.seq, detail })
            })?,
            None => CustomerState::new(customer.clone()),
        };
        while state.seq < last {
            let page = self.shared.store.entries(customer, state.seq, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for stored in page.into_iter().take_while(|stored| stored.seq <= last) {
                state.fold(stored.seq, &stored.body, &stored.hash).map_err(damaged)?;
            }
        }
        Ok(state)
    }

    /// Accepted usage of entries at `from..to`, by the values of `group_by`.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn usage(
        &self,
        customer: &CustomerId,
        from: Timestamp,
        to: Timestamp,
        group_by: &[GroupBy],
    ) -> Result<BTreeMap<Vec<Option<String>>, UsageGroup>, EngineError> {
        let zone = self.state(customer).await?.zone();
        let mut groups: BTreeMap<Vec<Option<String>>, UsageGroup> = BTreeMap::new();
        let mut after = self.shared.store.seq_at(customer, from.plus_micros(-1)).await?;
        loop {
            let page = self.shared.store.entries(customer, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(groups) };
            after = last.seq;
            for stored in page {
                if stored.at >= to {
                    return Ok(groups);
                }
                let entry = Entry::parse(stored.seq, &stored.body)
                    .map_err(|error| EngineError::Damaged(customer.clone(), error))?;
                let Some((usage, rated)) = entry.charged_usage() else { continue };
                let moment = zone.moment(entry.at);
                let day = || format!("{:04}-{:02}-{:02}", moment.year, moment.month, moment.day);
                let key = group_by
                    .iter()
                    .map(|by| match by {
                        GroupBy::Feature => Some(usage.feature.to_string()),
                        GroupBy::Entity => usage.entity.as_ref().map(Key::to_string),
                        GroupBy::Day => Some(day()),
                        GroupBy::Attribute(name) => usage.attribute(name).map(str::to_owned),
                    })
                    .collect();
                groups.entry(key).or_default().add(usage, &rated.credit, rated.cost);
            }
        }
    }

    /// What a customer may do with a feature, by the one evaluation that charges are subject to as well.
    ///
    /// # Errors
    /// An unknown customer or feature; the store's.
    pub async fn entitlement(
        &self,
        customer: &CustomerId,
        feature: &Key,
    ) -> Result<(EntitlementAnswer, Arc<CustomerState>), EngineError> {
        let state = self.state(customer).await?;
        let catalog = self.catalog();
        let plan = state.profile.as_ref().and_then(|profile| profile.plan.as_ref());
        let of_plan = plan.and_then(|plan| catalog.plans.get(plan)?.entitlements.get(feature));
        let at = self.clock().now().max(state.at);
        let (source, entitlement) = entitlement::evaluate(feature, at, &state.overrides, of_plan);
        let entitlement = entitlement.ok_or_else(|| EngineError::FeatureNotFound(feature.clone()))?.clone();
        let (has_access, reason) = match (&entitlement, state.closed) {
            (_, true) => (false, "closed".to_owned()),
            (Entitlement::Boolean { value: false }, _) => (false, "switched_off".to_owned()),
            (Entitlement::Boolean { value: true } | Entitlement::Static { .. }, _) => (true, "ok".to_owned()),
            (Entitlement::Metered {}, _) => self.metered_access(&state, feature, at).await?,
        };
        Ok((EntitlementAnswer { feature: feature.clone(), entitlement, source, has_access, reason }, state))
    }

    /// All features that the plan or an override names.
    ///
    /// # Errors
    /// An unknown customer; the store's.
    pub async fn entitlements(
        &self,
        customer: &CustomerId,
    ) -> Result<Vec<(EntitlementAnswer, Arc<CustomerState>)>, EngineError> {
        let state = self.state(customer).await?;
        let catalog = self.catalog();
        let plan = state.profile.as_ref().and_then(|profile| profile.plan.as_ref());
        let of_plan = plan.and_then(|plan| catalog.plans.get(plan));
        let at = self.clock().now();
        let mut features: Vec<Key> =
            of_plan.iter().flat_map(|plan| plan.entitlements.keys().cloned()).collect();
        features.extend(state.overrides.iter().filter(|one| one.covers(at)).map(|one| one.feature.clone()));
        features.sort();
        features.dedup();
        let mut answers = Vec::with_capacity(features.len());
        for feature in features {
            answers.push(self.entitlement(customer, &feature).await?);
        }
        Ok(answers)
    }

    /// A metered feature is accessible while credits are there for it, or while its policy would let more be used.
    async fn metered_access(
        &self,
        state: &CustomerState,
        feature: &Key,
        at: Timestamp,
    ) -> Result<(bool, String), EngineError> {
        let credit = state.main_credit();
        if state.available(&credit, Some(feature), at) > Credits::ZERO {
            return Ok((true, "ok".to_owned()));
        }
        loop {
            // The decider lives in a block of its own: it may not be held while a module is loaded.
            let asked = {
                let catalog = self.catalog();
                let decider = Decider {
                    catalog: &catalog,
                    modules: &|digest: &Digest| self.shared.runtime.loaded(digest),
                    now: at,
                    late_window: self.shared.options.late_window_micros(),
                };
                decider.beyond_credits(state, feature, &credit, at)
            };
            match asked {
                Ok(None) => return Ok((true, "ok".to_owned())),
                Ok(Some(code)) => return Ok((false, code)),
                Err(Stop::Need(digest)) => {
                    self.shared.load_module(digest).await?;
                }
                Err(Stop::Error(EngineError::NoTermsInForce)) => {
                    return Ok((false, "no_terms_in_force".to_owned()));
                }
                Err(Stop::Error(error) | Stop::Defect(error)) => return Err(error),
            }
        }
    }

    /// SHA-256 of a request, for idempotency: the route's own words and the body's bytes.
    #[must_use]
    pub fn request_digest(parts: &[&[u8]]) -> Digest {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        Digest::of(&bytes)
    }
}

impl UsageGroup {
    fn add(&mut self, usage: &Usage, credit: &Key, cost: Credits) {
        self.charges += 1;
        let total = self.cost.entry(credit.clone()).or_default();
        *total = Credits(total.0.saturating_add(cost.0));
        for (name, amount) in &usage.quantities {
            let total = self.quantities.entry(name.clone()).or_default();
            *total = Quantity(total.0.saturating_add(amount.0));
        }
    }
}
