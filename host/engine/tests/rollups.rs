//! What a report says does not depend on the usage totals: over random histories, with late usage, refunds, entities and totals
//! that are behind, it is what the journal gives, on both databases; and `verify` finds totals that are not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    Against, Change, Expected, GroupBy, GroupKey, UsageGroup, UsageReport,
    command::{ActualUsage, Command, EntityChange, Reply, Ttl, UsageRequest},
    importing::{Import, Imported, PastUsage},
    verify,
};
use proviso_fixtures::{
    cluster,
    dice::Dice,
    host::{Host, START, grant, key, open, settings, time},
};
use proviso_ledger::{
    journal::{Event, PaidElsewhere},
    model::{
        amounts::Quantity,
        ids::{ChargeId, ReservationId},
        time::Timestamp,
    },
    rules::{
        importing::ImportOrigin,
        refund::{Portion, RefundRequest},
    },
    state::Origin,
};
use proviso_store::{PostgresOptions, PostgresStore, Store};
use std::sync::Arc;

const ZONES: [&str; 5] = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe"];
const MINUTE: i64 = 60 * Timestamp::SECOND;
const DAY: i64 = 1_440 * MINUTE;

async fn postgres() -> Arc<dyn Store> {
    let url = cluster::shared().url(&cluster::shared().create_database());
    Arc::new(PostgresStore::open(PostgresOptions::new(&url).unwrap()).await.unwrap())
}

async fn prepared(host: Host) -> Host {
    let host = host.with_plan().await;
    let mut rates = settings("0.001", "3");
    let second = serde_json::json!({"feature": "image", "quantity": "images", "price": {"per_unit": "0.04"}});
    rates["rates"].as_array_mut().unwrap().push(second);
    rates["overage"] = serde_json::json!({"mode": "allow"});
    host.put_plan(rates).await;
    host.customer("acme", Some("pro")).await;
    for (id, parent) in [("team", None), ("ann", Some("team")), ("bob", Some("team"))] {
        set_entity(&host, id, parent).await;
    }
    host
}

async fn set_entity(host: &Host, id: &str, parent: Option<&str>) {
    let command = Command::SetEntity(Box::new(EntityChange {
        id: key(id),
        parent: parent.map_or(Change::Clear, |parent| Change::Set(key(parent))),
        attributes: Change::Keep,
        expected: Expected::Anything,
    }));
    host.execute("acme", command, None).await.unwrap();
}

fn usage(dice: &Dice, now: Timestamp) -> Box<UsageRequest> {
    let image = dice.one_in(3);
    let late = match dice.below(6) {
        0 => i64::try_from(dice.below(34)).unwrap() * DAY,
        1 => i64::try_from(dice.below(90)).unwrap() * MINUTE,
        2 => -2 * MINUTE,
        _ => 0,
    };
    let amount = Quantity::from_whole(1 + i64::try_from(dice.below(900)).unwrap());
    let entity = ["", "", "ann", "bob", "team"][dice.index(5)];
    let mut attributes = Vec::new();
    if !dice.one_in(3) {
        attributes.push(("model".to_owned(), ["small", "large"][dice.index(2)].to_owned()));
    }
    Box::new(UsageRequest {
        feature: key(if image { "image" } else { "chat" }),
        quantities: vec![(if image { "images" } else { "input_tokens" }.to_owned(), amount)],
        attributes,
        entity: (!entity.is_empty()).then(|| key(entity)),
        occurred_at: (late != 0).then(|| now.plus_micros(-late)),
    })
}

/// Some hundred commands over some months.
struct History {
    dice: Dice,
    charges: Vec<ChargeId>,
    reservations: Vec<ReservationId>,
}

