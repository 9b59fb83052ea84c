//! A customer twice: as recorded, and as it would be under other terms. Both begin as one state; each recorded entry is taken into
//! the one, and asked of the other.

use super::{
    report::{Answer, Cell, Change, CustomerReport, Left, RowKey},
    substitute::Substitute,
};
use crate::{
    DecideError, Decider, Journal, Stop, catalog::Plans, policy::Policies, replay::history::History,
};
use proviso_ledger::{
    fold::FoldError,
    journal::{
        DecisionRecord, Entry, Event, GrantImported, Intent, LeaseOpened, OverageImported, Refunded,
        RefusalsRepeated,
    },
    model::{
        amounts::Credits,
        grant::Grant,
        ids::{ChargeId, Digest, GrantId, LeaseId, Name, ReservationId, Seq},
        terms::TermsKey,
        time::Timestamp,
        view::Expiry,
    },
    rules::{
        due::Due,
        grants::GrantRequest,
        importing::{ImportOrigin, ImportedGrant},
        lease::LeaseRequest,
        refund::{Portion, RefundRequest, Refundable},
        rejection::Rejection,
    },
    state::{CustomerState, Draft, LATE_WINDOW, Origin},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

/// What keeps a twin from going on.
#[derive(Debug)]
pub enum Halt {
    /// This module must be loaded first; then the same entry again.
    Need(Digest),
    /// The journal can't be followed any further.
    Damaged(String),
}

/// A charge of the twin that a later entry refunds.
struct Kept {
    charge: Arc<Entry>,
    reserved: Option<Arc<Entry>>,
    last: Option<Arc<Entry>>,
    grants: Vec<Grant>,
}

/// The newest refusals whose repeats may still be counted: more than one customer has open at once.
const MOST_REFUSALS: usize = 256;

/// The lease that a usage is settled under which the twin has none for: no entry has that number.
const NO_LEASE: LeaseId = LeaseId { entry: 0, index: 0 };

/// A recorded refusal.
struct Refusal {
    seq: Seq,
    row: RowKey,
    /// Whether the candidate answers otherwise.
    differs: bool,
}

/// A customer twice.
pub struct Twin<'a> {
    history: &'a History,
    substitute: &'a Substitute,
    recorded: CustomerState,
    candidate: CustomerState,
    /// The twin's ids of what was made since they began, where they differ or may.
    reservations: HashMap<ReservationId, Option<ReservationId>>,
    grants: HashMap<GrantId, GrantId>,
    /// Charges, and the reservations of commits, that are refunded later.
    refunded: BTreeSet<ChargeId>,
    kept: BTreeMap<ChargeId, Kept>,
    held: HashMap<ReservationId, Arc<Entry>>,
    /// What those charges cost as recorded.
    recorded_costs: BTreeMap<ChargeId, Credits>,
    /// Refusals that entries to come may count repeats of, oldest first.
    refusals: VecDeque<Refusal>,
    /// What a commit after the customer's closing leaves to settle.
    settles: bool,
    report: CustomerReport,
}

impl<'a> Twin<'a> {
    /// Of a state as recorded. `refunded` are the charges that entries to come refund.
    ///
    /// # Errors
    /// Settings that the candidate refuses.
    pub fn new(
        history: &'a History,
        substitute: &'a Substitute,
        recorded: CustomerState,
        refunded: BTreeSet<ChargeId>,
    ) -> Result<Self, String> {
        let mut candidate = recorded.clone();
        for terms in &mut candidate.terms {
            *terms = substitute.stand_in(terms)?;
        }
        Ok(Self {
            history,
            substitute,
            recorded,
            candidate,
            reservations: HashMap::new(),
            grants: HashMap::new(),
            refunded,
            kept: BTreeMap::new(),
            held: HashMap::new(),
            recorded_costs: BTreeMap::new(),
            refusals: VecDeque::new(),
            settles: false,
            report: CustomerReport::default(),
        })
    }

