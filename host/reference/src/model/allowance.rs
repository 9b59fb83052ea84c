//! Allowances in the model: what a period issues, and what of it those before it in the cycle gave already.

use super::{Cycle, LATE, Model, gave, share};
use crate::{
    answer::{Id, Status},
    settings::{AllowanceRule, Amount, Mode, OwnGrant, TrialRule},
};
use std::collections::BTreeMap;

impl Model {
    /// What the plan gives whatever its policy does.
    pub fn own_issues(
        &mut self,
        takes: bool,
        asked: Mode,
        trial: Option<&(i64, TrialRule, bool)>,
    ) -> Vec<Issue> {
        let mut issues = Vec::new();
        let version = self.profile.as_ref().unwrap().version;
        for OwnGrant { key, once, rule } in self.gives(self.plan().unwrap(), version).grants.clone() {
            if !once {
                issues.push(Issue { rule, mode: asked, counts: true });
            } else if takes && self.given_once.insert(key) {
                issues.push(Issue { rule, mode: Mode::Full, counts: false });
            }
        }
        if let Some((ends, trial, true)) = trial {
            let lasts = Some(ends - self.now);
            issues.extend(trial.grants.iter().map(|rule| Issue {
                rule: AllowanceRule { lasts, with_period: None, ..rule.clone() },
                mode: Mode::Full,
                counts: false,
            }));
        }
        issues
    }

    pub fn issue(&mut self, issues: &[Issue], cycle: &Cycle) {
        let number = self.periods;
        let counted = self.counted_in(cycle.start);
        let mut pools: BTreeMap<&str, Pool> = BTreeMap::new();
        let mut parts: Vec<Part> = Vec::new();
        parts.resize_with(issues.len(), || Part { amount: 0, stands_in: false, incoming: (0, 0), held: 0 });
        // Those in proportion first.
        let mut order: Vec<usize> = (0..issues.len()).collect();
        order.sort_by_key(|at| issues[*at].mode != Mode::Prorate);
        for at in order {
            let Issue { rule, mode, counts } = &issues[at];
            if *counts {
                let whole = &mut self.period.as_mut().unwrap().whole;
                *whole.entry(rule.credit.to_owned()).or_default() += rule.amount;
            }
            if *counts && *mode == Mode::Full && self.pool(rule.credit, &counted).counts {
                let full = &mut self.period.as_mut().unwrap().full;
                *full.entry(rule.credit.to_owned()).or_default() += rule.amount;
            }
            if !counts || *mode == Mode::Full {
                parts[at].amount = rule.amount;
                continue;
            }
            let pool = pools.entry(rule.credit).or_insert_with(|| self.pool(rule.credit, &counted));
            let (mut amount, mut entitled) = (cycle.begun(rule.amount, self.now), 0);
            if *mode == Mode::Prorate && cycle.end.is_some() {
                let begun: Vec<_> = cycle.parts().into_iter().filter(|part| part.0 <= self.now).collect();
                let last = begun.last().unwrap().1;
                let rest: Amount = begun.iter().map(|part| share(*part, rule.amount, self.now, last)).sum();
                amount = amount.min(rest);
                for past in self.past.iter().filter(|past| counted.contains(&past.number)) {
                    let whole = past.whole.get(rule.credit).copied().unwrap_or(0);
                    let of = |part: &(i64, i64, i64)| share(*part, whole, past.start, past.end.unwrap());
                    let by = |cycle: &Cycle| cycle.parts().iter().map(of).sum::<Amount>();
                    // By the longer of the two cycles.
                    entitled += by(cycle).min(by(self.cycle_of(past).unwrap()));
                }
            }
            let (taken, larger) = pool.take(amount, entitled);
            parts[at] =
                Part { amount: amount - taken, stands_in: pool.counts, incoming: (0, taken), held: larger };
        }
        // All that comes back goes to the last of those that would have been larger.
        for (credit, pool) in &pools {
            let of_credit = |at: &usize| issues[*at].rule.credit == *credit;
            let larger: Vec<usize> =
                (0..parts.len()).filter(of_credit).filter(|at| parts[*at].incoming.1 > 0).collect();
            let all: Amount = larger.iter().map(|at| parts[*at].incoming.1).sum();
            let held: Amount = larger.iter().map(|at| parts[*at].held).sum();
            for at in &larger {
                (parts[*at].incoming, parts[*at].held) = ((0, 0), 0);
            }
            if let Some(last) = larger.last() {
                (parts[*last].incoming, parts[*last].held) = ((pool.beyond, all), held);
            }
        }
        let mut index = 0;
        let mut standing_in = Vec::new();
        for (issue, part) in issues.iter().zip(parts) {
            if part.amount == 0 && part.incoming.1 == 0 {
                continue;
            }
            let id = self.begin_allowance(issue, &part, index, number);
            index += 1;
            if part.stands_in {
                standing_in.push((id, part));
            }
        }
        // Parts of the cycle that begin later bring their share.
        for issue in issues.iter().filter(|issue| issue.counts && issue.mode != Mode::Full) {
            let now = self.now;
            for later in cycle.parts.iter().filter(|later| later.0 > now) {
                let lasts = issue.rule.lasts.map(|lasts| now + lasts);
                if lasts.is_some_and(|end| end <= later.0) {
                    continue;
                }
                let whole = share(*later, issue.rule.amount, later.0, later.1);
                let beyond = pools.get_mut(issue.rule.credit).map(|pool| &mut pool.beyond);
                let taken = beyond.map_or(0, |beyond| {
                    let taken = whole.min(*beyond);
                    *beyond -= taken;
                    taken
                });
                let amount = whole - taken;
                if amount == 0 {
                    continue;
                }
                let starts = issue.rule.starts_in.unwrap_or(0).max(later.0 - now);
                let paid = issue.rule.paid.map(|paid| share_of_money(paid, whole, issue.rule.amount));
                let rule =
                    AllowanceRule { amount: whole, starts_in: Some(starts), paid, ..issue.rule.clone() };
                let part = Part { amount, stands_in: false, incoming: (0, 0), held: 0 };
                let id = self.begin_allowance(&Issue { rule, ..*issue }, &part, index, number);
                self.grant_mut(id).bridges = true;
                index += 1;
            }
        }
        for (id, part) in standing_in {
            self.stand_in(id, &part, &counted);
        }
    }

