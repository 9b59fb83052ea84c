//! What the money should be, as simply as it can be said: everything is kept, nothing is cached, each figure is computed from
//! its definition. It shares no code with the host.

pub mod add_on;
mod allowance;
mod budget;
pub mod grant;
pub mod lease;
mod period;
mod refund;
mod snapshot;
mod top_up;
mod usage;
mod version;

use crate::{
    answer::{
        Answer, BalanceSnap, Books, CounterAt, GrantSnap, Id, Order, ReservationSnap, Snapshot, Status,
    },
    calendar::{self, Schedule},
    commands::{Advance, Change, Command},
    settings::{AfterTrial, Amount, CounterSpec, DAY, Mode, OwnGrants, PlanSpec, SECOND, Settings, Unit},
};
pub use budget::{Budget, BudgetCount};
use grant::gave;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

pub const LATE: i64 = 35 * DAY;

#[derive(Debug, Clone)]
pub struct Terms {
    pub id: u64,
    pub settings: Rc<Settings>,
    pub from: i64,
    pub to: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub plan: Option<&'static str>,
    pub version: usize,
    pub zone: &'static str,
    pub anchor: i64,
}

#[derive(Debug, Clone)]
pub struct Grant {
    pub id: Id,
    pub credit: String,
    pub amount: Amount,
    pub category: String,
    pub priority: i32,
    pub effective: i64,
    pub usable_since: i64,
    pub expires_at: Option<i64>,
    pub with_period: Option<u32>,
    /// The period with which it ends as things are now, and how many periods after the one in which it becomes usable.
    pub ends_with: Option<(u32, u32)>,
    pub features: Vec<String>,
    pub paid: Option<Amount>,
    pub status: Status,
    pub ended_at: Option<i64>,
    pub remaining: Amount,
    pub held: Amount,
    pub spent: Amount,
    /// What expired of it and late usage may still draw: not what a later allowance of the cycle stands in for.
    pub expired: Amount,
    /// All that expired of it.
    pub lost: Amount,
    /// The period whose plan allowance it is, or was carried over from.
    pub allowance_of: Option<u32>,
    /// Where it was carried over to, and what of returns follows.
    pub roll: Option<Roll>,
    /// The grant that carries on what was left of it.
    pub rolled_to: Option<Id>,
    /// Whether it only begins with a later part of the cycle: ends with a period that ends before.
    pub bridges: bool,
    /// The next allowance of its cycle, which is larger by what comes back to this one; and by how much at most: by what of this one
    /// was used or held when that began.
    pub next: Option<(Id, Amount)>,
    /// What it takes of what comes back to earlier allowances: so much of that expires first, so much it takes.
    pub incoming: Option<(Amount, Amount)>,
    /// What it got from other grants after it began, and what went on to others.
    pub received: Amount,
    pub passed: Amount,
    /// Whether it was used up when a period ended: it no longer counts in balances.
    pub forgotten: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Roll {
    pub to: Id,
    /// In percent.
    pub share: Amount,
    pub left: Amount,
}

#[derive(Debug, Clone)]
pub struct Reservation {
    pub spec: crate::commands::UsageSpec,
    pub units: Amount,
    pub at: i64,
    pub credit: String,
    /// Of a reservation: the terms that rate its commit.
    pub settings: Option<Rc<Settings>>,
    /// Whether it is a lease.
    pub lease: Option<lease::Lease>,
    pub holds: Vec<(Id, Amount)>,
    /// What of it had expired before.
    pub expired: Vec<(Id, Amount)>,
    pub overage: Amount,
    /// The windows of its time, of all counters of its terms, and what is held in them.
    pub counts: Vec<(CounterAt, Amount)>,
    /// Who stood above its entity.
    pub above: Vec<&'static str>,
    pub budgets: Vec<BudgetCount>,
    pub since: i64,
    pub expires_at: i64,
}

/// A charge or commit, and what was refunded of it.
#[derive(Debug, Clone)]
pub struct Charge {
    pub at: i64,
    pub credit: String,
    pub cost: Amount,
    pub units: Amount,
    /// In the order in which they were drawn.
    pub draws: Vec<(Id, Amount)>,
    /// What of it had expired before.
    pub expired: Vec<(Id, Amount)>,
    pub overage: Amount,
    pub windows: Vec<CounterAt>,
    pub budgets: Vec<BudgetCount>,
    pub refunds: u32,
    pub refunded: Amount,
    pub refunded_units: Amount,
}

#[derive(Debug, Clone)]
pub struct Period {
    pub number: u32,
    pub start: i64,
    pub end: Option<i64>,
    /// What its plan allowances would be for a whole cycle.
    pub whole: BTreeMap<String, Amount>,
    /// What allowances gave that are no longer kept.
    pub gave: BTreeMap<String, Amount>,
    /// Its cycle, once it has ended.
    pub cycle: Option<Cycle>,
    /// The start and the interval of its cycle.
    pub of: (i64, Option<(Unit, i64)>),
    /// From when usage counts in its cycle.
    pub counts_from: i64,
    /// The part of `whole` that was given in full beside what others gave.
    pub full: BTreeMap<String, Amount>,
    /// Whether it no longer counts in any cycle.
    pub closed_for_good: bool,
    /// The first period of the cycle that was last begun on request by then.
    pub fresh_from: u32,
}

#[derive(Debug, Clone)]
pub struct Cycle {
    pub start: i64,
    pub end: Option<i64>,
    /// The interval of the plan that it began with.
    pub interval: Option<(Unit, i64)>,
    /// Where a boundary came before its end: its parts, each with how long an allowance is for.
    pub parts: Vec<(i64, i64, i64)>,
}

impl Cycle {
    fn parts(&self) -> Vec<(i64, i64, i64)> {
        match self.end {
            Some(end) if self.parts.is_empty() => vec![(self.start, end, end - self.start)],
            _ => self.parts.clone(),
        }
    }

