//! A customer under random commands. After each entry all that must hold is checked against a second set of books,
//! kept here from the transfers alone.

mod oracle;
mod strategy;

use crate::support::{customer, decision, key, policy, record, usage};
use oracle::Oracle;
use proptest::sample::Index;
use proviso_ledger::{
    fold::{SealError, Sealed},
    journal::{CloseReason, Event, OpenReason, PlanChangeTime},
    model::{
        amounts::{Credits, Decimal, Quantity},
        answers::{
            Allowance, CloseOutcome, Fee, FeeMethod, Needs, NewGrant, OpenOutcome, Overage, Prepared,
            Rollover, Settlement, TopUp,
        },
        customer::{Profile, SoldPlan},
        grant::{Category, CreditType},
        ids::{GrantId, ReservationId},
        json::JsonText,
        period::{Interval, IntervalUnit},
        terms::{Mode, OnFault, TermsDraft},
        time::Timestamp,
        usage::Usage,
        view::Expiry,
    },
    rules::{
        charge::Decision,
        due::Due,
        grants::{GrantRequest, GrantTerms},
        rejection::{Denied, Rejection},
    },
    state::{CustomerState, Draft},
};
pub use strategy::{Answer, Op, Step, ops, plans};

pub struct Sim {
    pub state: CustomerState,
    pub sealed: Vec<Sealed>,
    clock: Timestamp,
    plans: Vec<Vec<Step>>,
    oracle: Oracle,
}

fn seconds(at: Timestamp, seconds: i64) -> Timestamp {
    at.plus_micros(seconds * Timestamp::SECOND)
}

impl Sim {
    pub fn new(plans: Vec<Vec<Step>>) -> Self {
        let clock = "2026-10-20T12:00:00Z".parse().unwrap();
        let mut sim = Self { state: customer(), sealed: Vec::new(), clock, plans, oracle: Oracle::default() };
        sim.run(&Op::Configure(1, IntervalUnit::Day, 1, Allowance::Carry));
        sim
    }

    /// Only the clock moves.
    pub fn pass(&mut self, by: i64) {
        self.clock = seconds(self.clock, by);
    }

    fn now(&self) -> Timestamp {
        self.clock.max(self.state.at)
    }

    /// As requests do: what is due comes first, each at its own instant.
    pub fn catch_up(&mut self) {
        let before = self.sealed.len();
        while let Some((due_at, due)) = self.state.next_due().filter(|(at, _)| *at <= self.now()) {
            assert!(self.sealed.len() - before < 10_000, "what is due never ends");
            let at = due_at.max(self.state.at);
            match due {
                Due::ReservationExpiry(id) => self.seal(at, self.state.expire_reservation(id).unwrap()),
                Due::GrantExpiry => self.seal(at, self.state.expire_grants(at)),
                Due::PeriodEnd => self.close_period(at, CloseReason::Scheduled),
                Due::PlanChange => self.change_plan(at),
                Due::PeriodStart(reason, allowance) => self.open_period(at, reason, allowance),
                Due::TopUp(_) => panic!("no rule says that anything is topped up"),
            }
        }
    }