impl History {
    async fn step(&mut self, host: &Host) {
        let dice = &self.dice;
        let now = host.clock.now();
        match dice.below(16) {
            0 => {
                let days = if dice.one_in(8) { 20 } else { 1 };
                let ahead = i64::try_from(dice.below(900)).unwrap() * MINUTE + days * DAY;
                host.at(&now.plus_micros(ahead).to_string());
            }
            1..=3 => host.at(&now.plus_micros(7 * MINUTE + 13).to_string()),
            4 => drop(host.entry("acme", Command::Grant(Box::new(grant("5"))), None).await),
            5 => set_entity(host, "bob", [None, Some("team"), Some("ann")][dice.index(3)]).await,
            6 if !self.charges.is_empty() => {
                let id = self.charges[dice.index(self.charges.len())];
                let portion = match dice.below(3) {
                    0 => Portion::Rest,
                    _ => Portion::Amount("0.007".parse().unwrap()),
                };
                let request =
                    RefundRequest { portion, reason: "r".to_owned(), reissue_expired: dice.one_in(2) };
                // One of a charge that is refunded already is refused.
                drop(host.engine.refund(&key("acme"), id, request, Origin::default()).await);
            }
            7 => {
                let ttl = Ttl::new(60 + u32::try_from(dice.below(9_000)).unwrap()).unwrap();
                let command = Command::Reserve(usage(dice, now), ttl);
                if let Ok(outcome) = host.entry("acme", command, None).await
                    && matches!(outcome.entry.event, Event::Reserved(_))
                {
                    self.reservations.push(ReservationId { entry: outcome.entry.seq, index: 0 });
                }
            }
            8 if !self.reservations.is_empty() => {
                let id = self.reservations.swap_remove(dice.index(self.reservations.len()));
                let quantities = vec![("input_tokens".to_owned(), Quantity::from_whole(40))];
                let actual = ActualUsage { quantities, attributes: None };
                drop(host.execute("acme", Command::Commit(id, Box::new(actual)), None).await);
            }
            9 => {
                // Of any time: years before, and while other usage is written.
                let ago = i64::try_from(dice.below(420)).unwrap() * DAY + 17 * MINUTE;
                let mut usage = *usage(dice, now);
                usage.occurred_at = Some(now.plus_micros(-ago));
                let past = PastUsage {
                    usage,
                    ancestors: None,
                    credit: key("credits"),
                    cost: "0.25".parse().unwrap(),
                    paid: vec![PaidElsewhere { category: None, amount: "0.1".parse().unwrap() }],
                    refund: dice.one_in(5),
                };
                let origin = ImportOrigin { import: key("move"), external_id: key(&format!("u-{}", now.0)) };
                let what = Imported::Usage(Box::new(past));
                drop(host.entry("acme", Command::Import(Box::new(Import { origin, what })), None).await);
            }
            _ => {
                let charged = host.execute("acme", Command::Charge(usage(dice, now)), None).await;
                if let Ok(Reply::Entry(outcome)) = charged
                    && matches!(outcome.entry.event, Event::Charged(_))
                {
                    self.charges.push(outcome.entry.charge_id());
                }
            }
        }
    }

    fn report(&self, host: &Host) -> UsageReport {
        let dice = &self.dice;
        // What was imported is older than all else.
        let before = if dice.one_in(3) { 430 } else { 40 };
        let (begin, now) = (time(START).plus_micros(-before * DAY), host.clock.now());
        let span = u64::try_from((now.0 - begin.0) / MINUTE).unwrap();
        let whole = [MINUTE, 15 * MINUTE, 30 * MINUTE, DAY][dice.index(4)];
        let any = || {
            let at = begin.plus_micros(i64::try_from(dice.below(span + 10)).unwrap() * MINUTE);
            Timestamp(at.0.div_euclid(whole) * whole)
        };
        let (a, b) = (any(), any());
        let (from, to) = if dice.one_in(5) { (begin, now.plus_micros(1)) } else { (a.min(b), a.max(b)) };
        let all = [
            GroupBy::Feature,
            GroupBy::Entity,
            GroupBy::Attribute("model".to_owned()),
            GroupBy::Hour,
            GroupBy::Day,
            GroupBy::Month,
            GroupBy::Imported,
            GroupBy::Category,
        ];
        let group_by = (0..1 + dice.below(3)).map(|_| all[dice.index(all.len())].clone()).collect();
        let (feature, entity) = (dice.one_in(4).then(|| key("chat")), dice.one_in(4).then(|| key("team")));
        let zone = dice.one_in(2).then(|| ZONES[dice.index(ZONES.len())].parse().unwrap());
        UsageReport { from, to, feature, entity, group_by, zone }
    }
}