    /// What it gives of an allowance in parts that begin up to `at`.
    fn begun(&self, amount: Amount, at: i64) -> Amount {
        if self.parts.is_empty() {
            return amount;
        }
        self.parts.iter().filter(|part| part.0 <= at).map(|part| share(*part, amount, part.0, part.1)).sum()
    }
}

/// What a part of a cycle gives of an allowance for the time between two instants.
fn share((from, until, length): (i64, i64, i64), amount: Amount, start: i64, end: i64) -> Amount {
    amount * i128::from((end.min(until) - start.max(from)).max(0)) / i128::from(length)
}

#[derive(Debug, Clone)]
pub struct Model {
    pub plans: BTreeMap<&'static str, Option<(Unit, i64)>>,
    pub plan_terms: BTreeMap<&'static str, Vec<Terms>>,
    pub now: i64,
    pub entries: u64,
    pub created: i64,
    pub profile: Option<Profile>,
    /// Since when the customer was on which plan.
    pub plan_history: Vec<(i64, Option<&'static str>)>,
    /// The zones before this one, each until when.
    pub zone_history: Vec<(i64, &'static str)>,
    pub closed: bool,
    pub add_ons: BTreeMap<&'static str, add_on::AddOn>,
    /// The promotions that were redeemed.
    pub redeemed: BTreeSet<&'static str>,
    pub terms: Vec<Terms>,
    pub grants: Vec<Grant>,
    pub reservations: BTreeMap<Id, Reservation>,
    /// All leases that were ever opened.
    pub leases: Vec<Id>,
    pub books: BTreeMap<String, Books>,
    pub period: Option<Period>,
    pub periods: u32,
    pub past: Vec<Period>,
    pub cycle: Option<Cycle>,
    /// The first period of the cycle that was begun on request.
    pub fresh_from: u32,
    /// When it was begun.
    pub fresh_at: i64,
    pub counters: BTreeMap<CounterAt, (Amount, Amount)>,
    pub charges: BTreeMap<Id, Charge>,
    /// What of overage was waived, by credit type, and the last entry at which none was owed.
    pub waived: BTreeMap<String, Vec<Waived>>,
    pub settled_at: BTreeMap<String, u64>,
    /// What a refund that is under way gives anew instead of letting it expire.
    pub reissued: Option<Amount>,
    /// When there last were very many grants.
    pub crowded_at: Option<i64>,
    /// The change of plan that is to come.
    pub pending: Option<Pending>,
    /// Known entities, each with its parent.
    pub entities: BTreeMap<&'static str, Option<&'static str>>,
    pub budgets: BTreeMap<&'static str, Budget>,
    /// What plans give whatever their policies do.
    pub own: BTreeMap<&'static str, Vec<(i64, OwnGrants)>>,
    /// The keys of one-time grants that were given.
    pub given_once: BTreeSet<&'static str>,
    /// When the trials of plans end.
    pub trials: BTreeMap<&'static str, i64>,
    /// The rules for top-ups, by credit type.
    pub top_ups: BTreeMap<&'static str, top_up::TopUps>,
    /// When the last entry was written.
    pub last_at: i64,
}

/// Overage of charges after one entry, waived by another.
#[derive(Debug, Clone)]
pub struct Waived {
    pub after: u64,
    pub at: u64,
    pub left: Amount,
}

#[derive(Debug, Clone)]
pub struct Pending {
    pub plan: Option<&'static str>,
    pub version: usize,
    pub at: Option<i64>,
    pub allowance: Mode,
    pub id: u64,
}

pub fn plain(what: &str) -> Answer {
    Answer { what: what.to_owned(), ..Answer::default() }
}

fn in_force(terms: &[Terms], at: i64) -> Option<&Terms> {
    let covers = |terms: &&Terms| terms.from <= at && terms.to.is_none_or(|to| at < to);
    terms.iter().filter(covers).max_by_key(|terms| (terms.from, terms.id))
}

impl Model {
    pub fn begin(start: i64, plans: &[PlanSpec]) -> Self {
        let mut model = Self {
            plans: plans.iter().map(|plan| (plan.key, plan.interval)).collect(),
            plan_terms: BTreeMap::new(),
            now: start,
            entries: 0,
            created: start,
            profile: None,
            plan_history: Vec::new(),
            zone_history: Vec::new(),
            closed: false,
            redeemed: BTreeSet::new(),
            add_ons: BTreeMap::new(),
            terms: Vec::new(),
            grants: Vec::new(),
            reservations: BTreeMap::new(),
            leases: Vec::new(),
            books: BTreeMap::new(),
            period: None,
            periods: 0,
            past: Vec::new(),
            cycle: None,
            fresh_from: 0,
            fresh_at: 0,
            counters: BTreeMap::new(),
            charges: BTreeMap::new(),
            waived: BTreeMap::new(),
            settled_at: BTreeMap::new(),
            reissued: None,
            crowded_at: None,
            pending: None,
            entities: BTreeMap::new(),
            budgets: BTreeMap::new(),
            own: plans.iter().map(|plan| (plan.key, vec![(start, plan.own.clone())])).collect(),
            given_once: BTreeSet::new(),
            trials: BTreeMap::new(),
            top_ups: BTreeMap::new(),
            last_at: 0,
        };
        for plan in plans {
            let terms = Terms { id: 1, settings: Rc::new(plan.settings.clone()), from: start, to: None };
            model.plan_terms.insert(plan.key, vec![terms]);
        }
        model
    }

    // What is asked.

    /// The command at its time, with what it names.
    pub fn resolve(&self, command: &Command) -> Order {
        let mut order = Order { now: self.now, command: command.clone(), target: None, units: 0 };
        let pick = |ids: Vec<Id>, pick: u64| {
            if ids.is_empty() { None } else { Some(ids[(pick % ids.len() as u64) as usize]) }
        };
        let open = || {
            let reserved = self.reservations.iter().filter(|(_, one)| one.lease.is_none());
            reserved.map(|(id, _)| *id).collect()
        };
        match command {
            Command::Pass(advance) => order.now = self.later(*advance),
            Command::Void { pick: n } => {
                let live =
                    self.grants.iter().filter(|grant| grant.status == Status::Live && !grant.forgotten);
                order.target = pick(live.map(|grant| grant.id).collect(), *n);
            }
            Command::EndTerms { pick: n, .. } => {
                order.target = pick(self.terms.iter().map(|terms| (terms.id, 0)).collect(), *n);
            }
            Command::Commit { pick: n, percent } => {
                order.target = pick(open(), *n);
                let units = order.target.map_or(0, |id| self.reservations[&id].units);
                order.units = units * i128::from(*percent) / 100;
            }
            Command::CancelPlanChange => {
                order.target = self.pending.as_ref().map(|pending| (pending.id, 0));
            }
            Command::AnswerTopUp { pick: n, .. } => {
                let mut asked: Vec<Id> =
                    self.top_ups.values().flat_map(|of| of.asked.iter().map(|one| (one.id, 0))).collect();
                asked.sort_unstable();
                // Those of long ago are closed.
                order.target = pick(asked.split_off(asked.len().saturating_sub(6)), *n);
            }
            Command::Release { pick: n } => order.target = pick(open(), *n),
            Command::Extend { pick: n, .. } => {
                // Usage that is older than what is kept of the past is not this test's matter.
                let reserved = self.reservations.iter().filter(|(_, one)| one.lease.is_none());
                let young = reserved.filter(|(_, one)| one.at > self.now - 25 * DAY);
                order.target = pick(young.map(|(id, _)| *id).collect(), *n);
            }
            Command::ExtendLease { pick: n, .. } | Command::CloseLease { pick: n } => {
                order.target = pick(self.recent_leases(), *n);
            }
            Command::Settle { pick: n, .. } => {
                order.target = pick(self.recent_leases(), *n);
                if order.target.is_none() {
                    order.command = Command::Read;
                }
            }
            Command::Refund { pick: n, part, .. } => {
                // Nor are old charges, and those of times in which the host forgets grants sooner.
                let crowded = self.crowded_at.is_some_and(|at| at > self.now - LATE - 30 * DAY);
                let young = self
                    .charges
                    .iter()
                    .filter(|(_, one)| !crowded && one.refunds < 60 && one.at > self.now - 25 * DAY);
                order.target = pick(young.map(|(id, _)| *id).collect(), *n);
                order.units = order.target.map_or(0, |id| self.charges[&id].part(*part));
            }
            _ => {}
        }
        order
    }

    /// The last few that were opened, with those that ended.
    fn recent_leases(&self) -> Vec<Id> {
        self.leases.iter().rev().take(6).copied().collect()
    }

    fn later(&self, advance: Advance) -> i64 {
        let to = match advance {
            Advance::By(micros) => self.now + micros,
            Advance::PeriodEnd(more) => {
                self.period.as_ref().and_then(|period| period.end).unwrap_or(self.now) + more
            }
            Advance::Due(more) => self.next_due().map_or(self.now, |(at, _)| at) + more,
            Advance::Midnight(more) => calendar::midnight(self.now, &self.zone()) + more,
        };
        to.clamp(self.now, self.furthest())
    }

    /// How far time may pass at once: 40 short periods, also of plans that come by themselves meanwhile.
    pub fn furthest(&self) -> i64 {
        let of = |plan: &&'static str| match self.plans[*plan] {
            Some((Unit::Hour, count)) => 40 * count * DAY / 24,
            Some((Unit::Day, count)) => 40 * count * DAY,
            _ => 500 * DAY,
        };
        self.now + self.plans_to_come().iter().map(of).min().unwrap_or(500 * DAY)
    }

    /// The plan of now, the pending one, and those to which their trials lead.
    fn plans_to_come(&self) -> BTreeSet<&'static str> {
        let pending = self.pending.as_ref().and_then(|pending| pending.plan);
        let mut next: Vec<&'static str> =
            self.profile.iter().filter_map(|profile| profile.plan).chain(pending).collect();
        let mut plans = BTreeSet::new();
        while let Some(plan) = next.pop() {
            if plans.insert(plan) {
                let trials = self.own[plan].iter().filter_map(|(_, own)| own.trial.as_ref());
                next.extend(trials.filter_map(|trial| match trial.then {
                    AfterTrial::Plan(then) => Some(then),
                    AfterTrial::Stay | AfterTrial::End => None,
                }));
            }
        }
        plans
    }