    pub fn run(&mut self, op: &Op) {
        if let Op::Wait(seconds) = op {
            return self.pass(*seconds);
        }
        self.catch_up();
        let at = self.now();
        match op {
            Op::Wait(_) => {}
            Op::ClockBack(seconds) => self.pass(-seconds),
            Op::Grant(grant) => {
                let request = GrantRequest {
                    effective_at: grant.effective_at.map(|offset| at.plus_micros(offset.0)),
                    expires: from_now(grant.expires, at),
                    ..grant.clone()
                };
                self.attempt(at, self.state.give(at, request, &GrantTerms::default()));
            }
            Op::Void(which) => {
                let Some(id) = self.grant(which) else { return };
                self.attempt(at, self.state.void(id));
            }
            Op::Adjust(amount) => {
                self.attempt(at, self.state.adjust(at, key("credits"), *amount, "checked".to_owned()));
            }
            Op::Charge(answer, image, age) => {
                let usage = self.usage(at, if *image { "image" } else { "chat" }, *age);
                self.charged(at, self.state.charge(at, usage, self.decide(answer, at)), answer);
            }
            Op::Reserve(answer, ttl, age) => {
                let (usage, until) = (self.usage(at, "chat", *age), seconds(at, *ttl));
                let draft = self.state.reserve(at, usage, None, self.decide(answer, at), until);
                self.charged(at, draft, answer);
            }
            Op::Commit(which, answer) => {
                let Some(id) = self.reservation(which) else { return };
                let (reservation, reserved, _) = self.state.reserved_usage(id).unwrap();
                let answer =
                    Answer { gpu: answer.gpu ^ (reservation.credit.as_str() == "gpu"), ..answer.clone() };
                let usage = Usage { occurred_at: reserved.occurred_at, ..self.usage(at, "chat", 0) };
                let draft = self.state.commit(at, id, usage, self.decide(&answer, at));
                self.charged(at, draft, &answer);
            }
            Op::Release(which) => {
                let Some(id) = self.reservation(which) else { return };
                self.attempt(at, self.state.release(id));
            }
            Op::Reset => {
                if self.state.check_early_reset().is_ok() {
                    self.close_period(at, CloseReason::Early);
                    self.open_period(at, OpenReason::Early, Allowance::Full);
                }
            }
            Op::Configure(plan, unit, zone, allowance) => {
                self.configure(at, *plan, *unit, *zone, *allowance);
            }
            Op::ChangePlan(plan, unit, after, allowance) => {
                let interval = Interval::new(*unit, if *unit == IntervalUnit::Hour { 7 } else { 1 }).unwrap();
                let plan = (*plan > 0).then(|| SoldPlan {
                    plan: key(&format!("plan-{plan}")),
                    version: 1,
                    interval: Some(interval),
                });
                let when =
                    after.map_or(PlanChangeTime::PeriodEnd, |after| PlanChangeTime::At(seconds(at, after)));
                self.attempt(at, self.state.schedule_plan_change(at, plan, when, *allowance));
            }
            Op::CancelPlanChange => {
                let Some(pending) = &self.state.plan_change else { return };
                self.attempt(at, self.state.cancel_plan_change(pending.id));
            }
            Op::Terms(from, to) => self.attempt(at, self.state.bind_terms(at, terms(at, *from, *to))),
            Op::Close => {
                if self.state.period.is_some() {
                    self.close_period(at, CloseReason::Closed);
                }
                self.attempt(at, self.state.close_customer());
            }
        }
    }

    fn usage(&self, at: Timestamp, feature: &str, age: i64) -> Usage {
        let mut usage = usage(feature, seconds(at, -age));
        let tokens = Quantity::from_units(i128::from(self.state.seq) * 500_000_000_000);
        usage.quantities.push(("tokens".to_owned(), tokens));
        usage.attributes.push(("model".to_owned(), format!("m{}", self.state.seq % 3)));
        usage.entity = (!self.state.seq.is_multiple_of(4)).then(|| key("u1"));
        usage
    }

    fn decide(&self, answer: &Answer, at: Timestamp) -> Decision {
        let order = answer
            .order
            .iter()
            .map(|which| self.grant(which).unwrap_or(GrantId { entry: 999, index: 0 }))
            .collect();
        let overage = answer.overage.clone().map(|overage| match overage {
            Overage::TopUp(top_up) => {
                Overage::TopUp(TopUp { expires: from_now(top_up.expires, at), ..top_up })
            }
            other => other,
        });
        let credit = if answer.gpu { "gpu" } else { "credits" };
        let counters = answer.counters.iter().map(|counter| (counter.clone(), None)).collect();
        decision(credit, answer.cost, order, overage, counters)
    }

    fn grant(&self, which: &Index) -> Option<GrantId> {
        let grants = &self.state.grants;
        if grants.is_empty() {
            None
        } else {
            grants.iter().nth(which.index(grants.len())).map(|state| state.grant.id)
        }
    }

    fn reservation(&self, which: &Index) -> Option<ReservationId> {
        let ids: Vec<ReservationId> = self.state.reservations.keys().copied().collect();
        (!ids.is_empty()).then(|| *which.get(&ids))
    }

