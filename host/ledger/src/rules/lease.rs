//! Leases: a tranche of credits is handed to a client, which decides about its usage by itself and reports it later. Opening and
//! extending hold credits that are available, never more; each usage that is settled bills, whatever has become of the lease;
//! what was not spent comes back when it is closed or its time runs out.

use super::{
    charge::{Decision, rated},
    draw::{Obligation, Use, draw_transfers},
    rejection::{Denied, Rejection},
    reservation::LONGEST_HOLD,
};
use crate::{
    journal::{BudgetCount, Charged, Draw, Event, Intent, LeaseEnded, LeaseExtended, LeaseOpened, Settled},
    model::{
        amounts::Credits,
        answers::Rating,
        budget::Measured,
        grant::CreditType,
        ids::{GrantId, Key, LeaseId},
        lease::Lease,
        time::Timestamp,
        transfer::{Book, Transfer},
        usage::Usage,
    },
    state::{BudgetState, CustomerState, Draft, HeldFor, ReservationState},
};
use std::collections::BTreeSet;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The credit type.
    pub credit: CreditType,
    /// How many credits, and for what.
    pub lease: Lease,
}

impl CustomerState {
    /// The entry that hands credits to a client until `expires_at`. Only what is available is handed out: no overage, no top-up.
    /// Until they are spent or come back they count as held, in hard budgets too.
    ///
    /// # Errors
    /// A closed customer; an amount that is out of range or not available; a hard budget that does not allow it; an expiry that is
    /// not ahead; too many reservations and leases.
    pub fn open_lease(
        &self,
        at: Timestamp,
        request: LeaseRequest,
        expires_at: Timestamp,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        let LeaseRequest { credit, lease } = request;
        if !lease.amount.is_positive() || !lease.amount.is_acceptable() {
            return Err(Rejection::AmountOutOfRange("amount"));
        }
        if expires_at <= at {
            return Err(Rejection::NotLater("expires_at", at));
        }
        self.require_place_for_hold(lease.bytes())?;
        let draws = self.tranche(at, &credit, &lease, lease.amount)?;
        let budgets = self.lease_counts(at, &credit, &lease);
        self.require_within_budgets(&budgets, at)?;
        self.require_place_for_counts(&[], &budgets)?;
        let id = LeaseId { entry: self.seq + 1, index: 0 };
        let transfers = draw_transfers(&credit, &draws, Book::Reserved(id.hold())).collect();
        let opened = LeaseOpened { credit: credit.clone(), lease, expires_at };
        Ok(Draft { budgets, ..Draft::moving(Event::LeaseOpened(Box::new(opened)), credit, transfers) })
    }

    /// An open lease with what it holds.
    ///
    /// # Errors
    /// One that ended, or never was.
    pub fn open_lease_of(&self, id: LeaseId) -> Result<(&Lease, &ReservationState), Rejection> {
        self.lease(id).ok_or({
            // Whether an entry of the past opened a lease is for the journal to say; numbers ahead never did.
            if id.entry <= self.seq && id.index == 0 {
                Rejection::LeaseClosed(id)
            } else {
                Rejection::LeaseNotFound(id)
            }
        })
    }