    /// Takes note of a charge from before they began, which an entry to come refunds.
    pub fn keep(&mut self, of: Refundable) {
        let Some((_, rated)) = of.charge.charged_usage() else { return };
        self.recorded_costs.insert(of.id(), rated.cost);
        let Refundable { charge, reserved, last, grants } = of;
        self.kept.insert(charge.charge_id(), Kept { charge, reserved, last, grants });
    }

    /// Takes a recorded entry in, and asks the same of the twin.
    ///
    /// # Errors
    /// See [`Halt`]. After [`Halt::Need`] the same entry is to be taken again.
    pub fn take(
        &mut self,
        policies: Policies<'_>,
        entry: &Entry,
        body: &str,
        hash: &[u8; 32],
    ) -> Result<(), Halt> {
        let made = match self.ask(policies, entry) {
            Ok(made) => made,
            Err(Stop::Need(digest)) => return Err(Halt::Need(digest)),
            Err(Stop::Error(error)) => {
                self.report.leave_out(&format!("{}: {error}", entry.event.kind()));
                None
            }
            Err(Stop::Unfinished) => return Err(Halt::Damaged("is not finished".to_owned())),
            Err(Stop::Defect(error)) => return Err(Halt::Damaged(error.to_string())),
        };
        self.compare(entry, made.as_deref());
        self.remember(entry, made.as_ref());
        let damaged = |error: FoldError| Halt::Damaged(error.to_string());
        self.recorded.fold_parsed(entry.seq, entry, body, hash).map_err(damaged)
    }

    /// What came of it.
    #[must_use]
    pub fn finish(mut self) -> CustomerReport {
        self.report.is_identical = self.recorded.hash == self.candidate.hash;
        self.report.total = Cell::sum_of(&self.report.rows);
        let at = self.recorded.at.max(self.candidate.at);
        let credits: BTreeSet<_> =
            self.recorded.accounts.keys().chain(self.candidate.accounts.keys()).cloned().collect();
        for credit in credits {
            let left = |state: &CustomerState| {
                let balance = state.balance(&credit, at);
                Left { available: balance.available, overage: balance.overage }
            };
            let both = (left(&self.recorded), left(&self.candidate));
            self.report.left.insert(credit, both);
        }
        self.report
    }

    /// What the twin makes of a recorded entry, taken into its state; none when it writes nothing.
    fn ask(&mut self, policies: Policies<'_>, entry: &Entry) -> Result<Option<Arc<Entry>>, Stop> {
        let at = entry.at;
        let by = entry.by.clone().filter(|_| matches!(entry.event, Event::OverageSettled(_)));
        self.settle(policies, at, by)?;
        // What a period that is made good carries over may have expired long ago: it does so once all of them are.
        let is_retried = match &entry.event {
            Event::PeriodClosed(closed) => closed.retried,
            Event::PeriodOpened(opened) => opened.retried,
            _ => false,
        };
        if !is_retried {
            self.bring_due(policies, at)?;
        }
        let Some(mut draft) = self.draft(policies, entry)? else { return Ok(None) };
        draft.origin = Origin { idempotency: entry.key.clone().zip(entry.request), by: entry.by.clone() };
        let sealed = Journal::default().seal(&mut self.candidate, at, draft)?;
        self.settles = self.candidate.closed && ends_hold_late(&sealed.event);
        Ok(Some(sealed))
    }

    /// What a commit or a release after the customer's closing owes is settled at once.
    fn settle(&mut self, policies: Policies<'_>, at: Timestamp, by: Option<Name>) -> Result<(), Stop> {
        if !self.settles {
            return Ok(());
        }
        let at = self.candidate.at.min(at);
        let decider = decider(self.history, policies, at);
        let draft = decider.settle_after_closing(&self.candidate, at)?;
        if let Some(mut draft) = draft {
            draft.origin.by = by;
            Journal::default().seal(&mut self.candidate, at, draft)?;
        }
        self.settles = false;
        Ok(())
    }

