//! Periods and allowances where calendars are odd: month ends, leap years, clock changes, half-hour zones, and anchors that are moved
//! on each of these days.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use proviso_decide::command::{Change, Command, CustomerChange};
use proviso_ledger::{
    journal::{Cycle, CyclePart, Event},
    model::{
        amounts::Credits,
        period::{Interval, IntervalUnit},
        time::Timestamp,
    },
    state::{GrantStatus, Origin},
};
use std::collections::BTreeMap;
use support::{World, catalog::draft, key};

/// A customer whose unused credits roll over for ever.
const SETTINGS: &str =
    r#"{"allowances": [{"amount": "1000"}], "rollover": {"percent": "100", "periods": null}}"#;

fn customer(now: Timestamp, unit: IntervalUnit, zone: &str, anchor: Timestamp) -> World {
    let mut world = World::new("acme", now);
    let plan: proviso_ledger::model::ids::Name = key("pro");
    world.catalog.put(&plan, Some(Interval::new(unit, 1).unwrap()), now);
    world.catalog.bind(&plan, draft(SETTINGS), now);
    configure(
        &mut world,
        CustomerChange {
            plan: Change::Set(plan),
            time_zone: Change::Set(zone.parse().unwrap()),
            anchor: Change::Set(anchor),
            ..CustomerChange::default()
        },
    );
    world
}

