//! Random commands, and what policies answer to them, hostile answers included. Indexes pick a grant that exists, or none
//! that ever did; times are offsets from now.

use crate::support::key;
use proptest::{collection::vec, option, prelude::*, sample::Index};
use proviso_ledger::{
    model::{
        amounts::{Credits, Money},
        answers::{Allowance, Overage, Refusal, SettleMethod, TopUp},
        counter::{Counter, Measure, Scope, Window},
        grant::Category,
        period::IntervalUnit,
        time::Timestamp,
        view::Expiry,
    },
    rules::grants::GrantRequest,
};

/// What a policy says of a usage.
#[derive(Debug, Clone)]
pub struct Answer {
    pub cost: Credits,
    pub gpu: bool,
    pub order: Vec<Index>,
    pub overage: Option<Overage>,
    pub counters: Vec<Counter>,
}

#[derive(Debug, Clone)]
pub enum Op {
    Grant(GrantRequest),
    Void(Index),
    Adjust(Credits),
    /// With whether it is of the feature `image`, and its age in seconds.
    Charge(Answer, bool, i64),
    /// With its time to live and its age in seconds.
    Reserve(Answer, i64, i64),
    Commit(Index, Answer),
    Release(Index),
    Wait(i64),
    ClockBack(i64),
    Reset,
    Configure(u8, IntervalUnit, u8, Allowance),
    /// So many seconds later, or at the period's end.
    ChangePlan(u8, IntervalUnit, Option<i64>, Allowance),
    CancelPlanChange,
    Terms(i64, Option<i64>),
    Close,
}

/// One step of a policy's answer to an end or a beginning.
#[derive(Debug, Clone)]
pub enum Step {
    Roll(Index, Credits, Expiry),
    /// This percentage of everything, of what is held, too.
    RollAll(u8, Option<u32>),
    Expire(Index),
    Fee(Credits, bool),
    Issue(Credits, Expiry, u8),
    /// With whether at the end.
    Settle(Option<Credits>, SettleMethod, bool),
}

fn amount() -> impl Strategy<Value = Credits> {
    prop_oneof![
        8 => (0_i64..60).prop_map(Credits::from_whole),
        4 => (0_i128..60_000_000_000_000).prop_map(Credits::from_units),
        1 => prop_oneof![Just(i128::MAX), Just(i128::MIN), Just(-1), Just(1), any::<i128>()]
            .prop_map(Credits::from_units),
    ]
}

fn counters() -> impl Strategy<Value = Vec<Counter>> {
    let measure = prop_oneof![Just(Measure::Cost), Just(Measure::Quantity("tokens".to_owned()))];
    let scope =
        prop_oneof![Just(Scope::Customer), Just(Scope::Entity), Just(Scope::Attribute("model".to_owned()))];
    let window = prop_oneof![
        Just(Window::Period),
        Just(Window::Cycle),
        Just(Window::Day),
        Just(Window::Month),
        (1_u16..30).prop_map(Window::Hours),
        Just(Window::Lifetime)
    ];
    let counter = (measure, scope, window, any::<bool>()).prop_map(|(measure, scope, window, all)| Counter {
        name: "any".to_owned(),
        measure,
        features: if all { Vec::new() } else { vec![key("chat")] },
        scope,
        window,
    });
    vec(counter, 0..4)
}

fn expiry(latest: i64) -> impl Strategy<Value = Expiry> {
    (option::weighted(0.4, -10..latest), option::weighted(0.4, 0_u32..3)).prop_map(|(at, with_period)| {
        Expiry { at: at.map(|seconds| Timestamp(seconds * Timestamp::SECOND)), with_period }
    })
}

fn answers() -> impl Strategy<Value = Answer> {
    let overage = prop_oneof![
        3 => amount().prop_map(Overage::Allow),
        1 => Just(Overage::Deny(Refusal::denied("no", String::new()))),
        1 => Just(Overage::RequirePurchase(Vec::new())),
        2 => (amount(), expiry(1_000_000)).prop_map(|(amount, expires)| {
            Overage::TopUp(TopUp { amount, priority: 0, expires, cost_basis: None })
        }),
    ];
    let order = prop_oneof![5 => Just(Vec::new()), 1 => vec(any::<Index>(), 1..3)];
    (amount(), prop::bool::weighted(0.1), order, option::weighted(0.6, overage), counters())
        .prop_map(|(cost, gpu, order, overage, counters)| Answer { cost, gpu, order, overage, counters })
}