    /// Grants and reservations expire on their own; periods end and begin as recorded, since no policy moves them. Top-ups are asked
    /// for and paid as recorded, since nobody would have paid others.
    fn bring_due(&mut self, policies: Policies<'_>, at: Timestamp) -> Result<(), Stop> {
        while let Some((due_at, due)) = self.candidate.next_due_but_top_ups() {
            if due_at > at || !matches!(due, Due::GrantExpiry | Due::ReservationExpiry(_)) {
                return Ok(());
            }
            let decider = decider(self.history, policies, at);
            decider.carry_out(&mut self.candidate, due_at, due, &mut Journal::default())?;
        }
        Ok(())
    }

    fn draft(&self, policies: Policies<'_>, entry: &Entry) -> Result<Option<Draft>, Stop> {
        let (state, at) = (&self.candidate, entry.at);
        Ok(Some(match &entry.event {
            Event::PeriodOpened(opened) if opened.moved_in => {
                let next = state.next_period(at, opened.reason, opened.allowance);
                let next = next.ok_or(Rejection::NoPeriod)?;
                state.resume_period(next, opened.once.clone(), opened.trial.clone())?
            }
            // No policy was asked, so none can answer otherwise.
            Event::Refused(refused) if refused.decision.is_none() => state.refused((**refused).clone()),
            Event::Charged(_)
            | Event::Refused(_)
            | Event::Reserved(_)
            | Event::Committed(_)
            | Event::PeriodClosed(_)
            | Event::PeriodOpened(_) => return self.decide(policies, entry),
            Event::Configured(configured) if configured.plan_change.is_some() => {
                state.carry_out_plan_change()?
            }
            Event::Configured(configured) => state.configure(at, configured.profile.clone())?,
            Event::Closed {} => state.close_customer()?,
            Event::PlanChangeScheduled(_)
            | Event::TermsEnded { .. }
            | Event::OverrideSet(_)
            | Event::OverrideRemoved { .. }
            | Event::EntityChanged(_)
            | Event::EntityRemoved { .. }
            | Event::BudgetChanged(_)
            | Event::BudgetRemoved { .. }
            | Event::AutoTopUpChanged(_)
            | Event::AutoTopUpRemoved { .. } => Draft::new(entry.event.clone()),
            // Decided with the refusal that came again. The twin may have fewer entries.
            Event::RefusalsRepeated(repeated) if repeated.of > state.seq => return Ok(None),
            Event::RefusalsRepeated(repeated) => state.count_repeats(at, *repeated),
            Event::TopUpRequested(_)
            | Event::TopUpDeclined(_)
            | Event::TopUpExpired { .. }
            | Event::TopUpsHalted(_) => {
                let credit = entry.after.as_ref().map(|after| after.balance.credit.clone());
                Draft { credit, ..Draft::new(entry.event.clone()) }
            }
            Event::TopUpPaid(paid) => {
                let terms = decider(self.history, policies, at).grant_terms(state, at);
                let as_recorded = (paid.top_up, paid.payment.clone(), paid.expired_before);
                state.paid_top_up(at, as_recorded, self.request(&paid.grant, at), &terms)?
            }
            Event::BundlePurchased(bought) => {
                let terms = decider(self.history, policies, at).grant_terms(state, at);
                let what = (bought.bundle.clone(), bought.quantity, bought.payment.clone());
                state.purchase(at, what, self.request(&bought.grant, at), &terms)?
            }
            Event::AddOnChanged(changed) => {
                let terms = decider(self.history, policies, at).grant_terms(state, at);
                state.set_add_on(at, changed.add_on.clone(), changed.attachment.clone(), &terms)?
            }
            Event::AddOnGiven(given) => {
                let terms = decider(self.history, policies, at).grant_terms(state, at);
                state.renew_add_on(at, given.add_on.clone(), &terms)?
            }
            Event::AddOnEnded(ended) => {
                state.end_add_on(at, ended.add_on.clone(), !ended.voided.is_empty())?
            }
            Event::PromotionRedeemed(redeemed) => {
                let terms = decider(self.history, policies, at).grant_terms(state, at);
                let what = (redeemed.promotion.clone(), redeemed.number);
                state.redeem(at, what, self.request(&redeemed.grant, at), &terms)?
            }
            Event::PlanChangeCancelled { .. } => match &state.plan_change {
                Some(pending) => state.cancel_plan_change(pending.id)?,
                None => return Ok(None),
            },
            Event::TermsBound(terms) => {
                let stand_in = self.substitute.stand_in(terms).map_err(DecideError::Internal)?;
                Draft::new(Event::TermsBound(stand_in))
            }
            Event::Granted(grant) => {
                let decider = decider(self.history, policies, at);
                state.give(at, self.request(grant, at), &decider.grant_terms(state, at))?
            }
            Event::GrantImported(imported) => {
                let GrantImported { import, external_id, grant, used, voided, allowance } = &**imported;
                let origin = ImportOrigin { import: import.clone(), external_id: external_id.clone() };
                let imported = ImportedGrant {
                    grant: self.request(grant, at),
                    never_expires: true,
                    used: *used,
                    voided: *voided,
                    allowance: Some(*allowance),
                };
                let decider = decider(self.history, policies, at);
                state.import_grant(at, origin, imported, &decider.grant_terms(state, at))?
            }
            Event::OverageImported(imported) => {
                let OverageImported { import, external_id, credit, amount } = imported.clone();
                state.import_overage(ImportOrigin { import, external_id }, credit, amount)?
            }
            Event::UsageImported(_) => Draft::new(entry.event.clone()),
            Event::Voided { grant } => state.void(self.grants.get(grant).copied().unwrap_or(*grant))?,
            Event::Adjusted(adjusted) => {
                state.adjust(at, adjusted.credit.clone(), adjusted.amount, adjusted.reason.clone())?
            }
            Event::Refunded(refunded) => return self.refund(refunded, entry).map(Some),
            Event::Released { reservation } => match self.reservation(*reservation) {
                Some(id) => state.release(id)?,
                None => return Ok(None),
            },
            Event::ReservationExtended { reservation, expires_at } => match self.reservation(*reservation) {
                Some(id) => state.extend_reservation(at, id, *expires_at)?,
                None => return Ok(None),
            },
            Event::LeaseOpened(opened) => {
                let LeaseOpened { credit, lease, expires_at } = (**opened).clone();
                state.open_lease(at, LeaseRequest { credit, lease }, expires_at)?
            }
            Event::LeaseExtended(extended) => match self.lease(extended.lease) {
                Some(id) => state.extend_lease(at, id, Some(extended.amount), Some(extended.expires_at))?,
                None => return Ok(None),
            },
            Event::LeaseEnded(ended) => match self.lease(ended.lease).filter(|_| !ended.expired) {
                Some(id) => state.end_lease(id, false)?,
                None => return Ok(None),
            },
            // The twin's own are carried out when they are due.
            Event::ReservationExpired { .. } | Event::GrantsExpired { .. } | Event::OverageSettled(_) => {
                return Ok(None);
            }
        }))
    }

