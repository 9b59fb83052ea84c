//! A customer under random commands. After each entry all that must hold is checked against a second set of books,
//! kept here from the transfers alone.

mod oracle;

use crate::support::{customer, decision, key, policy, record, usage};
use oracle::Oracle;
use proptest::{collection::vec, option, prelude::*, sample::Index};
use proviso_ledger::{
    credits::{Credits, Quantity},
    customer::Profile,
    decision::{
        Counter, Fee, Measure, Needs, NewGrant, Overage, Prepared, Refusal, ResetOutcome, Rollover, Scope,
        SettleMethod, Settlement, TopUp, Usage, Window,
    },
    due::Due,
    error::{Denied, Rejection},
    fold::{SealError, Sealed},
    grant::{Category, CostBasis, Grant},
    ids::{GrantId, ReservationId, TermsId},
    journal::{Event, ResetReason},
    json::JsonText,
    period::{Interval, IntervalUnit},
    state::{CustomerState, Draft},
    terms::{Mode, OnFault, Owner, Terms, TermsKey},
    time::Timestamp,
};

/// What a policy says of a usage. Indexes pick a grant that exists, or none that ever did.
#[derive(Debug, Clone)]
pub struct Answer {
    cost: Credits,
    gpu: bool,
    order: Vec<Index>,
    overage: Option<Overage>,
    counters: Vec<Counter>,
}

#[derive(Debug, Clone)]
pub enum Op {
    Grant(Grant),
    Void(Index),
    Adjust(Credits),
    Charge(Answer, bool),
    Reserve(Answer, i64),
    Commit(Index, Answer),
    Release(Index),
    Wait(i64),
    ClockBack(i64),
    Reset,
    Configure(u8, IntervalUnit, u8),
    Terms(i64, Option<i64>),
    Close,
}

/// One step of a policy's answer to a reset.
#[derive(Debug, Clone)]
pub enum Step {
    Roll(Index, Credits, Option<i64>),
    RollAll(Index),
    Expire(Index),
    Fee(Credits),
    Issue(Credits, Option<i64>, i32),
    Settle(Credits, SettleMethod),
    SettleAll(SettleMethod),
}

fn amount() -> impl Strategy<Value = Credits> {
    prop_oneof![
        8 => (0_i64..60).prop_map(|whole| Credits(whole * 1_000_000)),
        4 => (0_i64..60_000_000).prop_map(Credits),
        1 => prop_oneof![Just(i64::MAX), Just(i64::MIN), Just(-1), Just(1), any::<i64>()].prop_map(Credits),
    ]
}

fn counters() -> impl Strategy<Value = Vec<Counter>> {
    let measure = prop_oneof![Just(Measure::Cost), Just(Measure::Quantity("tokens".to_owned()))];
    let scope =
        prop_oneof![Just(Scope::Customer), Just(Scope::Entity), Just(Scope::Attribute("model".to_owned()))];
    let window =
        prop_oneof![Just(Window::Period), Just(Window::Day), Just(Window::Month), Just(Window::Lifetime)];
    let counter = (measure, scope, window, any::<bool>()).prop_map(|(measure, scope, window, all)| Counter {
        name: "any".to_owned(),
        measure,
        features: if all { Vec::new() } else { vec![key("chat")] },
        scope,
        window,
    });
    vec(counter, 0..4)
}

fn answers() -> impl Strategy<Value = Answer> {
    let refusal = Refusal { code: "no".to_owned(), detail: String::new(), retry_at: None };
    let overage = prop_oneof![
        3 => amount().prop_map(Overage::Allow),
        1 => Just(Overage::Deny(refusal)),
        1 => Just(Overage::RequirePurchase(Vec::new())),
        2 => (amount(), option::of(-10_i64..1_000_000)).prop_map(|(amount, expires)| {
            let expires_at = expires.map(|seconds| Timestamp(seconds * Timestamp::SECOND));
            Overage::TopUp(TopUp { amount, expires_at, cost_basis: None })
        }),
    ];
    let order = prop_oneof![5 => Just(Vec::new()), 1 => vec(any::<Index>(), 1..3)];
    (amount(), prop::bool::weighted(0.1), order, option::weighted(0.6, overage), counters())
        .prop_map(|(cost, gpu, order, overage, counters)| Answer { cost, gpu, order, overage, counters })
}

