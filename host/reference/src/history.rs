//! Random histories: the same for a seed, everywhere.

use crate::{
    commands::{
        Advance, BudgetSpec, Change, Command, GrantSpec, LeaseSpec, Part, TopUpSpec, UsageSpec, When, Who,
    },
    packs::{ADD_ONS, PACKS, PROMOTIONS},
    settings::*,
};

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.throw() % n
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.throw() % (high - low + 1) as u64) as i64
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    fn maybe<T>(&mut self, percent: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.percent(percent) { Some(make(self)) } else { None }
    }
}
/// A history: the plans that it begins with, and what happens.
#[derive(Debug, Clone)]
pub struct History {
    pub start: i64,
    pub plans: Vec<PlanSpec>,
    pub commands: Vec<Command>,
}

pub fn history(seed: u64, length: usize) -> History {
    let mut random = Random(seed);
    let random = &mut random;
    let scale = random.pick(&[
        Unit::Hour,
        Unit::Day,
        Unit::Day,
        Unit::Week,
        Unit::Month,
        Unit::Month,
        Unit::Quarter,
        Unit::Year,
    ]);
    let plans = PLANS
        .iter()
        .map(|key| PlanSpec {
            key,
            interval: match *key {
                "open" => None,
                _ if random.percent(60) => Some((scale, random.pick(&[1, 1, 1, 2, 3]))),
                _ => Some((
                    random.pick(&[
                        Unit::Day,
                        Unit::Week,
                        Unit::Month,
                        Unit::Month,
                        Unit::Quarter,
                        Unit::Year,
                    ]),
                    random.pick(&[1, 1, 1, 2]),
                )),
            },
            settings: settings(random),
            own: own_grants(random, key),
        })
        .collect();
    // Between 2023 and 2027, often near a month's end.
    let start = 1_672_531_200 * SECOND + random.between(0, 4 * 365) * DAY + random.between(0, 86_399_999_999);
    let mut commands = vec![configure(random, true)];
    commands.extend((1..length).map(|_| command(random)));
    History { start, plans, commands }
}

fn amount(random: &mut Random, most: u64) -> Amount {
    let whole = i128::from(1 + random.below(most)) * ONE;
    match random.below(10) {
        0..=6 => whole,
        7 => whole / 1_000,
        8 => whole / 7,
        _ => 1 + i128::from(random.below(1_000_000)),
    }
}

fn some_features(random: &mut Random, percent: u64) -> Vec<&'static str> {
    if !random.percent(percent) {
        return Vec::new();
    }
    let mut features: Vec<&'static str> = FEATURES.iter().copied().filter(|_| random.percent(40)).collect();
    if features.is_empty() {
        features.push("chat");
    }
    features.sort_unstable();
    features
}

fn window(random: &mut Random) -> Window {
    random.pick(&[
        Window::Period,
        Window::Cycle,
        Window::Cycle,
        Window::Day,
        Window::Day,
        Window::Month,
        Window::Hours(1),
        Window::Hours(24),
        Window::Lifetime,
    ])
}

fn duration(random: &mut Random) -> i64 {
    match random.below(8) {
        0 => random.between(1, 10),
        1 => random.between(1, 100) * SECOND,
        2 => random.between(1, 120) * MINUTE,
        3 => random.between(1, 48) * HOUR,
        4 | 5 => random.between(1, 40) * DAY,
        6 => random.between(1, 14) * DAY + random.between(0, 86_399_999_999),
        _ => random.between(30, 200) * DAY,
    }
}