    /// The same question to the twin's terms: those that stand in for the ones that the entry names, where times leave it open.
    fn decide(&self, policies: Policies<'_>, entry: &Entry) -> Result<Option<Draft>, Stop> {
        let Some(asked) = self.asked(entry) else { return Ok(None) };
        let made = decider(self.history, policies, entry.at).redecide(&self.candidate, &asked)?;
        let (Some(record), Some(draft)) = (entry.decision(), &made) else { return Ok(made) };
        if draft.event.decision().is_none_or(|made| decided_by(made) == decided_by(record)) {
            return Ok(made);
        }
        match self.history.pinned(self.candidate.plan(), entry.at, record) {
            Some(said) => decider(&said, policies, entry.at).redecide(&self.candidate, &asked),
            None => Ok(made),
        }
    }

    /// The entry as the twin is asked it, with its own ids; none where it has nothing that could be asked.
    fn asked(&self, entry: &Entry) -> Option<Entry> {
        let mut asked = entry.clone();
        match &mut asked.event {
            Event::Committed(committed) => committed.reservation = self.reservation(committed.reservation)?,
            Event::Charged(charged) => {
                if let Some(settled) = &mut charged.settled {
                    settled.lease = self.settles_under(settled.lease);
                }
            }
            Event::Refused(refused) => match &mut refused.intent {
                Intent::Commit(id) => *id = self.reservation(*id)?,
                Intent::Settle(id) => *id = self.settles_under(*id),
                Intent::Charge | Intent::Reserve => {}
            },
            Event::PeriodClosed(closed) if closed.retried => {
                self.candidate.missed_of(closed.period.number)?;
            }
            Event::PeriodOpened(opened) if opened.retried => {
                self.candidate.missed_of(opened.period.number)?;
            }
            Event::PeriodClosed(_) => {
                self.candidate.period.as_ref()?;
            }
            _ => {}
        }
        Some(asked)
    }