    pub fn execute(&mut self, order: &Order) -> Answer {
        self.now = order.now;
        if let Command::Sell { plan, own } = &order.command {
            return self.sell(plan, (**own).clone());
        }
        let exists = self.profile.is_some();
        if !exists && !matches!(order.command, Command::Configure { .. } | Command::BindToPlan { .. }) {
            return plain("error:customer_not_found");
        }
        self.catch_up();
        self.prune();
        let before = self.entries;
        let answer = self.obey(order, exists);
        if self.entries > before {
            self.last_at = self.now;
        }
        self.note_settled();
        self.raise_top_ups();
        answer
    }

    /// Notes of which credit type nothing is owed by now.
    pub fn note_settled(&mut self) {
        for credit in self.books.keys().cloned().collect::<Vec<_>>() {
            if self.outstanding(&credit) <= 0 {
                self.settled_at.insert(credit, self.entries);
            }
        }
    }

    fn obey(&mut self, order: &Order, exists: bool) -> Answer {
        let now = self.now;
        match &order.command {
            Command::Pass(_) | Command::Read | Command::Sell { .. } => plain("read"),
            Command::Configure { plan, zone, anchor, allowance } => {
                let before = self.profile.clone();
                if !exists {
                    self.created = now;
                }
                let default = Profile { plan: None, version: 0, zone: "UTC", anchor: self.created };
                let old = before.clone().unwrap_or(default.clone());
                let plan = match plan {
                    Change::Keep => old.plan,
                    Change::Clear => None,
                    Change::Set(plan) => Some(*plan),
                };
                let profile = Profile {
                    plan,
                    version: if plan == old.plan { old.version } else { self.newest(plan) },
                    zone: match zone {
                        Change::Keep => old.zone,
                        Change::Clear => default.zone,
                        Change::Set(zone) => zone,
                    },
                    anchor: match anchor {
                        Change::Keep => old.anchor,
                        Change::Clear => default.anchor,
                        Change::Set(delta) => now + delta,
                    },
                };
                self.configure(before, profile, *allowance)
            }
            Command::ChangePlan { plan, when, allowance, dry_run } => {
                if *dry_run {
                    let mut then = self.clone();
                    let answer = then.change_plan(*plan, *when, *allowance);
                    let what = answer.what.as_str();
                    return plain(if what.starts_with("error:") { what } else { "preview" });
                }
                self.change_plan(*plan, *when, *allowance)
            }
            Command::Migrate { plan, pick, period_end, allowance, dry_run } => {
                self.try_or_migrate(plan, *pick, *period_end, *allowance, *dry_run)
            }
            Command::CancelPlanChange => {
                if order.target.is_none() {
                    return plain("error:no_plan_change");
                }
                self.pending = None;
                self.entries += 1;
                plain("called_off")
            }
            Command::Bind { settings, starts_in, lasts } => {
                if self.closed {
                    return plain("error:closed");
                }
                let from = starts_in.map_or(now, |delta| (now + delta).max(now));
                let to = lasts.map(|lasts| from + lasts);
                self.entries += 1;
                let settings = Rc::new((**settings).clone());
                self.terms.push(Terms { id: self.entries, settings, from, to });
                plain("bound")
            }
            Command::BindToPlan { plan, settings, starts_in, lasts } => {
                let from = starts_in.map_or(now, |delta| (now + delta).max(now));
                let list = self.plan_terms.get_mut(plan).unwrap();
                let settings = Rc::new((**settings).clone());
                list.push(Terms {
                    id: list.len() as u64 + 1,
                    settings,
                    from,
                    to: lasts.map(|lasts| from + lasts),
                });
                plain("bound")
            }
            Command::EndTerms { ends_in, .. } => {
                let id = order.target.map(|target| target.0);
                let Some(terms) = self.terms.iter_mut().find(|terms| Some(terms.id) == id) else {
                    return plain("error:terms");
                };
                if terms.to.is_some_and(|to| to <= now) {
                    return plain("error:terms");
                }
                terms.to = Some(ends_in.map_or(now, |delta| now + delta));
                self.entries += 1;
                plain("ended")
            }
            Command::Grant(spec) => self.give(spec),
            Command::Attach { add_on, quantity, starts_in, lasts } => {
                let after = |delta: i64| now + delta;
                self.attach(add_on, *quantity, starts_in.map(after), lasts.map(after))
            }
            Command::Detach { add_on, void } => self.detach(add_on, *void),
            Command::Buy { pack, quantity } => self.given_as("bought", &pack.grant(*quantity)),
            Command::Redeem { promotion } => {
                if !self.closed && self.redeemed.contains(promotion.key) {
                    return plain("error:already_redeemed");
                }
                let answer = self.given_as("redeemed", &promotion.grant(1));
                if answer.what == "redeemed" {
                    self.redeemed.insert(promotion.key);
                }
                answer
            }
            Command::ImportGrant { spec, used, voided, allowance } => {
                self.import_grant(spec, *used, *voided, *allowance)
            }
            Command::ImportOverage { credit, amount } => {
                if self.closed {
                    return plain("error:closed");
                }
                let book = self.book(credit);
                book.overage += amount;
                book.spent += amount;
                self.entries += 1;
                plain("imported")
            }
            Command::ImportUsage(spec) => {
                if spec.ago.is_some_and(|ago| ago < -300 * SECOND) {
                    return plain("error:occurred_in_future");
                }
                if self.closed {
                    return plain("error:closed");
                }
                self.entries += 1;
                plain("imported")
            }
            Command::Void { .. } => {
                let Some(grant) = order.target.and_then(|id| self.grants.iter_mut().find(|one| one.id == id))
                else {
                    return plain("error:grant_gone");
                };
                grant.status = Status::Voided;
                grant.ended_at = Some(now);
                let rest = std::mem::take(&mut grant.remaining);
                let credit = grant.credit.clone();
                self.book(&credit).voided += rest;
                self.entries += 1;
                plain("voided")
            }
            Command::Adjust { credit, amount } => self.adjust(credit, *amount),
            Command::Reset { anchor_now } => self.reset(*anchor_now),
            Command::Close => {
                if self.closed {
                    return plain("read");
                }
                if self.period.is_some() {
                    self.close_period("closed");
                }
                self.entries += 1;
                self.closed = true;
                // What is used later is used on no plan.
                self.plan_history.push((now, None));
                self.pending = None;
                self.cancel_top_ups();
                plain("closed")
            }
            Command::SetTopUp { credit, spec } => self.set_top_up(credit, spec),
            Command::RemoveTopUp { credit } => self.remove_top_up(credit),
            Command::AnswerTopUp { paid, .. } => self.answer_top_up(order.target, *paid),
            Command::SetEntity { entity, parent } => self.set_entity(entity, *parent),
            Command::SetBudget { id, spec } => self.set_budget(id, spec),
            Command::RemoveBudget { id } => self.remove_budget(id),
            Command::Charge(spec) => self.charge(spec),
            Command::Check(spec) => {
                let would = self.clone().charge(spec);
                let what = match would.what.as_str() {
                    "charged" => "check:ok".to_owned(),
                    error if error.starts_with("error:") => return plain(error),
                    refused => refused.replace("refused:", "check:"),
                };
                Answer { what, cost: would.cost, late: would.late, ..Answer::default() }
            }
            Command::Reserve(spec, ttl) => self.reserve(spec, *ttl),
            Command::Lease(spec) => self.open_lease(spec),
            Command::ExtendLease { amount, ttl, .. } => match order.target {
                Some(id) => self.extend_lease(id, *amount, *ttl),
                None => plain("error:lease_gone"),
            },
            Command::CloseLease { .. } => match order.target {
                Some(id) => self.close_lease(id),
                None => plain("error:lease_gone"),
            },
            Command::Settle { usage, .. } => self.settle_usage(order.target.unwrap(), usage),
            Command::Commit { .. } => match order.target {
                Some(id) => self.commit(id, order.units),
                None => plain("error:reservation_gone"),
            },
            Command::Refund { part, reissue, .. } => match order.target {
                Some(id) => self.refund(id, *part, order.units, *reissue),
                None => plain("error:charge_not_found"),
            },
            Command::Release { .. } => match order.target {
                Some(id) => {
                    self.end_reservation(id);
                    if self.closed {
                        self.settle_after_closing();
                    }
                    plain("released")
                }
                None => plain("error:reservation_gone"),
            },
            Command::Extend { ttl, .. } => match order.target {
                Some(id) => {
                    let end = now + i64::from(*ttl) * 1_000_000;
                    let reservation = self.reservations.get_mut(&id).unwrap();
                    if end > reservation.since + 7 * DAY {
                        return plain("error:too_long");
                    }
                    reservation.expires_at = end;
                    self.entries += 1;
                    plain("extended")
                }
                None => plain("error:reservation_gone"),
            },
        }
    }