pub fn settings(random: &mut Random) -> Settings {
    let mut prices = vec![
        Price { feature: "chat", credit: "credits", price: amount(random, 3) },
        Price { feature: "image", credit: random.pick(&CREDITS), price: amount(random, 10) },
    ];
    if random.percent(70) {
        prices.push(Price { feature: "search", credit: "credits", price: ONE });
    }
    let tier = random.maybe(30, |random| Tier {
        feature: "chat",
        window: random.pick(&[Window::Period, Window::Cycle, Window::Cycle, Window::Month, Window::Day]),
        above: amount(random, 200),
        price: amount(random, 2),
    });
    let cap = random.maybe(35, |random| Cap {
        whose: random.pick(&[Whose::Customer, Whose::Entity, Whose::Model]),
        window: window(random),
        features: some_features(random, 40),
        limit: amount(random, 300),
        commits: random.percent(50),
    });
    let overage = match random.below(8) {
        0 | 1 => OverageRule::Block,
        2..=4 => OverageRule::Allow(amount(random, 500)),
        5 => OverageRule::TopUp {
            block: amount(random, 100).max(ONE),
            priority: random.between(-1, 3) as i32,
            lasts: random.maybe(40, duration),
            with_period: random.maybe(30, |random| random.below(3) as u32),
            paid: random.percent(50),
        },
        6 => OverageRule::Purchase,
        _ if tier.is_none() => OverageRule::Reduce,
        _ => OverageRule::Block,
    };
    let allowances = (0..random.below(4))
        .map(|_| AllowanceRule {
            credit: random.pick(&["credits", "credits", "tokens"]),
            amount: amount(random, 1000),
            category: random.pick(&["plan", "plan", "plan", "trial", "promotional", "contract"]),
            priority: random.between(-1, 2) as i32,
            features: some_features(random, 20),
            starts_in: random.maybe(8, duration),
            lasts: random.maybe(10, |random| duration(random) + 201 * DAY),
            with_period: random.maybe(85, |random| random.pick(&[0, 0, 0, 0, 1, 2])),
            paid: random.maybe(20, |random| amount(random, 100)),
        })
        .collect();
    Settings {
        prices,
        tier,
        cap,
        newest_first: random.percent(10),
        overage,
        allowances,
        mode: random.pick(&[Mode::Asked, Mode::Asked, Mode::Asked, Mode::Carry, Mode::Prorate, Mode::Full]),
        rollover: random.maybe(55, |random| RolloverRule {
            percent: random.pick(&[100, 100, 50, 33, 10]),
            most: random.maybe(50, |random| amount(random, 600)),
            periods: random.below(3) as u32,
            categories: random.pick(&[
                vec!["plan", "trial"],
                vec!["plan", "trial", "rollover", "contract"],
                vec!["plan", "rollover", "promotional"],
            ]),
            priority: random.between(-1, 2) as i32,
            only_scheduled: random.percent(40),
        }),
        fee: random.maybe(12, |random| FeeRule {
            credit: "credits",
            least: amount(random, 300),
            drawn: random.percent(60),
        }),
        settle_close: settling(random),
        settle_open: settling(random),
        settle_from: random.pick(&[
            SettleFrom::Purchases,
            SettleFrom::Purchases,
            SettleFrom::Reset,
            SettleFrom::Never,
        ]),
        period_categories: random.pick(&[vec![], vec!["promotional"], vec!["plan", "trial", "promotional"]]),
        counters: (0..random.below(3))
            .map(|_| CounterSpec {
                cost: random.percent(50),
                features: some_features(random, 40),
                whose: random.pick(&[Whose::Customer, Whose::Entity, Whose::Model]),
                window: window(random),
            })
            .collect(),
    }
}

/// What a plan gives whatever its policy does: for most plans nothing.
fn own_grants(random: &mut Random, plan: &str) -> OwnGrants {
    let rule = |random: &mut Random, category: &'static str| {
        // Thousands of grants that live on are not this test's matter.
        let hours = random.maybe(20, |random| random.between(1, 100));
        AllowanceRule {
            credit: random.pick(&["credits", "credits", "tokens"]),
            amount: amount(random, 700),
            category,
            priority: random.between(-1, 2) as i32,
            features: some_features(random, 15),
            starts_in: None,
            lasts: hours.map(|hours| hours * HOUR),
            with_period: if hours.is_some() { None } else { Some(random.pick(&[0, 0, 0, 1, 2])) },
            paid: random.maybe(20, |random| amount(random, 100)),
        }
    };
    if !random.percent(45) {
        return OwnGrants::default();
    }
    let grants = (0..random.below(4))
        .map(|n| {
            // Keys that plans share, and keys of their own.
            let key = random.pick(&[["k0", "k1", "k2", "k3"], ["l0", "l1", "l2", "l3"]])[n as usize];
            let (once, category) =
                (random.percent(40), random.pick(&["plan", "plan", "prepaid", "promotional"]));
            let mut rule = rule(random, category);
            if once && random.percent(50) {
                (rule.lasts, rule.with_period) = (None, None);
            }
            OwnGrant { key, once, rule }
        })
        .collect();
    let trial = random.maybe(35, |random| TrialRule {
        hours: random.between(1, 999),
        grants: (0..random.below(3)).map(|_| AllowanceRule { paid: None, ..rule(random, "trial") }).collect(),
        then: match random.below(4) {
            0 => AfterTrial::Stay,
            1 => AfterTrial::End,
            _ => AfterTrial::Plan(random.pick(&PLANS)),
        },
    });
    // A trial does not lead to itself.
    let trial =
        trial.filter(|trial| trial.then != AfterTrial::Plan(PLANS.iter().find(|one| **one == plan).unwrap()));
    OwnGrants { grants, trial }
}

