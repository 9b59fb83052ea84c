//! What a shadow would have changed: its recorded decisions beside the real ones, added up. Read from the journals in pages;
//! what pages say adds up to the whole.

use crate::{engine::Engine, error::EngineError, reads::parse};
use proviso_decide::{DecideError, catalog::Plans as _};
use proviso_ledger::{
    journal::{Entry, Event, ShadowRecord},
    model::{
        amounts::Credits,
        grant::CreditType,
        ids::{CustomerId, Key, Name, Seq, TermsId},
        terms::{Mode, Owner, Terms, TermsKey},
        time::Timestamp,
    },
};
use std::{collections::BTreeMap, fmt, ops::Range, str::FromStr, sync::Arc};

/// Entries that are read at a time.
const PAGE: u32 = 500;
/// After so many entries a page of a report ends...
const MOST_READ: u64 = 20_000;
/// ...where a customer counts as so many by itself.
const READ_BY_CUSTOMER: u64 = 20;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 100;
/// After so many groups a page ends.
const MOST_GROUPS: usize = 1_000;
/// The most examples of a page.
const MOST_EXAMPLES: usize = 20;

/// Decisions that were compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// How many.
    pub decisions: u64,
    /// How many of them differ in credits or outcome.
    pub differ: u64,
    /// How many the shadow alone refused, or failed at.
    pub refused: u64,
    /// How many the shadow alone would have priced where the real policy refused.
    pub allowed: u64,
    /// What they came to.
    pub cost: Credits,
    /// What the shadow made of those.
    pub shadow_cost: Credits,
    /// By how much the shadow was above, where it was.
    pub more: Credits,
    /// By how much the shadow was below, where it was.
    pub less: Credits,
}

/// What decisions have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShadowOf {
    /// Usage of a feature, in a credit type.
    Usage(Key, CreditType),
    /// What the ends of periods carried over.
    Closings,
    /// What the beginnings of periods issued.
    Openings,
}

/// A decision that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Whose.
    pub customer: CustomerId,
    /// The entry that records both.
    pub entry: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// The kind of event.
    pub kind: &'static str,
    /// The feature that was used.
    pub feature: Option<Key>,
    /// What it came to; none when it was refused without a price.
    pub cost: Option<Credits>,
    /// The code of its refusal.
    pub code: Option<String>,
    /// What the shadow made of it; none when it refused or failed.
    pub shadow_cost: Option<Credits>,
    /// The code of the shadow's refusal or fault.
    pub shadow_code: Option<String>,
}

impl Example {
    /// How many credits it is about.
    fn size(&self) -> Credits {
        let (real, shadow) = (self.cost.unwrap_or(Credits::ZERO), self.shadow_cost.unwrap_or(Credits::ZERO));
        real.saturating_sub(shadow).checked_abs().unwrap_or(Credits::ZERO)
    }
}

/// Where a page of a plan's report ended: after this entry of this customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPlace {
    /// Whose journal.
    pub customer: CustomerId,
    /// The last entry that was read.
    pub seq: Seq,
}

impl fmt::Display for ReportPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seq, self.customer)
    }
}

impl FromStr for ReportPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (seq, customer) = text.split_once(' ').ok_or(())?;
        Ok(Self { customer: customer.parse().map_err(drop)?, seq: seq.parse().map_err(drop)? })
    }
}

/// A page of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowReport {
    /// The shadow.
    pub terms: TermsKey,
    /// Which entries are looked at, by when they were accepted.
    pub range: Range<Timestamp>,
    /// By what the decisions are about.
    pub groups: BTreeMap<ShadowOf, Compared>,
    /// Those that differ most, largest first.
    pub examples: Vec<Example>,
    /// Entries that were read.
    pub read: u64,
    /// Where the next page begins; none on the last.
    pub next: Option<ReportPlace>,
}

