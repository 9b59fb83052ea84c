//! Periods in the model: what is due, how a period ends and begins, and what allowances gave in a cycle.

use super::{
    Cycle, Grant, LATE, Model, Pending, Period, Profile, Roll, Waived,
    allowance::{Issue, share_of_money},
    plain,
    top_up::Step,
};
use crate::{
    answer::{Answer, Id, Status},
    commands::When,
    settings::{AfterTrial, Amount, HOUR, Mode, Settings, SettleFrom, Settling, TrialRule, Unit, Window},
};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Due {
    Reservation(Id),
    PeriodEnd,
    PlanChange,
    Grants,
    AddOn(&'static str),
    PeriodStart,
    TopUp(&'static str, Step),
}

impl Model {
    /// The earliest thing that is due. At one instant reservations come first, then the period's end, then another plan, then
    /// grants, then what add-ons give, then the next period's beginning, then top-ups.
    pub fn next_due(&self) -> Option<(i64, Due)> {
        let mut all: Vec<(i64, u8, Due)> = Vec::new();
        for (id, reservation) in &self.reservations {
            all.push((reservation.expires_at, 0, Due::Reservation(*id)));
        }
        match &self.period {
            Some(Period { end: Some(end), .. }) => all.push((*end, 1, Due::PeriodEnd)),
            None if self.plan().is_some() && !self.closed => {
                let at = self.past.last().and_then(|past| past.end).unwrap_or(self.created);
                all.push((at, 5, Due::PeriodStart));
            }
            _ => {}
        }
        let live = self.grants.iter().filter(|grant| grant.status == Status::Live && !grant.forgotten);
        if let Some(at) = live.filter_map(|grant| grant.expires_at).min() {
            all.push((at, 3, Due::Grants));
        }
        if let Some((at, add_on)) = self.next_add_on() {
            all.push((at, 4, Due::AddOn(add_on)));
        }
        if let Some(at) = self.pending_at() {
            all.push((at, 2, Due::PlanChange));
        }
        if let Some((at, credit, step)) = self.next_top_up() {
            all.push((at, 6, Due::TopUp(credit, step)));
        }
        // The first of equals.
        let mut first: Option<(i64, u8, Due)> = None;
        for one in all {
            if first.is_none_or(|first| (one.0, one.1) < (first.0, first.1)) {
                first = Some(one);
            }
        }
        first.map(|(at, _, due)| (at, due))
    }

    pub fn catch_up(&mut self) {
        let now = self.now;
        while let Some((at, due)) = self.next_due().filter(|(at, _)| *at <= now) {
            // What is due at the time of the last entry may be found only by now.
            self.now = at.max(self.last_at);
            self.last_at = self.now;
            match due {
                Due::Reservation(id) => {
                    self.end_reservation(id);
                    if self.closed {
                        self.settle_after_closing();
                    }
                }
                Due::Grants => self.expire_grants(),
                Due::AddOn(add_on) => self.let_add_on_give(add_on),
                Due::PeriodEnd => self.close_period("scheduled"),
                Due::PlanChange => self.put_on_pending_plan(),
                Due::PeriodStart => self.open_period("scheduled", Mode::Carry),
                Due::TopUp(credit, step) => self.carry_out_top_up(credit, step),
            }
            self.note_settled();
        }
        self.now = now;
    }

    fn expire_grants(&mut self) {
        self.entries += 1;
        for id in self.grants.iter().map(|grant| grant.id).collect::<Vec<_>>() {
            let grant = self.grant(id);
            if grant.status == Status::Live
                && !grant.forgotten
                && grant.expires_at.is_some_and(|expires| expires <= self.now)
            {
                self.expire(id);
            }
        }
    }

    fn expire(&mut self, id: Id) {
        let now = self.now;
        let grant = self.grant_mut(id);
        let rest = std::mem::take(&mut grant.remaining);
        grant.expired += rest;
        grant.lost += rest;
        grant.status = Status::Expired;
        grant.ended_at = Some(now);
        let credit = grant.credit.clone();
        self.book(&credit).expired += rest;
    }

    /// When the pending change of plan takes effect: of one at the end of the period, as that is now.
    pub fn pending_at(&self) -> Option<i64> {
        let at = self.pending.as_ref()?.at;
        at.or_else(|| match &self.period {
            Some(period) => period.end,
            None => self.past.last().and_then(|past| past.end),
        })
    }

    /// At the end of a period, that has ended already. Grants that end at this instant do so before the new period begins, and add-ons give
    /// before it.
    fn put_on_pending_plan(&mut self) {
        let pending = self.pending.clone().unwrap();
        if self.period.is_some() {
            self.close_period(if pending.plan.is_some() { "plan_changed" } else { "plan_ended" });
        }
        let profile = self.profile.as_mut().unwrap();
        let same_plan = profile.plan == pending.plan;
        (profile.plan, profile.version) = (pending.plan, pending.version);
        self.pending = None;
        self.entries += 1;
        self.plan_history.push((self.now, pending.plan));
        loop {
            match self.next_due().filter(|(at, _)| *at <= self.now) {
                Some((_, Due::Grants)) => self.expire_grants(),
                Some((_, Due::AddOn(add_on))) => self.let_add_on_give(add_on),
                _ => break,
            }
        }
        if pending.plan.is_some() {
            let changed = if same_plan { "version_changed" } else { "plan_changed" };
            self.open_period(if self.periods == 0 { "started" } else { changed }, pending.allowance);
        }
    }

    pub fn change_plan(&mut self, plan: Option<&'static str>, when: When, allowance: Mode) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        if plan == self.plan() {
            return plain("error:plan_unchanged");
        }
        let at = match when {
            When::Now => {
                let before = self.profile.clone();
                let profile = Profile { plan, version: self.newest(plan), ..before.clone().unwrap() };
                let answer = self.configure(before, profile, allowance);
                return if answer.what == "configured" { plain("plan_changed") } else { answer };
            }
            When::PeriodEnd if self.period.as_ref().is_none_or(|period| period.end.is_none()) => {
                return plain("error:no_period_end");
            }
            When::PeriodEnd => None,
            When::In(delta) if delta <= 0 => return plain("error:not_later"),
            When::In(delta) => Some(self.now + delta),
        };
        let effective = at.or_else(|| self.period.as_ref().and_then(|period| period.end));
        let version = self.newest(plan);
        if self.had_trial(plan, version, effective.unwrap()) {
            return plain("error:trial_used");
        }
        self.entries += 1;
        self.pending = Some(Pending { plan, version, at, allowance, id: self.entries });
        plain("plan_change_pending")
    }

    pub fn configure(&mut self, before: Option<Profile>, profile: Profile, allowance: Mode) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        if before.as_ref() == Some(&profile) {
            return plain("configured");
        }
        let old_plan = before.as_ref().and_then(|before| before.plan);
        let old_version = before.as_ref().map_or(0, |before| before.version);
        if before.is_some()
            && old_plan != profile.plan
            && self.had_trial(profile.plan, profile.version, self.now)
        {
            return plain("error:trial_used");
        }
        let moves = old_plan == profile.plan && old_version != profile.version;
        let awaits_version = self.pending.as_ref().is_some_and(|pending| pending.plan == profile.plan);
        if old_plan != profile.plan || moves && awaits_version {
            self.pending = None;
        }
        let gives = |version| profile.plan.map(|plan| &self.gives(plan, version).grants);
        let gives_other = moves && gives(old_version) != gives(profile.version);
        if (old_plan != profile.plan || gives_other) && self.period.is_some() {
            self.close_period(if profile.plan.is_some() { "plan_changed" } else { "plan_ended" });
        }
        if let Some(before) = before.filter(|before| before.zone != profile.zone) {
            self.zone_history.push((self.now, before.zone));
        }
        self.profile = Some(profile);
        self.entries += 1;
        self.plan_history.push((self.now, self.plan()));
        let now = self.now;
        let end = self.schedule().map(|schedule| schedule.next_after(now));
        if let Some(period) = &mut self.period {
            period.end = end;
            self.move_ends();
        } else if self.plan().is_some() {
            let changed = if gives_other { "version_changed" } else { "plan_changed" };
            self.open_period(if self.periods == 0 { "started" } else { changed }, allowance);
        }
        plain("configured")
    }

    pub fn reset(&mut self, anchor_now: bool) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        if self.period.is_none() {
            return plain("error:no_period");
        }
        self.close_period("early");
        if anchor_now {
            self.profile.as_mut().unwrap().anchor = self.now;
            self.entries += 1;
        }
        self.open_period("early", Mode::Full);
        plain("reset")
    }

    /// Ends the running period now, by the terms in force a microsecond before, or by those that it began with.
    pub fn close_period(&mut self, reason: &str) {
        let at = self.now;
        let mut period = self.period.clone().unwrap();
        let number = period.number;
        let terms = self.terms_at(self.plan(), (at - 1).max(period.start));
        let settings = terms.as_deref().cloned().unwrap_or_default();
        let owed = self.owed(settings.settle_close);
        // What becomes usable only with the next period has nothing to do with this one's end.
        let later: Vec<Id> = self
            .grants
            .iter()
            .filter(|grant| {
                let ends = grant.ends_with.is_some_and(|(with, _)| with <= number);
                (grant.effective > at || (grant.effective == at && reason == "scheduled")) && !ends
            })
            .map(|grant| grant.id)
            .collect();
        let carried = self.roll_over(&settings, number, reason);
        let ending: Vec<Id> = self
            .grants
            .iter()
            .filter(|grant| {
                let is_early = grant.bridges && grant.allowance_of == Some(number) && grant.effective >= at;
                grant.status == Status::Live
                    && !grant.forgotten
                    && (is_early || grant.ends_with.is_some_and(|(with, _)| with <= number))
            })
            .map(|grant| grant.id)
            .collect();
        for id in ending {
            self.expire(id);
        }
        let barred: Vec<Id> = later.iter().chain(&carried).copied().collect();
        self.charge_fee(&settings, number, &barred);
        self.settle(settings.settle_close, settings.settle_from, owed, &later);
        if reason != "scheduled" {
            // A period that was cut off and the one after it count as one for what ends with later periods.
            for grant in self.grants.iter_mut().filter(|grant| !carried.contains(&grant.id)) {
                if let Some((with, _)) = grant.ends_with.as_mut().filter(|(with, _)| *with > number) {
                    *with += 1;
                }
            }
        }
        if reason != "scheduled" {
            // A cycle lasts at least as long as its period would have.
            if let (Some(mut cycle), Some(end)) = (self.cycle.clone(), period.end) {
                cycle.end = cycle.end.map(|of_cycle| of_cycle.max(end));
                self.put_cycle(cycle);
            }
        }
        period.end = Some(at);
        period.cycle = self.cycle.clone();
        self.past.push(period);
        self.period = None;
        self.entries += 1;
        self.forget();
        // What ended before the late window and before the running cycle is forgotten once its own cycle is over, even if a plan
        // with longer periods is taken later, whose cycle would have held it.
        let reserved = self.reservations.values().map(|one| one.at).min().unwrap_or(at);
        let oldest = reserved.min(at - LATE);
        let cycle = self.cycle.as_ref().map_or(at, |cycle| cycle.start);
        let grants = &self.grants;
        for past in &mut self.past {
            // Unless late usage may still draw what expired of its allowances.
            let is_drawable = grants.iter().any(|grant| {
                grant.allowance_of == Some(past.number)
                    && grant.status == Status::Expired
                    && grant.expired > 0
                    && grant.ended_at >= Some(at - LATE)
            });
            let goes_on = past.cycle.as_ref().is_some_and(|cycle| cycle.end.is_none_or(|end| end > at));
            past.closed_for_good |= past.end < Some(oldest) && past.start < cycle && !goes_on && !is_drawable;
        }
    }

    fn charge_fee(&mut self, settings: &Settings, number: u32, barred: &[Id]) {
        let Some(fee) = &settings.fee else { return };
        let counted: Amount = self
            .counters
            .iter()
            .filter(|((spec, window, subject), _)| {
                spec.cost
                    && spec.features.is_empty()
                    && subject.is_empty()
                    && spec.window == Window::Period
                    && *window == i64::from(number)
            })
            .map(|(_, (used, _))| *used)
            .sum();
        let missing = fee.least - counted;
        if missing <= 0 {
            return;
        }
        if fee.drawn {
            let (draws, left) = self.plan_draws(fee.credit, None, self.now, missing, barred, false);
            for (id, part) in draws {
                self.spend(id, part);
            }
            self.book(fee.credit).overage += left;
        } else {
            self.book(fee.credit).issued += missing;
        }
        self.book(fee.credit).spent += missing;
    }

    fn spend(&mut self, id: Id, amount: Amount) {
        let grant = self.grant_mut(id);
        grant.remaining -= amount;
        grant.spent += amount;
    }

    /// Carries over what the settings say, newest first; returns the new grants.
    fn roll_over(&mut self, settings: &Settings, number: u32, reason: &str) -> Vec<Id> {
        let Some(rule) =
            settings.rollover.as_ref().filter(|rule| !rule.only_scheduled || reason == "scheduled")
        else {
            return Vec::new();
        };
        let at = self.now;
        let mut eligible: Vec<Id> = self.in_order(|grant| {
            grant.status == Status::Live
                && !grant.forgotten
                && grant.effective <= at
                && grant.ends_with.is_some_and(|(with, _)| with <= number)
                && grant.expires_at.is_none_or(|expires| expires > at)
                && rule.categories.contains(&grant.category.as_str())
        });
        eligible.reverse();
        let mut left = rule.most.unwrap_or(Amount::MAX);
        let mut parts = Vec::new();
        for id in eligible {
            let amount = (self.grant(id).remaining * rule.percent / 100).min(left);
            left -= amount;
            parts.push((id, amount));
        }
        let mut made = Vec::new();
        let coming = self.coming_back();
        for (id, amount) in parts {
            let older = self.grant(id).clone();
            let held = older.held + coming.get(&id).copied().unwrap_or(0);
            let used = (older.amount - older.remaining - held).max(0);
            let limit = (held * rule.percent / 100 + used * rule.percent / 100).min(left);
            left -= limit;
            if amount == 0 && limit == 0 {
                continue;
            }
            let mut newer =
                self.new_grant(made.len() as u32, &older.credit, amount, "rollover", rule.priority);
            newer.usable_since = older.usable_since.min(at);
            newer.expires_at = older.expires_at;
            newer.with_period = Some(number + 1 + rule.periods);
            newer.ends_with = newer.with_period.map(|with| (with, rule.periods));
            newer.allowance_of = older.allowance_of;
            newer.features = older.features.clone();
            newer.paid = older.paid.map(|paid| share_of_money(paid, amount + limit.min(held), older.amount));
            let to = newer.id;
            made.push(to);
            self.grants.push(newer);
            let older = self.grant_mut(id);
            older.remaining -= amount;
            older.passed += amount;
            older.rolled_to = Some(to);
            if limit > 0 {
                older.roll = Some(Roll { to, share: rule.percent, left: limit });
            }
        }
        made
    }

    /// Grants in burn-down order.
    pub fn in_order(&self, which: impl Fn(&Grant) -> bool) -> Vec<Id> {
        let mut grants: Vec<&Grant> = self.grants.iter().filter(|grant| which(grant)).collect();
        grants.sort_by_key(|grant| {
            let end = self.end_of(grant);
            (
                grant.priority,
                end.is_none(),
                end,
                grant.paid.is_some_and(|paid| paid > 0),
                if grant.features.is_empty() { usize::MAX } else { grant.features.len() },
                grant.effective,
                grant.id,
            )
        });
        grants.into_iter().map(|grant| grant.id).collect()
    }

    /// Takes overage off: all of it, or half of what was owed when the policy was asked.
    fn settle(&mut self, how: Settling, from: SettleFrom, owed: Vec<(String, Amount)>, barred: &[Id]) {
        if how == Settling::Keep || from == SettleFrom::Never {
            return;
        }
        for (credit, before) in owed {
            let wanted = match how {
                Settling::InvoiceHalf => before / 2,
                _ => self.outstanding(&credit),
            };
            if how == Settling::Deduct {
                let (draws, _) = self.plan_draws(&credit, None, self.now, wanted, barred, false);
                for (id, part) in draws {
                    self.spend(id, part);
                    self.book(&credit).overage -= part;
                }
            } else {
                let book = self.book(&credit);
                book.issued += wanted;
                book.overage -= wanted;
                if how == Settling::Waive && wanted > 0 {
                    self.note_waived(&credit, wanted);
                }
            }
        }
    }

    /// What was drawn since nothing was owed is forgiven by the entry that comes next.
    fn note_waived(&mut self, credit: &str, amount: Amount) {
        let after = self.settled_at.get(credit).copied().unwrap_or(0);
        let waived = self.waived.entry(credit.to_owned()).or_default();
        waived.push(Waived { after, at: self.entries + 1, left: amount });
        if waived.len() > 64 {
            let oldest = waived.remove(0);
            waived[0].after = oldest.after;
            waived[0].left += oldest.left;
        }
    }

    /// No period is left whose end would settle what a closed customer owes once a hold ends: the last one's terms do so at once.
    pub fn settle_after_closing(&mut self) {
        let Some(last) = self.past.last() else { return };
        let terms = self.terms_at(self.plan(), (last.end.unwrap() - 1).max(last.start));
        let settings = terms.as_deref().cloned().unwrap_or_default();
        let before = self.books.clone();
        let owed = self.owed(settings.settle_close);
        self.settle(settings.settle_close, settings.settle_from, owed, &[]);
        if self.books != before {
            self.entries += 1;
        }
    }

    /// What is used up when a period ends no longer counts.
    fn forget(&mut self) {
        let onward = |grant: &Grant| [grant.roll.map(|roll| roll.to), grant.next.map(|next| next.0)];
        let recent = self.now - LATE;
        let refundable = |grant: &Grant| {
            grant.status == Status::Expired && grant.spent > 0 && grant.ended_at >= Some(recent)
        };
        let sources = self.grants.iter().filter(|grant| grant.held > 0 || refundable(grant));
        let mut to_visit: Vec<Id> = sources.flat_map(onward).flatten().collect();
        let mut awaited: Vec<Id> = Vec::new();
        while let Some(id) = to_visit.pop() {
            if !awaited.contains(&id) {
                awaited.push(id);
                to_visit.extend(onward(self.grant(id)).into_iter().flatten());
            }
        }
        for grant in &mut self.grants {
            if grant.status == Status::Live
                && grant.remaining == 0
                && grant.held == 0
                && !awaited.contains(&grant.id)
            {
                grant.forgotten = true;
            }
        }
    }

    /// What would come to each grant by way of others, if reservations gave back all that they hold.
    fn coming_back(&self) -> BTreeMap<Id, Amount> {
        let mut then = self.clone();
        for id in self.reservations.keys() {
            then.end_reservation(*id);
        }
        let received =
            self.grants.iter().map(|grant| (grant.id, then.grant(grant.id).received - grant.received));
        received.collect()
    }

    /// Moves the ends of grants that become usable in a later period, which may have another number now.
    fn move_ends(&mut self) {
        for index in 0..self.grants.len() {
            let grant = &self.grants[index];
            if grant.status == Status::Live && grant.effective > self.now {
                let with = grant.ends_with.map(|(_, after)| (self.number_at(grant.effective) + after, after));
                self.grants[index].ends_with = with;
            }
        }
    }

    /// The cycle of a period that begins now: one of the plan's interval that goes on, wherever boundaries have moved; else
    /// the interval of the schedule that holds the instant.
    fn cycle_at(&self, at: i64, reason: &str) -> Cycle {
        let schedule = self.schedule();
        let interval = schedule.as_ref().map(|schedule| schedule.interval);
        if reason == "early" {
            let end = schedule.map(|schedule| schedule.next_after(at));
            return Cycle { start: at, end, interval, parts: Vec::new() };
        }
        let slack = interval.map_or(0, |(unit, count)| {
            let least = match unit {
                Unit::Hour => HOUR,
                Unit::Day => 23 * HOUR,
                Unit::Week => 167 * HOUR,
                Unit::Month => 671 * HOUR,
                Unit::Quarter => 2_135 * HOUR,
                Unit::Year => 8_759 * HOUR,
            };
            (3 * HOUR).min(least * count / 8)
        });
        let past = self.past.iter().rev().filter_map(|past| past.cycle.as_ref());
        let mut going_on =
            self.cycle.iter().chain(past).filter(|cycle| cycle.end.is_none_or(|end| end > at + slack));
        if let Some(cycle) = going_on.clone().find(|cycle| cycle.interval == interval) {
            return self.extended(cycle.clone(), at);
        }
        let (start, end) = match schedule {
            Some(schedule) => (schedule.last_at(at), Some(schedule.next_after(at))),
            // One that never ends takes in what was given in the cycle that it comes into.
            None => (going_on.next().map_or(at, |cycle| cycle.start), None),
        };
        Cycle { start, end, interval, parts: Vec::new() }
    }

    /// A boundary before a cycle's end lets it go on to the next boundary. The part after that end gives its share.
    fn extended(&self, cycle: Cycle, at: i64) -> Cycle {
        let Some(schedule) = self.schedule().filter(|schedule| schedule.last_at(at) == at) else {
            return cycle;
        };
        let next = schedule.next_after(at);
        let Some(end) = cycle.end.filter(|end| *end < next) else { return cycle };
        let mut parts = cycle.parts();
        let waits = parts.len() > 1 && parts.last().unwrap().0 > at;
        let from = if waits { parts.pop().unwrap().0 } else { end };
        parts.push((from, next, next - at));
        Cycle { end: Some(next), parts, ..cycle }
    }

    /// From when usage counts in the cycle of a period that begins now.
    fn counts_from(&self, cycle: &Cycle) -> i64 {
        let at = self.now;
        let of_now = |past: &&Period| past.fresh_from == self.fresh_from;
        let mut known = self.past.iter().rev().filter(of_now);
        if let Some(before) = known.clone().find(|past| past.of == (cycle.start, cycle.interval)) {
            // Extended about when it would have ended, it counts anew.
            let end = self.cycle_of(before).and_then(|before| before.end);
            let is_over = cycle.parts.last().is_some_and(|(_, _, length)| {
                end != cycle.end && length - (at - before.counts_from) <= length / 8
            });
            if !is_over {
                return before.counts_from;
            }
        } else {
            let since = cycle.start.max(self.fresh_at);
            let same = known.find(|past| {
                let goes_on = |cycle: &Cycle| cycle.end.is_none_or(|end| end > at);
                past.of.0.max(self.fresh_at) == since && self.cycle_of(past).is_some_and(goes_on)
            });
            if let Some(past) = same {
                return past.counts_from;
            }
        }
        let mut name = at;
        while self.past.iter().any(|past| past.counts_from == name) {
            name += 1;
        }
        name
    }

    /// The cycle of a period as it is now, where it goes on or was the last.
    pub fn cycle_of<'a>(&'a self, period: &'a Period) -> Option<&'a Cycle> {
        let is_it = |cycle: &&Cycle| (cycle.start, cycle.interval) == period.of;
        let last = self.cycle.as_ref().filter(is_it).filter(|_| period.fresh_from == self.fresh_from);
        last.or(period.cycle.as_ref())
    }

    /// Begins the next period now, by the terms in force from now on.
    pub fn open_period(&mut self, reason: &str, asked: Mode) {
        let at = self.now;
        let cycle = self.cycle_at(at, reason);
        self.periods += 1;
        let number = self.periods;
        let end = self.schedule().map(|schedule| schedule.next_after(at));
        if reason == "early" {
            self.fresh_from = number;
            self.fresh_at = at;
        }
        let counts_from = self.counts_from(&cycle);
        self.period = Some(Period {
            number,
            start: at,
            end,
            whole: BTreeMap::new(),
            gave: BTreeMap::new(),
            cycle: None,
            of: (cycle.start, cycle.interval),
            counts_from,
            full: BTreeMap::new(),
            closed_for_good: false,
            fresh_from: self.fresh_from,
        });
        self.move_ends();
        let settings = self.terms_at(self.plan(), at).as_deref().cloned().unwrap_or_default();
        let owed = self.owed(settings.settle_open);
        let mode = if settings.mode == Mode::Asked { asked } else { settings.mode };
        let takes = matches!(reason, "started" | "plan_changed");
        let trial = if takes { self.trial() } else { None };
        let mut issues = self.own_issues(takes, asked, trial.as_ref());
        issues.extend(settings.allowances.iter().map(|rule| {
            let counts = matches!(rule.category, "plan" | "trial");
            Issue { rule: rule.clone(), mode, counts }
        }));
        self.issue(&issues, &cycle);
        self.settle(settings.settle_open, settings.settle_from, owed, &[]);
        self.put_cycle(cycle);
        self.entries += 1;
        if let Some((ends, rule, _)) = trial {
            self.trials.insert(self.plan().unwrap(), ends);
            let plan = match rule.then {
                AfterTrial::Stay => return,
                AfterTrial::End => None,
                AfterTrial::Plan(plan) => Some(plan),
            };
            if self.pending.is_none() {
                let id = self.entries;
                let version = plan.map_or(0, |plan| self.sold_now(plan));
                self.pending = Some(Pending { plan, version, at: Some(ends), allowance: Mode::Carry, id });
            }
        }
    }

    /// The trial of the plan that is taken now, when it ends, and whether it begins.
    fn trial(&self) -> Option<(i64, TrialRule, bool)> {
        let plan = self.plan().unwrap();
        let rule = self.gives(plan, self.profile.as_ref().unwrap().version).trial.clone()?;
        match self.trials.get(plan) {
            None => Some((self.now + rule.hours * HOUR, rule, true)),
            Some(ends) if *ends > self.now => Some((*ends, rule, false)),
            Some(_) => None,
        }
    }

    /// Whether a plan is for a trial that the customer has had by then.
    fn had_trial(&self, plan: Option<&'static str>, version: usize, at: i64) -> bool {
        let Some(plan) = plan else { return false };
        let trial = self.gives(plan, version).trial.as_ref();
        let moves_on = trial.is_some_and(|trial| trial.then != AfterTrial::Stay);
        moves_on && self.trials.get(plan).is_some_and(|ends| *ends <= at)
    }

    /// A cycle is one, whichever of its periods tells of it.
    fn put_cycle(&mut self, cycle: Cycle) {
        let of_now = self.past.iter_mut().filter(|past| past.fresh_from == self.fresh_from);
        for other in of_now.filter_map(|past| past.cycle.as_mut()) {
            if (other.start, other.interval) == (cycle.start, cycle.interval) {
                *other = cycle.clone();
            }
        }
        self.cycle = Some(cycle);
    }

    /// What is owed of which credit type, as the policy sees it.
    fn owed(&self, how: Settling) -> Vec<(String, Amount)> {
        let all = self.books.keys().map(|credit| (credit.clone(), self.outstanding(credit)));
        all.filter(|(_, owed)| how != Settling::InvoiceHalf || owed / 2 > 0).collect()
    }
}
