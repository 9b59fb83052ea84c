//! Add-ons in the model: what one gives when it is attached, changed, and with each of its cycles.

use super::{Model, allowance::share_of_money, plain};
use crate::{
    answer::{Answer, Id, Status},
    calendar::Schedule,
    packs::{AddOnSpec, Pack},
    settings::{Amount, HOUR, SettleFrom},
};
use std::collections::BTreeMap;

/// An add-on that the customer has or had.
#[derive(Debug, Clone)]
pub struct AddOn {
    pub spec: &'static AddOnSpec,
    pub quantity: u32,
    pub from: i64,
    pub to: Option<i64>,
    /// Whence cycles are counted, the number of the last one from 0, and its end.
    pub cycle: Option<(i64, i64, i64)>,
    /// The most that it was to give in that, by credit type.
    pub seen: BTreeMap<&'static str, Amount>,
    /// The most that it was ever to give once.
    pub once: BTreeMap<&'static str, Amount>,
    pub next: Option<i64>,
    pub gave: Vec<Id>,
}

impl AddOn {
    fn stands(&self, at: i64) -> bool {
        self.to.is_none_or(|to| to > at)
    }
}

impl Model {
    /// The add-on that gives something next, and when.
    pub fn next_add_on(&self) -> Option<(i64, &'static str)> {
        let due = self.add_ons.iter().filter_map(|(key, one)| Some((one.next?, *key)));
        due.min().filter(|_| !self.closed)
    }

    pub fn attach(
        &mut self,
        spec: &'static AddOnSpec,
        quantity: u32,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Answer {
        let now = self.now;
        let had = self.add_ons.get(spec.key).cloned();
        let before = had.clone().filter(|one| one.stands(now));
        let from = from.unwrap_or_else(|| before.as_ref().map_or(now, |one| one.from));
        if before.as_ref().is_some_and(|one| (one.quantity, one.from, one.to) == (quantity, from, to)) {
            return plain("read");
        }
        if self.closed {
            return plain("error:closed");
        }
        let has_begun = before.as_ref().is_some_and(|one| one.from <= now);
        if has_begun && before.is_some_and(|one| one.from != from) {
            return plain("error:rejected");
        }
        if (!has_begun && from < now) || to.is_some_and(|to| to <= from.max(now)) {
            return plain("error:not_later");
        }
        let (cycle, seen, once) = (None, BTreeMap::new(), BTreeMap::new());
        let new = AddOn { spec, quantity, from, to, cycle, seen, once, next: None, gave: Vec::new() };
        let one = AddOn { quantity, from, to, ..had.unwrap_or(new) };
        self.add_ons.insert(spec.key, one);
        self.let_add_on_give(spec.key);
        plain("attached")
    }

    pub fn detach(&mut self, spec: &'static AddOnSpec, void: bool) -> Answer {
        if self.closed {
            return plain("error:closed");
        }
        let now = self.now;
        let Some(one) = self.add_ons.get_mut(spec.key).filter(|one| one.stands(now)) else {
            return plain("error:rejected");
        };
        (one.to, one.next) = (Some(now), None);
        let gave = one.gave.clone();
        for id in gave.into_iter().filter(|_| void) {
            let grant = self.grant_mut(id);
            if grant.status != Status::Live {
                continue;
            }
            (grant.status, grant.ended_at) = (Status::Voided, Some(now));
            let rest = std::mem::take(&mut grant.remaining);
            let credit = grant.credit.clone();
            self.book(&credit).voided += rest;
        }
        self.entries += 1;
        plain("detached")
    }

    /// One entry with all that an add-on gives by now.
    pub fn let_add_on_give(&mut self, key: &'static str) {
        let now = self.now;
        let mut one = self.add_ons.remove(key).unwrap();
        let last = one.cycle.take();
        one.cycle = last.filter(|(_, _, end)| *end > now);
        if one.cycle.is_none() {
            one.seen.clear();
        }
        if one.from > now {
            one.next = Some(one.from);
        } else {
            if let (None, Some(interval)) = (one.cycle, one.spec.interval) {
                let goes_on = last.filter(|(_, _, end)| *end == now && one.from < now);
                let (anchor, number) = goes_on.map_or((now, 0), |(anchor, number, _)| (anchor, number + 1));
                let schedule = Schedule { anchor, zone: self.zone(), interval };
                let end = schedule.boundary(number + 1);
                let end = if end > now { end } else { schedule.next_after(now) };
                one.cycle = Some((anchor, number, end));
            }
            self.give_of(&mut one);
            let again = one.spec.grants.iter().any(|(once, _)| !once);
            one.next = one.cycle.filter(|_| again).map(|(_, _, end)| end);
            one.next = one.next.filter(|next| one.to.is_none_or(|to| *next < to));
        }
        self.add_ons.insert(key, one);
        self.entries += 1;
    }

    fn give_of(&mut self, one: &mut AddOn) {
        let mut looked_at: BTreeMap<&'static str, Amount> = BTreeMap::new();
        let mut index = 0;
        for (once, pack) in one.spec.grants {
            let whole = pack.amount * Amount::from(one.quantity);
            let amount = if *once {
                let ever = one.once.entry(pack.key).or_default();
                let more = (whole - *ever).max(0);
                *ever += more;
                more
            } else {
                let before = looked_at.entry(pack.credit).or_default();
                let seen = one.seen.get(pack.credit).copied().unwrap_or(0);
                let covered = (seen - *before).clamp(0, whole);
                *before += whole;
                whole - covered
            };
            if amount > 0 {
                let id = self.give_part(one, pack, (amount, whole), index);
                one.gave.push(id);
                index += 1;
            }
        }
        for (credit, whole) in looked_at {
            let seen = one.seen.entry(credit).or_default();
            *seen = whole.max(*seen);
        }
    }

    fn give_part(&mut self, one: &AddOn, pack: &Pack, (amount, whole): (Amount, Amount), index: u32) -> Id {
        let now = self.now;
        let terms = self.terms_at(self.plan(), now);
        let mut grant = self.new_grant(index, pack.credit, amount, pack.category, pack.priority);
        grant.features = pack.features.iter().map(|feature| (*feature).to_owned()).collect();
        grant.expires_at = match (pack.hours, pack.with_period, one.cycle) {
            (Some(hours), ..) => Some(now + hours * HOUR),
            (None, Some(0), Some((.., end))) => Some(end),
            (None, Some(n), Some((anchor, number, end))) => one.spec.interval.map(|interval| {
                let schedule = Schedule { anchor, zone: self.zone(), interval };
                schedule.boundary(number + i64::from(n) + 1).max(end)
            }),
            _ => None,
        };
        let by_category =
            terms.as_ref().is_some_and(|terms| terms.period_categories.contains(&pack.category));
        let with_period = (by_category && grant.expires_at.is_none()).then_some(0);
        self.end_with(&mut grant, with_period);
        let price = pack.price.map(|price| price * Amount::from(one.quantity));
        grant.paid = price.map(|price| share_of_money(price, amount, whole));
        let bought = matches!(pack.category, "prepaid" | "top_up") || grant.paid.is_some_and(|paid| paid > 0);
        let pays = terms.is_none_or(|terms| terms.settle_from == SettleFrom::Purchases);
        if bought && pays && grant.features.is_empty() {
            let paid = self.outstanding(pack.credit).min(amount);
            grant.remaining -= paid;
            grant.spent += paid;
            self.book(pack.credit).overage -= paid;
        }
        self.book(pack.credit).issued += amount;
        let id = grant.id;
        self.grants.push(grant);
        id
    }
}
