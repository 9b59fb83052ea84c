//! Brings usage totals up to date, beside the lanes. Customers that this host has written are brought up to date a while later, from
//! what was [counted as it was written](super::news); and all customers are looked through when the host starts, and from time to
//! time where there are other hosts, whose work may have been left. It takes a small part of the time, whatever there is to do:
//! reports add from the journal what is not in the totals yet.

use super::{
    FORMAT,
    additions::Additions,
    counted::{Counted, Payers},
    news::Pending,
};
use crate::{error::EngineError, reads::parse, shared::Shared};
use proviso_ledger::model::ids::{CustomerId, Seq};
use proviso_store::{Commit, RollupCursor, RollupRow, RollupStore, RollupUpdate, Store};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::debug;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(1);
/// Customers are looked through again, where there are other hosts.
const LOOK_THROUGH_EVERY: Duration = Duration::from_secs(3_600);
/// Entries that are read at a time.
const PAGE: u32 = 1_000;
/// Customers that are listed at a time.
const CUSTOMERS: u32 = 500;
/// A transaction has no more customers than this...
const CUSTOMERS_AT_ONCE: usize = 32;
/// ...and no further one once it has so many rows: commits wait for it.
const ROWS_AT_ONCE: usize = 512;
/// After a transaction it rests for so many times as long as that took, so that the charges of a busy host have the machine.
const REST: u32 = 4;

/// What there is to bring up to date of one customer.
enum Work {
    /// This, and more after it if the page was full.
    Update(RollupUpdate, bool),
    /// Another host is at it.
    Later,
    Nothing,
}

/// Runs until it is aborted.
pub(crate) async fn run(shared: Arc<Shared>) {
    let Some(rollups) = shared.store.rollup_store() else { return };
    tokio::join!(keep_up(&shared, rollups), look_through(&shared, rollups));
}

async fn keep_up(shared: &Shared, rollups: &dyn RollupStore) {
    loop {
        tokio::time::sleep(EVERY).await;
        roll(shared, rollups, shared.news.take(false), REST).await;
    }
}

async fn look_through(shared: &Shared, rollups: &dyn RollupStore) {
    loop {
        let mut after: Option<CustomerId> = None;
        loop {
            let rows = match shared.store.customers(after.as_ref(), CUSTOMERS).await {
                Ok(rows) => rows,
                Err(error) => {
                    debug!(%error, "customers can't be looked through for usage totals");
                    break;
                }
            };
            let Some(last) = rows.last() else { break };
            after = Some(last.customer.clone());
            for of_some in rows.chunks(CUSTOMERS_AT_ONCE) {
                let customers = of_some.iter().map(|row| (row.customer.clone(), None)).collect();
                roll(shared, rollups, customers, REST).await;
            }
        }
        if !shared.store.is_shared() {
            return;
        }
        tokio::time::sleep(LOOK_THROUGH_EVERY).await;
    }
}

/// Brings all totals up to date that are known to be behind.
pub(crate) async fn roll_all(shared: &Shared) {
    if let Some(rollups) = shared.store.rollup_store() {
        roll(shared, rollups, shared.news.take(true), 0).await;
    }
}

/// Brings these customers up to date, from what is known to be new of them or else from their journals, and rests in between.
/// Those that fail are tried again later.
async fn roll(
    shared: &Shared,
    rollups: &dyn RollupStore,
    mut customers: Vec<(CustomerId, Option<Pending>)>,
    rest: u32,
) {
    while !customers.is_empty() {
        let began = Instant::now();
        let (mut updates, mut again, mut rows) = (Vec::new(), Vec::new(), 0);
        let mut left = customers.into_iter();
        while updates.len() < CUSTOMERS_AT_ONCE
            && rows < ROWS_AT_ONCE
            && let Some((customer, pending)) = left.next()
        {
            match next_update(&*shared.store, rollups, &customer, pending).await {
                Ok(Work::Update(update, has_more)) => {
                    rows += update.rows.len();
                    updates.push(update);
                    if has_more {
                        again.push((customer, None));
                    }
                }
                Ok(Work::Later) => shared.news.put_back(customer),
                Ok(Work::Nothing) => {}
                Err(error) => {
                    debug!(%customer, %error, "usage totals can't be brought up to date; it is tried again");
                    shared.news.put_back(customer);
                }
            }
            tokio::task::yield_now().await;
        }
        again.extend(left);
        customers = again;
        for customer in write(rollups, updates).await {
            // Not at once: what failed may fail again.
            customers.retain(|(one, _)| *one != customer);
            shared.news.put_back(customer);
        }
        tokio::time::sleep(began.elapsed() * rest).await;
    }
}

/// Writes what can be written; returns the others.
async fn write(rollups: &dyn RollupStore, updates: Vec<RollupUpdate>) -> Vec<CustomerId> {
    if updates.is_empty() || matches!(rollups.put_rollups(updates.clone()).await, Ok(Commit::Durable)) {
        return Vec::new();
    }
    let mut failed = Vec::new();
    for update in updates {
        let customer = update.customer.clone();
        match rollups.put_rollups(vec![update]).await {
            Ok(Commit::Durable) => {}
            // Another host was first.
            Ok(Commit::Conflict) => failed.push(customer),
            Err(error) => {
                debug!(%customer, %error, "usage totals can't be written; it is tried again");
                failed.push(customer);
            }
        }
    }
    failed
}

async fn next_update(
    store: &dyn Store,
    rollups: &dyn RollupStore,
    customer: &CustomerId,
    pending: Option<Pending>,
) -> Result<Work, EngineError> {
    if let Some(Pending { after, through, additions }) = pending {
        let sums = additions.sums();
        let (from, stored) = rollups.rollups_at(customer, &sums.ids()).await?;
        if from.through == after && (from.format == FORMAT || from == RollupCursor::default()) {
            let rows = sums.onto(&stored)?;
            return Ok(Work::Update(update(customer, from, through, rows), false));
        }
    }
    let (from, _) = rollups.rollups(customer, &[]).await?;
    if from.format > FORMAT {
        // A newer host keeps them.
        return Ok(Work::Nothing);
    }
    let after = if from.format == FORMAT { from.through } else { 0 };
    let page = store.entries(customer, after, PAGE).await?;
    let is_full = page.len() >= PAGE as usize;
    let (mut additions, mut payers, mut through) =
        (Additions::default(), Payers::new(store, customer), after);
    for stored in page {
        let seq: Seq = stored.seq;
        // One that can't be read, for instance because a newer host wrote it, is where the totals end.
        let Ok(entry) = parse(customer, &stored) else { break };
        if let Some(counted) = Counted::of(&entry) {
            additions.add(seq, &counted, &payers.of(&entry, counted.cost).await?);
        }
        through = seq;
    }
    if through == after {
        return Ok(Work::Nothing);
    }
    let sums = additions.sums();
    let ids = if after == 0 { Vec::new() } else { sums.ids() };
    let stored = if ids.is_empty() {
        Vec::new()
    } else {
        let (now, stored) = rollups.rollups_at(customer, &ids).await?;
        if now != from {
            return Ok(Work::Later);
        }
        stored
    };
    let rows = sums.onto(&stored)?;
    Ok(Work::Update(update(customer, from, through, rows), is_full))
}

fn update(customer: &CustomerId, from: RollupCursor, through: Seq, rows: Vec<RollupRow>) -> RollupUpdate {
    RollupUpdate { customer: customer.clone(), from, to: RollupCursor { through, format: FORMAT }, rows }
}