    /// The twin's reservation; none when it holds none.
    fn reservation(&self, id: ReservationId) -> Option<ReservationId> {
        let id = self.reservations.get(&id).copied().unwrap_or(Some(id))?;
        self.candidate.reservations.get(&id).map(|_| id)
    }

    /// The twin's lease under which a usage is settled, open or ended. Where it has none, usage that was let pass is billed all the same.
    fn settles_under(&self, id: LeaseId) -> LeaseId {
        let own = self.reservations.get(&id.hold()).copied().unwrap_or(Some(id.hold()));
        own.map_or(NO_LEASE, LeaseId::of_hold)
    }

    /// The twin's lease; none when it holds none.
    fn lease(&self, id: LeaseId) -> Option<LeaseId> {
        self.reservation(id.hold()).map(LeaseId::of_hold)
    }

    /// What was asked for that a grant was made of.
    fn request(&self, grant: &Grant, at: Timestamp) -> GrantRequest {
        let first = self.recorded.period_number_at(grant.effective_at.max(at));
        let with_period = grant.expires_with_period.map(|number| number.saturating_sub(first));
        GrantRequest {
            credit: grant.credit.clone(),
            amount: grant.amount,
            category: grant.category,
            priority: grant.priority,
            effective_at: Some(grant.effective_at),
            expires: Expiry { at: grant.expires_at, with_period },
            features: grant.features.clone(),
            cost_basis: grant.cost_basis,
            metadata: grant.metadata.clone(),
        }
    }

    fn refund(&self, refunded: &Refunded, entry: &Entry) -> Result<Draft, Stop> {
        let unknown =
            || DecideError::Internal("the charge is not one of those that were followed".to_owned());
        let kept = self.kept.get(&refunded.charge).ok_or_else(unknown)?;
        let (charge, state) = (&kept.charge, &self.candidate);
        let cost = charge.charged_usage().map_or(Credits::ZERO, |(_, rated)| rated.cost);
        let before = kept.last.as_ref().and_then(|last| last.refunded());
        let left = cost.saturating_sub(before.map_or(Credits::ZERO, |last| last.total));
        let quantities = refunded.usage.quantities.clone();
        let recorded = self.recorded_costs.get(&refunded.charge).copied();
        let portion = if quantities.is_empty() {
            Portion::Amount(refunded.amount.min(left))
        } else if recorded == Some(refunded.total) {
            Portion::Rest
        } else {
            Portion::Quantities(quantities)
        };
        let grants = kept.grants.iter().filter(|grant| state.grant(grant.id).is_none()).cloned().collect();
        let of = Refundable {
            charge: charge.clone(),
            reserved: kept.reserved.clone(),
            last: kept.last.clone(),
            grants,
        };
        let Refunded { reason, reissue_expired, .. } = refunded;
        let request = RefundRequest { portion, reason: reason.clone(), reissue_expired: *reissue_expired };
        Ok(state.refund(entry.at, &of, request)?)
    }

