//! Add-ons: what they give when they are attached or changed, and with each cycle of theirs.
//!
//! Each add-on has a cycle of its own, counted from its start. *Attaching and detaching never creates credits*: within a cycle it gives
//! at most what its largest quantity gives once, since what exceeds that which the cycle has seen is all that is given; and a
//! one-time grant gives at most what its largest quantity ever gives. A customer that takes an add-on again while its last cycle
//! would still go on goes on with that cycle.

use super::{
    grants::{GrantRequest, GrantTerms},
    rejection::Rejection,
};
use crate::{
    journal::{AddOnChanged, AddOnEnded, AddOnGiven, AddOnGiving, Event, Given},
    model::{
        add_on::{AddOnCycle, Attachment},
        amounts::{Credits, Rounding},
        grant::{CreditType, Grant},
        ids::{Key, Name},
        period::Interval,
        plan_grant::{PlanExpiry, PlanGrant, Recurrence},
        time::Timestamp,
        transfer::{Book, Transfer},
        view::Expiry,
    },
    state::{AddOnState, CustomerState, Draft, GrantState},
};
use std::collections::BTreeMap;

/// The name in a grant's metadata of the add-on that gave it.
const BY: &str = "add_on";
/// And of which of its grants it is.
const GRANT: &str = "add_on_grant";

impl CustomerState {
    /// The entry that attaches an add-on or changes it. What is due of it by `at` is given in the same entry.
    ///
    /// # Errors
    /// A closed customer; a start in the past, or another one for what has begun; an end that is not ahead; amounts out of range; too
    /// many add-ons or grants.
    pub fn set_add_on(
        &self,
        at: Timestamp,
        add_on: Name,
        attachment: Attachment,
        terms: &GrantTerms,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        let before = self.add_on(&add_on, at);
        match before.filter(|before| before.attachment.starts_at <= at) {
            Some(begun) if begun.attachment.starts_at != attachment.starts_at => {
                return Err(Rejection::AddOnBegun);
            }
            None if attachment.starts_at < at => return Err(Rejection::NotLater("starts_at", at)),
            _ => {}
        }
        let earliest_end = attachment.starts_at.max(at);
        if attachment.ends_at.is_some_and(|end| end <= earliest_end) {
            return Err(Rejection::NotLater("ends_at", earliest_end));
        }
        for grant in &attachment.sold.grants {
            let amount = grant.amount.repeated(attachment.quantity.into()).ok();
            let cost = grant.cost_basis.map(|cost| cost.repeated(attachment.quantity.into()));
            if amount.is_none_or(|amount| !amount.is_acceptable()) || cost.is_some_and(|cost| cost.is_err()) {
                return Err(Rejection::AmountOutOfRange("quantity"));
            }
        }
        self.require_place_for_add_on(&add_on, &attachment)?;
        let new = before.is_none();
        let (giving, transfers) = self.add_on_giving(at, &add_on, &attachment, terms)?;
        for grant in &giving.grants {
            self.check_grant(grant, at)?;
        }
        let credit = giving.grants.first().map(|grant| grant.credit.clone());
        let event = Event::AddOnChanged(Box::new(AddOnChanged { add_on, new, attachment, giving }));
        Ok(Draft { transfers, credit, ..Draft::new(event) })
    }

    /// The entry for what the first add-on gives that is due; none when none is.
    ///
    /// # Errors
    /// None that time itself could bring.
    pub fn due_add_on(&self, at: Timestamp, terms: &GrantTerms) -> Result<Option<Draft>, Rejection> {
        let Some((_, add_on)) = self.next_add_on() else { return Ok(None) };
        self.renew_add_on(at, add_on.clone(), terms).map(Some)
    }

    /// The entry for what an add-on gives that is due.
    ///
    /// # Errors
    /// An add-on that the customer never had.
    pub fn renew_add_on(&self, at: Timestamp, add_on: Name, terms: &GrantTerms) -> Result<Draft, Rejection> {
        let state = self.add_ons.get(&add_on).ok_or_else(|| Rejection::AddOnNotAttached(add_on.clone()))?;
        let (giving, transfers) = self.add_on_giving(at, &add_on, &state.attachment, terms)?;
        let credit = giving.grants.first().map(|grant| grant.credit.clone());
        let event = Event::AddOnGiven(Box::new(AddOnGiven { add_on, giving }));
        Ok(Draft { transfers, credit, ..Draft::new(event) })
    }