fn grants() -> impl Strategy<Value = Grant> {
    let scope =
        prop_oneof![Just(vec![]), Just(vec!["chat"]), Just(vec!["image"]), Just(vec!["chat", "image"])];
    let times = (0_i64..200_000, option::of(-100_i64..900_000));
    (amount(), -1_i32..2, times, scope, any::<bool>(), prop::bool::weighted(0.15)).prop_map(
        |(amount, priority, (effective, expires), scope, paid, gpu)| Grant {
            id: GrantId { entry: 0, index: 0 },
            credit: key(if gpu { "gpu" } else { "credits" }),
            amount,
            category: Category::Prepaid,
            priority,
            // Offsets from now, made absolute when the operation runs.
            effective_at: Timestamp(if effective < 100_000 { 0 } else { effective * Timestamp::SECOND }),
            expires_at: expires.map(|seconds| Timestamp(seconds * Timestamp::SECOND)),
            features: scope.into_iter().map(key).collect(),
            cost_basis: paid.then(|| CostBasis { amount: Credits(990_000), currency: "EUR".to_owned() }),
            metadata: vec![("invoice".to_owned(), "\"7\" \u{e9}\n".to_owned())],
        },
    )
}

pub fn ops() -> impl Strategy<Value = Op> {
    use IntervalUnit::{Day, Hour, Month};
    prop_oneof![
        6 => grants().prop_map(Op::Grant),
        1 => any::<Index>().prop_map(Op::Void),
        1 => (-20_000_000_i64..20_000_000).prop_map(|micros| Op::Adjust(Credits(micros))),
        8 => (answers(), any::<bool>()).prop_map(|(answer, image)| Op::Charge(answer, image)),
        6 => (answers(), -5_i64..100_000).prop_map(|(answer, ttl)| Op::Reserve(answer, ttl)),
        9 => (any::<Index>(), answers()).prop_map(|(which, answer)| Op::Commit(which, answer)),
        2 => any::<Index>().prop_map(Op::Release),
        4 => prop_oneof![0_i64..3_000, 0_i64..200_000].prop_map(Op::Wait),
        1 => (0_i64..1_000).prop_map(Op::ClockBack),
        1 => Just(Op::Reset),
        2 => (0_u8..3, prop_oneof![Just(Hour), Just(Day), Just(Month)], 0_u8..3)
            .prop_map(|(plan, unit, zone)| Op::Configure(plan, unit, zone)),
        1 => (0_i64..9_000, option::of(0_i64..90_000)).prop_map(|(from, to)| Op::Terms(from, to)),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Op::Close } else { Op::Reset }),
    ]
}

/// What a policy does at resets, in turn.
pub fn plans() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let method =
        || prop_oneof![Just(SettleMethod::Invoice), Just(SettleMethod::Waive), Just(SettleMethod::Deduct)];
    let expires = || option::of(0_i64..200_000);
    let step = prop_oneof![
        (any::<Index>(), amount(), expires())
            .prop_map(|(which, amount, expires)| Step::Roll(which, amount, expires)),
        any::<Index>().prop_map(Step::RollAll),
        any::<Index>().prop_map(Step::Expire),
        amount().prop_map(Step::Fee),
        (amount(), expires(), -1_i32..2)
            .prop_map(|(amount, expires, priority)| Step::Issue(amount, expires, priority)),
        (amount(), method()).prop_map(|(amount, method)| Step::Settle(amount, method)),
        method().prop_map(Step::SettleAll),
    ];
    vec(vec(step, 0..4), 1..4)
}

pub struct Sim {
    pub state: CustomerState,
    pub sealed: Vec<Sealed>,
    clock: Timestamp,
    plans: Vec<Vec<Step>>,
    oracle: Oracle,
}

impl Sim {
    pub fn new(plans: Vec<Vec<Step>>) -> Self {
        let clock = "2026-10-20T12:00:00Z".parse().unwrap();
        Self { state: customer(), sealed: Vec::new(), clock, plans, oracle: Oracle::default() }.created()
    }

    fn created(mut self) -> Self {
        self.run(&Op::Configure(1, IntervalUnit::Day, 1));
        self
    }

    /// Only the clock moves.
    pub fn pass(&mut self, seconds: i64) {
        self.clock = self.clock.plus_micros(seconds * Timestamp::SECOND);
    }

    pub fn wait(&mut self, seconds: i64) {
        self.pass(seconds);
        self.catch_up();
    }

    fn now(&self) -> Timestamp {
        self.clock.max(self.state.at)
    }

