//! Random settings of policies, and random commands. Indexes pick one of what there is; times are seconds from now.

use crate::support::{
    World,
    catalog::{draft, gives},
    key, module,
};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use proviso_decide::{
    command::{ActualUsage, Change, Command, CustomerChange, CustomerPlanChange, Ttl, UsageRequest},
    precondition::Expected,
};
use proviso_ledger::{
    journal::PlanChangeTime,
    model::{
        amounts::{Credits, Decimal, Quantity, Rounding},
        answers::Allowance,
        grant::Category,
        ids::ReservationId,
        period::{Interval, IntervalUnit},
        terms::{Mode, OnFault},
        time::Timestamp,
        view::Expiry,
    },
    rules::{
        grants::GrantRequest,
        refund::{Portion, RefundRequest},
    },
    state::Origin,
};

const INTERVALS: [Option<IntervalUnit>; 4] =
    [Some(IntervalUnit::Month), Some(IntervalUnit::Week), Some(IntervalUnit::Hour), None];

const ZONES: [&str; 5] = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"];

#[derive(Debug, Clone)]
pub enum Op {
    Wait(i64),
    Read,
    Charge {
        n: i64,
        image: bool,
        entity: bool,
        age: i64,
    },
    Check(i64),
    Reserve {
        n: i64,
        ttl: u32,
        age: i64,
    },
    Commit(Index, i64),
    Release(Index),
    Extend(Index, u32),
    Grant {
        amount: i64,
        category: usize,
        effective: Option<i64>,
        expires: Option<i64>,
        with: Option<u32>,
    },
    Void(Index),
    Refund {
        which: Index,
        percent: i64,
        reissue: bool,
    },
    Adjust(i64),
    Configure {
        plan: Option<usize>,
        zone: Option<usize>,
        anchor: Option<i64>,
        allowance: Allowance,
    },
    /// With a delay in seconds; none at the period's end.
    ChangePlan {
        plan: usize,
        after: Option<i64>,
        allowance: Allowance,
    },
    CancelPlanChange,
    Reset(bool),
    Retry(u32),
    Terms {
        settings: String,
        on_fault: OnFault,
        shadow: bool,
        from: i64,
        to: Option<i64>,
    },
    PlanTerms {
        plan: usize,
        settings: String,
        on_fault: OnFault,
    },
    EndTerms(Index),
    Module(bool),
    Close,
}