    // Lookups.

    pub fn zone(&self) -> jiff::tz::TimeZone {
        calendar::zone(self.profile.as_ref().map_or("UTC", |profile| profile.zone))
    }

    /// The zone that was the customer's at an instant.
    pub fn zone_at(&self, at: i64) -> jiff::tz::TimeZone {
        let past = self.zone_history.iter().find(|(until, _)| at < *until);
        past.map_or_else(|| self.zone(), |(_, zone)| calendar::zone(zone))
    }

    pub fn schedule(&self) -> Option<Schedule> {
        let profile = self.profile.as_ref()?;
        let interval = self.plans[profile.plan?]?;
        Some(Schedule { anchor: profile.anchor, zone: calendar::zone(profile.zone), interval })
    }

    /// Where a grant stands: nearly always ids only grow.
    fn place_of(&self, id: Id) -> usize {
        let place = self.grants.binary_search_by_key(&id, |grant| grant.id).ok();
        place.or_else(|| self.grants.iter().position(|grant| grant.id == id)).unwrap()
    }

    pub fn grant(&self, id: Id) -> &Grant {
        &self.grants[self.place_of(id)]
    }

    pub fn grant_mut(&mut self, id: Id) -> &mut Grant {
        let place = self.place_of(id);
        &mut self.grants[place]
    }

