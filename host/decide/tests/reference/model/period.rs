//! Periods in the model: what is due, how a period ends and begins, and what allowances gave in a cycle.

use super::{Cycle, Grant, LATE, Model, Period, Profile, Roll, gave, plain};
use crate::{
    answer::{Answer, Id, Status},
    calendar,
    settings::{Amount, HOUR, Mode, Settings, SettleFrom, Settling, Unit, Window},
};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Due {
    Reservation(Id),
    PeriodEnd,
    Grants,
    PeriodStart,
}

impl Model {
    /// The earliest thing that is due. At one instant reservations come first, then the period's end, then grants, then the
    /// next period's beginning.
    pub fn next_due(&self) -> Option<(i64, Due)> {
        let mut all: Vec<(i64, u8, Due)> = Vec::new();
        for (id, reservation) in &self.reservations {
            all.push((reservation.expires_at, 0, Due::Reservation(*id)));
        }
        match &self.period {
            Some(Period { end: Some(end), .. }) => all.push((*end, 1, Due::PeriodEnd)),
            None if self.plan().is_some() && !self.closed => {
                let at = self.past.last().and_then(|past| past.end).unwrap_or(self.created);
                all.push((at, 3, Due::PeriodStart));
            }
            _ => {}
        }
        let live = self.grants.iter().filter(|grant| grant.status == Status::Live && !grant.forgotten);
        if let Some(at) = live.filter_map(|grant| grant.expires_at).min() {
            all.push((at, 2, Due::Grants));
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
            self.now = at;
            match due {
                Due::Reservation(id) => self.end_reservation(id),
                Due::Grants => {
                    self.entries += 1;
                    for id in self.grants.iter().map(|grant| grant.id).collect::<Vec<_>>() {
                        let grant = self.grant(id);
                        if grant.status == Status::Live
                            && !grant.forgotten
                            && grant.expires_at.is_some_and(|expires| expires <= at)
                        {
                            self.expire(id);
                        }
                    }
                }
                Due::PeriodEnd => self.close_period("scheduled"),
                Due::PeriodStart => self.open_period("scheduled", Mode::Carry),
            }
        }
        self.now = now;
    }

    fn expire(&mut self, id: Id) {
        let now = self.now;
        let grant = self.grant_mut(id);
        let rest = std::mem::take(&mut grant.remaining);
        grant.expired += rest;
        grant.status = Status::Expired;
        grant.ended_at = Some(now);
        let credit = grant.credit.clone();
        self.book(&credit).expired += rest;
    }