    /// The entry that takes an add-on away. What it has given lives on until its own end, unless it is to be voided; what is
    /// spent of it stays spent.
    ///
    /// # Errors
    /// A closed customer; an add-on that the customer does not have.
    pub fn end_add_on(&self, at: Timestamp, add_on: Name, void: bool) -> Result<Draft, Rejection> {
        self.require_open()?;
        if self.add_on(&add_on, at).is_none() {
            return Err(Rejection::AddOnNotAttached(add_on));
        }
        let is_of = |(name, value): &(String, String)| name == BY && *value == *add_on.as_str();
        let ends = |state: &GrantState| void && state.grant.metadata.iter().any(is_of);
        let event = |voided| Event::AddOnEnded(AddOnEnded { add_on: add_on.clone(), voided });
        Ok(self.end_live(ends, Book::Voided, event))
    }

    /// What an attachment gives at `at`, and when it gives next.
    fn add_on_giving(
        &self,
        at: Timestamp,
        add_on: &Name,
        attachment: &Attachment,
        terms: &GrantTerms,
    ) -> Result<(AddOnGiving, Vec<Transfer>), Rejection> {
        let known = self.add_ons.get(add_on);
        let once = known.map(|state| state.once.clone()).unwrap_or_default();
        let running = known.and_then(|state| state.cycle).filter(|cycle| cycle.end > at);
        let given_before = known.filter(|_| running.is_some()).map(|state| state.given.clone());
        if attachment.starts_at > at {
            // The cycle that runs is kept: it counts should this start within it.
            let given = given_before.unwrap_or_default();
            let next_at = Some(attachment.starts_at);
            let giving = AddOnGiving { cycle: running, grants: Vec::new(), given, once, next_at };
            return Ok((giving, Vec::new()));
        }
        let interval = attachment.sold.interval;
        let cycle = running.or_else(|| self.next_cycle_of(known, interval?, attachment, at));
        let mut tally = Tally {
            given: given_before.unwrap_or_default(),
            covered: BTreeMap::new(),
            once,
            paid: BTreeMap::new(),
            grants: Vec::new(),
            transfers: Vec::new(),
        };
        for own in &attachment.sold.grants {
            let whole = own.amount.repeated(attachment.quantity.into());
            let whole = whole.map_err(|_| Rejection::AmountOutOfRange("quantity"))?;
            let amount = match own.recurrence {
                Recurrence::Period if cycle.is_none() => continue,
                Recurrence::Period | Recurrence::Trial => tally.exceeding(&own.credit, whole),
                Recurrence::Once => tally.exceeding_once(&own.key, whole),
            };
            if amount.is_positive() {
                let request = self.add_on_request(at, add_on, own, amount, attachment.quantity, cycle)?;
                self.add_on_grant(at, request, terms, &mut tally)?;
            }
        }
        tally.settle();
        let gives_again = attachment.sold.grants.iter().any(|own| own.recurrence == Recurrence::Period);
        let next_at = cycle.filter(|_| gives_again && interval.is_some()).map(|cycle| cycle.end);
        let next_at = next_at.filter(|next_at| attachment.ends_at.is_none_or(|end| *next_at < end));
        let Tally { given, once, grants, transfers, .. } = tally;
        Ok((AddOnGiving { cycle, grants, given, once, next_at }, transfers))
    }

    /// The cycle that begins at `at`: the next one of the cycle that ends there, else a first one.
    fn next_cycle_of(
        &self,
        known: Option<&AddOnState>,
        interval: Interval,
        attachment: &Attachment,
        at: Timestamp,
    ) -> Option<AddOnCycle> {
        let goes_on =
            |cycle: &AddOnCycle| cycle.end == at && cycle.interval == interval && attachment.starts_at < at;
        match known.and_then(|state| state.cycle).filter(goes_on) {
            Some(last) => last.next(self.zone()),
            None => AddOnCycle::first(interval, at, self.zone()),
        }
    }