    /// Takes note of the twin's ids, and of what a refund will need.
    fn remember(&mut self, entry: &Entry, made: Option<&Arc<Entry>>) {
        match &entry.event {
            Event::Reserved(_) => {
                let id = ReservationId { entry: entry.seq, index: 0 };
                let own = made.filter(|made| matches!(made.event, Event::Reserved(_)));
                self.reservations.insert(id, own.map(|made| ReservationId { entry: made.seq, index: 0 }));
            }
            // Kept once it has ended: usage may be settled under it for long.
            Event::LeaseOpened(_) => {
                let own = made.filter(|made| matches!(made.event, Event::LeaseOpened(_)));
                let hold = |seq: Seq| ReservationId { entry: seq, index: 0 };
                self.reservations.insert(hold(entry.seq), own.map(|made| hold(made.seq)));
            }
            Event::Committed(committed) => drop(self.reservations.remove(&committed.reservation)),
            Event::Released { reservation } | Event::ReservationExpired { reservation } => {
                let own = self.reservations.remove(reservation).flatten();
                self.held.remove(&own.unwrap_or(*reservation));
            }
            Event::Granted(grant) => {
                if let Some(Event::Granted(own)) = made.map(|made| &made.event) {
                    self.grants.insert(grant.id, own.id);
                }
            }
            Event::GrantImported(imported) => {
                if let Some(Event::GrantImported(own)) = made.map(|made| &made.event) {
                    self.grants.insert(imported.grant.id, own.grant.id);
                }
            }
            Event::TopUpPaid(_)
            | Event::BundlePurchased(_)
            | Event::PromotionRedeemed(_)
            | Event::AddOnChanged(_)
            | Event::AddOnGiven(_) => {
                let own = made.filter(|made| made.event.kind() == entry.event.kind());
                let own = own.iter().flat_map(|own| own.grants());
                self.grants.extend(entry.grants().iter().zip(own).map(|(grant, own)| (grant.id, own.id)));
            }
            Event::Voided { grant } => drop(self.grants.remove(grant)),
            Event::Refunded(refunded) => {
                if let (Some(kept), Some(made)) = (self.kept.get_mut(&refunded.charge), made) {
                    kept.last = Some(made.clone());
                }
            }
            _ => {}
        }
        let Some(made) = made else { return };
        if let Event::Reserved(_) = made.event {
            // Few are committed and then refunded, but which is not known yet.
            self.held.insert(ReservationId { entry: made.seq, index: 0 }, made.clone());
        }
        let reserved = made.commits().and_then(|id| self.held.remove(&id));
        if self.refunded.contains(&entry.charge_id())
            && let (Some((_, rated)), true) = (entry.charged_usage(), made.charged_usage().is_some())
        {
            let drawn = made.draws();
            let grants = drawn.iter().filter_map(|draw| self.candidate.grant(draw.grant));
            let grants = grants.map(|state| (*state.grant).clone()).collect();
            self.recorded_costs.insert(entry.charge_id(), rated.cost);
            let kept = Kept { charge: made.clone(), reserved, last: None, grants };
            self.kept.insert(entry.charge_id(), kept);
        }
    }

