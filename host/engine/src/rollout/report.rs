//! The report on a canary: how it stands, what was counted, and every entry that it decided, in pages.

use super::{
    counts::{Counts, Decision, decided_by},
    watch::is_active,
};
use crate::{catalog::Catalog, engine::Engine, error::EngineError, reads::parse, shadow_report::ReportPlace};
use proviso_decide::{DecideError, catalog::Plans as _};
use proviso_ledger::{
    journal::Entry,
    model::{
        amounts::Credits,
        grant::CreditType,
        ids::{CustomerId, Key, Name, Seq, TermsId},
        terms::{self, Terms, TermsKey},
        time::Timestamp,
    },
};
use std::sync::Arc;

/// Entries that are read at a time.
const PAGE: u32 = 500;
/// After so many entries a page ends...
const MOST_READ: u64 = 20_000;
/// ...where a customer counts as so many by itself.
const READ_BY_CUSTOMER: u64 = 20;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 200;

/// How a canary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutState {
    /// It takes effect later.
    Scheduled,
    /// It decides for its share.
    Running,
    /// It decides for all.
    Complete,
    /// Terms that took effect later decide in its place.
    Superseded,
    /// It was given an end, which has come.
    Ended,
    /// A limit was passed, and the host ended it.
    RolledBack,
}

impl RolloutState {
    /// Of terms that are a canary, at `now`.
    #[must_use]
    pub fn of(terms: &Terms, all: &[Arc<Terms>], now: Timestamp) -> Self {
        let later =
            |other: &Arc<Terms>| (other.effective_at, other.key.id) > (terms.effective_at, terms.key.id);
        if terms.is_rolled_back(now) {
            Self::RolledBack
        } else if now < terms.effective_at && terms.ends_at.is_none_or(|end| end > terms.effective_at) {
            Self::Scheduled
        } else if !terms.covers(now) {
            Self::Ended
        } else if terms::in_force(all, now).is_some_and(later) {
            Self::Superseded
        } else if terms.is_for_all(now) {
            Self::Complete
        } else {
            Self::Running
        }
    }
}

/// An entry that a canary was to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// Whose.
    pub customer: CustomerId,
    /// Its number.
    pub entry: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// The kind of event.
    pub kind: &'static str,
    /// The feature that was used.
    pub feature: Option<Key>,
    /// In which credit type, where it is about usage.
    pub credit: Option<CreditType>,
    /// What it came to; none where it was not compared.
    pub cost: Option<Credits>,
    /// What the replaced terms made of it.
    pub replaced_cost: Option<Credits>,
    /// The fault of the canary's policy.
    pub fault: Option<String>,
}

/// A page of a report.
#[derive(Debug)]
pub struct Rollout {
    /// The canary.
    pub terms: Arc<Terms>,
    /// How it stands.
    pub state: RolloutState,
    /// What decides for the plan's other customers.
    pub replaces: Option<TermsKey>,
    /// What all hosts counted.
    pub counts: Counts,
    /// Entries that it was to decide, by customer and number.
    pub affected: Vec<Affected>,
    /// Where the next page begins; none on the last.
    pub next: Option<ReportPlace>,
}

/// What a page takes in.
struct Reading<'a> {
    catalog: &'a Catalog,
    terms: &'a Terms,
    most: usize,
    read: u64,
    affected: Vec<Affected>,
    next: Option<ReportPlace>,
}

impl Reading<'_> {
    fn is_full(&self) -> bool {
        self.read >= MOST_READ || self.affected.len() >= self.most
    }

    fn take(&mut self, customer: &CustomerId, entry: &Entry) {
        let Some(record) = entry.decision().filter(|record| *decided_by(record) == self.terms.key) else {
            return;
        };
        let decision = Decision::of(entry, record, |key| is_active(self.catalog, key));
        let (credit, costs) = match decision.compared {
            Some((credit, cost, replaced)) => (credit, Some((cost, replaced))),
            None => (None, None),
        };
        self.affected.push(Affected {
            customer: customer.clone(),
            entry: entry.seq,
            at: entry.at,
            kind: entry.event.kind(),
            feature: entry.event.feature().cloned(),
            credit,
            cost: costs.map(|(cost, _)| cost),
            replaced_cost: costs.map(|(_, replaced)| replaced),
            fault: record.fault.as_ref().map(|fault| fault.code.clone()),
        });
    }
}

impl Engine {
    /// A page of the report on a plan's canary: up to `most` entries after a place.
    ///
    /// # Errors
    /// An unknown plan; unknown terms, or none of a canary; a damaged journal, or the store's.
    pub async fn rollout(
        &self,
        plan: &Name,
        id: TermsId,
        most: usize,
        after: Option<ReportPlace>,
    ) -> Result<Rollout, EngineError> {
        let (catalog, now) = (self.catalog(), self.clock().now());
        if !catalog.plans.contains_key(plan) {
            return Err(DecideError::PlanNotFound(plan.clone()).into());
        }
        let all = catalog.terms_of(plan);
        let terms = all.iter().find(|terms| terms.key.id == id).ok_or(EngineError::TermsNotFound)?.clone();
        let canary = terms.canary.as_ref().ok_or(EngineError::NotACanary)?;
        let share = canary.share();
        self.shared.store_rollout_counts(&terms.key).await?;
        let counts = self.shared.rollout_counts(&terms.key, now, None).await?;
        let mut reading =
            Reading { catalog: &catalog, terms: &terms, most, read: 0, affected: Vec::new(), next: None };
        let mut last = after.as_ref().map(|place| place.customer.clone());
        if let Some(ReportPlace { customer, seq }) = after {
            self.read_affected(&mut reading, &customer, seq).await?;
        }
        let mut has_more = true;
        while has_more && reading.next.is_none() && !reading.is_full() {
            let customers = self.shared.store.customers(last.as_ref(), CUSTOMERS).await?;
            has_more = customers.len() >= CUSTOMERS as usize;
            for row in customers {
                if reading.is_full() || reading.next.is_some() {
                    has_more = true;
                    break;
                }
                // Which customers the plan had at some time is known by their journals alone.
                if share.holds(&terms.key, &row.customer) {
                    reading.read = reading.read.saturating_add(READ_BY_CUSTOMER);
                    self.read_affected(&mut reading, &row.customer, 0).await?;
                }
                last = Some(row.customer);
            }
        }
        let next = match reading.next {
            None if has_more => last.map(|customer| ReportPlace { customer, seq: Seq::MAX }),
            next => next,
        };
        let affected = reading.affected;
        Ok(Rollout {
            state: RolloutState::of(&terms, all, now),
            replaces: terms::in_force(all, now)
                .filter(|other| other.key != terms.key)
                .map(|one| one.key.clone()),
            counts,
            affected,
            next,
            terms,
        })
    }

    /// Takes a customer's entries in after one, until the page is full.
    async fn read_affected(
        &self,
        reading: &mut Reading<'_>,
        customer: &CustomerId,
        after: Seq,
    ) -> Result<(), EngineError> {
        let store = &self.shared.store;
        let first = store.seq_at(customer, reading.terms.effective_at.plus_micros(-1)).await?;
        let mut place = after.max(first);
        loop {
            let page = store.entries(customer, place, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for stored in page {
                if reading.is_full() {
                    reading.next = Some(ReportPlace { customer: customer.clone(), seq: place });
                    return Ok(());
                }
                reading.read = reading.read.saturating_add(1);
                place = stored.seq;
                reading.take(customer, &parse(customer, &stored)?);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
