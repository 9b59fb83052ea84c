//! What one customer's state may take: so many items and so many bytes of each kind. Reading a customer costs others nothing
//! beyond that, whatever the customer's own keys put in. What the host itself must write is never refused for it: commits, periods,
//! expiries.

use super::rejection::{Denied, Rejection};
use crate::{
    journal::{BudgetCount, Count},
    model::{
        add_on::{Attachment, SoldAddOn},
        budget::Budget,
        entitlement::Entitlement,
        entity::Entity,
        grant::{CreditType, Grant},
        ids::{Key, Name},
        terms::TermsDraft,
        usage::Usage,
    },
    state::{CustomerState, HeldFor, ReservationState},
};
use serde_json::Value;

/// The most live grants, reservations, terms, overrides or budgets that one customer has.
pub const MOST_LIVE: usize = 10_000;
/// The most credit types that one customer ever has: each keeps its books for ever, and policies may make names up.
pub const MOST_CREDIT_TYPES: usize = 1_000;
/// The most add-ons that one customer has or had: each that ended is remembered, so that it gives nothing twice.
pub const MOST_ADD_ONS: usize = 1_000;
/// The most entities that one customer has.
pub const MOST_ENTITIES: usize = 100_000;
/// The most that their keys, parents and attributes take, in bytes.
pub const MOST_ENTITY_BYTES: usize = 16 << 20;
/// The most totals of counters and budgets: one for each counter, window and entity or attribute's value, and one for each budget
/// and window.
pub const MOST_TOTALS: usize = 250_000;
/// The most that the callers' own data in one kind of thing takes, in bytes: values of overrides, features and metadata of
/// grants, usages of reservations.
pub const MOST_BYTES: usize = 4 << 20;
/// The same for settings and remarks of terms. Those that ended stay, so they are counted: it is enough for some hundred amendments
/// with the largest settings.
pub const MOST_TERMS_BYTES: usize = 16 << 20;

impl CustomerState {
    pub(super) fn require_place_for_terms(&self, draft: &TermsDraft) -> Result<(), Rejection> {
        let size = |settings: &str, form: &[u8], note: &Option<String>| {
            settings.len() + form.len() + note.as_ref().map_or(0, String::len)
        };
        let bytes = self
            .terms
            .iter()
            .map(|terms| size(terms.settings.as_str(), &terms.prepared.form, &terms.note))
            .chain([size(draft.settings.as_str(), &draft.prepared.form, &draft.note)]);
        require(self.terms.len(), bytes.sum(), MOST_TERMS_BYTES, "terms")
    }

    pub(super) fn require_place_for_override(&self, entitlement: &Entitlement) -> Result<(), Rejection> {
        let all = self.overrides.iter().map(|one| &one.entitlement).chain([entitlement]);
        require(self.overrides.len(), all.map(value_bytes).sum(), MOST_BYTES, "overrides")
    }

    pub(super) fn require_place_for_grant(&self, grant: &Grant) -> Result<(), Rejection> {
        if let Some(known) = self.too_many_credit_types(&grant.credit) {
            return Err(Rejection::TooMany(known, "credit types"));
        }
        let all = self.grants.iter().map(|state| &*state.grant).chain([grant]);
        require(self.live_grants(), all.map(grant_bytes).sum(), MOST_BYTES, "grants")
    }

    /// How many credit types there are, where this would be one too many.
    pub(super) fn too_many_credit_types(&self, credit: &CreditType) -> Option<usize> {
        let known = self.accounts.len();
        (known >= MOST_CREDIT_TYPES && !self.accounts.contains_key(credit)).then_some(known)
    }

    /// Whether a rating may draw its credit type.
    pub(super) fn require_place_for_credit(&self, credit: &CreditType) -> Result<(), Denied> {
        match self.too_many_credit_types(credit) {
            None => Ok(()),
            Some(_) => Err(Denied::InvalidDecision(format!("{credit} would be one credit type too many"))),
        }
    }

    pub(super) fn require_place_for_reservation(&self, usage: &Usage) -> Result<(), Rejection> {
        self.require_place_for_hold(usage_bytes(usage))
    }

    /// For a reservation or a lease whose own data takes so many bytes.
    pub(super) fn require_place_for_hold(&self, bytes: usize) -> Result<(), Rejection> {
        let bytes = self.reservations.bytes().saturating_add(bytes);
        require(self.reservations.len(), bytes, MOST_BYTES, "reservations")
    }