    /// The terms in force at `at` for a customer on `plan`: its own, else the plan's.
    pub fn terms_at(&self, plan: Option<&'static str>, at: i64) -> Option<Rc<Settings>> {
        let own = in_force(&self.terms, at);
        let of_plan = || in_force(self.plan_terms.get(plan?)?, at);
        own.or_else(of_plan).map(|terms| terms.settings.clone())
    }

    pub fn plan(&self) -> Option<&'static str> {
        self.profile.as_ref().and_then(|profile| profile.plan)
    }

    /// When a grant's time runs out: at its instant or with its period.
    pub fn end_of(&self, grant: &Grant) -> Option<i64> {
        if grant.status != Status::Live {
            return grant.ended_at;
        }
        let with_period = grant.ends_with.and_then(|(number, _)| {
            let period = self.period.as_ref()?;
            let end = period.end?;
            if number <= period.number {
                return Some(end);
            }
            Some(self.schedule()?.nth_after(end, i64::from(number - period.number)))
        });
        [grant.expires_at, with_period].into_iter().flatten().min()
    }

    /// The number of the period in which something that begins at `at` begins.
    pub fn number_at(&self, at: i64) -> u32 {
        let Some(period) = &self.period else { return self.periods + 1 };
        let Some(end) = period.end.filter(|end| *end <= at) else { return period.number };
        let ahead = 1 + self.schedule().unwrap().between(end, at);
        period.number + u32::try_from(ahead).unwrap()
    }

