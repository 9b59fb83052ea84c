//! What each event changes beside the movements of credits: before them, what they need; after them, what they leave.

use crate::{
    journal::{
        AfterTrial, Carried, CloseReason, Committed, Cycle, Draw, Entry, Event, OpenReason, PeriodClosed,
        PeriodOpened, PlanChangeScheduled, PlanChangeTime, Refunded, Reserved, Settlement, Trial,
    },
    model::{
        amounts::Credits,
        answers::{Allowance, SettleMethod},
        grant::{CreditType, Grant},
        ids::{GrantId, Key, PlanChangeId, ReservationId},
        time::Timestamp,
        transfer::{Book, Transfer},
        usage::Usage,
    },
    rules::repeat,
    state::{
        CarriedTo, CustomerState, GrantState, GrantStatus, HeldFor, Incoming, LATE_WINDOW, Meanwhile, Missed,
        Onward, PastPeriod, PastZone, PendingPlanChange, ReservationState, Since, Starting,
        counters::{Needed, Part},
        grants::CarriedOn,
        history::{MissedCall, add_given},
        moves::{less, more, take_hold},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Grants of which nothing is left are forgotten when a period ends; and, where there are more than this, at once: of live ones
/// only when that many of them are used up, since balances show them until the period ends.
const MOST_EXHAUSTED: usize = 256;

impl CustomerState {
    /// What must be there before credits move: new grants and reservations, and all that moves nothing.
    pub(super) fn begin(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Configured(configured) => {
                match &self.profile {
                    None => self.created_at = entry.at,
                    Some(before) if before.time_zone != configured.profile.time_zone => {
                        let zone = before.time_zone.clone();
                        self.zones.push(PastZone { until: entry.at, zone });
                        let oldest = Timestamp(entry.at.0.saturating_sub(LATE_WINDOW));
                        self.zones.retain(|past| past.until >= oldest);
                    }
                    Some(_) => {}
                }
                let profile = &configured.profile;
                let same_plan = self.plan() == profile.plan.as_ref();
                // A move to another version leaves a change to another plan pending, but no move to a version.
                let moves = self.plan_version() != profile.plan_version
                    && self.plan_change.as_ref().is_some_and(|pending| pending.plan == profile.plan);
                if !same_plan || moves || configured.plan_change.is_some() {
                    let pending = self.plan_change.take();
                    let carried_out = pending.filter(|pending| Some(pending.id) == configured.plan_change);
                    let has_plan = |_: &PendingPlanChange| configured.profile.plan.is_some();
                    self.starting =
                        carried_out.filter(has_plan).map(|PendingPlanChange { allowance, .. }| Starting {
                            at: entry.at,
                            allowance,
                            same_plan,
                        });
                }
                self.profile = Some(configured.profile.clone());
                if let Some(period) = &mut self.period {
                    period.end = configured.period_end;
                }
                self.refresh_ends(entry.at);
            }
            Event::Closed {} => {
                self.closed = true;
                self.plan_change = None;
                self.refresh_ends(entry.at);
            }
            Event::PlanChangeScheduled(scheduled) => {
                let PlanChangeScheduled { plan, plan_version, interval, when, allowance, .. } =
                    scheduled.clone();
                let id = PlanChangeId { entry: entry.seq, index: 0 };
                self.plan_change =
                    Some(PendingPlanChange { id, plan, plan_version, interval, when, allowance });
            }
            Event::PlanChangeCancelled { .. } => self.plan_change = None,
            Event::TermsBound(terms) => self.terms.push(terms.clone()),
            Event::TermsEnded { id, ends_at } => {
                if let Some(terms) = self.terms.iter_mut().find(|terms| terms.key.id == *id) {
                    Arc::make_mut(terms).ends_at = Some(*ends_at);
                }
            }
            Event::OverrideSet(exception) => {
                // One that starts at the same instant is the older version of this one.
                self.overrides
                    .retain(|one| one.feature != exception.feature || one.starts_at != exception.starts_at);
                self.overrides.push(exception.clone());
            }
            Event::OverrideRemoved { feature } => self.overrides.retain(|one| &one.feature != feature),
            Event::EntityChanged(changed) => self.entities.set(&changed.id, &changed.entity),
            Event::EntityRemoved { entity } => self.entities.remove(entity),
            Event::BudgetChanged(changed) => self.budgets.set(&changed.id, &changed.budget, entry.seq),
            Event::BudgetRemoved { budget } => drop(self.budgets.remove(budget)),
            Event::Granted(grant) => self.add_grant(grant),
            Event::GrantImported(imported) => self.add_imported_grant(imported),
            Event::TopUpPaid(paid) => self.add_grant(&paid.grant),
            Event::BundlePurchased(bought) => self.add_grant(&bought.grant),
            Event::PromotionRedeemed(redeemed) => {
                self.redeemed.insert(redeemed.promotion.clone());
                self.add_grant(&redeemed.grant);
            }
            Event::Adjusted(adjusted) => adjusted.grant.iter().for_each(|grant| self.add_grant(grant)),
            Event::Charged(charged) => charged.top_up.iter().for_each(|grant| self.add_grant(grant)),
            Event::Committed(committed) => committed.top_up.iter().for_each(|grant| self.add_grant(grant)),
            Event::Reserved(reserved) => {
                reserved.top_up.iter().for_each(|grant| self.add_grant(grant));
                self.add_reservation(entry, reserved);
            }
            Event::LeaseOpened(opened) => self.add_lease(entry, opened),
            Event::LeaseExtended(extended) => self.extend_hold(extended, &entry.budgets),
            Event::ReservationExtended { reservation, expires_at } => {
                self.reservations.change(reservation, |state| state.expires_at = *expires_at);
            }
            Event::Refunded(refunded) => {
                for grant in &refunded.grants {
                    self.add_spent_grant(grant, grant.id.entry == entry.seq, &entry.transfers);
                }
            }
            Event::AddOnChanged(_) | Event::AddOnGiven(_) => {
                entry.grants().iter().for_each(|grant| self.add_grant(grant));
            }
            Event::PeriodClosed(closed) => closed.grants.iter().for_each(|grant| self.add_grant(grant)),
            Event::PeriodOpened(opened) => {
                self.begin_period(opened);
                if let Some(trial) = &opened.trial {
                    self.begin_trial(PlanChangeId { entry: entry.seq, index: 0 }, trial);
                }
            }
            Event::Voided { .. }
            | Event::OverageImported(_)
            | Event::UsageImported(_)
            | Event::Refused(_)
            | Event::RefusalsRepeated(_)
            | Event::Released { .. }
            | Event::ReservationExpired { .. }
            | Event::LeaseEnded(_)
            | Event::OverageSettled(_)
            | Event::AutoTopUpChanged(_)
            | Event::AutoTopUpRemoved { .. }
            | Event::TopUpRequested(_)
            | Event::TopUpDeclined(_)
            | Event::TopUpExpired { .. }
            | Event::TopUpsHalted(_)
            | Event::AddOnEnded(_)
            | Event::GrantsExpired { .. } => {}
        }
        self.note_top_up(entry);
        self.note_add_on(entry);
    }

    /// What may only go once credits have moved: closed reservations, dead and exhausted grants, the old period.
    pub(super) fn finish(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.event {
            Event::Charged(charged) => {
                if let Some(settled) = &charged.settled {
                    self.finish_settlement(settled)?;
                }
                self.count(entry, Part::Used)?;
            }
            Event::Refunded(refunded) => {
                self.count(entry, Part::Used)?;
                self.finish_refund(refunded)?;
                self.forget_meanwhile(refunded, &entry.transfers);
            }
            Event::Reserved(_) | Event::LeaseOpened(_) | Event::LeaseExtended(_) => {
                self.count(entry, Part::Held)?;
            }
            Event::Committed(committed) => {
                self.finish_commit(committed)?;
                self.count(entry, Part::Used)?;
            }
            Event::Released { reservation } | Event::ReservationExpired { reservation } => {
                self.end_reservation(*reservation)?;
            }
            Event::LeaseEnded(ended) => self.end_reservation(ended.lease.hold())?,
            Event::Voided { grant } => self.end_grants(&[*grant], GrantStatus::Voided, entry.at)?,
            Event::AddOnEnded(ended) => self.end_grants(&ended.voided, GrantStatus::Voided, entry.at)?,
            Event::GrantsExpired { grants } => self.end_grants(grants, GrantStatus::Expired, entry.at)?,
            Event::RefusalsRepeated(repeated) => repeat::check(entry, repeated)?,
            Event::UsageImported(imported) => self.note_imported(entry.seq, imported),
            Event::PeriodClosed(closed) => self.end_period(entry.at, closed)?,
            Event::PeriodOpened(opened) => {
                let faulted = opened.decision.as_ref().is_some_and(|decision| decision.is_unmade());
                if faulted && !opened.retried {
                    let what = MissedCall::Open { reason: opened.reason, allowance: opened.allowance };
                    self.missed.push(Missed { number: opened.period.number, what, meanwhile: Vec::new() });
                }
            }
            _ => {}
        }
        match &entry.event {
            Event::PeriodClosed(closed) if closed.retried => self.note_redrawn(&entry.transfers),
            Event::PeriodOpened(opened) if opened.retried => self.note_redrawn(&entry.transfers),
            _ => {}
        }
        self.note_meanwhile(entry);
        self.note_settled(entry);
        self.forget_grants(entry);
        self.rearm(entry);
        Ok(())
    }

    /// Notes what of overage was waived, and which credit types have none outstanding any more.
    fn note_settled(&mut self, entry: &Entry) {
        let settled = match &entry.event {
            Event::PeriodClosed(closed) => &closed.settled,
            Event::PeriodOpened(opened) => &opened.settled,
            Event::OverageSettled(settled) => &settled.settled,
            _ => &Vec::new(),
        };
        for Settlement { credit, amount, .. } in
            settled.iter().filter(|one| one.method == SettleMethod::Waive)
        {
            self.waivers.entry(credit.clone()).or_default().waive(entry.seq, *amount);
        }
        let touches = |transfer: &&Transfer| [transfer.from, transfer.to].contains(&Book::Overage);
        for Transfer { credit, .. } in entry.transfers.iter().filter(touches) {
            if !self.outstanding(credit).is_positive() {
                self.waivers.entry(credit.clone()).or_default().settle(entry.seq);
            }
        }
    }

    fn finish_refund(&mut self, refunded: &Refunded) -> Result<(), String> {
        let Refunded { charge, credit, waived, expired_again, .. } = refunded;
        if let Some(waivers) = self.waivers.get_mut(credit).filter(|_| waived.is_positive()) {
            waivers.refund(charge.entry, *waived);
        }
        for draw in expired_again {
            self.expire_again(credit, *draw)?;
        }
        Ok(())
    }

    fn begin_period(&mut self, opened: &PeriodOpened) {
        let number = opened.period.number;
        if opened.reason == OpenReason::Early {
            (self.fresh_from, self.fresh_at) = (number, opened.period.start);
        }
        if opened.retried {
            self.missed
                .retain(|missed| missed.number != number || !matches!(missed.what, MissedCall::Open { .. }));
        } else {
            self.period = Some(opened.period.clone());
            self.starting = None;
            self.cycle_window = self.window_of(&opened.cycle, opened.period.start);
            self.periods = number;
            self.put_cycle(opened.cycle.clone());
            self.refresh_ends(opened.period.start);
        }
        if opened.retried {
            // What the plan itself gives was given when the period began.
            let whole = &mut self.whole;
            opened.whole.iter().for_each(|given| add_given(whole, &given.credit, given.amount));
        } else {
            self.whole.clone_from(&opened.whole);
            self.full.clear();
        }
        self.given_once.extend(opened.once.iter().cloned());
        let since = self.counts_since(&opened.cycle);
        self.note_full(opened, since);
        for grant in &opened.grants {
            self.add_grant(grant);
            if !opened.extras.contains(&grant.id)
                && let Ok(state) = self.grant_mut(grant.id)
            {
                state.allowance_of = Some(number);
                state.bridges = opened.bridging.contains(&grant.id);
            }
        }
        for carried in &opened.carried {
            self.stand_in(carried, since, opened.period.start);
        }
    }

    /// Notes which allowances were not reduced by those before them in the cycle, though there were some.
    fn note_full(&mut self, opened: &PeriodOpened, since: Since) {
        let before = self.given_since(since);
        for grant in &opened.grants {
            let is_reduced = opened.carried.iter().any(|carried| carried.to == grant.id);
            let has_others = before.iter().any(|(credit, _)| credit == &grant.credit);
            let is_other = opened.extras.contains(&grant.id) || opened.bridging.contains(&grant.id);
            if has_others && !is_reduced && !is_other {
                add_given(&mut self.full, &grant.credit, grant.amount);
            }
        }
    }

    /// Notes the trial of the plan, and that its end changes the plan. A change that is pending has the last word.
    fn begin_trial(&mut self, id: PlanChangeId, trial: &Trial) {
        if let Some(plan) = self.plan().cloned() {
            self.trials.insert(plan, trial.ends_at);
        }
        if let (Some(AfterTrial { plan, plan_version, interval }), None) =
            (trial.then.clone(), &self.plan_change)
        {
            let (when, allowance) = (PlanChangeTime::At(trial.ends_at), Allowance::Carry);
            self.plan_change = Some(PendingPlanChange { id, plan, plan_version, interval, when, allowance });
        }
    }

    /// Puts an allowance in the place of what those before it in the cycle have left, as far as late usage could still draw it,
    /// and of what comes back to them.
    fn stand_in(&mut self, carried: &Carried, since: Since, at: Timestamp) {
        let oldest = Timestamp(at.0.saturating_sub(LATE_WINDOW));
        let Some((credit, mut left)) =
            self.grant(carried.to).map(|state| (state.grant.credit.clone(), state.grant.amount))
        else {
            return;
        };
        let mut usable_since = None;
        let sources: Vec<_> = self
            .grants
            .iter()
            .filter(|state| state.grant.credit == credit && self.is_allowance_since(state, since))
            .map(|state| state.grant.id)
            .collect();
        let returns = self.returns_of(&sources);
        for id in sources {
            let Ok(source) = self.grant_mut(id) else { continue };
            let is_recent = source.ended_at.is_none_or(|end| end >= oldest);
            let renewed = if is_recent { left.min(source.expired) } else { Credits::ZERO };
            if renewed.is_positive() {
                left = left.saturating_sub(renewed);
                source.expired = source.expired.saturating_sub(renewed);
                usable_since = usable_since.into_iter().chain([source.usable_since]).min();
            }
            let limit = returns.get(&id).copied().unwrap_or_default();
            if carried.limit.is_positive() && limit.is_positive() {
                source.carried_to = Some(CarriedTo { to: carried.to, limit });
            }
        }
        if let Ok(target) = self.grant_mut(carried.to) {
            target.usable_since = usable_since.map_or(target.usable_since, |at| at.min(target.usable_since));
            let takes = carried.limit.is_positive();
            target.incoming = takes.then_some(Incoming { skip: carried.skip, limit: carried.limit });
        }
    }

    /// What may come back to ended allowances and would not roll over: of what was used or is held of them, or comes from one of
    /// them to what carries it on.
    fn returns_of(&self, sources: &[GrantId]) -> BTreeMap<GrantId, Credits> {
        let mut returns: BTreeMap<GrantId, Credits> = sources.iter().map(|id| (*id, Credits::ZERO)).collect();
        let by_age: BTreeSet<GrantId> = sources.iter().copied().collect();
        for state in by_age.iter().filter_map(|id| self.grant(*id)) {
            let own = state.held.saturating_add(state.spent);
            let all = returns.get(&state.grant.id).copied().unwrap_or_default().saturating_add(own);
            let rolls = state.rolls_on(all);
            returns.insert(state.grant.id, all.saturating_sub(rolls));
            if let Some(on) = state.onward.and_then(|onward| returns.get_mut(&onward.to)) {
                *on = on.saturating_add(rolls);
            }
        }
        returns
    }

    fn end_period(&mut self, at: Timestamp, closed: &PeriodClosed) -> Result<(), String> {
        // What ended in time and is only made good now keeps its end.
        let is_live = |id: &GrantId| self.grant(*id).is_none_or(|state| state.status == GrantStatus::Live);
        let expired: Vec<GrantId> = closed.expired.iter().copied().filter(is_live).collect();
        self.end_grants(&expired, GrantStatus::Expired, at)?;
        for rolled in &closed.rolled {
            let older = self.grant_mut(rolled.from)?;
            older.rolled_to = Some(rolled.to);
            if rolled.held_limit.is_positive() {
                older.onward =
                    Some(Onward { to: rolled.to, share: rolled.held_share, limit: rolled.held_limit });
            }
            let (since, allowance_of) = (older.usable_since, older.allowance_of);
            let newer = self.grant_mut(rolled.to)?;
            newer.usable_since = newer.usable_since.min(since);
            // Should it expire while its cycle goes on, it was not given after all.
            newer.allowance_of = allowance_of;
        }
        if closed.retried {
            let number = closed.period.number;
            if let Some(past) = self.past_period_mut(number) {
                past.given.clone_from(&closed.given);
            }
            self.missed
                .retain(|missed| missed.number != number || !matches!(missed.what, MissedCall::Close { .. }));
            return Ok(());
        }
        if closed.reason != CloseReason::Scheduled {
            self.count_as_one(closed);
            self.lengthen_cycle();
        }
        let (whole, full) = (std::mem::take(&mut self.whole), std::mem::take(&mut self.full));
        let plan = self.plan().cloned();
        self.past.push(PastPeriod {
            period: closed.period.clone(),
            plan,
            cycle: self.cycle.clone(),
            cycle_window: self.cycle_window,
            fresh_from: self.fresh_from,
            given: closed.given.clone(),
            whole,
            full,
            peak: Vec::new(),
        });
        let running = self.period.take();
        if closed.decision.as_ref().is_some_and(|decision| decision.is_unmade()) {
            let what = MissedCall::Close {
                reason: closed.reason,
                scheduled_end: running.and_then(|period| period.end),
                cycle: self.cycle.clone(),
            };
            self.missed.push(Missed { number: closed.period.number, what, meanwhile: Vec::new() });
        }
        self.forget_past(at);
        Ok(())
    }

    /// The cycle of a period that is cut off goes on at least until that would have ended. Else what it gave would count no more
    /// where an anchor has moved that end beyond the cycle's.
    fn lengthen_cycle(&mut self) {
        let scheduled = self.period.as_ref().and_then(|period| period.end);
        if let (Some(cycle), Some(scheduled)) = (self.cycle.clone(), scheduled)
            && cycle.end.is_some_and(|end| end < scheduled)
        {
            self.put_cycle(Cycle { end: Some(scheduled), ..cycle });
        }
    }

    /// Puts a cycle in force. What its past periods gave counts as long as it goes on, however long that has become.
    fn put_cycle(&mut self, cycle: Cycle) {
        let same = |other: &&mut Cycle| other.start == cycle.start && other.interval == cycle.interval;
        let past = self.past.iter_mut().filter(|past| past.fresh_from == self.fresh_from);
        past.filter_map(|past| past.cycle.as_mut()).filter(same).for_each(|other| other.clone_from(&cycle));
        self.cycle = Some(cycle);
    }

    /// A period that was cut off and the one after it count as one for grants that end with later periods: nobody loses time by
    /// a change of plan.
    fn count_as_one(&mut self, closed: &PeriodClosed) {
        for state in self.grants.by_id_mut() {
            let is_new = closed.grants.iter().any(|grant| grant.id == state.grant.id);
            if let Some(with) = state.ends_with.as_mut().filter(|with| with.number > closed.period.number)
                && !is_new
            {
                with.number = with.number.saturating_add(1);
            }
        }
    }

    /// Forgets periods that neither late usage nor an open reservation nor a cycle can need. Of periods whose cycle never ends,
    /// what they gave counts for ever, so the oldest takes in what the others gave.
    fn forget_past(&mut self, at: Timestamp) {
        let late = Timestamp(at.0.saturating_sub(LATE_WINDOW));
        let reserved = self.reservations.values().map(|reservation| match &reservation.held_for {
            HeldFor::Usage { usage, .. } => self.time_of(usage),
            HeldFor::Lease(_) => reservation.reserved_at,
        });
        let oldest = reserved.chain([late]).min().unwrap_or(late);
        let cycle = self.cycle.as_ref().map_or(at, |cycle| cycle.start);
        // What expired of their allowances may be drawn as far as the cycle's have not given it.
        let drawable = self
            .grants
            .iter()
            .filter(|state| state.expired.is_positive() && state.ended_at.is_some_and(|end| end >= late));
        let drawable: BTreeSet<u32> = drawable.filter_map(|state| state.allowance_of).collect();
        // Another cycle that goes on may count the later of two that could be merged, and not the earlier.
        let going_on = self.past.iter().filter_map(|past| past.cycle.as_ref()).chain(&self.cycle);
        let starts: BTreeSet<Timestamp> =
            going_on.filter(|cycle| cycle.end.is_some_and(|end| end > at)).map(|cycle| cycle.start).collect();
        let is_between = |earlier: Timestamp, later: Timestamp| {
            starts.iter().any(|start| earlier < *start && *start <= later)
        };
        let mut kept: Vec<PastPeriod> = Vec::with_capacity(self.past.len());
        for past in std::mem::take(&mut self.past) {
            let recent = past.period.end.is_none_or(|end| end >= oldest)
                || past.period.start >= cycle
                || drawable.contains(&past.period.number);
            let counts = past.cycle.as_ref().is_some_and(|cycle| cycle.end.is_none_or(|end| end > at));
            let is_endless = |past: &PastPeriod| past.cycle.as_ref().is_some_and(|cycle| cycle.end.is_none());
            // What was given before a cycle was begun on request counts no more, so it must not take in what does.
            let is_fresh = |past: &PastPeriod| past.period.number >= self.fresh_from;
            let endless = if recent || !is_endless(&past) {
                None
            } else {
                let first =
                    kept.iter().position(|kept| is_endless(kept) && is_fresh(kept) == is_fresh(&past));
                let at = first.and_then(|at| Some((at, kept.get(at)?)));
                let at = at.filter(|(_, first)| !is_between(first.period.start, past.period.start));
                at.map(|(at, first)| (at, first.cycle == past.cycle))
            };
            match endless {
                Some((at, true)) => kept.iter_mut().skip(at).take(1).for_each(|first| first.take_in(&past)),
                // A cycle without an end counts no more once another was begun on request, so the newer one must not take it in.
                Some((at, false)) => {
                    kept.remove(at);
                    kept.push(past);
                }
                None if recent || counts => kept.push(past),
                None => {}
            }
        }
        self.missed.retain(|missed| {
            let is_kept = |number| kept.binary_search_by_key(&number, |past| past.period.number).is_ok();
            missed.number >= self.periods || is_kept(missed.number)
        });
        self.past = kept;
        // Late usage belongs to the cycle of its period, and a plan that is taken again to one that goes on.
        let cycles = self.past.iter().map(|past| past.cycle_window).chain([self.cycle_window]).collect();
        let needed = Needed { oldest, first_period: self.first_ended_since(oldest), cycles: Some(cycles) };
        self.counters.forget(&needed);
        self.budgets.forget(&needed);
    }

    fn finish_commit(&mut self, committed: &Committed) -> Result<(), String> {
        self.spend_held(committed.reservation, &committed.taken, |reservation| {
            reservation.overage = less(reservation.overage, committed.taken_overage)?;
            Ok(())
        })?;
        self.end_reservation(committed.reservation)
    }

    /// What of a hold was spent is held no longer, neither by it nor of the grants; `then` changes what else there is of it.
    pub(super) fn spend_held<T>(
        &mut self,
        id: ReservationId,
        taken: &[Draw],
        then: impl FnOnce(&mut ReservationState) -> Result<T, String>,
    ) -> Result<T, String> {
        for draw in taken {
            let grant = self.grant_mut(draw.grant)?;
            grant.held = less(grant.held, draw.amount)?;
            grant.spent = more(grant.spent, draw.amount)?;
        }
        self.change_reservation(id, |reservation| {
            for draw in taken {
                take_hold(reservation, draw.grant, draw.amount)?;
            }
            then(reservation)
        })
    }

    /// Holds that were committed left the reservation through `taken`; all that remains must have been moved out.
    fn end_reservation(&mut self, id: ReservationId) -> Result<(), String> {
        let reservation = self.reservations.remove(&id).ok_or("no such reservation")?;
        for count in &reservation.counts {
            self.counters.take_back(count, Part::Held)?;
        }
        for count in &reservation.budgets {
            self.budgets.take_back(count, Part::Held, id.entry)?;
        }
        let left = reservation.held();
        if left.is_zero() { Ok(()) } else { Err(format!("a closed reservation still holds {left}")) }
    }

    fn count(&mut self, entry: &Entry, part: Part) -> Result<(), String> {
        // Each counts in the window that it names, whatever period runs by now.
        let oldest = Timestamp(entry.at.0.saturating_sub(LATE_WINDOW));
        let needed = Needed { oldest, first_period: self.first_ended_since(oldest), cycles: None };
        entry.counts.iter().try_for_each(|count| self.counters.add(count, part, &needed))?;
        entry.budgets.iter().try_for_each(|count| self.budgets.add(count, part, &needed))
    }

    fn add_reservation(&mut self, entry: &Entry, reserved: &Reserved) {
        let state = ReservationState {
            held_for: HeldFor::Usage {
                usage: reserved.usage.clone(),
                terms: reserved.decision.terms.clone(),
            },
            credit: reserved.rated.credit.clone(),
            holds: Vec::new(),
            revived: Vec::new(),
            overage: Credits::ZERO,
            counts: entry.counts.clone(),
            budgets: entry.budgets.clone(),
            reserved_at: entry.at,
            expires_at: reserved.expires_at,
        };
        self.reservations.insert(ReservationId { entry: entry.seq, index: 0 }, state);
    }

    /// Remembers what was drawn while grants are missing that a fault kept from being there.
    fn note_meanwhile(&mut self, entry: &Entry) {
        if self.missed.is_empty() {
            return;
        }
        let Some((usage, rated)) = entry.charged_usage() else { return };
        let grants = entry.draws().into_iter().map(|draw| (Some(draw.grant), draw.amount));
        let overage = Some((None, entry.overage())).filter(|(_, amount)| amount.is_positive());
        let drawn: Vec<_> = grants.chain(overage).collect();
        for missed in self.missed_by(usage) {
            for (grant, amount) in &drawn {
                add_meanwhile(missed, *grant, &rated.credit, Some(&usage.feature), *amount);
            }
        }
    }

    /// What was missed when a usage occurred: usage of before draws what there was before.
    fn missed_by(&mut self, usage: &Usage) -> impl Iterator<Item = &mut Missed> {
        let time = self.time_of(usage);
        let Self { missed, past, period, .. } = self;
        missed.iter_mut().filter(move |missed| {
            let since = match &missed.what {
                MissedCall::Close { .. } => {
                    let past = past.iter().find(|past| past.period.number == missed.number);
                    past.and_then(|past| past.period.end)
                }
                MissedCall::Open { .. } => {
                    let running = period.as_ref().filter(|period| period.number == missed.number);
                    running.map(|period| period.start)
                }
            };
            since.is_some_and(|since| since <= time)
        })
    }

    /// What was refunded is no longer what missed grants must make up for.
    fn forget_meanwhile(&mut self, refunded: &Refunded, transfers: &[Transfer]) {
        for missed in self.missed_by(&refunded.usage) {
            for transfer in transfers {
                let from = match (transfer.from, transfer.to) {
                    (Book::Spent, Book::Grant(grant)) => Some(grant),
                    (Book::Spent, Book::Overage) => None,
                    _ => continue,
                };
                let mut left = transfer.amount;
                for one in &mut missed.meanwhile {
                    let same = one.grant == from && one.credit == transfer.credit;
                    if same && one.feature.as_ref() == Some(&refunded.usage.feature) {
                        let part = left.min(one.amount);
                        one.amount = one.amount.saturating_sub(part);
                        left = left.saturating_sub(part);
                    }
                }
            }
            missed.meanwhile.retain(|one| one.amount.is_positive());
        }
    }

    /// Adds a grant to which a refund gives back: until then that counts as spent, and so does all of a grant that was forgotten.
    fn add_spent_grant(&mut self, grant: &Grant, is_new: bool, transfers: &[Transfer]) {
        self.add_grant(grant);
        let into = transfers.iter().filter(|one| one.from == Book::Spent && one.to == Book::Grant(grant.id));
        let given = into.fold(Credits::ZERO, |sum, transfer| sum.saturating_add(transfer.amount));
        if let Ok(state) = self.grant_mut(grant.id) {
            // What reservations gave back to it may exceed its amount.
            state.spent = if is_new { given } else { grant.amount.max(given) };
        }
    }

    /// Once something was made good, what that was drawn from instead is no longer what other missed grants must make up for.
    fn note_redrawn(&mut self, transfers: &[Transfer]) {
        let mut given_back = None;
        for transfer in transfers {
            let (from, to) = match (transfer.from, transfer.to, given_back.take()) {
                (Book::Spent, Book::Grant(older), _) => {
                    given_back = Some(older);
                    continue;
                }
                (Book::Grant(newer), Book::Spent, Some(older)) => (Some(older), newer),
                (Book::Grant(newer), Book::Overage, _) => (None, newer),
                _ => continue,
            };
            for missed in &mut self.missed {
                let mut left = transfer.amount;
                let mut moved = Vec::new();
                let same = |one: &&mut Meanwhile| one.grant == from && one.credit == transfer.credit;
                for one in missed.meanwhile.iter_mut().filter(same) {
                    let part = left.min(one.amount);
                    one.amount = one.amount.saturating_sub(part);
                    left = left.saturating_sub(part);
                    moved.push((one.feature.clone(), part));
                }
                for (feature, part) in moved.into_iter().filter(|(_, part)| part.is_positive()) {
                    add_meanwhile(missed, Some(to), &transfer.credit, feature.as_ref(), part);
                }
                missed.meanwhile.retain(|one| one.amount.is_positive());
            }
        }
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
        let needed = self.needed_grants(oldest);
        let running = self.period.as_ref().map(|period| period.number);
        let is_kept = |state: &GrantState| {
            // What an allowance gave counts until its period has ended.
            let counts = state.allowance_of.is_some() && state.allowance_of == running;
            if !state.is_exhausted() || counts || needed.contains(&state.grant.id) {
                return true;
            }
            match state.status {
                GrantStatus::Live => !ends_period && !used_up,
                GrantStatus::Expired if state.expired.is_positive() => {
                    state.ended_at.is_none_or(|end| end >= oldest)
                }
                GrantStatus::Expired | GrantStatus::Voided => {
                    !crowded && state.ended_at.is_none_or(|end| end >= oldest)
                }
            }
        };
        let forgotten: Vec<&GrantState> = self.grants.by_id().filter(|state| !is_kept(state)).collect();
        if forgotten.is_empty() {
            return;
        }
        // What was drawn of a voided grant, or of one that rolled over into one, must not come back.
        let is_voided = |state: &GrantState| match state.status {
            GrantStatus::Voided => true,
            GrantStatus::Expired => self.carried_on(state) == CarriedOn::Voided,
            GrantStatus::Live => false,
        };
        let voided = forgotten.iter().filter(|state| state.spent.is_positive() && is_voided(state));
        let voided: Vec<GrantId> = voided.map(|state| state.grant.id).collect();
        let forgotten: BTreeSet<GrantId> = forgotten.iter().map(|state| state.grant.id).collect();
        self.voided.extend(voided);
        self.grants.retain(|state| !forgotten.contains(&state.grant.id));
    }

    /// Grants that credits may still come back to from others (by a reservation, or by a refund of what was drawn from one that
    /// ended after `oldest`), and those that missed grants must make up for.
    fn needed_grants(&self, oldest: Timestamp) -> BTreeSet<GrantId> {
        let of_missed = self.missed.iter().flat_map(|missed| &missed.meanwhile).filter_map(|one| one.grant);
        let mut needed: BTreeSet<GrantId> = of_missed.collect();
        let onward = |state: &GrantState| {
            [state.onward.map(|onward| onward.to), state.carried_to.map(|carried| carried.to)]
                .into_iter()
                .flatten()
        };
        let is_refundable = |state: &GrantState| {
            let ended =
                state.status == GrantStatus::Expired && state.ended_at.is_some_and(|end| end >= oldest);
            ended && state.spent.is_positive()
        };
        let sources = self.grants.iter().filter(|state| !state.held.is_zero() || is_refundable(state));
        let mut reached: Vec<GrantId> = sources.flat_map(onward).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = reached.pop() {
            if seen.insert(id) {
                reached.extend(self.grant(id).into_iter().flat_map(onward));
            }
        }
        needed.append(&mut seen);
        needed
    }
}

fn add_meanwhile(
    missed: &mut Missed,
    grant: Option<GrantId>,
    credit: &CreditType,
    feature: Option<&Key>,
    amount: Credits,
) {
    let same = missed
        .meanwhile
        .iter_mut()
        .find(|one| one.grant == grant && &one.credit == credit && one.feature.as_ref() == feature);
    match same {
        Some(one) => one.amount = one.amount.saturating_add(amount),
        None => missed.meanwhile.push(Meanwhile {
            grant,
            credit: credit.clone(),
            feature: feature.cloned(),
            amount,
        }),
    }
}