/// All pages of a report.
async fn pages(
    host: &Host,
    report: &UsageReport,
    limit: usize,
    steps: &mut History,
) -> (u64, Vec<(GroupKey, UsageGroup)>) {
    let (mut all, mut as_of, mut after) = (Vec::new(), None, None);
    loop {
        let page = host.engine.usage(&key("acme"), report.clone(), as_of, after, limit).await.unwrap();
        as_of = Some(page.as_of);
        after = page.groups.last().map(|(key, _)| key.clone());
        all.extend(page.groups);
        if !page.has_more {
            return (page.as_of, all);
        }
        // What comes meanwhile is in no page, also where the totals have it.
        steps.step(host).await;
        if steps.dice.one_in(2) {
            host.engine.roll_up_usage().await;
        }
    }
}

async fn reports_are_what_the_journal_gives(host: Host, seed: u64) {
    let host = prepared(host).await;
    let mut history = History { dice: Dice::new(seed), charges: Vec::new(), reservations: Vec::new() };
    let mut compared = 0;
    for round in 0..30 {
        for _ in 0..10 {
            history.step(&host).await;
        }
        if history.dice.one_in(2) {
            host.engine.roll_up_usage().await;
        }
        for _ in 0..6 {
            let report = history.report(&host);
            let limit = 1 + history.dice.index(9);
            let (as_of, found) = pages(&host, &report, limit, &mut history).await;
            let expected =
                host.engine.usage_of_journal(&key("acme"), report.clone(), Some(as_of)).await.unwrap();
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(found, expected, "seed {seed}, round {round}: {report:?} as of {as_of}");
            compared += expected.len();
        }
    }
    assert!(compared > 300, "{compared} groups");
    // By whom it was paid adds up to what it cost.
    let (from, to) = (time("2025-01-01T00:00:00Z"), host.clock.now().plus_micros(DAY));
    let report = |by| UsageReport { from, to, feature: None, entity: None, group_by: vec![by], zone: None };
    let sum = async |by| {
        let groups = host.engine.whole_usage(&key("acme"), report(by)).await.unwrap();
        let costs = groups.values().flat_map(|group| group.cost.values());
        costs.fold(proviso_ledger::model::amounts::Credits::ZERO, |sum, cost| sum.saturating_add(*cost))
    };
    assert_eq!(sum(GroupBy::Category).await, sum(GroupBy::Feature).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_by_totals_are_what_the_journal_gives_on_sqlite() {
    for seed in 1..=2 {
        let host = Host::start().await;
        let dir = host.dir.clone();
        reports_are_what_the_journal_gives(host, seed).await;
        drop(dir);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_by_totals_are_what_the_journal_gives_on_postgres() {
    reports_are_what_the_journal_gives(Host::on(postgres().await, START).await, 4).await;
}

async fn differences(store: &dyn Store) -> Vec<String> {
    let verification = verify(store, Against::default(), |_| ()).await.unwrap();
    verification.differences.into_iter().map(|one| format!("{}: {}", one.subject, one.detail)).collect()
}

/// Spoils totals in a file in each way there is.
#[tokio::test(flavor = "multi_thread")]
async fn totals_that_are_not_what_the_journal_gives_are_found() {
    for (spoil, expected) in [
        ("", None),
        (
            "UPDATE usage_rollups SET body = replace(body, '\"x\":', '\"x\":1') WHERE grain = 1",
            Some("are not what"),
        ),
        ("DELETE FROM usage_rollups WHERE kind = 0 AND grain = 0", Some("are missing")),
        (
            "UPDATE usage_rollups SET slot = slot - 9000 WHERE kind = 0",
            Some("of usage that its journal does not have"),
        ),
        ("UPDATE rollup_cursors SET seq = seq + 900", Some("but the journal ends at")),
        ("UPDATE rollup_cursors SET seq = seq - 2", Some("")),
        // Those of another format are made anew.
        ("UPDATE rollup_cursors SET format = 0", None),
    ] {
        let host = prepared(Host::start().await).await;
        let mut history = History { dice: Dice::new(9), charges: Vec::new(), reservations: Vec::new() };
        for _ in 0..150 {
            history.step(&host).await;
        }
        host.charge("acme", 5, None).await;
        host.charge("acme", 6, None).await;
        host.engine.roll_up_usage().await;
        let dir = host.dir.clone();
        host.engine.close().await;
        let connection = rusqlite::Connection::open(dir.path().join("proviso.db")).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM usage_rollups", [], |row| row.get(0)).unwrap();
        assert!(rows > 50, "{rows} rows");
        connection.execute_batch(spoil).unwrap();
        drop(connection);
        let found = differences(&*open(dir.path()).await).await;
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{spoil}"),
            Some(words) => {
                assert!(found.iter().any(|one| one.contains(words)), "{spoil}: {found:#?}");
            }
        }
    }
}

/// How long the first page of a day takes: `PROVISO_ENTRIES=1000000 cargo test --workspace --test rollups -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_day_of_many_entries() {
    for name in ["sqlite", "postgres"] {
        let host =
            if name == "sqlite" { Host::start().await } else { Host::on(postgres().await, START).await };
        let host = Arc::new(prepared(host).await);
        let count: usize = std::env::var("PROVISO_ENTRIES").map_or(20_000, |count| count.parse().unwrap());
        let dice = Dice::new(5);
        let day = time("2026-01-16T00:00:00Z");
        const AT_ONCE: usize = 200;
        let began = std::time::Instant::now();
        for round in 0..count.div_ceil(AT_ONCE) {
            let at = day.plus_micros(DAY / count.div_ceil(AT_ONCE) as i64 * round as i64);
            host.at(&at.to_string());
            let charges = (0..AT_ONCE).map(|_| {
                let user = format!("user-{}", dice.below(100));
                let model = format!("model-{}", dice.below(8));
                let tokens = 1 + i64::try_from(dice.below(900)).unwrap();
                let request = UsageRequest {
                    attributes: vec![("model".to_owned(), model)],
                    entity: Some(key(&user)),
                    ..*proviso_fixtures::host::usage(tokens)
                };
                let host = host.clone();
                tokio::spawn(async move {
                    drop(host.execute("acme", Command::Charge(Box::new(request)), None).await.unwrap())
                })
            });
            for charge in charges.collect::<Vec<_>>() {
                charge.await.unwrap();
            }
        }
        let written = began.elapsed();
        let began = std::time::Instant::now();
        host.engine.roll_up_usage().await;
        println!("{name}: {count} entries in {written:?}, the rest of the totals in {:?}", began.elapsed());
        for (words, group_by, zone) in [
            ("by feature", vec![GroupBy::Feature], "UTC"),
            ("by model and hour", vec![GroupBy::Attribute("model".to_owned()), GroupBy::Hour], "UTC"),
            ("by entity", vec![GroupBy::Entity], "UTC"),
            ("by entity, a day in Kolkata", vec![GroupBy::Entity, GroupBy::Day], "Asia/Kolkata"),
            ("by category", vec![GroupBy::Category], "UTC"),
        ] {
            let zone: proviso_ledger::model::time::Zone = zone.parse().unwrap();
            let from = zone.start_of_day(zone.day(day.plus_micros(DAY / 2)));
            let report = UsageReport {
                from,
                to: from.plus_micros(DAY),
                feature: None,
                entity: None,
                group_by,
                zone: Some(zone),
            };
            // Once: later pages, and the same report again, come out of memory.
            let began = std::time::Instant::now();
            host.engine.usage(&key("acme"), report.clone(), None, None, 50).await.unwrap();
            let took = began.elapsed();
            let began = std::time::Instant::now();
            host.engine.usage_of_journal(&key("acme"), report, None).await.unwrap();
            println!("{name}: {words}: {took:?} by totals, {:?} by the journal", began.elapsed());
        }
    }
}
