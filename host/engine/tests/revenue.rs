//! What is deferred, earned, lost to expiry and voided adds up to what was sold, in each currency, at any time and whatever
//! happens: late usage, reservations, refunds, voids, expiries and rollovers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that can't go on should stop where it stands"
)]

use proviso_engine::{
    Revenue, RevenueBy, RevenueReport,
    command::{ActualUsage, Command, Ttl, UsageRequest},
};
use proviso_fixtures::{
    dice::Dice,
    host::{Host, grant, key, settings, time, usage},
};
use proviso_ledger::{
    journal::Event,
    model::{
        amounts::{Decimal, Money, Quantity, Rounding},
        ids::{ChargeId, GrantId, ReservationId},
        time::{Timestamp, Zone},
        view::Expiry,
    },
    rules::{
        grants::GrantRequest,
        refund::{Portion, RefundRequest},
    },
    state::{GrantStatus, Origin},
};
use std::collections::BTreeMap;

const DAY: i64 = 86_400 * Timestamp::SECOND;

fn report(to: Timestamp, group_by: &[RevenueBy]) -> RevenueReport {
    let group_by = group_by.to_vec();
    RevenueReport { from: time("2000-01-01T00:00:00Z"), to, group_by, zone: Zone::utc() }
}

async fn revenue(host: &Host, group_by: &[RevenueBy]) -> Vec<Revenue> {
    let to = host.clock.now().plus_micros(1);
    let rows = host.engine.revenue(&key("acme"), &report(to, group_by)).await.unwrap();
    for row in &rows {
        let sum = |parts: &[Decimal]| parts.iter().fold(Decimal::ZERO, |sum, part| sum.saturating_add(*part));
        assert_eq!(
            sum(&[row.opening, row.sold]),
            sum(&[row.earned, row.breakage, row.voided, row.deferred]),
            "{row:?}"
        );
        assert!(!row.deferred.is_negative() && !row.refunded.is_negative(), "{row:?}");
    }
    rows
}

type Sums = BTreeMap<String, [Decimal; 5]>;

/// What moved by currency, over all rows.
fn moved(rows: &[Revenue]) -> Sums {
    let mut sums = Sums::new();
    for row in rows {
        let sums = sums.entry(row.currency.to_string()).or_default();
        let parts = [row.sold, row.earned, row.breakage, row.voided, row.refunded];
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum = sum.saturating_add(part));
    }
    sums
}

async fn step(host: &Host, dice: &Dice, charges: &mut Vec<ChargeId>, held: &mut Vec<ReservationId>) {
    let now = host.clock.now();
    let tokens = 1 + i64::try_from(dice.below(2_500)).unwrap();
    match dice.below(14) {
        0 | 1 => {
            let days = i64::try_from(dice.below(12)).unwrap();
            host.at(&now.plus_micros(days * DAY + 3_600 * Timestamp::SECOND).to_string());
        }
        2 | 3 => {
            let currency = ["EUR", "USD", "JPY", "KWD"][dice.index(4)];
            let price = ["10", "0.07", "99.9", "0", "33.33"][dice.index(5)];
            let price = if currency == "JPY" { "1001" } else { price };
            let expires = match dice.below(3) {
                0 => Expiry::default(),
                1 => {
                    Expiry { at: Some(now.plus_micros((1 + dice.below(60) as i64) * DAY)), with_period: None }
                }
                _ => Expiry { at: None, with_period: Some(u32::try_from(dice.below(3)).unwrap()) },
            };
            let amount = ["3", "7", "0.9", "12"][dice.index(4)];
            let basis = Money::new(price.parse().unwrap(), currency.parse().unwrap()).unwrap();
            let priority = i32::try_from(dice.below(3)).unwrap() - 2;
            let request = GrantRequest { expires, priority, cost_basis: Some(basis), ..grant(amount) };
            host.entry("acme", Command::Grant(Box::new(request)), None).await.unwrap();
        }
        4 if dice.one_in(2) => {
            let state = host.state("acme").await;
            let live: Vec<GrantId> = state.grants.iter().map(|one| one.grant.id).collect();
            drop(host.execute("acme", Command::Void(live[dice.index(live.len())]), None).await);
        }
        5 if !charges.is_empty() => {
            let id = charges[dice.index(charges.len())];
            let portion = match dice.below(3) {
                0 => Portion::Rest,
                _ => Portion::Amount("0.25".parse().unwrap()),
            };
            let reissue_expired = dice.one_in(2);
            let request = RefundRequest { portion, reason: "r".to_owned(), reissue_expired };
            drop(host.engine.refund(&key("acme"), id, request, Origin::default()).await);
        }
        6 => {
            let command = Command::Reserve(usage(tokens), Ttl::new(86_000).unwrap());
            if let Ok(outcome) = host.entry("acme", command, None).await
                && matches!(outcome.entry.event, Event::Reserved(_))
            {
                held.push(ReservationId { entry: outcome.entry.seq, index: 0 });
            }
        }
        7 if !held.is_empty() => {
            let id = held.swap_remove(dice.index(held.len()));
            let quantities = vec![("input_tokens".to_owned(), Quantity::from_whole(tokens))];
            let actual = Box::new(ActualUsage { quantities, attributes: None });
            if let Ok(outcome) = host.entry("acme", Command::Commit(id, actual), None).await {
                charges.push(outcome.entry.charge_id());
            }
        }
        _ => {
            let late = dice.one_in(4).then(|| now.plus_micros(-(dice.below(30) as i64) * DAY));
            let request = Box::new(UsageRequest { occurred_at: late, ..*usage(tokens) });
            if let Ok(outcome) = host.entry("acme", Command::Charge(request), None).await
                && matches!(outcome.entry.event, Event::Charged(_))
            {
                charges.push(outcome.entry.charge_id());
            }
        }
    }
}

