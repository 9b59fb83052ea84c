//! Histories in which host and model once differed, cut down to what mattered. Each says in its name what is right.

use proviso_reference::{
    commands::{Advance, Change, Command, GrantSpec, UsageSpec},
    history::History,
    settings::*,
};

/// 1 June 2026, 00:00 UTC.
const START: i64 = 1_780_272_000 * SECOND;

pub fn all() -> Vec<(&'static str, History)> {
    vec![
        ("a usage of a time without a plan is rated by the terms of now", unplanned_time()),
        ("a commit's own hold does not count against its tier", tier_of_a_commit()),
        ("a commit within the cap is not counted twice", cap_of_a_commit()),
        ("an allowance that outlives its period is not issued again by flipping", long_allowance()),
        ("a voided allowance is not issued again by flipping", voided_allowance()),
        ("what the periods were entitled to makes up for what was given once", two_prorated_allowances()),
        ("what comes back goes on through every plan that was changed to", two_flips_while_held()),
        ("what neither rolls over nor expires enlarges the next allowance", rollover_of_a_part()),
        ("what passes through an allowance was not given by it", passing_through()),
        ("a late hold that comes back expires again", late_hold()),
        ("a cycle begun on request counts from its first period", reset_at_once()),
        ("only what the limit does not allow is exceeded", partly_allowed()),
        ("a grant far ahead expires with the period in which it begins", far_ahead()),
        ("a closed customer's usage is refused before any policy is asked", closed()),
        ("late usage draws what expired before what rolled over of it", expired_first()),
        (
            "a commit counts in the windows of its reservation, wherever the zone moved",
            zone_moved_while_held(),
        ),
        ("balances show what is used up until the period ends", many_ended_grants()),
        ("a cycle without an end that was begun on request counts for ever", endless_cycle()),
        ("an allowance stands in for what late usage may still draw", stands_in_for_the_recent()),
        ("what expired of a cycle's allowances is drawn up to the largest", several_expired()),
    ]
}

fn whole(n: i128) -> Amount {
    n * ONE
}

/// One credit for a unit, one allowance that expires with its period.
fn plan(amount: i128) -> Settings {
    Settings {
        prices: vec![Price { feature: "chat", credit: "credits", price: ONE }],
        allowances: vec![allowance(amount)],
        ..Settings::default()
    }
}

fn allowance(amount: i128) -> AllowanceRule {
    AllowanceRule {
        credit: "credits",
        amount: whole(amount),
        category: "plan",
        priority: 0,
        features: Vec::new(),
        starts_in: None,
        lasts: None,
        with_period: Some(0),
        paid: None,
    }
}

fn rollover(percent: i128) -> Option<RolloverRule> {
    Some(RolloverRule {
        percent,
        most: None,
        periods: 1,
        categories: vec!["plan"],
        priority: 0,
        only_scheduled: false,
    })
}

/// The same monthly plan three times, and one without an end.
fn history(settings: &Settings, commands: Vec<Command>) -> History {
    let plans = PLANS.iter().map(|key| PlanSpec {
        own: OwnGrants::default(),
        key,
        interval: (*key != "open").then_some((Unit::Month, 1)),
        settings: settings.clone(),
    });
    History { start: START, plans: plans.collect(), commands }
}

fn configure(plan: Change<&'static str>, zone: Change<&'static str>, anchor: Change<i64>) -> Command {
    Command::Configure { plan, zone, anchor, allowance: Mode::Carry }
}

fn take(plan: &'static str) -> Command {
    configure(Change::Set(plan), Change::Keep, Change::Keep)
}

fn pass(micros: i64) -> Command {
    Command::Pass(Advance::By(micros))
}

fn chat(units: i128, ago: Option<i64>) -> UsageSpec {
    UsageSpec { feature: "chat", units: whole(units), entity: None, model: None, ago }
}

fn reserve(units: i128) -> Command {
    Command::Reserve(chat(units, None), 86_400)
}

fn commit(percent: u32) -> Command {
    Command::Commit { pick: 0, percent }
}

const RELEASE: Command = Command::Release { pick: 0 };

fn unplanned_time() -> History {
    let dear =
        Settings { prices: vec![Price { feature: "chat", credit: "credits", price: whole(5) }], ..plan(100) };
    let bind = Command::Bind { settings: Box::new(dear), starts_in: None, lasts: None };
    let commands = vec![
        configure(Change::Keep, Change::Keep, Change::Keep),
        pass(DAY),
        take("pro"),
        pass(DAY),
        bind,
        Command::Charge(chat(3, Some(36 * HOUR))),
    ];
    history(&plan(100), commands)
}

fn tier_of_a_commit() -> History {
    let tier = Tier { feature: "chat", window: Window::Month, above: whole(10), price: whole(2) };
    history(&Settings { tier: Some(tier), ..plan(100) }, vec![take("pro"), reserve(10), commit(100)])
}

fn cap_of_a_commit() -> History {
    let cap = Cap {
        whose: Whose::Customer,
        window: Window::Hours(24),
        features: Vec::new(),
        limit: whole(10),
        commits: true,
    };
    let commands = vec![take("pro"), reserve(4), pass(2 * HOUR), commit(200), reserve(3), reserve(2)];
    history(&Settings { cap: Some(cap), ..plan(100) }, commands)
}

fn long_allowance() -> History {
    let rule = AllowanceRule { with_period: Some(2), ..allowance(100) };
    let forever = AllowanceRule { with_period: None, ..allowance(50) };
    let settings = Settings { allowances: vec![rule, forever], ..plan(0) };
    history(
        &settings,
        vec![take("pro"), pass(DAY), take("basic"), take("pro"), pass(40 * DAY), take("basic")],
    )
}

