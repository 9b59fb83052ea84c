//! What each event changes beside the movements of credits: before them, what they need; after them, what they leave.

use crate::{
    journal::{Committed, Entry, Event, OpenReason, PeriodClosed, PeriodOpened, Reserved},
    model::{
        amounts::Credits,
        ids::{GrantId, ReservationId},
        time::Timestamp,
    },
    rules::opening::is_allowance,
    state::{
        CustomerState, GrantState, GrantStatus, Incoming, LATE_WINDOW, Meanwhile, Missed, Onward, PastPeriod,
        ReservationState, Since,
        counters::Part,
        history::MissedCall,
        moves::{less, more, take_hold},
    },
};
use std::{collections::BTreeSet, sync::Arc};

/// Grants of which nothing is left are forgotten when a period ends; and, where there are more than this, at once: of live ones
/// only when that many of them are used up, since balances show them until the period ends.
const MOST_EXHAUSTED: usize = 256;

impl CustomerState {
    /// What must be there before credits move: new grants and reservations, and all that moves nothing.
    pub(super) fn begin(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Configured(configured) => {
                if self.profile.is_none() {
                    self.created_at = entry.at;
                }
                self.profile = Some(configured.profile.clone());
                if let Some(period) = &mut self.period {
                    period.end = configured.period_end;
                }
                self.refresh_ends();
            }
            Event::Closed {} => {
                self.closed = true;
                self.refresh_ends();
            }
            Event::TermsBound(terms) => self.terms.push(terms.clone()),
            Event::TermsEnded { id, ends_at } => {
                if let Some(terms) = self.terms.iter_mut().find(|terms| terms.key.id == *id) {
                    Arc::make_mut(terms).ends_at = Some(*ends_at);
                }
            }
            Event::OverrideSet(exception) => self.overrides.push(exception.clone()),
            Event::OverrideRemoved { feature } => self.overrides.retain(|one| &one.feature != feature),
            Event::Granted(grant) => self.add_grant(grant),
            Event::Adjusted(adjusted) => adjusted.grant.iter().for_each(|grant| self.add_grant(grant)),
            Event::Charged(charged) => charged.top_up.iter().for_each(|grant| self.add_grant(grant)),
            Event::Committed(committed) => committed.top_up.iter().for_each(|grant| self.add_grant(grant)),
            Event::Reserved(reserved) => {
                reserved.top_up.iter().for_each(|grant| self.add_grant(grant));
                self.add_reservation(entry, reserved);
            }
            Event::ReservationExtended { reservation, expires_at } => {
                if let Some(state) = self.reservations.get_mut(reservation) {
                    state.expires_at = *expires_at;
                }
            }
            Event::PeriodClosed(closed) => closed.grants.iter().for_each(|grant| self.add_grant(grant)),
            Event::PeriodOpened(opened) => self.begin_period(opened),
            Event::Voided { .. }
            | Event::Refused(_)
            | Event::Released { .. }
            | Event::ReservationExpired { .. }
            | Event::GrantsExpired { .. } => {}
        }
    }

    /// What may only go once credits have moved: closed reservations, dead and exhausted grants, the old period.
    pub(super) fn finish(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.event {
            Event::Charged(_) => self.count(entry, Part::Used)?,
            Event::Reserved(_) => self.count(entry, Part::Held)?,
            Event::Committed(committed) => {
                self.finish_commit(committed)?;
                self.count(entry, Part::Used)?;
            }
            Event::Released { reservation } | Event::ReservationExpired { reservation } => {
                self.end_reservation(*reservation)?;
            }
            Event::Voided { grant } => self.end_grant(*grant, GrantStatus::Voided, entry.at)?,
            Event::GrantsExpired { grants } => {
                for grant in grants {
                    self.end_grant(*grant, GrantStatus::Expired, entry.at)?;
                }
            }
            Event::PeriodClosed(closed) => self.end_period(entry.at, closed)?,
            Event::PeriodOpened(opened) => {
                let faulted = opened.decision.as_ref().is_some_and(|decision| decision.is_unmade());
                if faulted && !opened.retried {
                    let what = MissedCall::Open(opened.reason, opened.allowance);
                    self.missed.push(Missed { number: opened.period.number, what, meanwhile: Vec::new() });
                }
            }
            _ => {}
        }
        self.note_meanwhile(entry);
        self.forget_grants(entry);
        Ok(())
    }

    fn begin_period(&mut self, opened: &PeriodOpened) {
        if opened.reason == OpenReason::Early {
            self.fresh_from = opened.period.number;
        }
        let since = Since { start: opened.cycle.start, number: self.fresh_from };
        if opened.retried {
            let number = opened.period.number;
            self.missed
                .retain(|missed| missed.number != number || !matches!(missed.what, MissedCall::Open(..)));
        } else {
            self.period = Some(opened.period.clone());
            self.periods = opened.period.number;
            self.cycle = Some(opened.cycle.clone());
            self.whole.clone_from(&opened.whole);
            self.refresh_ends();
        }
        for grant in &opened.grants {
            self.add_grant(grant);
            let carried = opened.carried.iter().find(|carried| carried.to == grant.id);
            if carried.is_some() {
                let sources: Vec<GrantId> = self
                    .may_return(since)
                    .into_iter()
                    .filter(|(state, _)| state.grant.credit == grant.credit)
                    .map(|(state, _)| state.grant.id)
                    .collect();
                for source in sources {
                    if let Ok(state) = self.grant_mut(source) {
                        state.next = Some(grant.id);
                    }
                }
            }
            if let Ok(state) = self.grant_mut(grant.id) {
                state.allowance_of = is_allowance(grant.category).then_some(opened.period.number);
                state.incoming = carried.map(|carried| Incoming { skip: carried.skip, limit: carried.limit });
            }
        }
    }

    fn end_period(&mut self, at: Timestamp, closed: &PeriodClosed) -> Result<(), String> {
        for grant in &closed.expired {
            // What ended in time and is only made good now keeps its end.
            if self.grant_mut(*grant)?.status == GrantStatus::Live {
                self.end_grant(*grant, GrantStatus::Expired, at)?;
            }
        }
        for rolled in &closed.rolled {
            let older = self.grant_mut(rolled.from)?;
            if rolled.held_limit.is_positive() {
                older.onward =
                    Some(Onward { to: rolled.to, share: rolled.held_share, limit: rolled.held_limit });
            }
            let since = older.usable_since;
            let newer = self.grant_mut(rolled.to)?;
            newer.usable_since = newer.usable_since.min(since);
        }
        if closed.retried {
            let number = closed.period.number;
            if let Some(past) = self.past.iter_mut().find(|past| past.period.number == number) {
                past.given.clone_from(&closed.given);
            }
            self.missed
                .retain(|missed| missed.number != number || !matches!(missed.what, MissedCall::Close(_)));
            return Ok(());
        }
        let whole = std::mem::take(&mut self.whole);
        let plan = self.plan().cloned();
        self.past.push(PastPeriod {
            period: closed.period.clone(),
            plan,
            given: closed.given.clone(),
            whole,
        });
        self.period = None;
        if closed.decision.as_ref().is_some_and(|decision| decision.is_unmade()) {
            let what = MissedCall::Close(closed.reason);
            self.missed.push(Missed { number: closed.period.number, what, meanwhile: Vec::new() });
        }
        self.forget_past(at);
        Ok(())
    }

    /// Forgets periods that neither late usage nor the running cycle can need.
    fn forget_past(&mut self, at: Timestamp) {
        let oldest = Timestamp(at.0.saturating_sub(LATE_WINDOW));
        let cycle = self.cycle.as_ref().map_or(at, |cycle| cycle.start);
        self.past
            .retain(|past| past.period.end.is_none_or(|end| end >= oldest) || past.period.start >= cycle);
        let kept = |number: u32, past: &[PastPeriod]| past.iter().any(|past| past.period.number == number);
        let past = std::mem::take(&mut self.past);
        self.missed.retain(|missed| kept(missed.number, &past) || missed.number >= self.periods);
        let first = past.first().map_or(self.periods, |past| past.period.number);
        self.past = past;
        self.counters.forget(at, first);
    }

    fn finish_commit(&mut self, committed: &Committed) -> Result<(), String> {
        for draw in &committed.taken {
            let grant = self.grant_mut(draw.grant)?;
            grant.held = less(grant.held, draw.amount)?;
            grant.spent = more(grant.spent, draw.amount)?;
        }
        let reservation = self.reservations.get_mut(&committed.reservation).ok_or("no such reservation")?;
        for draw in &committed.taken {
            take_hold(reservation, draw.grant, draw.amount)?;
        }
        reservation.overage = less(reservation.overage, committed.taken_overage)?;
        self.end_reservation(committed.reservation)
    }

    /// Holds that were committed left the reservation through `taken`; all that remains must have been moved out.
    fn end_reservation(&mut self, id: ReservationId) -> Result<(), String> {
        let reservation = self.reservations.remove(&id).ok_or("no such reservation")?;
        for count in &reservation.counts {
            self.counters.change(count, Part::Held, true)?;
        }
        let left = reservation.held();
        if left.is_zero() { Ok(()) } else { Err(format!("a closed reservation still holds {left}")) }
    }

    fn count(&mut self, entry: &Entry, part: Part) -> Result<(), String> {
        // Each counts in the window that it names, whatever period runs by now.
        entry.counts.iter().try_for_each(|count| self.counters.change(count, part, false))
    }

    fn add_reservation(&mut self, entry: &Entry, reserved: &Reserved) {
        let state = ReservationState {
            usage: reserved.usage.clone(),
            terms: reserved.decision.terms.clone(),
            credit: reserved.rated.credit.clone(),
            holds: Vec::new(),
            overage: Credits::ZERO,
            counts: entry.counts.clone(),
            expires_at: reserved.expires_at,
        };
        self.reservations.insert(ReservationId { entry: entry.seq, index: 0 }, state);
    }

    /// Remembers what was drawn while the running period lacks its grants.
    fn note_meanwhile(&mut self, entry: &Entry) {
        let Some((usage, rated)) = entry.charged_usage() else { return };
        let running = self.periods;
        let open =
            |missed: &&mut Missed| missed.number == running && matches!(missed.what, MissedCall::Open(..));
        let Some(missed) = self.missed.iter_mut().find(open) else { return };
        let grants = entry.draws().into_iter().map(|draw| (Some(draw.grant), draw.amount));
        let overage = Some((None, entry.overage())).filter(|(_, amount)| amount.is_positive());
        for (grant, amount) in grants.chain(overage) {
            let same = missed.meanwhile.iter_mut().find(|one| {
                one.grant == grant
                    && one.credit == rated.credit
                    && one.feature.as_ref() == Some(&usage.feature)
            });
            match same {
                Some(one) => one.amount = one.amount.saturating_add(amount),
                None => missed.meanwhile.push(Meanwhile {
                    grant,
                    credit: rated.credit.clone(),
                    feature: Some(usage.feature.clone()),
                    amount,
                }),
            }
        }
    }

    /// The grants that what reservations hold may reach when it comes back.
    fn awaited(&self) -> BTreeSet<GrantId> {
        let onward = |state: &GrantState| [state.onward.map(|onward| onward.to), state.next];
        let held = self.grants.iter().filter(|state| !state.held.is_zero());
        let mut to_visit: Vec<GrantId> = held.flat_map(onward).flatten().collect();
        let mut awaited = BTreeSet::new();
        while let Some(id) = to_visit.pop() {
            if awaited.insert(id) {
                to_visit.extend(self.grant(id).into_iter().flat_map(onward).flatten());
            }
        }
        awaited
    }

    fn forget_grants(&mut self, entry: &Entry) {
        let ends_period = matches!(entry.event, Event::PeriodClosed(_));
        let crowded = self.grants.len() > MOST_EXHAUSTED;
        let live = || self.grants.iter().filter(|state| state.status == GrantStatus::Live);
        let used_up = crowded && live().filter(|state| state.is_exhausted()).count() > MOST_EXHAUSTED;
        if !ends_period && !crowded && !matches!(entry.event, Event::GrantsExpired { .. }) {
            return;
        }
        let oldest = Timestamp(entry.at.0.saturating_sub(LATE_WINDOW));
        let awaited = self.awaited();
        let meanwhile: Vec<_> =
            self.missed.iter().flat_map(|missed| &missed.meanwhile).filter_map(|one| one.grant).collect();
        self.grants.retain(|state| {
            let id = state.grant.id;
            let needed = !state.is_exhausted() || awaited.contains(&id) || meanwhile.contains(&id);
            needed
                || match state.status {
                    // One that still takes credits that come back is not at its end.
                    GrantStatus::Live => state.incoming.is_some() || (!ends_period && !used_up),
                    GrantStatus::Expired if state.expired.is_positive() => {
                        state.ended_at.is_none_or(|end| end >= oldest)
                    }
                    GrantStatus::Expired | GrantStatus::Voided => {
                        !crowded && state.ended_at.is_none_or(|end| end >= oldest)
                    }
                }
        });
    }
}