async fn start(rolls_over: bool) -> Host {
    let host = Host::start().await.with_plan().await;
    let mut terms = settings("0.001", "2");
    terms["overage"] = serde_json::json!({"mode": "allow"});
    if rolls_over {
        terms["reset"]["rollover"] = serde_json::json!({"percent": 50, "expires_after_periods": 1});
    }
    host.put_plan(terms).await;
    host.customer("acme", Some("pro")).await;
    host
}

async fn all_adds_up(seed: u64, rolls_over: bool) {
    let host = start(rolls_over).await;
    let dice = Dice::new(seed);
    let (mut charges, mut held) = (Vec::new(), Vec::new());
    for round in 0..25 {
        for _ in 0..8 {
            step(&host, &dice, &mut charges, &mut held).await;
        }
        let by_grant = revenue(&host, &[RevenueBy::Grant, RevenueBy::Currency]).await;
        let by_month = revenue(&host, &[RevenueBy::Month]).await;
        let by_category = revenue(&host, &[RevenueBy::Category]).await;
        assert_eq!(moved(&by_grant), moved(&by_month), "seed {seed}, round {round}");
        assert_eq!(moved(&by_grant), moved(&by_category), "seed {seed}, round {round}");
        // Nothing of a grant was carried over or given anew: what was earned is what was spent of it.
        let state = host.state("acme").await;
        for row in by_grant.iter().filter(|_| !rolls_over) {
            let Some(one) = state.grant(row.group[0].parse().unwrap()) else { continue };
            let (basis, all) = (one.grant.cost_basis.unwrap(), one.grant.amount);
            let earned = basis.share(one.spent, all, Rounding::HalfEven).unwrap().amount();
            if state.grants.iter().all(|other| other.grant.category.as_str() != "adjustment") {
                assert_eq!(row.earned, earned, "seed {seed}, round {round}: {row:?}");
            }
            let left = one.grant.amount.saturating_sub(one.spent);
            if one.status == GrantStatus::Live && !one.held.is_positive() && left == one.remaining {
                let deferred = basis.amount().saturating_sub(earned);
                assert_eq!(row.deferred, deferred, "seed {seed}, round {round}: {row:?}");
            }
        }
    }
    // All is over one day: then nothing is deferred.
    let state = host.state("acme").await;
    for id in state.grants.iter().map(|one| one.grant.id).collect::<Vec<_>>() {
        drop(host.execute("acme", Command::Void(id), None).await);
    }
    host.at(&host.clock.now().plus_micros(3 * DAY).to_string());
    let state = host.state("acme").await;
    for id in state.grants.iter().map(|one| one.grant.id).collect::<Vec<_>>() {
        drop(host.execute("acme", Command::Void(id), None).await);
    }
    let rows = revenue(&host, &[RevenueBy::Grant]).await;
    assert!(rows.len() > 10, "{} grants were sold", rows.len());
    for row in &rows {
        assert!(row.deferred.is_zero(), "seed {seed}: {row:?}");
    }
    assert!(moved(&rows).values().all(|sums| sums[1].is_positive()), "{:?}", moved(&rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sold_is_deferred_earned_lost_or_voided() {
    for seed in 1..=2 {
        all_adds_up(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_carried_over_takes_its_share_along() {
    for seed in 11..=12 {
        all_adds_up(seed, true).await;
    }
}