fn voided_allowance() -> History {
    history(&plan(100), vec![take("pro"), Command::Void { pick: 0 }, take("basic")])
}

fn two_prorated_allowances() -> History {
    let settings =
        Settings { allowances: vec![allowance(100), allowance(500)], mode: Mode::Prorate, ..plan(0) };
    let commands = vec![take("pro"), Command::Charge(chat(550, None)), pass(10 * DAY), take("basic")];
    history(&settings, commands)
}

fn two_flips_while_held() -> History {
    let commands = vec![take("pro"), reserve(90), take("basic"), pass(HOUR), take("pro"), RELEASE];
    history(&plan(100), commands)
}

fn rollover_of_a_part() -> History {
    let settings = Settings { rollover: rollover(50), ..plan(100) };
    history(&settings, vec![take("pro"), reserve(80), pass(HOUR), take("basic"), pass(HOUR), RELEASE])
}

fn passing_through() -> History {
    let commands = vec![
        take("pro"),
        reserve(60),
        take("basic"),
        Command::Charge(chat(30, None)),
        take("pro"),
        RELEASE,
        take("basic"),
    ];
    history(&plan(100), commands)
}

fn late_hold() -> History {
    let commands = vec![
        take("pro"),
        pass(DAY),
        take("basic"),
        reserve(20),
        take("pro"),
        Command::Reserve(chat(30, Some(20 * HOUR)), 600),
        pass(HOUR),
        RELEASE,
    ];
    history(&plan(100), commands)
}

fn reset_at_once() -> History {
    let settings = Settings { mode: Mode::Carry, ..plan(100) };
    let commands = vec![
        take("pro"),
        Command::Charge(chat(40, None)),
        Command::Reset { anchor_now: false },
        pass(DAY),
        take("basic"),
    ];
    history(&settings, commands)
}

fn partly_allowed() -> History {
    let settings = Settings { overage: OverageRule::Allow(whole(20)), ..plan(10) };
    history(&settings, vec![take("pro"), reserve(10), commit(500)])
}

fn far_ahead() -> History {
    let grant = GrantSpec {
        credit: "credits",
        amount: whole(10),
        category: "contract",
        priority: 0,
        features: Vec::new(),
        effective_in: Some(150 * DAY),
        expires_in: None,
        with_period: Some(0),
        paid: None,
    };
    let mut history = history(&plan(1), vec![take("pro"), Command::Grant(grant)]);
    for plan in &mut history.plans {
        plan.interval = Some((Unit::Hour, 1));
    }
    history
}

fn closed() -> History {
    let cap =
        Cap { whose: Whose::Customer, window: Window::Day, features: Vec::new(), limit: 0, commits: false };
    let commands = vec![take("pro"), Command::Close, Command::Charge(chat(1, None)), reserve(1)];
    history(&Settings { cap: Some(cap), ..plan(10) }, commands)
}

fn expired_first() -> History {
    let settings = Settings { rollover: rollover(50), ..plan(100) };
    let commands = vec![take("pro"), pass(DAY), take("basic"), Command::Charge(chat(70, Some(20 * HOUR)))];
    history(&settings, commands)
}

fn zone_moved_while_held() -> History {
    let counter =
        CounterSpec { cost: false, features: Vec::new(), whose: Whose::Customer, window: Window::Day };
    let settings = Settings { counters: vec![counter], ..plan(100) };
    let zone = configure(Change::Keep, Change::Set("America/New_York"), Change::Keep);
    history(&settings, vec![take("pro"), pass(HOUR), reserve(10), zone, commit(150)])
}

fn many_ended_grants() -> History {
    let settings = Settings { allowances: vec![allowance(1); 9], ..plan(0) };
    let grant = Command::Adjust { credit: "credits", amount: whole(1) };
    let mut commands = vec![take("pro"), pass(30 * DAY)];
    commands.extend([grant, Command::Charge(chat(5, None)), Command::Charge(chat(4, None)), pass(HOUR)]);
    let mut history = history(&settings, commands);
    for plan in &mut history.plans {
        plan.interval = Some((Unit::Day, 1));
    }
    history
}

fn endless_cycle() -> History {
    let commands = vec![
        take("open"),
        Command::Reset { anchor_now: false },
        Command::Charge(chat(60, None)),
        take("pro"),
        pass(400 * DAY),
        take("basic"),
        take("open"),
    ];
    history(&plan(100), commands)
}

fn stands_in_for_the_recent() -> History {
    let gone = configure(Change::Clear, Change::Keep, Change::Keep);
    let usage = Command::Charge(chat(90, Some(20 * DAY)));
    let commands = vec![
        take("open"),
        take("pro"),
        pass(2 * DAY),
        take("open"),
        gone,
        pass(34 * DAY),
        take("pro"),
        pass(DAY),
        take("open"),
        usage,
    ];
    history(&plan(100), commands)
}

fn several_expired() -> History {
    let late = |units, days| Command::Charge(chat(units, Some(days * DAY)));
    let commands = vec![
        take("basic"),
        pass(9 * DAY),
        take("pro"),
        pass(2 * DAY),
        take("basic"),
        late(130, 6),
        late(60, 6),
        pass(2 * DAY),
        take("pro"),
        late(50, 8),
        late(30, 8),
        take("basic"),
    ];
    let mut history = history(&plan(100), commands);
    for plan in &mut history.plans {
        if plan.key == "pro" {
            // Drawn first, so that what stands in for both allowances stands in for all of this one.
            plan.interval = Some((Unit::Week, 1));
            plan.settings.allowances[0].amount = whole(30);
        } else {
            plan.settings.allowances[0].priority = 1;
        }
    }
    history
}