    fn configure(&mut self, at: Timestamp, plan: u8, unit: IntervalUnit, zone: u8, allowance: Allowance) {
        if self.state.closed {
            return;
        }
        let before = self.state.profile.as_ref().map(|profile| profile.plan.clone());
        let plan = (plan > 0).then(|| key(&format!("plan-{plan}")));
        let count = if unit == IntervalUnit::Hour { 7 } else { 1 };
        let profile = Profile {
            name: "Acme".to_owned(),
            plan: plan.clone(),
            plan_version: Some(1),
            interval: plan.as_ref().map(|_| Interval::new(unit, count).unwrap()),
            time_zone: ["UTC", "Europe/Berlin", "America/New_York"][usize::from(zone)].parse().unwrap(),
            anchor: at,
            attributes: vec![("tier".to_owned(), "gold".to_owned())],
            external_ids: vec![("crm".to_owned(), "\"7\" \u{e9}\n".to_owned())],
        };
        if before.is_some_and(|before| before != plan) && self.state.period.is_some() {
            let ended = plan.is_none();
            self.close_period(at, if ended { CloseReason::PlanEnded } else { CloseReason::PlanChanged });
        }
        self.attempt(at, self.state.configure(at, profile));
        if plan.is_some() && self.state.period.is_none() {
            let first = self.state.periods == 0;
            self.open_period(
                at,
                if first { OpenReason::Started } else { OpenReason::PlanChanged },
                allowance,
            );
        }
    }

    /// What is due of a pending change of plan: the end of the running period, or the new plan.
    fn change_plan(&mut self, at: Timestamp) {
        if self.state.period.is_some() {
            self.close_period(at, CloseReason::PlanChanged);
        } else {
            self.seal(at, self.state.carry_out_plan_change().unwrap());
        }
    }

    /// An answer that breaks a rule does not keep the period open.
    fn close_period(&mut self, at: Timestamp, reason: CloseReason) {
        let outcome = self.closing(at);
        let draft = match self.state.close_period(at, reason, Some(record()), outcome) {
            Ok(draft) => draft,
            Err(Denied::InvalidDecision(_)) => {
                self.state.close_period(at, reason, None, CloseOutcome::default()).unwrap()
            }
            Err(denied) => panic!("{denied:?}"),
        };
        self.seal(at, draft);
    }

    fn open_period(&mut self, at: Timestamp, reason: OpenReason, allowance: Allowance) {
        let Some(next) = self.state.next_period(at, reason, allowance) else { return };
        let outcome = self.opening(at, allowance);
        let draft = match self.state.open_period(at, next.clone(), Some(record()), outcome) {
            Ok(draft) => draft,
            Err(Denied::InvalidDecision(_)) => {
                self.state.open_period(at, next, None, OpenOutcome::default()).unwrap()
            }
            Err(Denied::Rejected(Rejection::CustomerClosed)) => return,
            Err(denied) => panic!("{denied:?}"),
        };
        self.seal(at, draft);
    }

    fn steps(&self) -> &[Step] {
        &self.plans[usize::try_from(self.state.periods).unwrap() % self.plans.len()]
    }

    fn closing(&self, at: Timestamp) -> CloseOutcome {
        let mut outcome = CloseOutcome::default();
        let credit: CreditType = key("credits");
        for step in self.steps() {
            match step {
                Step::Roll(which, amount, expires) => {
                    outcome.roll_over.extend(self.grant(which).map(|grant| Rollover {
                        grant,
                        amount: *amount,
                        held_share: Decimal::ZERO,
                        held_limit: Credits::ZERO,
                        priority: 0,
                        expires: from_now(*expires, at),
                    }));
                }
                Step::RollAll(share, with_period) => {
                    for state in self.state.grants.iter() {
                        let part = |amount: Credits| {
                            let units = amount.units() * i128::from(*share) / 100;
                            Credits::from_units(units)
                        };
                        let (amount, held_limit) = (part(state.remaining), part(state.held));
                        if amount.is_zero() && held_limit.is_zero() {
                            continue;
                        }
                        outcome.roll_over.push(Rollover {
                            grant: state.grant.id,
                            amount,
                            held_share: Decimal::from_units(i128::from(*share) * Decimal::SCALE / 100),
                            held_limit,
                            priority: 5,
                            expires: Expiry { at: None, with_period: *with_period },
                        });
                    }
                }
                Step::Expire(which) => outcome.expire.extend(self.grant(which)),
                Step::Fee(amount, invoiced) => outcome.fees.push(Fee {
                    credit: credit.clone(),
                    label: "fee".to_owned(),
                    amount: *amount,
                    method: if *invoiced { FeeMethod::Invoiced } else { FeeMethod::Drawn },
                }),
                Step::Settle(amount, method, true) => {
                    outcome.settle.push(Settlement {
                        credit: credit.clone(),
                        amount: *amount,
                        method: *method,
                    });
                }
                Step::Settle(..) | Step::Issue(..) => {}
            }
        }
        outcome
    }