    fn begin_allowance(&mut self, issue: &Issue, part: &Part, index: u32, number: u32) -> Id {
        let Issue { rule, counts, .. } = issue;
        let at = self.now;
        let mut grant = self.new_grant(index, rule.credit, part.amount, rule.category, rule.priority);
        grant.effective = rule.starts_in.map_or(at, |starts| at + starts);
        grant.usable_since = grant.effective;
        grant.expires_at = rule.lasts.map(|lasts| at + lasts);
        self.end_with(&mut grant, rule.with_period);
        grant.features = rule.features.iter().map(|feature| (*feature).to_owned()).collect();
        grant.paid = rule.paid.map(|paid| share_of_money(paid, part.amount + part.held, rule.amount));
        grant.allowance_of = counts.then_some(number);
        let id = grant.id;
        if part.amount > 0 {
            self.book(rule.credit).issued += part.amount;
        }
        self.grants.push(grant);
        id
    }

    /// An allowance stands in the place of what expired of those before it in the cycle, and of what comes back to them.
    fn stand_in(&mut self, id: Id, part: &Part, counted: &[u32]) {
        let now = self.now;
        let (skip, limit) = part.incoming;
        let credit = self.grant(id).credit.clone();
        let mut left = part.amount;
        let mut since = self.grant(id).usable_since;
        let before = self.in_order(|grant| {
            grant.status == Status::Expired
                && grant.credit == credit
                && grant.allowance_of.is_some_and(|of| counted.contains(&of))
                && (grant.held > 0 || grant.ended_at >= Some(now - LATE))
        });
        let returns = self.returns(&before);
        for earlier in before {
            let most = returns[&earlier];
            let earlier = self.grant_mut(earlier);
            // What late usage can't draw any more is not renewed, though it may come back out of a hold.
            let renewed = if earlier.ended_at >= Some(now - LATE) { left.min(earlier.expired) } else { 0 };
            if renewed > 0 {
                left -= renewed;
                earlier.expired -= renewed;
                since = since.min(earlier.usable_since);
            }
            if limit > 0 && most > 0 {
                earlier.next = Some((id, most));
            }
        }
        let grant = self.grant_mut(id);
        grant.usable_since = since;
        grant.incoming = (limit > 0).then_some((skip, limit));
    }

    /// What may come back to each of these grants and would not roll over from it, oldest first.
    fn returns(&self, grants: &[Id]) -> BTreeMap<Id, Amount> {
        let mut returns: BTreeMap<Id, Amount> = grants.iter().map(|id| (*id, 0)).collect();
        let ids: Vec<Id> = returns.keys().copied().collect();
        for id in ids {
            let grant = self.grant(id);
            let all = returns[&id] + grant.held + grant.spent;
            let rolls = grant.roll.map_or(0, |roll| (all * roll.share / 100).min(roll.left));
            returns.insert(id, all - rolls);
            if let Some(on) = grant.roll.and_then(|roll| returns.get_mut(&roll.to)) {
                *on += rolls;
            }
        }
        returns
    }