fn grants() -> impl Strategy<Value = GrantRequest> {
    let scope =
        prop_oneof![Just(vec![]), Just(vec!["chat"]), Just(vec!["image"]), Just(vec!["chat", "image"])];
    let effective = option::weighted(0.3, -200_000_i64..100_000);
    let times = (effective, expiry(900_000));
    (amount(), -1_i32..2, times, scope, any::<bool>(), prop::bool::weighted(0.15)).prop_map(
        |(amount, priority, (effective, expires), scope, paid, gpu)| GrantRequest {
            credit: key(if gpu { "gpu" } else { "credits" }),
            amount,
            category: if paid { Category::Prepaid } else { Category::Promotional },
            priority,
            effective_at: effective.map(|seconds| Timestamp(seconds * Timestamp::SECOND)),
            expires,
            features: scope.into_iter().map(key).collect(),
            cost_basis: paid.then(|| Money::new("0.99".parse().unwrap(), "EUR".parse().unwrap()).unwrap()),
            metadata: vec![("invoice".to_owned(), "\"7\" \u{e9}\n".to_owned())],
        },
    )
}

/// How old a usage is that is reported: mostly new.
fn ages() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 1 => 0_i64..200_000, 1 => -200_i64..3_000_000]
}

fn allowances() -> impl Strategy<Value = Allowance> {
    prop_oneof![3 => Just(Allowance::Carry), 1 => Just(Allowance::Prorate), 1 => Just(Allowance::Full)]
}

pub fn ops() -> impl Strategy<Value = Op> {
    use IntervalUnit::{Day, Hour, Month};
    prop_oneof![
        5 => grants().prop_map(Op::Grant),
        1 => any::<Index>().prop_map(Op::Void),
        1 => (-20_000_000_000_000_i128..20_000_000_000_000)
            .prop_map(|units| Op::Adjust(Credits::from_units(units))),
        8 => (answers(), any::<bool>(), ages()).prop_map(|(answer, image, age)| Op::Charge(answer, image, age)),
        6 => (answers(), -5_i64..100_000, ages()).prop_map(|(answer, ttl, age)| Op::Reserve(answer, ttl, age)),
        9 => (any::<Index>(), answers()).prop_map(|(which, answer)| Op::Commit(which, answer)),
        3 => any::<Index>().prop_map(Op::Release),
        5 => prop_oneof![0_i64..3_000, 0_i64..200_000].prop_map(Op::Wait),
        1 => (0_i64..1_000).prop_map(Op::ClockBack),
        1 => Just(Op::Reset),
        4 => (0_u8..3, prop_oneof![Just(Hour), Just(Day), Just(Month)], 0_u8..3, allowances())
            .prop_map(|(plan, unit, zone, allowance)| Op::Configure(plan, unit, zone, allowance)),
        3 => (0_u8..3, prop_oneof![Just(Hour), Just(Day), Just(Month)], option::of(-9_000_i64..400_000), allowances())
            .prop_map(|(plan, unit, after, allowance)| Op::ChangePlan(plan, unit, after, allowance)),
        1 => Just(Op::CancelPlanChange),
        1 => (0_i64..9_000, option::of(0_i64..90_000)).prop_map(|(from, to)| Op::Terms(from, to)),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Op::Close } else { Op::Reset }),
    ]
}

/// What a policy does at ends and beginnings, in turn.
pub fn plans() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let method =
        prop_oneof![Just(SettleMethod::Invoice), Just(SettleMethod::Waive), Just(SettleMethod::Deduct)];
    let share = prop_oneof![Just(100_u8), Just(50), 0_u8..=100];
    let step = prop_oneof![
        1 => (any::<Index>(), amount(), expiry(200_000))
            .prop_map(|(which, amount, expires)| Step::Roll(which, amount, expires)),
        3 => (share, option::of(0_u32..2)).prop_map(|(share, with)| Step::RollAll(share, with)),
        1 => any::<Index>().prop_map(Step::Expire),
        1 => (amount(), any::<bool>()).prop_map(|(amount, invoiced)| Step::Fee(amount, invoiced)),
        4 => (amount(), expiry(200_000), 0_u8..3)
            .prop_map(|(amount, expires, category)| Step::Issue(amount, expires, category)),
        2 => (option::of(amount()), method, any::<bool>())
            .prop_map(|(amount, method, at_end)| Step::Settle(amount, method, at_end)),
    ];
    vec(vec(step, 0..4), 1..4)
}
