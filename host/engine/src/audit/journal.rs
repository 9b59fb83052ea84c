//! What was changed of a customer, read from its journal. What was there before is known by folding the journal up to the first
//! entry of a page.

use super::{AuditEntry, AuditFilter, AuditPage, CUSTOMER_KINDS, difference, without_internals};
use crate::{engine::Engine, error::EngineError, reads::parse};
use proviso_ledger::{
    fold::FoldError,
    journal::{AutoTopUpChanged, Entry, Event},
    model::{
        grant::CreditType,
        ids::{CustomerId, Seq},
    },
    state::{CustomerState, FORMAT},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Entries that are read at a time.
const PAGE: u32 = 500;
/// After so many entries a page ends, however few of them fit.
const MOST_READ: usize = 10_000;

impl Engine {
    /// A page of a customer's changes that are numbered below `before`.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn customer_audit(
        &self,
        customer: &CustomerId,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<AuditPage, EngineError> {
        self.state(customer).await?;
        let store = &self.shared.store;
        let first = match filter.from {
            Some(from) => store.seq_at(customer, from.plus_micros(-1)).await?,
            None => 0,
        };
        let last = match filter.to {
            Some(to) => Some(store.seq_at(customer, to.plus_micros(-1)).await?.saturating_add(1)),
            None => None,
        };
        let mut place = before.into_iter().chain(last).min();
        let (mut found, mut read, mut next_before) = (Vec::new(), 0_usize, None);
        'pages: loop {
            let page = store.entries_before(customer, place, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for stored in page {
                if stored.seq <= first {
                    break 'pages;
                }
                if found.len() >= limit as usize || read >= MOST_READ {
                    next_before = place;
                    break 'pages;
                }
                (place, read) = (Some(stored.seq), read.saturating_add(1));
                let entry = parse(customer, &stored)?;
                if fits(filter, &entry) {
                    found.push(entry);
                }
            }
            if is_last {
                break;
            }
        }
        let mut known = self.before_each(customer, &found).await?;
        let mut entries = Vec::with_capacity(found.len());
        for entry in found {
            let before = known.remove(&entry.seq);
            entries.push(told(customer, &entry, before)?);
        }
        Ok(AuditPage { entries, next_before })
    }

    /// What was there before the entries that change what was.
    async fn before_each(
        &self,
        customer: &CustomerId,
        entries: &[Entry],
    ) -> Result<BTreeMap<Seq, Value>, EngineError> {
        let mut before = BTreeMap::new();
        let changing: Vec<&Entry> = entries.iter().rev().filter(|entry| has_before(&entry.event)).collect();
        let (Some(first), Some(last)) = (changing.first(), changing.last()) else { return Ok(before) };
        let store = &self.shared.store;
        let saved = store.snapshot_before(customer, first.seq.saturating_sub(1), FORMAT).await?;
        // One that can't be read is folded anew: it is a cache.
        let saved = saved.and_then(|saved| serde_json::from_str(&saved.state).ok());
        let mut state = saved.unwrap_or_else(|| CustomerState::new(customer.clone()));
        let mut wanted = changing.iter().peekable();
        while state.seq < last.seq {
            let page = store.entries(customer, state.seq, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for stored in page.into_iter().take_while(|stored| stored.seq <= last.seq) {
                if let Some(entry) = wanted.next_if(|entry| entry.seq == stored.seq)
                    && let Some(value) = value_before(&state, &entry.event)?
                {
                    before.insert(entry.seq, value);
                }
                let damaged = |error: FoldError| EngineError::journal(customer, error);
                state.fold(stored.seq, &stored.body, &stored.hash).map_err(damaged)?;
            }
        }
        Ok(before)
    }
}

fn fits(filter: &AuditFilter, entry: &Entry) -> bool {
    let kind = entry.event.kind();
    let was_asked = match entry.event {
        Event::PeriodClosed(_) | Event::PeriodOpened(_) => entry.by.is_some(),
        _ => true,
    };
    was_asked
        && CUSTOMER_KINDS.contains(&kind)
        && filter.kind.as_ref().is_none_or(|wanted| wanted == kind)
        && filter.actor.as_ref().is_none_or(|actor| entry.by.as_ref() == Some(actor))
}

fn has_before(event: &Event) -> bool {
    matches!(
        event,
        Event::Configured(_)
            | Event::TermsEnded { .. }
            | Event::OverrideSet(_)
            | Event::OverrideRemoved { .. }
            | Event::PlanChangeCancelled { .. }
            | Event::AutoTopUpChanged(_)
            | Event::AutoTopUpRemoved { .. }
    )
}

fn value_before(state: &CustomerState, event: &Event) -> Result<Option<Value>, EngineError> {
    match event {
        Event::Configured(_) => state.profile.as_ref().map(value),
        Event::TermsEnded { id, .. } => {
            let terms = state.terms.iter().find(|terms| terms.key.id == *id);
            terms.map(|terms| Ok(json!({ "id": value(id)?, "ends_at": value(&terms.ends_at)? })))
        }
        Event::OverrideSet(exception) => {
            let mut of_feature = state.overrides.iter().filter(|one| one.feature == exception.feature);
            of_feature.next_back().map(value)
        }
        Event::OverrideRemoved { feature } => {
            let all: Vec<_> = state.overrides.iter().filter(|one| one.feature == *feature).collect();
            Some(Ok(json!({ "feature": feature, "overrides": value(&all)? })))
        }
        Event::PlanChangeCancelled { .. } => state.plan_change.as_ref().map(value),
        Event::AutoTopUpChanged(changed) => rule_before(state, &changed.credit),
        Event::AutoTopUpRemoved { credit } => rule_before(state, credit),
        _ => None,
    }
    .transpose()
}

/// The rule for the top-ups of a credit type.
fn rule_before(state: &CustomerState, credit: &CreditType) -> Option<Result<Value, EngineError>> {
    let rule = state.auto_top_ups.get(credit).map(|state| state.rule.clone())?;
    Some(value(&AutoTopUpChanged { credit: credit.clone(), new: false, rule }))
}

/// The change that an entry records.
fn told(customer: &CustomerId, entry: &Entry, before: Option<Value>) -> Result<AuditEntry, EngineError> {
    let event = value(&entry.event)?;
    let content = match event {
        Value::Object(fields) => fields.into_iter().next().map(|(_, content)| without_internals(content)),
        _ => None,
    };
    let (before, after) = match (&entry.event, before) {
        // Profiles are compared field by field.
        (Event::Configured(_), before) => {
            difference(before, content.and_then(|content| content.get("profile").cloned()))
        }
        (Event::AutoTopUpChanged(_), before) => difference(before, content),
        (
            Event::OverrideRemoved { .. }
            | Event::PlanChangeCancelled { .. }
            | Event::AutoTopUpRemoved { .. },
            before,
        ) => (before, None),
        (_, before) => (before, content),
    };
    Ok(AuditEntry {
        number: entry.seq,
        at: entry.at,
        actor: entry.by.as_ref().map(ToString::to_string),
        kind: entry.event.kind().to_owned(),
        subject: format!("customer/{customer}"),
        before,
        after,
    })
}

fn value(thing: &impl Serialize) -> Result<Value, EngineError> {
    serde_json::to_value(thing).map_err(|error| EngineError::Internal(error.to_string()))
}