    /// The ended periods whose allowances count in a cycle.
    fn counted_in(&self, start: i64) -> Vec<u32> {
        let counts = |past: &&super::Period| {
            past.start >= start && past.number >= self.fresh_from && !past.closed_for_good
        };
        self.past.iter().filter(counts).map(|past| past.number).collect()
    }

    /// Which cycle and credit type the allowance is of, and what has not been given of its largest allowance: in the cycle, and
    /// beside it since it began, until its last period began; none of what counts no more.
    pub fn not_given(&self, grant: &super::Grant) -> Option<(String, Amount)> {
        let of = grant.allowance_of?;
        let all = || self.past.iter().filter(|past| !past.closed_for_good).chain(&self.period);
        let own = all().find(|period| period.number == of)?;
        let (mut largest, mut full, mut gave_already, mut last) = (0, 0, 0, 0);
        for period in all().filter(|one| one.of == own.of && one.fresh_from == own.fresh_from) {
            let in_full = period.full.get(&grant.credit).copied().unwrap_or(0);
            largest = largest.max(period.whole.get(&grant.credit).copied().unwrap_or(0) - in_full);
            full += in_full;
            last = period.number;
        }
        let since = |one: &&super::Period| {
            one.fresh_from == own.fresh_from && one.start >= own.of.0 && one.number <= last
        };
        for period in all().filter(since) {
            gave_already += period.gave.get(&grant.credit).copied().unwrap_or(0);
            let of_period =
                |one: &&super::Grant| one.credit == grant.credit && one.allowance_of == Some(period.number);
            gave_already += self.grants.iter().filter(of_period).map(gave).sum::<Amount>();
        }
        let cycle = format!("{:?} {} {}", own.of, own.fresh_from, grant.credit);
        let all = self.cycle_of(own).map_or(largest, |cycle| cycle.begun(largest, i64::MAX));
        Some((cycle, (all + full - gave_already).max(0)))
    }

    /// What the allowances of these periods gave, and what of that may still come back and follows no rollover.
    fn pool(&self, credit: &str, periods: &[u32]) -> Pool {
        let past = self.past.iter().filter(|past| periods.contains(&past.number));
        let gone: Amount = past.filter_map(|past| past.gave.get(credit)).sum();
        let mut pool = Pool { given: gone, held: 0, beyond: 0, counts: gone > 0 };
        for grant in &self.grants {
            if grant.credit != credit || !grant.allowance_of.is_some_and(|of| periods.contains(&of)) {
                continue;
            }
            pool.counts = true;
            pool.given += gave(grant);
            if grant.status == Status::Expired {
                let follows = grant.roll.map_or(0, |roll| (grant.held * roll.share / 100).min(roll.left));
                pool.held += grant.held - follows;
            }
        }
        pool.held = pool.held.min(pool.given);
        pool
    }
}

/// What a period issues.
pub struct Issue {
    pub rule: AllowanceRule,
    pub mode: Mode,
    /// Whether it is an allowance, given once in a cycle.
    pub counts: bool,
}

/// How an allowance is issued.
struct Part {
    amount: Amount,
    /// Whether it stands in the place of earlier ones of the cycle.
    stands_in: bool,
    /// How much of what comes back to those expires first, and how much it takes then.
    incoming: (Amount, Amount),
    /// The part of that which reservations hold.
    held: Amount,
}

/// What of a cycle's past is not yet taken off an allowance.
struct Pool {
    given: Amount,
    /// The part that may still come back.
    held: Amount,
    /// What is left of it, beyond what the periods were entitled to, once the last allowance was reduced.
    beyond: Amount,
    /// Whether there is anything in whose place an allowance could stand.
    counts: bool,
}

impl Pool {
    /// Takes an allowance's part out of what was given beyond what the periods were entitled to. Returns that part, and by how
    /// much less it would be had nothing been held.
    fn take(&mut self, amount: Amount, entitled: Amount) -> (Amount, Amount) {
        let settled = (self.given - self.held - entitled).max(0);
        let given = (self.given - entitled).max(0);
        let taken = amount.min(given);
        let larger = taken - amount.min(settled);
        self.given -= taken;
        (self.beyond, self.held) = (given - taken, self.held - larger);
        (taken, larger)
    }
}

/// A part's share of a price in euros, to the cent, halves to even.
pub fn share_of_money(paid: Amount, part: Amount, whole: Amount) -> Amount {
    let cent = crate::settings::ONE / 100;
    if part >= whole {
        return paid;
    }
    let (scaled, unit) = (paid * part, whole * cent);
    let (cents, rest) = (scaled / unit, scaled % unit);
    let up = rest * 2 > unit || (rest * 2 == unit && cents % 2 == 1);
    ((cents + i128::from(up)) * cent).min(paid)
}