fn settling(random: &mut Random) -> Settling {
    random.pick(&[
        Settling::Keep,
        Settling::Keep,
        Settling::Invoice,
        Settling::Waive,
        Settling::Deduct,
        Settling::InvoiceHalf,
    ])
}

fn configure(random: &mut Random, first: bool) -> Command {
    let asked = random.pick(&[Mode::Carry, Mode::Carry, Mode::Prorate, Mode::Full]);
    if first {
        return Command::Configure {
            plan: if random.percent(90) { Change::Set(random.pick(&PLANS)) } else { Change::Keep },
            zone: if random.percent(50) { Change::Set(random.pick(&ZONES)) } else { Change::Keep },
            anchor: if random.percent(50) {
                Change::Set(-random.between(0, 400) * DAY)
            } else {
                Change::Keep
            },
            allowance: asked,
        };
    }
    let what = random.below(10);
    Command::Configure {
        plan: match what {
            0..=3 => Change::Set(random.pick(&PLANS)),
            4 if random.percent(50) => Change::Clear,
            _ => Change::Keep,
        },
        zone: match what {
            5 | 6 => Change::Set(random.pick(&ZONES)),
            3 if random.percent(20) => Change::Clear,
            _ => Change::Keep,
        },
        anchor: match what {
            7 | 8 => Change::Set(
                random.between(-40, 40) * DAY
                    + if random.percent(50) { 0 } else { random.between(-DAY, DAY) },
            ),
            9 if random.percent(20) => Change::Clear,
            9 => Change::Set(0),
            3 if random.percent(20) => Change::Set(-random.between(0, 40) * DAY),
            _ => Change::Keep,
        },
        allowance: asked,
    }
}

fn usage(random: &mut Random) -> UsageSpec {
    UsageSpec {
        feature: match random.below(20) {
            0 => "free_text",
            1..=5 => "image",
            6..=9 => "search",
            _ => "chat",
        },
        units: match random.below(12) {
            0 => 0,
            1 => amount(random, 1000),
            _ => amount(random, 60),
        },
        entity: random.maybe(60, |random| random.pick(&["ann", "bob"])),
        model: random.maybe(60, |random| random.pick(&["large", "small"])),
        ago: random.maybe(35, |random| match random.below(10) {
            0 => -random.between(1, 300 * SECOND),
            1 => -301 * SECOND,
            2 | 3 => random.between(0, 300 * SECOND),
            4 | 5 => random.between(0, 48) * HOUR,
            6..=8 => random.between(0, 34 * DAY),
            _ => random.between(34, 36) * DAY,
        }),
    }
}

fn budget(random: &mut Random) -> BudgetSpec {
    let units = random.percent(30);
    BudgetSpec {
        who: match random.below(6) {
            0 => Who::Customer,
            1 => Who::Model(random.pick(&["large", "small"])),
            _ => Who::Entity(random.pick(&ENTITIES)),
        },
        features: some_features(random, 25),
        units,
        credit: if units { "credits" } else { random.pick(&["credits", "credits", "tokens"]) },
        window: if random.percent(15) { Window::Week } else { window(random) },
        limit: amount(random, 400),
        hard: random.percent(75),
    }
}