    /// A lease that is open.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<(&Lease, &ReservationState)> {
        let hold = self.reservations.get(&id.hold())?;
        match &hold.held_for {
            HeldFor::Lease(lease) => Some((lease, hold)),
            HeldFor::Usage { .. } => None,
        }
    }

    /// A lease that is open and pays usage of a feature.
    #[must_use]
    pub fn lease_for(&self, id: LeaseId, feature: &Key) -> Option<&ReservationState> {
        self.lease(id).filter(|(lease, _)| lease.covers(feature)).map(|(_, hold)| hold)
    }

    /// The entry that brings a lease to so many credits in all, and moves its end. Neither ever becomes less, so that extensions may
    /// be repeated and may come in any order.
    ///
    /// # Errors
    /// A lease that ended, or never was; else as [`open_lease`](Self::open_lease), for what is added; an end more than
    /// [`LONGEST_HOLD`] after the beginning.
    pub fn extend_lease(
        &self,
        at: Timestamp,
        id: LeaseId,
        amount: Option<Credits>,
        expires_at: Option<Timestamp>,
    ) -> Result<Draft, Rejection> {
        let (lease, hold) = self.open_lease_of(id)?;
        if amount.is_some_and(|amount| !amount.is_positive() || !amount.is_acceptable()) {
            return Err(Rejection::AmountOutOfRange("amount"));
        }
        let latest = hold.reserved_at.plus_micros(LONGEST_HOLD);
        if expires_at.is_some_and(|end| end > latest) {
            return Err(Rejection::LeaseTooLong(id, latest));
        }
        let amount = amount.map_or(lease.amount, |amount| amount.max(lease.amount));
        let expires_at = expires_at.map_or(hold.expires_at, |end| end.max(hold.expires_at));
        let more = amount.saturating_sub(lease.amount);
        let (mut draws, mut budgets) = (Vec::new(), Vec::new());
        if more.is_positive() {
            self.require_open()?;
            draws = self.tranche(at, &hold.credit, lease, more)?;
            // In the windows in which it holds already, of budgets that have counted since.
            let holds = hold
                .budgets
                .iter()
                .filter(|count| self.budgets.get(&count.budget).is_some_and(|state| state.since < id.entry));
            budgets = holds.map(|count| BudgetCount { add: more.decimal(), ..count.clone() }).collect();
            self.require_within_budgets(&budgets, at)?;
        }
        let credit = hold.credit.clone();
        let transfers = draw_transfers(&credit, &draws, Book::Reserved(id.hold())).collect();
        let drawn = lease.amount.saturating_sub(hold.held());
        let extended = LeaseExtended { lease: id, amount, drawn, expires_at };
        Ok(Draft { budgets, ..Draft::moving(Event::LeaseExtended(Box::new(extended)), credit, transfers) })
    }

    /// The entry that ends a lease: what was not spent comes back.
    ///
    /// # Errors
    /// A lease that ended, or never was.
    pub fn end_lease(&self, id: LeaseId, expired: bool) -> Result<Draft, Rejection> {
        let (lease, hold) = self.open_lease_of(id)?;
        let drawn = lease.amount.saturating_sub(hold.held());
        let ended = LeaseEnded { lease: id, expired, amount: lease.amount, drawn };
        Ok(self.close_hold(id.hold(), hold, Event::LeaseEnded(ended)))
    }

    /// By how much a cost exceeds what a lease pays of it and what else is available.
    #[must_use]
    pub fn settlement_shortfall(
        &self,
        id: LeaseId,
        usage: &Usage,
        rating: &Rating,
        at: Timestamp,
    ) -> Credits {
        let (_, drawn) = self.paid_by(id, usage, rating);
        let above = rating.cost.saturating_sub(drawn);
        self.shortfall(self.using(&rating.credit, usage, at), above)
    }

    /// The entry that charges a usage which a client let pass under a lease: out of the lease as far as it goes, then of what is
    /// available, the rest as the policy's answer funds it and else as overage. Under a lease that ended all is drawn so: what was
    /// used bills. Whoever asks has seen that there was such a lease.
    ///
    /// # Errors
    /// [`Denied::InvalidDecision`] for a rating that can't be carried out.
    pub fn settle(
        &self,
        at: Timestamp,
        id: LeaseId,
        usage: Usage,
        decision: Decision,
    ) -> Result<Draft, Denied> {
        let Decision { record, rating, overage, counters, settle_from, .. } = decision;
        self.require_place_for_credit(&rating.credit)?;
        let (taken, drawn) = self.paid_by(id, &usage, &rating);
        let above = rating.cost.saturating_sub(drawn);
        let using = self.using(&rating.credit, &usage, at);
        let funded = self.fund(using, &rating, above, overage.as_ref(), Obligation::Billed, settle_from);
        let funding = match funded {
            Ok(funding) => funding,
            Err(unfunded) => {
                return Err(self.unfunded(at, Intent::Settle(id), usage, rating, record, unfunded));
            }
        };
        let counts = self.counts(&counters, &usage, rating.cost, None);
        let paying = self.lease_for(id, &usage.feature).map(|_| id.hold());
        let budgets = self.budget_counts(&usage, &rating.credit, rating.cost, paying);
        let credit = rating.credit.clone();
        let mut transfers = Vec::with_capacity(2);
        if drawn.is_positive() {
            transfers.push(Transfer::new(&credit, Book::Reserved(id.hold()), Book::Spent, drawn));
        }
        transfers.extend(funding.transfers(&credit, Book::Spent));
        let ended = self.lease(id).is_none();
        let settled = Settled { lease: id, ended, taken, exceeded: funding.exceeded };
        let charged = Charged {
            late: self.late(&usage),
            usage,
            rated: rated(rating),
            decision: record,
            settled: Some(Box::new(settled)),
            top_up: funding.top_up(),
        };
        Ok(Draft { counts, budgets, ..Draft::moving(Event::Charged(Box::new(charged)), credit, transfers) })
    }

    /// What a lease pays of a cost, in the order in which it was drawn, of grants that the feature may draw; and the sum.
    fn paid_by(&self, id: LeaseId, usage: &Usage, rating: &Rating) -> (Vec<Draw>, Credits) {
        let mut taken: Vec<Draw> = Vec::new();
        let hold = self.lease_for(id, &usage.feature).filter(|hold| hold.credit == rating.credit);
        let mut left = rating.cost;
        for (grant, held) in hold.iter().flat_map(|hold| &hold.holds) {
            let amount = left.min(*held);
            let fits = |grant: GrantId| {
                self.grant(grant).is_some_and(|state| state.grant.covers(Some(&usage.feature)))
            };
            if !amount.is_positive() || !fits(*grant) {
                continue;
            }
            left = left.saturating_sub(amount);
            match taken.iter_mut().find(|draw| draw.grant == *grant) {
                Some(draw) => draw.amount = draw.amount.saturating_add(amount),
                None => taken.push(Draw { grant: *grant, amount }),
            }
        }
        let drawn = taken.iter().fold(Credits::ZERO, |sum, draw| sum.saturating_add(draw.amount));
        (taken, drawn)
    }

    /// The draws of so much for a lease: of grants that each of its features may draw.
    fn tranche(
        &self,
        at: Timestamp,
        credit: &CreditType,
        lease: &Lease,
        amount: Credits,
    ) -> Result<Vec<(Draw, bool)>, Rejection> {
        let covers_all = |features: &[Key], grant: &crate::model::grant::Grant| {
            features.iter().all(|feature| grant.covers(Some(feature)))
        };
        let others = self.grants.iter().filter(|state| !covers_all(&lease.features, &state.grant));
        let barred: BTreeSet<GrantId> = others.map(|state| state.grant.id).collect();
        let using =
            Use { credit, feature: lease.features.first(), occurred_at: at, now: at, barred: &barred };
        let (draws, missing) = self.draw(using, amount, &[]);
        if missing.is_zero() {
            return Ok(draws);
        }
        let available = self.available_to(using);
        Err(Rejection::LeaseExceedsAvailable { credit: credit.clone(), required: amount, available })
    }

    /// What a lease holds in the budgets in which usage under it may count, as far as that is known before: those of its entity, of
    /// who stands above it and of the whole customer, in credits of its type. What attributes and quantities usage will have is not.
    fn lease_counts(&self, at: Timestamp, credit: &CreditType, lease: &Lease) -> Vec<BudgetCount> {
        let ancestors = lease.entity.as_ref().map(|id| self.entities.ancestors(id)).unwrap_or_default();
        let may_count = |state: &BudgetState| {
            let features = &state.budget.features;
            matches!(&state.budget.measured, Measured::Credits(own) if own == credit)
                && (features.is_empty()
                    || lease.features.is_empty()
                    || features.iter().any(|feature| lease.features.contains(feature)))
        };
        let concerned = self.budgets.of_entities(lease.entity.iter().chain(&ancestors));
        let counts = concerned.filter(|(_, state)| may_count(state)).map(|(id, state)| BudgetCount {
            budget: id.clone(),
            window_id: self.budget_window(&state.budget, at),
            add: lease.amount.decimal(),
        });
        counts.collect()
    }

    fn require_within_budgets(&self, budgets: &[BudgetCount], at: Timestamp) -> Result<(), Rejection> {
        match self.exceeded(budgets, at) {
            None => Ok(()),
            Some(exceeded) => {
                let over = Box::new(exceeded.over);
                Err(Rejection::LeaseOverBudget { over, retry_at: exceeded.retry_at })
            }
        }
    }
}