    /// As the engine does: what is due comes first, each at its own instant.
    pub fn catch_up(&mut self) {
        let before = self.sealed.len();
        while let Some((at, due)) = self.state.next_due().filter(|(at, _)| *at <= self.now()) {
            assert!(self.sealed.len() - before < 10_000, "what is due never ends");
            assert!(at >= self.state.at, "{due:?} was due at {at}, before the entry at {}", self.state.at);
            match due {
                Due::ReservationExpiry(id) => self.seal(at, self.state.expire_reservation(id).unwrap()),
                Due::GrantExpiry => self.seal(at, self.state.expire_grants(at)),
                Due::PeriodEnd => self.reset(at, ResetReason::Scheduled),
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
                let from_now = |offset: Timestamp| at.plus_micros(offset.0);
                let effective_at = from_now(grant.effective_at);
                let expires_at = grant.expires_at.map(from_now);
                self.attempt(at, self.state.give(at, Grant { effective_at, expires_at, ..grant.clone() }));
            }
            Op::Void(which) => {
                let Some(id) = self.grant(which) else { return };
                self.attempt(at, self.state.void(id));
            }
            Op::Adjust(amount) => {
                self.attempt(at, self.state.adjust(at, key("credits"), *amount, "checked".to_owned()));
            }
            Op::Charge(answer, image) => {
                let usage = self.usage(at, if *image { "image" } else { "chat" });
                self.charged(at, self.state.charge(at, usage, self.decide(answer, at)), answer);
            }
            Op::Reserve(answer, ttl) => {
                let expires_at = at.plus_micros(ttl * Timestamp::SECOND);
                let draft =
                    self.state.reserve(at, self.usage(at, "chat"), self.decide(answer, at), expires_at);
                self.charged(at, draft, answer);
            }
            Op::Commit(which, answer) => {
                let Some(id) = self.reservation(which) else { return };
                let credit = self.state.reservations[&id].credit.clone();
                let answer = Answer { gpu: answer.gpu ^ (credit.as_str() == "gpu"), ..answer.clone() };
                let draft = self.state.commit(at, id, self.usage(at, "chat"), self.decide(&answer, at));
                self.charged(at, draft, &answer);
            }
            Op::Release(which) => {
                let Some(id) = self.reservation(which) else { return };
                self.attempt(at, self.state.release(id));
            }
            Op::Reset => {
                if self.state.check_early_reset().is_ok() {
                    self.reset(at, ResetReason::Early);
                }
            }
            Op::Configure(plan, unit, zone) => self.configure(at, *plan, *unit, *zone),
            Op::Terms(from, to) => self.attempt(at, self.state.bind_terms(at, terms(at, *from, *to))),
            Op::Close => self.attempt(at, self.state.close()),
        }
    }

    fn usage(&self, at: Timestamp, feature: &str) -> Usage {
        let mut usage = usage(feature, at);
        usage.quantities.push(("tokens".to_owned(), Quantity(self.state.seq.cast_signed() * 500_000)));
        usage.attributes.push(("model".to_owned(), format!("m{}", self.state.seq % 3)));
        usage.entity = (!self.state.seq.is_multiple_of(4)).then(|| key("u1"));
        usage
    }

    fn decide(&self, answer: &Answer, at: Timestamp) -> proviso_ledger::charge::Decision {
        let order = answer
            .order
            .iter()
            .map(|which| self.grant(which).unwrap_or(GrantId { entry: 999, index: 0 }))
            .collect();
        let overage = answer.overage.clone().map(|overage| match overage {
            Overage::TopUp(TopUp { amount, expires_at, cost_basis }) => {
                let expires_at = expires_at.map(|offset| at.plus_micros(offset.0));
                Overage::TopUp(TopUp { amount, expires_at, cost_basis })
            }
            other => other,
        });
        let credit = if answer.gpu { "gpu" } else { "credits" };
        decision(credit, answer.cost, order, overage, answer.counters.clone())
    }

    fn grant(&self, which: &Index) -> Option<GrantId> {
        (!self.state.grants.is_empty()).then(|| which.get(&self.state.grants).grant.id)
    }

    fn reservation(&self, which: &Index) -> Option<ReservationId> {
        let ids: Vec<ReservationId> = self.state.reservations.keys().copied().collect();
        (!ids.is_empty()).then(|| *which.get(&ids))
    }