    fn add_on_request(
        &self,
        at: Timestamp,
        add_on: &Name,
        own: &PlanGrant,
        amount: Credits,
        quantity: u32,
        cycle: Option<AddOnCycle>,
    ) -> Result<GrantRequest, Rejection> {
        let out_of_range = |_| Rejection::AmountOutOfRange("quantity");
        let whole = own.amount.repeated(quantity.into()).map_err(out_of_range)?;
        let cost = own.cost_basis.map(|cost| cost.repeated(quantity.into())).transpose();
        let cost = cost.map_err(out_of_range)?;
        let share = cost.map(|cost| cost.share(amount, whole, Rounding::HalfUp)).transpose();
        let expires = match (own.expires, cycle) {
            (PlanExpiry::WithPeriod(0), Some(cycle)) => Expiry { at: Some(cycle.end), with_period: None },
            (PlanExpiry::WithPeriod(n), Some(cycle)) => {
                let later = cycle.boundary_after(n, self.zone());
                // Beyond the calendar's end is never.
                Expiry { at: later.map(|later| later.max(cycle.end)), with_period: None }
            }
            // One without a cycle has no end of one.
            (PlanExpiry::WithPeriod(_), None) => Expiry::default(),
            (expires, _) => expires.of(at, &self.zone()),
        };
        Ok(GrantRequest {
            credit: own.credit.clone(),
            amount,
            category: own.category,
            priority: own.priority,
            effective_at: None,
            expires,
            features: own.features.clone(),
            cost_basis: share.map_err(out_of_range)?,
            metadata: vec![(BY.to_owned(), add_on.to_string()), (GRANT.to_owned(), own.key.to_string())],
        })
    }

    fn add_on_grant(
        &self,
        at: Timestamp,
        request: GrantRequest,
        terms: &GrantTerms,
        tally: &mut Tally,
    ) -> Result<(), Rejection> {
        let index = u32::try_from(tally.grants.len()).unwrap_or(u32::MAX);
        let paid = tally.paid.entry(request.credit.clone()).or_default();
        let (grant, transfers) = self.granting_nth(at, (index, *paid), request, terms)?;
        let pays = transfers.iter().filter(|transfer| transfer.to == Book::Overage);
        *paid = pays.fold(*paid, |sum, transfer| sum.saturating_add(transfer.amount));
        tally.grants.push(grant);
        tally.transfers.extend(transfers);
        Ok(())
    }
}

/// What an add-on has given, while it gives more.
struct Tally {
    /// In the cycle, before this entry and then with it.
    given: Vec<Given>,
    /// Of what the cycle has seen of a credit type, so much stands for grants that were looked at.
    covered: BTreeMap<CreditType, Credits>,
    once: Vec<(Key, Credits)>,
    /// What of the entry's grants paid outstanding overage.
    paid: BTreeMap<CreditType, Credits>,
    grants: Vec<Grant>,
    transfers: Vec<Transfer>,
}

impl Tally {
    /// What of a cycle's grant exceeds that which the cycle has seen of its credit type.
    fn exceeding(&mut self, credit: &CreditType, whole: Credits) -> Credits {
        let seen = self.given.iter().find(|given| given.credit == *credit);
        let seen = seen.map_or(Credits::ZERO, |given| given.amount);
        let covered = self.covered.entry(credit.clone()).or_default();
        // Grants before it may be more than the cycle has seen.
        let stands = seen.saturating_sub(*covered).max(Credits::ZERO).min(whole);
        *covered = covered.saturating_add(whole);
        whole.saturating_sub(stands)
    }

    /// What of a one-time grant exceeds that which it has ever given.
    fn exceeding_once(&mut self, key: &Key, whole: Credits) -> Credits {
        match self.once.iter_mut().find(|(known, _)| known == key) {
            Some((_, given)) => {
                let exceeds = whole.saturating_sub(*given);
                *given = whole.max(*given);
                if exceeds.is_negative() { Credits::ZERO } else { exceeds }
            }
            None => {
                self.once.push((key.clone(), whole));
                whole
            }
        }
    }

    /// What the cycle has seen by now: the most of each credit type.
    fn settle(&mut self) {
        for (credit, whole) in std::mem::take(&mut self.covered) {
            match self.given.iter_mut().find(|given| given.credit == credit) {
                Some(given) => given.amount = given.amount.max(whole),
                None => self.given.push(Given { credit, amount: whole }),
            }
        }
    }
}