    pub fn configure(&mut self, before: Option<Profile>, profile: Profile, allowance: Mode) -> Answer {
        if before.as_ref() == Some(&profile) {
            return plain("configured");
        }
        if self.closed {
            return plain("error:closed");
        }
        let old_plan = before.as_ref().and_then(|before| before.plan);
        if old_plan != profile.plan && self.period.is_some() {
            self.close_period(if profile.plan.is_some() { "plan_changed" } else { "plan_ended" });
        }
        self.profile = Some(profile);
        self.entries += 1;
        self.plan_history.push((self.now, self.plan()));
        let now = self.now;
        let end = self.schedule().map(|schedule| schedule.next_after(now));
        if let Some(period) = &mut self.period {
            period.end = end;
        } else if self.plan().is_some() {
            self.open_period(if self.periods == 0 { "started" } else { "plan_changed" }, allowance);
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

    /// Ends the running period now, by the terms in force a microsecond before.
    pub fn close_period(&mut self, reason: &str) {
        let at = self.now;
        let mut period = self.period.clone().unwrap();
        let terms = self.terms_at(self.plan(), at - 1);
        let settings = terms.as_deref().cloned().unwrap_or_default();
        let owed = self.owed(settings.settle_close);
        let carried = self.roll_over(&settings, period.number, reason);
        // What expires with the period.
        let ending: Vec<Id> = self
            .grants
            .iter()
            .filter(|grant| {
                grant.status == Status::Live
                    && !grant.forgotten
                    && grant.with_period.is_some_and(|number| number <= period.number)
            })
            .map(|grant| grant.id)
            .collect();
        for id in ending {
            self.expire(id);
        }
        if let Some(fee) = &settings.fee {
            let counted: Amount = self
                .counters
                .iter()
                .filter(|((spec, window, subject), _)| {
                    spec.cost
                        && spec.features.is_empty()
                        && subject.is_empty()
                        && spec.window == Window::Period
                        && *window == i64::from(period.number)
                })
                .map(|(_, (used, _))| *used)
                .sum();
            let missing = fee.least - counted;
            if missing > 0 {
                if fee.drawn {
                    let (draws, left) = self.plan_draws(fee.credit, None, at, missing, &carried, false);
                    for (id, part) in draws {
                        self.spend(id, part);
                    }
                    self.book(fee.credit).overage += left;
                } else {
                    self.book(fee.credit).issued += missing;
                }
                self.book(fee.credit).spent += missing;
            }
        }
        self.settle(settings.settle_close, settings.settle_from, owed);
        period.end = Some(at);
        self.past.push(period);
        self.period = None;
        self.entries += 1;
        self.forget();
        // What ended before the late window and before the running cycle is forgotten, even if a plan with longer periods is
        // taken later, whose cycle would have held it.
        let cycle = self.cycle.as_ref().map_or(at, |cycle| cycle.start);
        for past in &mut self.past {
            past.closed_for_good |= past.end < Some(at - LATE) && past.start < cycle;
        }
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
                && grant.with_period == Some(number)
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
        for (id, amount) in parts {
            let older = self.grant(id).clone();
            let limit = (older.held * rule.percent / 100).min(left);
            left -= limit;
            if amount == 0 && limit == 0 {
                continue;
            }
            let mut newer =
                self.new_grant(made.len() as u32, &older.credit, amount, "rollover", rule.priority);
            newer.usable_since = older.usable_since.min(at);
            newer.expires_at = older.expires_at;
            newer.with_period = Some(number + 1 + rule.periods);
            newer.features = older.features.clone();
            newer.paid = older.paid.map(|paid| share_of_money(paid, amount + limit, older.amount));
            let to = newer.id;
            made.push(to);
            self.grants.push(newer);
            let older = self.grant_mut(id);
            older.remaining -= amount;
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
    fn settle(&mut self, how: Settling, from: SettleFrom, owed: Vec<(String, Amount)>) {
        if how == Settling::Keep || from == SettleFrom::Never {
            return;
        }
        for (credit, before) in owed {
            let wanted = match how {
                Settling::InvoiceHalf => before / 2,
                _ => self.outstanding(&credit),
            };
            if how == Settling::Deduct {
                let (draws, _) = self.plan_draws(&credit, None, self.now, wanted, &[], false);
                for (id, part) in draws {
                    self.spend(id, part);
                    self.book(&credit).overage -= part;
                }
            } else {
                let book = self.book(&credit);
                book.issued += wanted;
                book.overage -= wanted;
            }
        }
    }

    /// What is used up when a period ends no longer counts.
    fn forget(&mut self) {
        let onward = |grant: &Grant| [grant.roll.map(|roll| roll.to), grant.next];
        let held = self.grants.iter().filter(|grant| grant.held > 0);
        let mut to_visit: Vec<Id> = held.flat_map(onward).flatten().collect();
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
                && grant.incoming.is_none()
                && !awaited.contains(&grant.id)
            {
                grant.forgotten = true;
            }
        }
    }

    fn cycle_at(&self, at: i64, reason: &str) -> Cycle {
        let Some(schedule) = self.schedule() else {
            let start = self.cycle.as_ref().filter(|_| reason != "early").map_or(at, |cycle| cycle.start);
            return Cycle { start, end: None };
        };
        if reason == "early" {
            return Cycle { start: at, end: Some(schedule.next_after(at)) };
        }
        let nominal = Cycle { start: schedule.last_at(at), end: Some(schedule.next_after(at)) };
        let Some(running) = &self.cycle else { return nominal };
        if running.start >= nominal.start {
            return nominal;
        }
        let whole = calendar::add(running.start, &schedule.zone, schedule.interval, 1);
        let least = match schedule.interval {
            (Unit::Hour, n) => n * HOUR,
            (Unit::Day, n) => n * 23 * HOUR,
            (Unit::Week, n) => n * 167 * HOUR,
            (Unit::Month, n) => n * 671 * HOUR,
            (Unit::Quarter, n) => n * 2_135 * HOUR,
            (Unit::Year, n) => n * 8_759 * HOUR,
        };
        let slack = (3 * HOUR).min(least / 8);
        if at + slack < whole { Cycle { start: running.start, end: Some(whole) } } else { nominal }
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
        }
        self.period = Some(Period {
            number,
            start: at,
            end,
            whole: BTreeMap::new(),
            gave: BTreeMap::new(),
            closed_for_good: false,
        });
        let settings = self.terms_at(self.plan(), at).as_deref().cloned().unwrap_or_default();
        let owed = self.owed(settings.settle_open);
        self.issue(&settings, &cycle, asked);
        self.settle(settings.settle_open, settings.settle_from, owed);
        self.cycle = Some(cycle);
        self.entries += 1;
    }

    fn issue(&mut self, settings: &Settings, cycle: &Cycle, asked: Mode) {
        let at = self.now;
        let number = self.periods;
        let mode = if settings.mode == Mode::Asked { asked } else { settings.mode };
        let counted: Vec<u32> = self
            .past
            .iter()
            .filter(|past| {
                past.start >= cycle.start && past.number >= self.fresh_from && !past.closed_for_good
            })
            .map(|past| past.number)
            .collect();
        // By credit type: what the cycle's allowances gave so far, and what of that could still come back.
        let mut pools: BTreeMap<String, (Amount, Amount)> = BTreeMap::new();
        let mut index = 0;
        for rule in &settings.allowances {
            let is_allowance = matches!(rule.category, "plan" | "trial");
            let mut amount = rule.amount;
            let mut incoming = None;
            if is_allowance {
                let whole = &mut self.period.as_mut().unwrap().whole;
                *whole.entry(rule.credit.to_owned()).or_default() += rule.amount;
            }
            if is_allowance && matches!(mode, Mode::Carry | Mode::Prorate | Mode::Asked) {
                let mut entitled = 0;
                if mode == Mode::Prorate
                    && let Some(end) = cycle.end
                {
                    let length = i128::from(end - cycle.start);
                    amount = (rule.amount * i128::from(end - at) / length).min(rule.amount);
                    for past in self.past.iter().filter(|past| counted.contains(&past.number)) {
                        let ran = i128::from(past.end.unwrap() - past.start);
                        entitled += past.whole.get(rule.credit).copied().unwrap_or(0) * ran / length;
                    }
                }
                let first = !pools.contains_key(rule.credit);
                if first {
                    let pool = self.pool(rule.credit, &counted, entitled);
                    pools.insert(rule.credit.to_owned(), pool);
                }
                let (over, back) = pools[rule.credit];
                let issued = (amount - over).max(0);
                if first {
                    // As much larger would it be, had what is held not been given.
                    let larger = (amount - (over - back).max(0)).max(0) - issued;
                    if larger > 0 {
                        incoming = Some(((over - amount).max(0), larger));
                    }
                }
                pools.insert(rule.credit.to_owned(), ((over - amount).max(0), 0));
                amount = issued;
            }
            if amount == 0 && incoming.is_none() {
                continue;
            }
            let mut grant = self.new_grant(index, rule.credit, amount, rule.category, rule.priority);
            index += 1;
            grant.effective = rule.starts_in.map_or(at, |starts| at + starts);
            grant.usable_since = grant.effective;
            grant.expires_at = rule.lasts.map(|lasts| at + lasts);
            grant.with_period = rule.with_period.map(|n| self.number_at(grant.effective) + n);
            grant.features = rule.features.iter().map(|feature| (*feature).to_owned()).collect();
            grant.paid = rule.paid;
            grant.allowance_of = is_allowance.then_some(number);
            grant.incoming = incoming;
            if incoming.is_some() {
                for earlier in self.returning(rule.credit, &counted) {
                    self.grant_mut(earlier).next = Some(grant.id);
                }
            }
            self.book(rule.credit).issued += amount;
            self.grants.push(grant);
        }
    }

    /// What the allowances of these periods gave beyond what they were entitled to, and what of that may still come back.
    fn pool(&self, credit: &str, periods: &[u32], entitled: Amount) -> (Amount, Amount) {
        let gone: Amount = self
            .past
            .iter()
            .filter(|past| periods.contains(&past.number))
            .filter_map(|past| past.gave.get(credit))
            .sum();
        let of_cycle: Vec<&Grant> = self
            .grants
            .iter()
            .filter(|grant| {
                grant.credit == credit && grant.allowance_of.is_some_and(|of| periods.contains(&of))
            })
            .collect();
        let given = gone + of_cycle.iter().map(|grant| gave(grant)).sum::<Amount>();
        let returning = self.returning(credit, periods);
        let back: Amount = returning.into_iter().map(|id| self.may_return(self.grant(id))).sum();
        let over = (given - entitled).max(0);
        (over, back.min(over))
    }

    /// The ended allowances of these periods to which something may still come back.
    fn returning(&self, credit: &str, periods: &[u32]) -> Vec<Id> {
        self.grants
            .iter()
            .filter(|grant| {
                grant.status == Status::Expired
                    && grant.next.is_none()
                    && grant.credit == credit
                    && grant.allowance_of.is_some_and(|of| periods.contains(&of))
                    && self.may_return(grant) > 0
            })
            .map(|grant| grant.id)
            .collect()
    }

    /// What may come back to a grant and belong to its cycle's next allowance: not what follows a rollover.
    fn may_return(&self, grant: &Grant) -> Amount {
        let through: Amount = self
            .grants
            .iter()
            .filter(|earlier| earlier.next == Some(grant.id))
            .map(|earlier| self.may_return(earlier))
            .sum();
        let (skip, limit) = grant.incoming.unwrap_or((0, 0));
        let all = grant.held + (through - skip).clamp(0, limit);
        match grant.roll {
            Some(roll) => all - (all * roll.share / 100).min(roll.left),
            None => all,
        }
    }

    /// What is owed of which credit type, as the policy sees it.
    fn owed(&self, how: Settling) -> Vec<(String, Amount)> {
        let all = self.books.keys().map(|credit| (credit.clone(), self.outstanding(credit)));
        all.filter(|(_, owed)| how != Settling::InvoiceHalf || owed / 2 > 0).collect()
    }
}

/// A part's share of a price in euros, to the cent, halves to even.
fn share_of_money(paid: Amount, part: Amount, whole: Amount) -> Amount {
    let cent = crate::settings::ONE / 100;
    if part >= whole {
        return paid;
    }
    let (scaled, unit) = (paid * part, whole * cent);
    let (cents, rest) = (scaled / unit, scaled % unit);
    let up = rest * 2 > unit || (rest * 2 == unit && cents % 2 == 1);
    ((cents + i128::from(up)) * cent).min(paid)
}
