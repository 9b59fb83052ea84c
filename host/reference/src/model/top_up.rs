//! Automatic top-ups in the model: when a payment is asked for, when that is given up, and when an alarm is raised.

use super::{Model, period::Due, plain};
use crate::{
    answer::{Answer, Id},
    calendar,
    commands::{GrantSpec, TopUpSpec},
    settings::{Amount, HOUR, ONE, SECOND, SettleFrom, Window},
};

/// The top-ups of a credit type.
#[derive(Debug, Clone)]
pub struct TopUps {
    pub spec: TopUpSpec,
    pub asked: Vec<Asked>,
    /// In a row, since the rule was put.
    pub failures: u32,
    /// The alarm that was raised last, and when: because of the limit, or else of failures.
    said: Option<(bool, i64)>,
}

/// A payment that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: u64,
    pub amount: Amount,
    pub status: &'static str,
    /// As it was when it was asked for.
    price: Option<Amount>,
    at: i64,
    until: i64,
    ended: i64,
}

/// What is due for top-ups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    Ask,
    GiveUp,
    /// Because of the limit, or else of failures.
    Alarm(bool),
}

impl TopUps {
    fn awaits(&self) -> bool {
        self.asked.last().is_some_and(|last| last.status == "pending")
    }

    fn has_failed_for_good(&self) -> bool {
        self.failures >= self.spec.failures
    }

    /// Until when none is asked for since the last was not paid.
    fn cold_until(&self) -> i64 {
        match self.asked.last() {
            Some(last) if self.failures > 0 => last.ended + self.spec.cool * SECOND,
            _ => i64::MIN,
        }
    }
}

impl Model {
    fn is_in_window(&self, window: Window, then: i64, at: i64) -> bool {
        let zone = self.zone();
        match window {
            Window::Hours(1) => then.div_euclid(HOUR) == at.div_euclid(HOUR),
            Window::Hours(hours) => at - then < i64::from(hours) * HOUR,
            Window::Period => match &self.period {
                Some(period) => then >= period.start,
                None => self.past.last().and_then(|past| past.end).is_none_or(|end| then >= end),
            },
            Window::Cycle => {
                let last = self.past.iter().chain(&self.period).last();
                then >= last.map_or(0, |period| period.counts_from)
            }
            Window::Day | Window::Week | Window::Month | Window::Lifetime => {
                calendar::window(window, then, (0, 0), &zone) == calendar::window(window, at, (0, 0), &zone)
            }
        }
    }

    /// How many are paid, or may be, of those asked for in the window of an instant.
    fn asked_in_window(&self, of: &TopUps, at: i64) -> u32 {
        let counts = |one: &&Asked| {
            ["pending", "paid"].contains(&one.status) && self.is_in_window(of.spec.window, one.at, at)
        };
        of.asked.iter().filter(counts).count() as u32
    }

    /// From when on one may be asked for, as time goes by.
    fn may_ask_from(&self, of: &TopUps) -> Option<i64> {
        if of.has_failed_for_good() {
            return None;
        }
        let at = self.last_at.max(of.cold_until());
        if self.asked_in_window(of, at) < of.spec.most {
            return Some(at);
        }
        // The first instant of those at which a window can end.
        let zone = self.zone();
        let mut ends: Vec<i64> = match of.spec.window {
            Window::Hours(1) => vec![(at.div_euclid(HOUR) + 1) * HOUR],
            Window::Hours(hours) => of.asked.iter().map(|one| one.at + i64::from(hours) * HOUR).collect(),
            Window::Day | Window::Week | Window::Month => {
                (1..=31).map(|n| calendar::nth_day_after(at, &zone, n)).collect()
            }
            // Periods and cycles begin with an entry, after which all is asked anew.
            Window::Period | Window::Cycle | Window::Lifetime => Vec::new(),
        };
        ends.sort_unstable();
        ends.into_iter().find(|end| *end > at && self.asked_in_window(of, *end) < of.spec.most)
    }

    /// What any feature may draw at an instant.
    fn open_to_all(&self, credit: &str, at: i64) -> Amount {
        let open = self.grants.iter().filter(|grant| {
            grant.credit == credit
                && grant.status == crate::answer::Status::Live
                && grant.features.is_empty()
                && grant.effective <= at
        });
        open.map(|grant| grant.remaining).sum()
    }