    fn opening(&self, at: Timestamp, allowance: Allowance) -> OpenOutcome {
        let mut outcome = OpenOutcome::default();
        let credit: CreditType = key("credits");
        for step in self.steps() {
            match step {
                Step::Issue(amount, expires, category) => outcome.issue.push(NewGrant {
                    credit: credit.clone(),
                    amount: *amount,
                    category: [Category::Plan, Category::Trial, Category::Contract][usize::from(*category)],
                    priority: i32::from(*category) - 1,
                    effective_at: None,
                    expires: from_now(*expires, at),
                    features: Vec::new(),
                    cost_basis: None,
                    allowance,
                }),
                Step::Settle(amount, method, false) => {
                    outcome.settle.push(Settlement {
                        credit: credit.clone(),
                        amount: *amount,
                        method: *method,
                    });
                }
                _ => {}
            }
        }
        outcome
    }

    fn attempt(&mut self, at: Timestamp, draft: Result<Draft, Rejection>) {
        if let Ok(draft) = draft {
            self.seal(at, draft);
        }
    }

    fn charged(&mut self, at: Timestamp, draft: Result<Draft, Denied>, answer: &Answer) {
        match draft {
            Ok(draft) => {
                self.oracle.check_draws(&self.state, at, &draft, answer.order.is_empty());
                let limit = match &answer.overage {
                    Some(Overage::Allow(limit)) => *limit,
                    _ => Credits::ZERO,
                };
                let exceeded = match &draft.event {
                    Event::Committed(committed) => committed.exceeded,
                    _ => Credits::ZERO,
                };
                let credit = draft.credit.clone().unwrap();
                let outstanding =
                    |sim: &Self| sim.state.accounts.get(&credit).map_or(Credits::ZERO, |books| books.overage);
                let before = outstanding(self);
                self.seal(at, draft);
                let most = before.max(limit).saturating_add(exceeded);
                assert!(outstanding(self) <= most, "overage over {limit}");
            }
            Err(Denied::Refused(refused)) => {
                let books =
                    (self.state.grants.clone(), self.state.accounts.clone(), self.state.reservations.clone());
                self.seal(at, self.state.refused(*refused));
                assert_eq!(
                    books,
                    (self.state.grants.clone(), self.state.accounts.clone(), self.state.reservations.clone())
                );
            }
            Err(Denied::Rejected(_) | Denied::InvalidDecision(_)) => {}
        }
    }

    fn seal(&mut self, at: Timestamp, draft: Draft) {
        let before = self.state.clone();
        match self.state.seal(at, draft) {
            Ok(sealed) => {
                assert_eq!(sealed.entry.seq, before.seq + 1);
                assert!(sealed.entry.at >= before.at, "time goes back");
                let is_event =
                    !matches!(sealed.entry.event, Event::GrantsExpired { ref grants } if grants.is_empty());
                assert!(is_event, "an entry for nothing");
                self.oracle.take(&sealed.entry, &self.state);
                self.sealed.push(sealed);
            }
            Err(SealError::Rejected(_)) => {
                assert_eq!(before, self.state, "a rejected command leaves no trace")
            }
            Err(SealError::Defect(error)) => panic!("{error}"),
        }
    }
}

/// Offsets made absolute.
fn from_now(expires: Expiry, at: Timestamp) -> Expiry {
    Expiry { at: expires.at.map(|offset| at.plus_micros(offset.0)), ..expires }
}

fn terms(at: Timestamp, from: i64, to: Option<i64>) -> TermsDraft {
    TermsDraft {
        policy: policy(),
        settings: JsonText::from(
            &serde_json::json!({ "price": f64::from_bits(0x3fb9_9999_9999_999a + from.unsigned_abs()), "deep": [{ "a": null }] }),
        ),
        prepared: Prepared { form: from.to_le_bytes().to_vec(), ..Prepared::default() },
        needs: Needs::default(),
        effective_at: Some(seconds(at, from)),
        ends_at: to.map(|to| seconds(at, to)),
        mode: if from % 2 == 0 { Mode::Active } else { Mode::Shadow },
        on_fault: OnFault::LastGood,
        contract: None,
        time_zone: None,
        note: None,
        canary: None,
    }
}