    /// What may be settled: what reservations hold of the overage is not owed yet.
    pub fn outstanding(&self, credit: &str) -> Amount {
        let held: Amount =
            self.reservations.values().filter(|one| one.credit == credit).map(|one| one.overage).sum();
        self.books.get(credit).map_or(0, |books| books.overage) - held
    }

    /// Drops what nothing can ask for any more, so that a history of years stays quick.
    fn prune(&mut self) {
        if self.grants.iter().filter(|grant| !grant.forgotten).count() > 150 {
            self.crowded_at = Some(self.now);
        }
        self.charges.retain(|_, charge| charge.at > self.now - LATE);
        let oldest = self.now - LATE - 30 * DAY;
        let held: Vec<Id> =
            self.reservations.values().flat_map(|one| one.holds.iter().map(|hold| hold.0)).collect();
        if !held.is_empty() || self.grants.len() < 200 {
            return;
        }
        let (old, kept): (Vec<Grant>, Vec<Grant>) = std::mem::take(&mut self.grants)
            .into_iter()
            .partition(|grant| grant.ended_at.is_some_and(|end| end < oldest));
        self.grants = kept;
        for grant in old {
            let gave = gave(&grant);
            if let Some(past) = self.past.iter_mut().find(|past| Some(past.number) == grant.allowance_of) {
                *past.gave.entry(grant.credit).or_default() += gave;
            }
        }
    }

    // What can be seen.
}

impl CounterSpec {
    pub fn counts(&self, feature: &str) -> bool {
        self.features.is_empty() || self.features.contains(&feature)
    }
}