    pub(super) fn require_place_for_entity(&self, id: &Key, entity: &Entity) -> Result<(), Rejection> {
        let before = self.entities.get(id);
        let items = self.entities.len();
        if before.is_none() && items >= MOST_ENTITIES {
            return Err(Rejection::TooMany(items, "entities"));
        }
        let replaced = before.map_or(0, |before| before.bytes(id));
        let bytes = self.entities.bytes().saturating_sub(replaced).saturating_add(entity.bytes(id));
        let is_smaller = entity.bytes(id) <= replaced;
        if bytes > MOST_ENTITY_BYTES && !is_smaller {
            return Err(Rejection::TooLarge(MOST_ENTITY_BYTES, "entities"));
        }
        Ok(())
    }

    pub(super) fn require_place_for_budget(&self, id: &Key, budget: &Budget) -> Result<(), Rejection> {
        let before = self.budgets.get(id);
        let replaced = before.map_or(0, |before| before.budget.bytes(id));
        let bytes = self.budgets.bytes().saturating_sub(replaced).saturating_add(budget.bytes(id));
        let others = self.budgets.len().saturating_sub(usize::from(before.is_some()));
        require(others, bytes, MOST_BYTES, "budgets")
    }

    pub(super) fn require_place_for_add_on(
        &self,
        add_on: &Name,
        attachment: &Attachment,
    ) -> Result<(), Rejection> {
        let others = self.add_ons.iter().filter(|(name, _)| *name != add_on);
        let bytes = others.clone().map(|(_, state)| add_on_bytes(&state.attachment.sold));
        let bytes = bytes.chain([add_on_bytes(&attachment.sold)]).sum::<usize>();
        match others.count() {
            items if items >= MOST_ADD_ONS => {
                Err(Rejection::TooMany(items, "add-ons, those that ended included,"))
            }
            _ if bytes > MOST_BYTES => Err(Rejection::TooLarge(MOST_BYTES, "add-ons")),
            _ => Ok(()),
        }
    }

    /// Counting under a name or in a window that is new must not go on for ever.
    pub(super) fn require_place_for_counts(
        &self,
        counts: &[Count],
        budgets: &[BudgetCount],
    ) -> Result<(), Rejection> {
        let is_new = |count: &Count| !self.counters.has(&count.counter, count.window_id, &count.subject);
        if !counts.iter().any(is_new) && budgets.iter().all(|count| self.budgets.has(count)) {
            return Ok(());
        }
        let totals = self.counters.len().saturating_add(self.budgets.totals());
        if totals >= MOST_TOTALS { Err(Rejection::TooMany(totals, "totals of counters")) } else { Ok(()) }
    }
}

impl ReservationState {
    /// What its usage, or the lease, takes in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match &self.held_for {
            HeldFor::Usage { usage, .. } => usage_bytes(usage),
            HeldFor::Lease(lease) => lease.bytes(),
        }
    }
}

fn require(items: usize, bytes: usize, most_bytes: usize, kind: &'static str) -> Result<(), Rejection> {
    if items >= MOST_LIVE {
        Err(Rejection::TooMany(items, kind))
    } else if bytes > most_bytes {
        Err(Rejection::TooLarge(most_bytes, kind))
    } else {
        Ok(())
    }
}

fn usage_bytes(usage: &Usage) -> usize {
    let quantities = usage.quantities.iter().map(|(name, _)| name.len());
    let attributes = usage.attributes.iter().map(|(name, value)| name.len() + value.len());
    let ancestors = usage.ancestors.iter().map(|entity| entity.as_str().len());
    quantities.chain(attributes).chain(ancestors).sum()
}

pub(super) fn grant_bytes(grant: &Grant) -> usize {
    let features = grant.features.iter().map(|feature| feature.as_str().len());
    let metadata = grant.metadata.iter().map(|(name, value)| name.len() + value.len());
    features.chain(metadata).sum()
}

fn add_on_bytes(sold: &SoldAddOn) -> usize {
    let grants = sold.grants.iter().map(|grant| {
        let features = grant.features.iter().map(|feature| feature.as_str().len());
        features.sum::<usize>().saturating_add(grant.key.as_str().len())
    });
    let entitlements = sold
        .entitlements
        .iter()
        .map(|(feature, entitlement)| feature.as_str().len().saturating_add(value_bytes(entitlement)));
    grants.chain(entitlements).sum()
}

fn value_bytes(entitlement: &Entitlement) -> usize {
    match entitlement {
        Entitlement::Static { value } => json_bytes(value),
        Entitlement::Boolean { .. } | Entitlement::Metered {} => 0,
    }
}

/// About the length of the text; the tree takes a few times as much.
fn json_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_bytes).sum::<usize>().saturating_add(2),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| name.len() + json_bytes(value));
            fields.sum::<usize>().saturating_add(2)
        }
    }
}