    fn configure(&mut self, at: Timestamp, plan: u8, unit: IntervalUnit, zone: u8) {
        let before = self.state.profile.as_ref().and_then(|profile| profile.plan.clone());
        let plan = (plan > 0).then(|| key(&format!("plan-{plan}")));
        let profile = Profile {
            name: "Acme".to_owned(),
            plan: plan.clone(),
            interval: plan
                .as_ref()
                .map(|_| Interval { unit, count: if unit == IntervalUnit::Hour { 7 } else { 1 } }),
            time_zone: ["UTC", "Europe/Berlin", "America/New_York"][usize::from(zone)].parse().unwrap(),
            anchor: at,
            attributes: vec![("tier".to_owned(), "gold".to_owned())],
            external_ids: Vec::new(),
        };
        self.attempt(at, self.state.configure(at, profile));
        if !self.state.closed && plan.is_some() && plan != before {
            let first = self.state.period.is_none();
            self.reset(at, if first { ResetReason::Started } else { ResetReason::PlanChanged });
        }
    }

    /// As the engine does: an answer that breaks a rule does not keep the period open.
    fn reset(&mut self, at: Timestamp, reason: ResetReason) {
        let Some(opened) = self.state.next_period(at) else { return };
        let outcome = self.outcome(at, usize::try_from(opened.number).unwrap());
        let draft = match self.state.reset(at, reason, opened.clone(), Some(record()), outcome) {
            Ok(draft) => draft,
            Err(Denied::InvalidDecision(_)) => {
                self.state.reset(at, reason, opened, None, ResetOutcome::default()).unwrap()
            }
            Err(Denied::Rejected(Rejection::CustomerClosed)) => return,
            Err(denied) => panic!("{denied:?}"),
        };
        self.seal(at, draft);
    }

    fn outcome(&self, at: Timestamp, number: usize) -> ResetOutcome {
        let mut outcome = ResetOutcome::default();
        let credit = key("credits");
        let expiry = |offset: Option<i64>| offset.map(|seconds| at.plus_micros(seconds * Timestamp::SECOND));
        for step in &self.plans[number % self.plans.len()] {
            match step {
                Step::Roll(which, amount, expires) => {
                    outcome.roll_over.extend(self.grant(which).map(|grant| Rollover {
                        grant,
                        amount: *amount,
                        priority: 0,
                        expires_at: expiry(*expires),
                    }))
                }
                Step::RollAll(which) => outcome.roll_over.extend(self.grant(which).map(|grant| Rollover {
                    grant,
                    amount: self.state.grant(grant).unwrap().remaining,
                    priority: 5,
                    expires_at: None,
                })),
                Step::Expire(which) => outcome.expire.extend(self.grant(which)),
                Step::Fee(amount) => {
                    outcome.fees.push(Fee {
                        credit: credit.clone(),
                        label: "fee".to_owned(),
                        amount: *amount,
                    });
                }
                Step::Issue(amount, expires, priority) => outcome.issue.push(NewGrant {
                    credit: credit.clone(),
                    amount: *amount,
                    category: Category::Plan,
                    priority: *priority,
                    effective_at: None,
                    expires_at: expiry(*expires),
                    features: Vec::new(),
                    cost_basis: None,
                }),
                Step::Settle(amount, method) => {
                    outcome.settle.push(Settlement {
                        credit: credit.clone(),
                        amount: *amount,
                        method: *method,
                    });
                }
                Step::SettleAll(method) => {
                    // What a policy is shown is what it may settle.
                    let amount = self.state.balance(&credit, at).overage;
                    if amount.is_zero() {
                        continue;
                    }
                    outcome.settle.push(Settlement { credit: credit.clone(), amount, method: *method });
                }
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
                let credit = draft.credit.clone().unwrap();
                let outstanding =
                    |sim: &Self| sim.state.accounts.get(&credit).map_or(Credits::ZERO, |books| books.overage);
                let before = outstanding(self);
                self.seal(at, draft);
                assert!(outstanding(self) <= before.max(limit), "overage over {limit}");
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

fn terms(at: Timestamp, from: i64, to: Option<i64>) -> Terms {
    Terms {
        key: TermsKey { owner: Owner::Customer, id: TermsId { entry: 0, index: 0 } },
        policy: policy(),
        settings: JsonText::from(
            &serde_json::json!({ "price": f64::from_bits(0x3fb9_9999_9999_999a + from.unsigned_abs()), "deep": [{ "a": null }] }),
        ),
        prepared: Prepared { form: from.to_le_bytes().to_vec(), counters: Vec::new() },
        needs: Needs::default(),
        effective_at: at.plus_micros(from * Timestamp::SECOND),
        ends_at: to.map(|to| at.plus_micros(to * Timestamp::SECOND)),
        mode: if from % 2 == 0 { Mode::Active } else { Mode::Shadow },
        on_fault: OnFault::LastGood,
        created_at: at,
    }
}