fn configure(world: &mut World, change: CustomerChange) {
    world.decide(Command::Configure(Box::new(change)), Origin::default()).unwrap();
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The instants at which periods began, in local time.
fn starts(world: &World) -> Vec<String> {
    let zone = world.state.zone();
    let opened = world.entries.iter().filter_map(|written| match &written.entry.event {
        Event::PeriodOpened(opened) => Some(opened.period.start),
        _ => None,
    });
    let local = |at: Timestamp| {
        let moment = zone.moment(at);
        format!("{:02}-{:02} {:02}:{:02}", moment.month, moment.day, moment.hour, moment.minute)
    };
    opened.map(local).collect()
}

#[test]
fn periods_begin_where_the_local_calendar_says() {
    use IntervalUnit::{Day, Month, Quarter, Week, Year};
    for (zone, unit, from, anchor, until, expected) in [
        // Month ends, clamped from the anchor.
        (
            "UTC",
            Month,
            "2026-01-31T00:00:00Z",
            "2026-01-31T00:00:00Z",
            "2026-06-30T00:00:00Z",
            "01-31 00:00, 02-28 00:00, 03-31 00:00, 04-30 00:00, 05-31 00:00, 06-30 00:00",
        ),
        (
            "UTC",
            Month,
            "2028-01-30T06:00:00Z",
            "2028-01-30T06:00:00Z",
            "2028-04-01T00:00:00Z",
            "01-30 06:00, 02-29 06:00, 03-30 06:00",
        ),
        (
            "UTC",
            Quarter,
            "2025-11-30T00:00:00Z",
            "2025-11-30T00:00:00Z",
            "2026-06-01T00:00:00Z",
            "11-30 00:00, 02-28 00:00, 05-30 00:00",
        ),
        // A year from a leap day.
        (
            "UTC",
            Year,
            "2024-02-29T12:00:00Z",
            "2024-02-29T12:00:00Z",
            "2028-03-01T00:00:00Z",
            "02-29 12:00, 02-28 12:00, 02-28 12:00, 02-28 12:00, 02-29 12:00",
        ),
        // Local midnight over both clock changes.
        (
            "Europe/Berlin",
            Month,
            "2026-02-28T23:00:00Z",
            "2026-02-28T23:00:00Z",
            "2026-05-01T00:00:00Z",
            "03-01 00:00, 04-01 00:00, 05-01 00:00",
        ),
        (
            "Europe/Berlin",
            Week,
            "2026-10-18T22:00:00Z",
            "2026-10-18T22:00:00Z",
            "2026-11-02T00:00:00Z",
            "10-19 00:00, 10-26 00:00, 11-02 00:00",
        ),
        // 02:30 does not exist on 8 March, and 01:30 comes twice on 1 November: the first.
        (
            "America/New_York",
            Day,
            "2026-03-06T07:30:00Z",
            "2026-03-06T07:30:00Z",
            "2026-03-09T08:00:00Z",
            "03-06 02:30, 03-07 02:30, 03-08 03:30, 03-09 02:30",
        ),
        (
            "America/New_York",
            Day,
            "2026-10-31T05:30:00Z",
            "2026-10-31T05:30:00Z",
            "2026-11-02T07:00:00Z",
            "10-31 01:30, 11-01 01:30, 11-02 01:30",
        ),
        // Half an hour of daylight saving, and zones at half and at three quarters of an hour.
        (
            "Australia/Lord_Howe",
            Day,
            "2026-04-03T13:00:00Z",
            "2026-04-03T13:00:00Z",
            "2026-04-06T00:00:00Z",
            "04-04 00:00, 04-05 00:00, 04-06 00:00",
        ),
        (
            "Asia/Kolkata",
            Month,
            "2026-01-30T18:30:00Z",
            "2026-01-30T18:30:00Z",
            "2026-04-01T00:00:00Z",
            "01-31 00:00, 02-28 00:00, 03-31 00:00",
        ),
        (
            "Asia/Kathmandu",
            Month,
            "2026-01-30T18:15:00Z",
            "2026-01-30T18:15:00Z",
            "2026-03-01T00:00:00Z",
            "01-31 00:00, 02-28 00:00",
        ),
        // Samoa had no 30 December 2011: one period less, none of no length.
        (
            "Pacific/Apia",
            Day,
            "2011-12-28T10:00:00Z",
            "2011-12-28T10:00:00Z",
            "2012-01-01T00:00:00Z",
            "12-28 00:00, 12-29 00:00, 12-31 00:00, 01-01 00:00",
        ),
    ] {
        let mut world = customer(time(from), unit, zone, time(anchor));
        world.now = time(until);
        world.decide(Command::Sweep, Origin::default()).unwrap();
        assert_eq!(starts(&world).join(", "), expected, "{unit:?} in {zone}");
    }
}

/// Days on which calendars are odd, as instants in their zones.
const ODD_DAYS: [(&str, &str); 12] = [
    ("UTC", "2026-01-31T12:00:00Z"),
    ("UTC", "2026-02-28T12:00:00Z"),
    ("UTC", "2028-02-29T12:00:00Z"),
    ("UTC", "2026-12-31T23:59:59Z"),
    ("Europe/Berlin", "2026-03-29T00:59:59Z"),
    ("Europe/Berlin", "2026-10-25T00:30:00Z"),
    ("America/New_York", "2026-03-08T07:30:00Z"),
    ("America/New_York", "2026-11-01T06:30:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:10:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:40:00Z"),
    ("Asia/Kolkata", "2026-02-28T18:30:00Z"),
    ("Pacific/Apia", "2011-12-30T09:59:59Z"),
];

const DAY: i64 = 86_400 * Timestamp::SECOND;

/// What the customer has left and has used; and the ends that its allowances follow.
fn check(world: &World, what: &str) -> Credits {
    let state = &world.state;
    let period = state.period.as_ref().unwrap_or_else(|| panic!("{what}: a gap at {}", world.now));
    let end = period.end.unwrap();
    assert!(period.start <= world.now && world.now < end, "{what}: {period:?} at {}", world.now);
    for grant in state.grants.iter().filter(|grant| grant.status == GrantStatus::Live) {
        let follows = grant.ends_with.is_none() || grant.ends_at == Some(end);
        assert!(follows, "{what}: {} ends at {:?}, the period at {end}", grant.grant.id, grant.ends_at);
    }
    let balance = state.balance(&key("credits"), world.now);
    balance.available.saturating_add(state.accounts[&key("credits")].spent)
}

/// What was given by now: the time that each part of a cycle is for, and what it gave.
struct Part {
    from: Timestamp,
    until: Timestamp,
    gave: Credits,
}

/// The parts of all cycles that have begun by now, as the last period of each tells of them.
fn parts(world: &World) -> Vec<Part> {
    let mut cycles: BTreeMap<Timestamp, &Cycle> = BTreeMap::new();
    for written in &world.entries {
        if let Event::PeriodOpened(opened) = &written.entry.event {
            cycles.insert(opened.cycle.start, &opened.cycle);
        }
    }
    let begun = cycles.into_values().flat_map(Cycle::parts).filter(|one| one.from <= world.now);
    let part = |one: CyclePart| {
        let time = i128::from(one.until.0 - one.from.0);
        let gave = 1000 * Credits::ONE.units() * time / i128::from(one.length);
        Part { from: one.from, until: one.until, gave: Credits::from_units(gave) }
    };
    begun.map(part).collect()
}

/// Moves the anchor on each odd day, by each distance, once or several times within a period. "Moving anchors leaves no gap without an
/// allowance, loses nothing that would have rolled over, and grants nothing twice": a period runs at any time, what was left stays, each
/// time is paid for once, and all that the customer has was given for a time, in proportion to it.
#[test]
fn anchors_moved_on_odd_days_leave_no_gap_lose_nothing_and_give_nothing_twice() {
    use IntervalUnit::{Day, Month, Week};
    /// When the anchor moves again, and by how much more.
    const AGAIN: [&[(i64, i64)]; 3] =
        [&[], &[(DAY / 4, DAY / 2)], &[(DAY / 8, -9 * DAY), (DAY / 4, 3 * DAY), (DAY / 2, -2 * DAY)]];
    for (zone, day) in ODD_DAYS {
        for (unit, days, least, most) in [(Month, 70, 28, 31), (Week, 24, 7, 7), (Day, 6, 1, 1)] {
            for moved in [-40 * DAY, -DAY / 2, 0, DAY, 17 * DAY] {
                for again in AGAIN {
                    let odd = time(day);
                    let what = format!("{zone} {day} {unit:?} by {moved}, again {again:?}");
                    let begin = odd.plus_micros(-DAY * 3 / 2);
                    let mut world = customer(begin, unit, zone, begin.plus_micros(-DAY * 2 / 5));
                    let mut had = check(&world, &what);
                    let mut given_at = vec![begin];
                    let mut moves = vec![(odd, odd.plus_micros(moved))];
                    moves.extend(
                        again
                            .iter()
                            .map(|(after, by)| (odd.plus_micros(*after), odd.plus_micros(moved + by))),
                    );
                    let step = if unit == Day { DAY / 4 } else { DAY };
                    let mut now = begin;
                    while now < begin.plus_micros(days * DAY) {
                        now = now.plus_micros(step);
                        // Moves come at their own instants, in between.
                        while let Some((at, anchor)) = moves.first().copied().filter(|(at, _)| *at <= now) {
                            world.now = at;
                            let change =
                                CustomerChange { anchor: Change::Set(anchor), ..CustomerChange::default() };
                            configure(&mut world, change);
                            moves.remove(0);
                        }
                        world.now = now;
                        world.decide(Command::Sweep, Origin::default()).unwrap();
                        let has = check(&world, &what);
                        assert!(has >= had, "{what}: {has} after {had} at {now}");
                        if has > had {
                            given_at.push(now);
                        }
                        had = has;
                        let given = Credits::checked_sum(parts(&world).iter().map(|part| part.gave)).unwrap();
                        assert_eq!(has, given, "{what}: at {now}");
                    }
                    // A clock change may bring a boundary some hours earlier, at most an eighth of an interval.
                    let slack = (DAY / 8).min(least * DAY / 8);
                    for pair in parts(&world).windows(2) {
                        assert!(
                            pair[1].from.0 + slack >= pair[0].until.0,
                            "{what}: twice at {}",
                            pair[1].from
                        );
                    }
                    // Samoa had a week of six days.
                    let short = if zone == "Pacific/Apia" && unit == Week { DAY } else { 0 };
                    for part in parts(&world) {
                        // Never more than an allowance, nor more than its share for less than an interval.
                        let time = i128::from(part.until.0 - part.from.0 + slack + short);
                        let share = 1000 * Credits::ONE.units() * time / i128::from(least * DAY);
                        let fits = part.gave <= Credits::from_whole(1000) && part.gave.units() <= share;
                        assert!(fits, "{what}: {} from {} to {}", part.gave, part.from, part.until);
                    }
                    // Not later than two intervals after the last, as long as a moved boundary can make a period.
                    for pair in given_at.windows(2) {
                        assert!(pair[1].0 - pair[0].0 <= 2 * most * DAY + 2 * step, "{what}: {pair:?}");
                    }
                }
            }
        }
    }
}