    fn compare(&mut self, entry: &Entry, made: Option<&Entry>) {
        self.report.flows.0.add(&entry.event);
        if let Some(made) = made {
            self.report.flows.1.add(&made.event);
        }
        let zone = self.recorded.zone();
        let month = |at: Timestamp| {
            let moment = zone.moment(at);
            format!("{:04}-{:02}", moment.year, moment.month)
        };
        if let Event::Refunded(refunded) = &entry.event {
            let back = made.and_then(Entry::refunded).map_or(Credits::ZERO, |one| one.amount);
            let (feature, month) = (refunded.usage.feature.to_string(), month(refunded.usage.occurred_at));
            let cell = self.report.cell(RowKey { feature, credit: refunded.credit.clone(), month });
            cell.recorded = cell.recorded.saturating_sub(refunded.amount);
            cell.candidate = cell.candidate.saturating_sub(back);
            cell.decisions = cell.decisions.saturating_add(1);
            cell.differ = cell.differ.saturating_add(u64::from(back != refunded.amount));
            return;
        }
        if let Event::RefusalsRepeated(repeated) = &entry.event {
            return self.count_repeats(repeated);
        }
        let (Some(usage), Some(recorded)) = (entry.event.usage(), Answer::of(entry)) else { return };
        let candidate = made.and_then(Answer::of);
        let credit = match (&entry.event, entry.charged_usage()) {
            (_, Some((_, rated))) => rated.credit.clone(),
            (Event::Reserved(reserved), _) => reserved.rated.credit.clone(),
            (Event::Refused(refused), _) => refused.credit.clone(),
            _ => return,
        };
        let feature = usage.feature.clone();
        let key = RowKey { feature: feature.to_string(), credit, month: month(usage.occurred_at) };
        let row = key.clone();
        let cell = self.report.cell(key);
        cell.decisions = cell.decisions.saturating_add(1);
        cell.recorded = cell.recorded.saturating_add(recorded.billed());
        let is_accepted = candidate.as_ref().is_some_and(Answer::is_accepted);
        let cost = candidate.as_ref().map_or(Credits::ZERO, Answer::billed);
        cell.candidate = cell.candidate.saturating_add(cost);
        let same = candidate.as_ref().is_some_and(|candidate| {
            (candidate.outcome, candidate.cost, &candidate.code)
                == (recorded.outcome, recorded.cost, &recorded.code)
        });
        if !recorded.is_accepted() {
            if self.refusals.len() >= MOST_REFUSALS {
                self.refusals.pop_front();
            }
            self.refusals.push_back(Refusal { seq: entry.seq, row, differs: !same });
        }
        if same {
            return;
        }
        cell.differ = cell.differ.saturating_add(1);
        match (recorded.is_accepted(), is_accepted) {
            (true, false) => cell.newly_refused = cell.newly_refused.saturating_add(1),
            (false, true) => cell.newly_accepted = cell.newly_accepted.saturating_add(1),
            _ => {}
        }
        if recorded.is_accepted() && !is_accepted {
            let code = candidate.as_ref().and_then(|candidate| candidate.code.clone());
            let code = code.unwrap_or_else(|| "reservation_refused".to_owned());
            self.report.refuses(&code);
        }
        let customer = self.recorded.customer.clone();
        self.report.change(Change { customer, entry: entry.seq, at: entry.at, feature, recorded, candidate });
    }
}

impl Twin<'_> {
    /// Each is a decision like the one that it repeats. What the candidate would have accepted is one usage, however often it was
    /// tried.
    fn count_repeats(&mut self, repeated: &RefusalsRepeated) {
        let Some(refusal) = self.refusals.iter().find(|refusal| refusal.seq == repeated.of) else { return };
        let cell = self.report.cell(refusal.row.clone());
        cell.decisions = cell.decisions.saturating_add(repeated.times);
        if refusal.differs {
            cell.differ = cell.differ.saturating_add(repeated.times);
        }
    }
}

fn decider<'a>(plans: &'a dyn Plans, policies: Policies<'a>, now: Timestamp) -> Decider<'a> {
    Decider { plans, policies, now, late_window: LATE_WINDOW, most_due: usize::MAX }
}

/// Whether an entry gave a hold back, or charged a usage that was done, so that overage of a closed customer may be owed.
fn ends_hold_late(event: &Event) -> bool {
    match event {
        Event::Committed(_) | Event::Released { .. } => true,
        Event::Charged(charged) => charged.settled.is_some(),
        Event::LeaseEnded(ended) => !ended.expired,
        _ => false,
    }
}

/// The terms that were to decide.
fn decided_by(record: &DecisionRecord) -> &TermsKey {
    record.fault.as_ref().map_or(&record.terms, |fault| &fault.terms)
}