fn top_up(random: &mut Random) -> TopUpSpec {
    let threshold = if random.percent(10) { 0 } else { amount(random, 300) };
    let hours = random.maybe(25, |random| random.between(1, 1_000));
    TopUpSpec {
        threshold,
        target: random.maybe(60, |random| threshold + amount(random, 500)),
        amount: amount(random, 400),
        most: random.between(1, 4) as u32,
        window: if random.percent(15) { Window::Week } else { window(random) },
        cool: random.between(60, 100_000),
        wait: random.between(60, 200_000),
        failures: random.between(1, 3) as u32,
        priced: random.percent(60),
        priority: random.between(-1, 2) as i32,
        hours,
        with_period: if hours.is_some() { None } else { random.maybe(25, |random| random.below(3) as u32) },
        enabled: random.percent(90),
    }
}

fn command(random: &mut Random) -> Command {
    match random.below(156) {
        0..=21 => Command::Pass(match random.below(14) {
            0 => Advance::By(random.between(0, 3)),
            1 => Advance::By(random.between(1, 100) * SECOND),
            2 | 3 => Advance::By(random.between(1, 48) * HOUR),
            4 => Advance::By(random.between(1, 30) * DAY),
            5 => Advance::By(random.between(1, 200) * DAY),
            6 => Advance::By(random.between(1, 20_000) * SECOND),
            7..=9 => Advance::PeriodEnd(random.pick(&[-1, 0, 0, 1, -SECOND, 5 * MINUTE])),
            10 | 11 => Advance::Due(random.pick(&[-1, 0, 0, 1])),
            12 => Advance::Midnight(random.pick(&[-1, 0, 1])),
            _ => Advance::By(0),
        }),
        22..=26 => configure(random, false),
        27 | 28 => Command::ChangePlan {
            plan: if random.percent(90) { Some(random.pick(&PLANS)) } else { None },
            when: match random.below(10) {
                0 | 1 => When::Now,
                2..=5 => When::PeriodEnd,
                6 => When::In(-random.between(0, HOUR)),
                _ => When::In(duration(random)),
            },
            allowance: random.pick(&[Mode::Carry, Mode::Carry, Mode::Prorate, Mode::Full]),
            dry_run: random.percent(20),
        },
        29 => {
            if random.percent(30) {
                Command::CancelPlanChange
            } else {
                configure(random, false)
            }
        }
        30..=32 => Command::Bind {
            settings: Box::new(settings(random)),
            starts_in: random.maybe(50, |random| duration(random) - random.pick(&[0, DAY])),
            lasts: random.maybe(60, duration),
        },
        33 => Command::BindToPlan {
            plan: random.pick(&PLANS),
            settings: Box::new(settings(random)),
            starts_in: random.maybe(50, |random| duration(random) - random.pick(&[0, DAY])),
            lasts: random.maybe(30, duration),
        },
        34 => Command::EndTerms { pick: random.throw(), ends_in: random.maybe(60, duration) },
        35..=42 => Command::Grant(grant(random)),
        43 => Command::Void { pick: random.throw() },
        44..=46 => Command::Adjust {
            credit: random.pick(&["credits", "credits", "tokens"]),
            amount: if random.percent(50) { amount(random, 100) } else { -amount(random, 100) },
        },
        47 | 48 => Command::Reset { anchor_now: random.percent(40) },
        49 => {
            if random.percent(6) {
                Command::Close
            } else {
                Command::Read
            }
        }
        50..=66 => Command::Charge(usage(random)),
        67..=69 => Command::Refund {
            pick: random.throw(),
            part: match random.below(4) {
                0 => Part::Rest,
                1 => Part::Units(random.pick(&[0, 10, 33, 50, 100, 101])),
                _ => Part::Cost(random.pick(&[0, 1, 10, 50, 50, 100, 101])),
            },
            reissue: random.percent(40),
        },
        70 | 71 => Command::Check(usage(random)),
        72..=83 => Command::Reserve(
            usage(random),
            match random.below(4) {
                0 => 900,
                1 => random.between(1, 60) as u32,
                2 => random.between(60, 7200) as u32,
                _ => random.between(3600, 86_400) as u32,
            },
        ),
        84..=92 => Command::Commit {
            pick: random.throw(),
            percent: random.pick(&[0, 10, 50, 99, 100, 100, 101, 150, 300, 1000]),
        },
        93..=95 => Command::Release { pick: random.throw() },
        96..=98 => Command::Extend { pick: random.throw(), ttl: random.between(1, 86_400) as u32 },
        100..=102 => Command::SetEntity {
            entity: random.pick(&ENTITIES),
            parent: random.maybe(80, |random| random.pick(&ENTITIES)),
        },
        103..=106 => Command::SetBudget { id: random.pick(&BUDGETS), spec: budget(random) },
        108 | 109 => {
            let plan = random.pick(&PLANS);
            Command::Sell { plan, own: Box::new(own_grants(random, plan)) }
        }
        110..=115 => Command::Migrate {
            plan: random.pick(&PLANS),
            pick: random.throw(),
            period_end: random.percent(40),
            allowance: random.pick(&[Mode::Carry, Mode::Carry, Mode::Prorate, Mode::Full]),
            dry_run: random.percent(20),
        },
        126 | 127 => Command::ImportGrant {
            spec: grant(random),
            used: random.pick(&[0, 0, 30, 60, 100]),
            voided: random.pick(&[0, 0, 0, 10, 40, 41]),
            allowance: random.pick(&[None, None, Some(true), Some(false)]),
        },
        128 => {
            if random.percent(60) {
                Command::ImportUsage(usage(random))
            } else {
                Command::ImportOverage {
                    credit: random.pick(&["credits", "tokens"]),
                    amount: amount(random, 60),
                }
            }
        }
        129 | 130 => Command::Buy {
            pack: &PACKS[random.below(PACKS.len() as u64) as usize],
            quantity: random.pick(&[1, 1, 1, 2, 3, 7]),
        },
        132..=135 => Command::Attach {
            add_on: &ADD_ONS[random.below(ADD_ONS.len() as u64) as usize],
            quantity: random.pick(&[1, 1, 2, 3, 5]),
            starts_in: random.maybe(25, |random| duration(random) - random.pick(&[0, 0, DAY])),
            lasts: random.maybe(40, |random| 2 * duration(random)),
        },
        136 | 137 => Command::Detach {
            add_on: &ADD_ONS[random.below(ADD_ONS.len() as u64) as usize],
            void: random.percent(30),
        },
        131 => Command::Redeem { promotion: &PROMOTIONS[random.below(PROMOTIONS.len() as u64) as usize] },
        138..=141 => Command::Lease(LeaseSpec {
            credit: random.pick(&["credits", "credits", "credits", "tokens"]),
            amount: amount(random, 200),
            features: some_features(random, 50),
            entity: random.maybe(60, |random| random.pick(&["ann", "bob"])),
            ttl: random.pick(&[60, 900, 7200, 86_400]),
        }),
        142 | 143 => {
            let total = random.maybe(80, |random| amount(random, 400));
            let ttl = random.between(1, 86_400) as u32;
            Command::ExtendLease { pick: random.throw(), amount: total, ttl: random.maybe(60, |_| ttl) }
        }
        144 => Command::CloseLease { pick: random.throw() },
        145..=155 => Command::Settle { pick: random.throw(), usage: usage(random) },
        107 => Command::RemoveBudget { id: random.pick(&BUDGETS) },
        116..=119 => Command::SetTopUp { credit: random.pick(&CREDITS), spec: Box::new(top_up(random)) },
        120 => Command::RemoveTopUp { credit: random.pick(&CREDITS) },
        121..=125 => Command::AnswerTopUp { pick: random.throw(), paid: random.percent(70) },
        _ => Command::Read,
    }
}

fn grant(random: &mut Random) -> GrantSpec {
    GrantSpec {
        credit: random.pick(&["credits", "credits", "tokens"]),
        amount: amount(random, 400),
        category: random.pick(&CATEGORIES),
        priority: random.between(-1, 2) as i32,
        features: some_features(random, 35),
        effective_in: random.maybe(45, |random| match random.below(4) {
            0 => duration(random),
            1 => -random.between(34, 36) * DAY,
            _ => -random.between(0, 34 * DAY),
        }),
        expires_in: random.maybe(50, |random| duration(random) - random.pick(&[0, 0, 0, HOUR])),
        with_period: random.maybe(35, |random| random.below(3) as u32),
        paid: random.maybe(35, |random| if random.percent(10) { 0 } else { amount(random, 100) }),
    }
}