impl ShadowReport {
    fn take(&mut self, customer: &CustomerId, entry: &Entry) {
        let shadows = entry.decision().map_or(&[][..], |decision| &decision.shadows);
        let Some(shadow) = shadows.iter().find(|shadow| shadow.terms == self.terms) else { return };
        let Some(real) = Real::of(entry) else { return };
        let group = self.groups.entry(real.subject.clone()).or_default();
        if !group.add(&real, shadow) {
            return;
        }
        let example = Example {
            customer: customer.clone(),
            entry: entry.seq,
            at: entry.at,
            kind: entry.event.kind(),
            feature: entry.event.feature().cloned(),
            cost: real.cost,
            code: real.code.map(str::to_owned),
            shadow_cost: shadow.cost,
            shadow_code: shadow.code.clone(),
        };
        let place = self.examples.partition_point(|other| other.size() >= example.size());
        if place < MOST_EXAMPLES {
            self.examples.insert(place, example);
            self.examples.truncate(MOST_EXAMPLES);
        }
    }

    fn is_full(&self) -> bool {
        self.read >= MOST_READ || self.groups.len() >= MOST_GROUPS
    }
}

/// What a real decision came to.
pub(crate) struct Real<'a> {
    pub subject: ShadowOf,
    pub cost: Option<Credits>,
    code: Option<&'a str>,
    /// Whether the cost was billed by this entry: not what was only held or refused, since a commit bills that.
    counts: bool,
}

impl<'a> Real<'a> {
    pub fn of(entry: &'a Entry) -> Option<Self> {
        let usage = |feature: &Key, credit: &CreditType| ShadowOf::Usage(feature.clone(), credit.clone());
        let plain = |subject, cost, counts| Self { subject, cost: Some(cost), code: None, counts };
        let sum = |amounts: &mut dyn Iterator<Item = Credits>| {
            amounts.fold(Credits::ZERO, |sum, amount| sum.saturating_add(amount))
        };
        Some(match &entry.event {
            Event::Charged(one) => plain(usage(&one.usage.feature, &one.rated.credit), one.rated.cost, true),
            Event::Committed(one) => {
                plain(usage(&one.usage.feature, &one.rated.credit), one.rated.cost, true)
            }
            Event::Reserved(one) => {
                plain(usage(&one.usage.feature, &one.rated.credit), one.rated.cost, false)
            }
            Event::Refused(one) => Self {
                subject: usage(&one.usage.feature, &one.credit),
                cost: one.rated.as_ref().map(|rated| rated.cost),
                code: Some(&one.code),
                counts: false,
            },
            Event::PeriodClosed(one) => {
                let carried = sum(&mut one.grants.iter().map(|grant| grant.amount));
                plain(ShadowOf::Closings, carried, true)
            }
            Event::PeriodOpened(one) => {
                // As the policy issued it: before what was given in the cycle was taken off.
                let extras = one.grants.iter().filter(|grant| one.extras.contains(&grant.id));
                let mut issued =
                    one.whole.iter().map(|given| given.amount).chain(extras.map(|grant| grant.amount));
                plain(ShadowOf::Openings, sum(&mut issued), true)
            }
            _ => return None,
        })
    }
}

impl Compared {
    /// Adds one decision; true when it differs.
    fn add(&mut self, real: &Real<'_>, shadow: &ShadowRecord) -> bool {
        self.decisions = self.decisions.saturating_add(1);
        let differs = match (real.cost, shadow.cost) {
            (Some(cost), Some(shadow_cost)) => {
                if real.counts {
                    self.cost = self.cost.saturating_add(cost);
                    self.shadow_cost = self.shadow_cost.saturating_add(shadow_cost);
                    let above = shadow_cost.saturating_sub(cost);
                    if above.is_negative() {
                        self.less = self.less.saturating_sub(above);
                    } else {
                        self.more = self.more.saturating_add(above);
                    }
                }
                cost != shadow_cost
            }
            (Some(_), None) => {
                self.refused = self.refused.saturating_add(1);
                true
            }
            (None, Some(_)) => {
                self.allowed = self.allowed.saturating_add(1);
                true
            }
            (None, None) => real.code != shadow.code.as_deref(),
        };
        self.differ = self.differ.saturating_add(u64::from(differs));
        differs
    }
}