    pub fn next_top_up(&self) -> Option<(i64, &'static str, Step)> {
        let mut first: Option<(i64, &'static str, Step)> = None;
        for (credit, of) in self.top_ups.iter().filter(|_| !self.closed) {
            let due = self.due_of(credit, of);
            if let Some((at, step)) = due
                && first.is_none_or(|first| at < first.0)
            {
                first = Some((at, credit, step));
            }
        }
        first
    }

    fn due_of(&self, credit: &str, of: &TopUps) -> Option<(i64, Step)> {
        if of.awaits() {
            return of.asked.last().map(|last| (last.until, Step::GiveUp));
        }
        let is_low = |at| self.open_to_all(credit, at) < of.spec.threshold;
        if !of.spec.enabled {
            return None;
        }
        let now = self.last_at;
        let is_full = self.asked_in_window(of, now) >= of.spec.most;
        if is_low(now) && (of.has_failed_for_good() || is_full) {
            let by_limit = !of.has_failed_for_good();
            let was_said = of.said.is_some_and(|(limit, at)| {
                limit == by_limit && (!limit || self.is_in_window(of.spec.window, at, now))
            });
            if !was_said {
                return Some((now, Step::Alarm(by_limit)));
            }
        }
        let at = self.may_ask_from(of)?;
        is_low(at).then_some((at, Step::Ask))
    }

    pub fn carry_out_top_up(&mut self, credit: &'static str, step: Step) {
        let now = self.now;
        match step {
            Step::Ask => self.ask(credit),
            Step::GiveUp => {
                self.entries += 1;
                let of = self.top_ups.get_mut(credit).unwrap();
                let last = of.asked.last_mut().unwrap();
                (last.status, last.ended) = ("expired", now);
                of.failures += 1;
            }
            Step::Alarm(by_limit) => {
                self.entries += 1;
                self.top_ups.get_mut(credit).unwrap().said = Some((by_limit, now));
            }
        }
    }

    /// What a command makes due of top-ups, at once.
    pub fn raise_top_ups(&mut self) {
        while let Some((at, Due::TopUp(credit, step))) = self.next_due()
            && at <= self.last_at
        {
            self.carry_out_top_up(credit, step);
        }
    }

    fn ask(&mut self, credit: &'static str) {
        let terms = self.terms_at(self.plan(), self.now);
        let pays = terms.is_none_or(|terms| terms.settle_from == SettleFrom::Purchases);
        let owed = if pays { self.outstanding(credit).max(0) } else { 0 };
        let available = self.open_to_all(credit, self.now);
        self.entries += 1;
        let (id, now) = (self.entries, self.now);
        let of = self.top_ups.get_mut(credit).unwrap();
        let amount = of.spec.target.map_or(of.spec.amount, |target| target - available + owed);
        let until = now + of.spec.wait * SECOND;
        // Cents, half up.
        let price = of.spec.priced.then(|| half_up(half_up(amount, 100), ONE / 100) * (ONE / 100));
        of.asked.push(Asked { id, amount, status: "pending", price, at: now, until, ended: now });
    }

    /// A usage that was refused asks for what would make it possible.
    pub fn ask_for(&mut self, credit: &'static str, cost: Amount, available: Amount) {
        let Some(of) = self.top_ups.get(credit) else { return };
        let now = self.now;
        let may = !of.awaits()
            && of.spec.enabled
            && !of.has_failed_for_good()
            && of.cold_until() <= now
            && self.asked_in_window(of, now) < of.spec.most;
        let brings = of.spec.target.map_or(of.spec.amount, |target| target - self.open_to_all(credit, now));
        if may && brings > 0 && available + brings >= cost {
            self.ask(credit);
        }
    }

    pub fn set_top_up(&mut self, credit: &'static str, spec: &TopUpSpec) -> Answer {
        let before = self.top_ups.get(credit);
        if before.is_some_and(|of| of.spec == *spec && of.failures == 0 && of.said.is_none()) {
            return plain("read");
        }
        if self.closed {
            return plain("error:closed");
        }
        let asked = before.map(|of| of.asked.clone()).unwrap_or_default();
        self.top_ups.insert(credit, TopUps { spec: spec.clone(), asked, failures: 0, said: None });
        self.entries += 1;
        plain("other")
    }

    pub fn remove_top_up(&mut self, credit: &'static str) -> Answer {
        match self.top_ups.get(credit) {
            None => plain("error:no_top_up"),
            Some(of) if of.awaits() => plain("error:top_up_pending"),
            Some(_) => {
                self.top_ups.remove(credit);
                self.entries += 1;
                plain("other")
            }
        }
    }

    pub fn answer_top_up(&mut self, id: Option<Id>, paid: bool) -> Answer {
        if paid && self.closed {
            return plain("error:closed");
        }
        let found = self.top_ups.iter().find_map(|(credit, of)| {
            let place = of.asked.iter().position(|one| Some((one.id, 0)) == id)?;
            Some((*credit, place))
        });
        let Some((credit, place)) = found else { return plain("error:no_top_up") };
        let of = &self.top_ups[credit];
        let is_last = place + 1 == of.asked.len();
        let (spec, amount) = (of.spec.clone(), of.asked[place].amount);
        match (of.asked[place].status, paid) {
            ("pending", _) => {}
            ("expired", true) if is_last => {}
            _ => return plain("error:top_up_closed"),
        }
        if paid {
            let grant = GrantSpec {
                credit,
                amount,
                category: "top_up",
                priority: spec.priority,
                features: Vec::new(),
                effective_in: None,
                expires_in: spec.hours.map(|hours| hours * HOUR),
                with_period: spec.with_period,
                paid: of.asked[place].price,
            };
            self.give(&grant);
        } else {
            self.entries += 1;
        }
        let now = self.now;
        let of = self.top_ups.get_mut(credit).unwrap();
        (of.asked[place].status, of.asked[place].ended) = (if paid { "paid" } else { "declined" }, now);
        of.failures = if paid { 0 } else { of.failures + 1 };
        plain(if paid { "topped_up" } else { "declined" })
    }

    pub fn cancel_top_ups(&mut self) {
        for of in self.top_ups.values_mut() {
            if of.awaits() {
                of.asked.last_mut().unwrap().status = "cancelled";
            }
        }
    }
}

fn half_up(amount: Amount, by: Amount) -> Amount {
    (amount + by / 2) / by
}