/// Settings as JSON. Without `hostile` ones, allowances are never given in full, and nothing breaks a rule.
pub fn settings(hostile: bool) -> impl Strategy<Value = String> {
    let mode = if hostile {
        prop_oneof![Just("null"), Just("\"carry\""), Just("\"prorate\""), Just("\"full\"")].boxed()
    } else {
        prop_oneof![Just("\"carry\""), Just("\"prorate\"")].boxed()
    };
    let category = prop_oneof![3 => Just("plan"), 1 => Just("trial"), 1 => Just("contract")];
    let with = prop_oneof![3 => Just("0"), 1 => Just("1"), 1 => Just("null")];
    let allowance = (1_i64..500, category, with, -1..2, any::<bool>()).prop_map(
        |(amount, category, with, priority, scoped)| {
            let features = if scoped { r#"["chat"]"# } else { "[]" };
            // How all of a policy's allowances are reduced is put in below.
            format!(
                r#"{{"amount": "{amount}", "category": "{category}", "with": {with}, "allowance": MODE, "priority": {priority}, "features": {features}}}"#
            )
        },
    );
    let rollover =
        (0_u8..=100, option::of(0_i64..300), option::of(1_u32..4)).prop_map(|(percent, max, periods)| {
            let max = max.map_or("null".to_owned(), |max| format!("\"{max}\""));
            let periods = periods.map_or("null".to_owned(), |periods| periods.to_string());
            format!(r#"{{"percent": "{percent}", "max": {max}, "periods": {periods}}}"#)
        });
    let overage = prop_oneof![
        2 => Just("\"deny\"".to_owned()),
        3 => (0_i64..400).prop_map(|limit| format!(r#"{{"allow": "{limit}"}}"#)),
        1 => (1_i64..100).prop_map(|pack| format!(r#"{{"top_up": "{pack}"}}"#)),
        1 => Just("\"purchase\"".to_owned()),
        1 => (0_i64..20).prop_map(|n| format!(r#"{{"reduce": "{n}"}}"#)),
    ];
    let settle = prop_oneof![Just("null"), Just("\"invoice\""), Just("\"waive\""), Just("\"deduct\"")];
    let window = prop_oneof![
        Just(r#""day""#),
        Just(r#""period""#),
        Just(r#""month""#),
        Just(r#""lifetime""#),
        Just(r#"{"hours": 5}"#)
    ];
    let cap = option::weighted(0.3, 50_i64..500);
    let counter = (window, cap, any::<bool>(), any::<bool>()).prop_map(|(window, cap, cost, entity)| {
        let cap = cap.map_or("null".to_owned(), |cap| format!("\"{cap}\""));
        let measure = if cost { "null" } else { "\"n\"" };
        let scope = if entity { "\"entity\"" } else { "\"customer\"" };
        format!(r#"{{"window": {window}, "cap": {cap}, "measure": {measure}, "scope": {scope}}}"#)
    });
    let faults = if hostile {
        let call = prop_oneof![Just("rate"), Just("overage"), Just("close"), Just("open")];
        prop_oneof![4 => Just(Vec::new()), 1 => vec(call, 1..3)].boxed()
    } else {
        let call = prop_oneof![Just("close"), Just("open")];
        prop_oneof![6 => Just(Vec::new()), 1 => vec(call, 1..3)].boxed()
    };
    let breaks = if hostile {
        let what = prop_oneof![
            Just("cost"),
            Just("draw_order"),
            Just("top_up"),
            Just("reduce"),
            Just("roll"),
            Just("issue")
        ];
        prop_oneof![6 => Just(Vec::new()), 1 => vec(what, 1..3)].boxed()
    } else {
        Just(Vec::new()).boxed()
    };
    let allowances =
        (vec(allowance, 0..3), mode).prop_map(|(list, mode)| list.join(", ").replace("MODE", mode));
    let lists = (allowances, vec(counter, 0..3), faults, breaks);
    let fee = (option::weighted(0.2, 1_i64..50), any::<bool>(), any::<bool>());
    let odd = (prop::bool::weighted(0.1), any::<bool>());
    (lists, option::weighted(0.7, rollover), overage, settle, fee, odd).prop_map(
        |((allowances, counters, faults, breaks), rollover, overage, settle, (fee, invoiced, at_open), (denies, first))| {
            let fee = fee.map_or("null".to_owned(), |fee| format!("\"{fee}\""));
            let first = if first { r#"["rollover"]"# } else { "[]" };
            format!(
                r#"{{"allowances": [{}], "counters": [{}], "faults": {faults:?}, "breaks": {breaks:?}, "rollover": {}, "overage": {overage}, "settle": {settle}, "fee": {fee}, "invoice_fees": {invoiced}, "settle_at_open": {at_open}, "denies_commits": {denies}, "draw_first": {first}}}"#,
                allowances,
                counters.join(", "),
                rollover.unwrap_or("null".to_owned()),
            )
        },
    )
}

fn on_fault() -> impl Strategy<Value = OnFault> {
    prop_oneof![Just(OnFault::Deny), Just(OnFault::Plan), Just(OnFault::LastGood)]
}

fn wait() -> impl Strategy<Value = i64> {
    prop_oneof![2 => 0_i64..4_000, 2 => 0_i64..200_000, 1 => 0_i64..3_000_000]
}

fn age() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0_i64), 1 => 0_i64..100_000, 1 => -200_i64..3_100_000]
}

pub fn ops(hostile: bool) -> impl Strategy<Value = Op> {
    let allowance = if hostile {
        prop_oneof![Just(Allowance::Carry), Just(Allowance::Prorate), Just(Allowance::Full)].boxed()
    } else {
        prop_oneof![Just(Allowance::Carry), Just(Allowance::Prorate)].boxed()
    };
    let change = (0_usize..5, option::of(prop_oneof![Just(0_i64), 1_i64..3_000_000]), allowance.clone());
    let configure = (
        option::weighted(0.7, 0_usize..5),
        option::weighted(0.2, 0..ZONES.len()),
        option::weighted(0.2, -3_000_000_i64..3_000_000),
        allowance,
    );
    let expiry = (option::weighted(0.3, 1_i64..4_000_000), option::weighted(0.3, 0_u32..3));
    let n = || prop_oneof![6 => 0_i64..120, 1 => 0_i64..2_000];
    prop_oneof![
        8 => wait().prop_map(Op::Wait),
        1 => Just(Op::Read),
        8 => (n(), any::<bool>(), any::<bool>(), age())
            .prop_map(|(n, image, entity, age)| Op::Charge { n, image, entity, age }),
        1 => n().prop_map(Op::Check),
        6 => (n(), 1_u32..=86_400, age()).prop_map(|(n, ttl, age)| Op::Reserve { n, ttl, age }),
        5 => (any::<Index>(), n()).prop_map(|(which, n)| Op::Commit(which, n)),
        2 => any::<Index>().prop_map(Op::Release),
        2 => (any::<Index>(), 1_u32..=86_400).prop_map(|(which, ttl)| Op::Extend(which, ttl)),
        2 => (1_i64..300, 0_usize..4, option::weighted(0.3, -3_000_000_i64..3_000_000), expiry).prop_map(
            |(amount, category, effective, (expires, with))| Op::Grant { amount, category, effective, expires, with }
        ),
        1 => any::<Index>().prop_map(Op::Void),
        4 => (any::<Index>(), 1_i64..=100, any::<bool>())
            .prop_map(|(which, percent, reissue)| Op::Refund { which, percent, reissue }),
        1 => (-100_i64..100).prop_map(Op::Adjust),
        7 => configure
            .prop_map(|(plan, zone, anchor, allowance)| Op::Configure { plan, zone, anchor, allowance }),
        4 => change.prop_map(|(plan, after, allowance)| Op::ChangePlan { plan, after, allowance }),
        1 => Just(Op::CancelPlanChange),
        1 => any::<bool>().prop_map(Op::Reset),
        2 => (1_u32..12).prop_map(Op::Retry),
        1 => (settings(hostile), on_fault(), any::<bool>(), 0_i64..200_000, option::of(200_001_i64..3_000_000))
            .prop_map(|(settings, on_fault, shadow, from, to)| Op::Terms { settings, on_fault, shadow, from, to }),
        1 => (0_usize..4, settings(hostile), on_fault())
            .prop_map(|(plan, settings, on_fault)| Op::PlanTerms { plan, settings, on_fault }),
        1 => any::<Index>().prop_map(Op::EndTerms),
        1 => any::<bool>().prop_map(Op::Module),
    ]
}

/// A policy's settings, and what its plan gives beside it.
pub fn plan(hostile: bool) -> impl Strategy<Value = (String, String)> {
    (settings(hostile), own_grants())
}

fn own_grants() -> impl Strategy<Value = String> {
    let expires = prop_oneof![
        Just(r#"{"with_period": 0}"#.to_owned()),
        Just(r#"{"with_period": 1}"#.to_owned()),
        Just(r#""never""#.to_owned()),
        (1_i64..900).prop_map(|hours| format!(r#"{{"after": {{"unit": "hour", "count": {hours}}}}}"#)),
    ];
    let grant = (1_i64..400, 0_usize..3, any::<bool>(), expires).prop_map(|(amount, category, once, expires)| {
        let category = ["plan", "prepaid", "promotional"][category];
        let recurrence = if once { "once" } else { "period" };
        format!(
            r#""amount": "{amount}", "category": "{category}", "recurrence": "{recurrence}", "expires": {expires}"#
        )
    });
    let then = prop_oneof![
        Just(r#""stay""#.to_owned()),
        Just(r#""end""#.to_owned()),
        (0_usize..4).prop_map(|plan| format!(r#"{{"plan": "p{plan}"}}"#)),
    ];
    let trial = (1_i64..900, 1_i64..300, then).prop_map(|(hours, amount, then)| {
        format!(
            r#""duration": {{"unit": "hour", "count": {hours}}}, "grants": [{{"key": "t", "amount": "{amount}"}}], "then": {then}"#
        )
    });
    (vec(grant, 0..3), option::weighted(0.3, trial)).prop_map(|(grants, trial)| {
        let grants: Vec<String> =
            grants.iter().enumerate().map(|(n, grant)| format!(r#"{{"key": "k{n}", {grant}}}"#)).collect();
        let trial = trial.map(|trial| format!(r#", "trial": {{{trial}}}"#)).unwrap_or_default();
        format!(r#"{{"grants": [{}]{trial}}}"#, grants.join(", "))
    })
}

pub struct Player {
    pub world: World,
}

impl Player {
    /// A customer on the first of four plans.
    pub fn new(plans: &[(String, String)]) -> Self {
        let now = "2026-01-29T22:30:00Z".parse().unwrap();
        let mut world = World::new("acme", now);
        for (n, ((settings, own), unit)) in plans.iter().zip(INTERVALS).enumerate() {
            let plan = key(&format!("p{n}"));
            let interval = unit.map(|unit| Interval::new(unit, if n == 2 { 7 } else { 1 }).unwrap());
            gives(world.catalog.put(&plan, interval, now), own);
            world.catalog.bind(&plan, draft(settings), now);
        }
        let mut player = Self { world };
        player.run(&Op::Configure { plan: Some(0), zone: None, anchor: None, allowance: Allowance::Carry });
        player
    }

    fn after(&self, seconds: i64) -> Timestamp {
        self.world.now.plus_micros(seconds * Timestamp::SECOND)
    }

    fn reservation(&self, which: &Index) -> ReservationId {
        let open: Vec<ReservationId> = self.world.state.reservations.keys().copied().collect();
        if open.is_empty() { ReservationId { entry: 1, index: 0 } } else { *which.get(&open) }
    }

    fn usage(&self, n: i64, feature: &str, entity: bool, age: i64) -> Box<UsageRequest> {
        Box::new(UsageRequest {
            feature: key(feature),
            quantities: vec![("n".to_owned(), Quantity::from_whole(n))],
            attributes: Vec::new(),
            entity: entity.then(|| key("u1")),
            occurred_at: (age != 0).then(|| self.after(-age)),
        })
    }

    pub fn run(&mut self, op: &Op) {
        let now = self.world.now;
        let command = match op {
            Op::Wait(seconds) => {
                self.world.now = self.after(*seconds);
                return;
            }
            Op::Module(gone) => {
                match gone {
                    true => self.world.unavailable.insert(module("scripted")),
                    false => self.world.unavailable.remove(&module("scripted")),
                };
                return;
            }
            Op::PlanTerms { plan, settings, on_fault } => {
                let mut draft = draft(settings);
                draft.on_fault = *on_fault;
                self.world.catalog.bind(&key(&format!("p{plan}")), draft, now);
                return;
            }
            Op::Read => Command::Read,
            Op::Charge { n, image, entity, age } => {
                Command::Charge(self.usage(*n, if *image { "image" } else { "chat" }, *entity, *age))
            }
            Op::Check(n) => Command::Check(self.usage(*n, "chat", false, 0)),
            Op::Reserve { n, ttl, age } => {
                Command::Reserve(self.usage(*n, "chat", true, *age), Ttl::new(*ttl).unwrap())
            }
            Op::Commit(which, n) => {
                let quantities = vec![("n".to_owned(), Quantity::from_whole(*n))];
                let actual = ActualUsage { quantities, attributes: None };
                Command::Commit(self.reservation(which), Box::new(actual))
            }
            Op::Release(which) => Command::Release(self.reservation(which)),
            Op::Extend(which, ttl) => Command::Extend(self.reservation(which), Ttl::new(*ttl).unwrap()),
            Op::Grant { amount, category, effective, expires, with } => {
                use Category::{Prepaid, Promotional, TopUp, Trial};
                Command::Grant(Box::new(GrantRequest {
                    credit: key("credits"),
                    amount: Credits::from_whole(*amount),
                    category: [Prepaid, Promotional, TopUp, Trial][*category],
                    priority: 0,
                    effective_at: effective.map(|seconds| self.after(seconds)),
                    expires: Expiry { at: expires.map(|seconds| self.after(seconds)), with_period: *with },
                    features: Vec::new(),
                    cost_basis: None,
                    metadata: Vec::new(),
                }))
            }
            Op::Void(which) => {
                let grants = &self.world.state.grants;
                if grants.is_empty() {
                    return;
                }
                Command::Void(grants.iter().nth(which.index(grants.len())).unwrap().grant.id)
            }
            Op::Refund { which, percent, reissue } => {
                let charges: Vec<_> = self.world.entries.iter().map(|written| &written.entry).collect();
                let charges: Vec<_> = charges
                    .into_iter()
                    .filter_map(|entry| Some((entry.seq, entry.charged_usage()?.1.cost)))
                    .collect();
                if charges.is_empty() {
                    return;
                }
                let (seq, cost) = which.get(&charges);
                let part = |percent: i64| Decimal::from_units(i128::from(percent));
                let amount = cost.mul_div(part(*percent), part(100), Rounding::Down).unwrap();
                let portion = if *percent == 100 { Portion::Rest } else { Portion::Amount(amount) };
                let request =
                    RefundRequest { portion, reason: "checked".to_owned(), reissue_expired: *reissue };
                Command::Refund(Box::new(self.world.refundable(*seq)), Box::new(request))
            }
            Op::Adjust(amount) => Command::Adjust {
                credit: key("credits"),
                amount: Credits::from_whole(*amount),
                reason: "checked".to_owned(),
            },
            Op::Configure { plan, zone, anchor, allowance } => Command::Configure(Box::new(CustomerChange {
                plan: match plan {
                    None => Change::Keep,
                    Some(4) => Change::Clear,
                    Some(n) => Change::Set(key(&format!("p{n}"))),
                },
                time_zone: zone.map_or(Change::Keep, |n| Change::Set(ZONES[n].parse().unwrap())),
                anchor: anchor.map_or(Change::Keep, |seconds| Change::Set(self.after(seconds))),
                allowance: *allowance,
                ..CustomerChange::default()
            })),
            Op::ChangePlan { plan, after, allowance } => Command::ChangePlan(Box::new(CustomerPlanChange {
                plan: (*plan < 4).then(|| key(&format!("p{plan}"))),
                version: None,
                when: match after {
                    None => Some(PlanChangeTime::PeriodEnd),
                    Some(0) => None,
                    Some(seconds) => Some(PlanChangeTime::At(self.after(*seconds))),
                },
                allowance: *allowance,
                dry_run: false,
            })),
            Op::CancelPlanChange => match &self.world.state.plan_change {
                Some(pending) => Command::CancelPlanChange(pending.id),
                None => return,
            },
            Op::Reset(anchor_now) => Command::Reset { anchor_now: *anchor_now },
            Op::Retry(number) => {
                Command::RetryPeriod(self.world.state.periods.saturating_sub(*number).saturating_add(1))
            }
            Op::Terms { settings, on_fault, shadow, from, to } => {
                let mut draft = draft(settings);
                draft.on_fault = *on_fault;
                draft.mode = if *shadow { Mode::Shadow } else { Mode::Active };
                draft.effective_at = Some(self.after(*from));
                draft.ends_at = to.map(|to| self.after(to));
                Command::BindTerms(Box::new(draft))
            }
            Op::EndTerms(which) => match self.world.state.terms.as_slice() {
                [] => return,
                terms => Command::EndTerms {
                    id: which.get(terms).key.id,
                    ends_at: None,
                    expected: Expected::Anything,
                },
            },
            Op::Close => Command::Close(Expected::Anything),
        };
        let reply = self.world.decide(command, Origin::default());
        if let Err(proviso_decide::Stop::Error(proviso_decide::DecideError::Internal(detail))) = reply {
            panic!("{op:?}: {detail}");
        }
    }
}