impl Engine {
    /// What a customer's own shadow would have changed in what was accepted from `from` (none: when it took effect) until `to`
    /// (none: now), after entry `after`.
    ///
    /// # Errors
    /// An unknown customer; unknown terms, or terms that decide; a damaged journal, or the store's.
    pub async fn customer_shadow_report(
        &self,
        customer: &CustomerId,
        id: TermsId,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        after: Option<Seq>,
    ) -> Result<ShadowReport, EngineError> {
        let state = self.state(customer).await?;
        let mut report = self.begin_report(&state.terms, id, from, to)?;
        debug_assert_eq!(report.terms.owner, Owner::Customer);
        self.report_customer(&mut report, customer, after.unwrap_or(0)).await?;
        Ok(report)
    }

    /// What a plan's shadow would have changed for all its customers, after a place.
    ///
    /// # Errors
    /// An unknown plan; unknown terms, or terms that decide; a damaged journal, or the store's.
    pub async fn plan_shadow_report(
        &self,
        plan: &Name,
        id: TermsId,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        after: Option<ReportPlace>,
    ) -> Result<ShadowReport, EngineError> {
        let catalog = self.catalog();
        if !catalog.plans.contains_key(plan) {
            return Err(DecideError::PlanNotFound(plan.clone()).into());
        }
        let mut report = self.begin_report(catalog.terms_of(plan), id, from, to)?;
        let mut last = after.as_ref().map(|place| place.customer.clone());
        if let Some(ReportPlace { customer, seq }) = after {
            self.report_customer(&mut report, &customer, seq).await?;
        }
        // Which customers the plan had at some time is known by their journals alone.
        while !report.is_full() && report.next.is_none() {
            let customers = self.shared.store.customers(last.as_ref(), CUSTOMERS).await?;
            for row in &customers {
                report.read = report.read.saturating_add(READ_BY_CUSTOMER);
                self.report_customer(&mut report, &row.customer, 0).await?;
                last = Some(row.customer.clone());
                if report.is_full() || report.next.is_some() {
                    break;
                }
            }
            if customers.len() < CUSTOMERS as usize && !report.is_full() {
                return Ok(report);
            }
        }
        if report.next.is_none() {
            report.next = last.map(|customer| ReportPlace { customer, seq: Seq::MAX });
        }
        Ok(report)
    }

    fn begin_report(
        &self,
        all: &[Arc<Terms>],
        id: TermsId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<ShadowReport, EngineError> {
        let terms = all.iter().find(|terms| terms.key.id == id).ok_or(EngineError::TermsNotFound)?;
        if terms.mode != Mode::Shadow {
            return Err(EngineError::NotAShadow);
        }
        let from = from.unwrap_or(terms.effective_at);
        Ok(ShadowReport {
            terms: terms.key.clone(),
            range: from..to.unwrap_or_else(|| self.clock().now().plus_micros(1)),
            groups: BTreeMap::new(),
            examples: Vec::new(),
            read: 0,
            next: None,
        })
    }

    /// Takes a customer's entries in after one, until the page is full.
    async fn report_customer(
        &self,
        report: &mut ShadowReport,
        customer: &CustomerId,
        after: Seq,
    ) -> Result<(), EngineError> {
        let store = &self.shared.store;
        let first = store.seq_at(customer, report.range.start.plus_micros(-1)).await?;
        let mut place = after.max(first);
        loop {
            let page = store.entries(customer, place, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for stored in page {
                if stored.at >= report.range.end {
                    return Ok(());
                }
                if report.is_full() {
                    report.next = Some(ReportPlace { customer: customer.clone(), seq: place });
                    return Ok(());
                }
                report.read = report.read.saturating_add(1);
                place = stored.seq;
                report.take(customer, &parse(customer, &stored)?);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
