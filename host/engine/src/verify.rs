//! Verification: every balance, transfer and hash is computed anew from the journal and compared with what is stored, and with
//! what checkpoints say.

use crate::{
    catalog::{ApiKey, Catalog},
    checkpoint::{
        Anchored, CheckpointFile, FileCheck, Older, Point, PublicKey, Stamp, by_row, cut_off, gone_since,
    },
    error::EngineError,
    idempotency::{end_hash, first_import_hash, key_hash, refund_hash},
    lane::open_batch::plan_of,
    rollup,
};
use proviso_decide::catalog::Plans as _;
use proviso_ledger::{
    journal::{ChainHash, Entry, Event, PromotionRedeemed, Refunded},
    model::{
        amounts::Credits,
        ids::{ChargeId, CustomerId, Digest, Name, Seq, hex},
        terms::{Owner, Terms, TermsKey},
    },
    state::{CustomerState, FORMAT, ImportedSpan},
};
use proviso_store::{AuditQuery, CustomerRow, KeyHash, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that are read at a time.
const PAGE: u32 = 2_000;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 500;

/// What was verified, and what differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Customers.
    pub customers: u64,
    /// Entries whose hash, movements and balance were computed anew.
    pub entries: u64,
    /// Snapshots that were compared with the fold.
    pub snapshots: u64,
    /// What differs; nothing when all is well.
    pub differences: Vec<Difference>,
    /// Journals that a newer version went on with, and this one could look at only in part.
    pub newer: Vec<Newer>,
    /// Checkpoints that the database holds and that can be relied on.
    pub checkpoints: u64,
    /// That the database is an earlier state of what the file says.
    pub older: Option<Older>,
    /// Keys that signed checkpoints, when no keys were named as trusted.
    pub unvouched: BTreeSet<PublicKey>,
}

impl Verification {
    /// Whether all was looked at, and agrees.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.newer.is_empty() && self.older.is_none()
    }
}

/// A journal that this version can't read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// Whose.
    pub customer: CustomerId,
    /// The first entry of a newer format.
    pub seq: Seq,
    /// That format.
    pub format: u32,
}

/// Something stored that is not what the journal gives, or what a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose, or of what: a customer's key, or words such as `checkpoint 3`.
    pub subject: String,
    /// What.
    pub detail: String,
}

/// What a database is compared with, beside its own journals and checkpoints.
#[derive(Debug, Default)]
pub struct Against {
    /// The keys that may have signed checkpoints; with none, whichever key a checkpoint names is taken for its own.
    pub trusted: Vec<PublicKey>,
    /// A checkpoint that was kept elsewhere.
    pub file: Option<CheckpointFile>,
}

/// Verifies a whole database. It may be in use: what is written meanwhile may or may not be looked at.
///
/// # Errors
/// The store's. A difference is no error.
pub async fn verify(
    store: &dyn Store,
    against: Against,
    mut progress: impl FnMut(&Verification),
) -> Result<Verification, EngineError> {
    let mut verification = Verification::default();
    let catalog = Catalog::default().updated(store.catalog(0).await?)?;
    verify_modules(store, &catalog, &mut verification.differences).await?;
    verify_plans(&catalog, &mut verification.differences);
    verify_redemptions(store, &catalog, &mut verification.differences).await?;
    verify_answers(store, &mut verification.differences).await?;
    verify_audit(store, &mut verification.differences).await?;
    let Against { trusted, file } = against;
    let mut file = match file {
        Some(file) => {
            let signed_by = file.public_key();
            match FileCheck::new(file, &trusted) {
                Ok(check) => {
                    verification.unvouched.extend(Some(signed_by).filter(|_| trusted.is_empty()));
                    Some(check)
                }
                Err(detail) => {
                    let subject = "the checkpoint in the file".to_owned();
                    verification.differences.push(Difference { subject, detail });
                    None
                }
            }
        }
        None => None,
    };
    // Before the journals, so that these go at least as far.
    let checkpoints = store.checkpoint_store();
    let mut stored = match checkpoints {
        Some(store) => Some(Anchored::load(store, &trusted, &mut verification.differences).await?),
        None => None,
    };
    if let Some(stored) = &mut stored {
        verification.checkpoints = stored.count();
        verification.unvouched.append(&mut stored.unvouched);
    }
    let mut after: Option<CustomerId> = None;
    let mut before: Option<CustomerId> = None;
    loop {
        let rows = store.customers(after.as_ref(), CUSTOMERS).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.customer.clone());
        for row in rows {
            let points = points_of(&row.customer, stored.as_mut(), &mut verification).await?;
            let differences = verification.differences.len();
            let imported =
                verify_customer(store, &row, before.as_ref(), &points, file.as_mut(), &mut verification)
                    .await?;
            if verification.differences.len() == differences && !is_newer(&verification, &row.customer) {
                let differences = &mut verification.differences;
                let subject = row.customer.to_string();
                rollup::verify(store, &row.customer, imported, |detail| {
                    differences.push(Difference { subject: subject.clone(), detail });
                })
                .await?;
            }
            before = Some(row.customer.clone());
            verification.customers += 1;
            progress(&verification);
        }
    }
    if let Some(stored) = &mut stored {
        while let Some((customer, points)) = stored.next(None).await? {
            report_gone(&customer, &points, &mut verification);
        }
        stored.check_gone(&mut verification.differences).await?;
        stored.check_anchors(&mut verification.differences);
    }
    if let Some(checkpoints) = checkpoints {
        let (revision, stamps) = checkpoints.catalog_stamps().await?;
        let catalog = by_row(stamps.into_iter().map(Stamp::from));
        let differences = &mut verification.differences;
        if let Some(stored) = &stored {
            stored.check_catalog(&catalog, revision, differences);
        }
        if let Some(file) = file {
            let differs = !differences.is_empty();
            verification.older = file.finish(&catalog, revision, stored.as_ref(), differs, differences);
        }
    }
    Ok(verification)
}

fn is_newer(verification: &Verification, customer: &CustomerId) -> bool {
    verification.newer.last().is_some_and(|newer| newer.customer == *customer)
}

/// Modules are kept by the digest of their bytes, also those of deleted versions.
async fn verify_modules(
    store: &dyn Store,
    catalog: &Catalog,
    differences: &mut Vec<Difference>,
) -> Result<(), EngineError> {
    let versions = catalog.versions.values().flatten();
    let digests: BTreeSet<Digest> = versions.map(|version| version.digest).collect();
    for digest in digests {
        let detail = match store.module(&digest).await? {
            Some(bytes) if Digest::of(&bytes) == digest => continue,
            Some(_) => "has other bytes",
            None => "is missing",
        };
        let subject = format!("module {digest}");
        differences.push(Difference { subject, detail: detail.to_owned() });
    }
    Ok(())
}

/// Stored answers repeat what a change of the catalog made: the terms or the API key are there.
async fn verify_answers(store: &dyn Store, differences: &mut Vec<Difference>) -> Result<(), EngineError> {
    let mut after: Option<KeyHash> = None;
    // Read after the answers, so that what they name is in it.
    let mut unknown: Vec<(KeyHash, Named)> = Vec::new();
    loop {
        let page = store.answers(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key_hash);
        for stored in page {
            let terms = serde_json::from_str::<Terms>(&stored.answer).map(|terms| Named::Terms(terms.key));
            let key = || serde_json::from_str::<ApiKey>(&stored.answer).map(|key| Named::Key(key.id));
            if let Ok(named) = terms.or_else(|_| key()) {
                unknown.push((stored.key_hash, named));
            } else if let Err(error) = serde_json::from_str::<serde_json::Value>(&stored.answer) {
                differences.push(Difference {
                    subject: format!("stored answer {}", hex(stored.key_hash)),
                    detail: format!("can't be read: {error}"),
                });
            }
        }
    }
    let catalog = Catalog::default().updated(store.catalog(0).await?)?;
    unknown.retain(|(_, named)| match named {
        Named::Terms(key) => {
            let Owner::Plan(plan) = &key.owner else { return true };
            !catalog.terms_of(plan).iter().any(|terms| terms.key == *key)
        }
        Named::Key(id) => !catalog.api_keys.values().any(|key| key.id == *id),
    });
    differences.extend(unknown.into_iter().map(|(key_hash, named)| Difference {
        subject: format!("stored answer {}", hex(key_hash)),
        detail: match named {
            Named::Terms(key) => format!("names terms {key}, which are not there"),
            Named::Key(id) => format!("names API key {id}, which is not there"),
        },
    }));
    Ok(())
}

/// What a stored answer is about.
enum Named {
    Terms(TermsKey),
    Key(Name),
}

/// Versions of plans are numbered without gaps, and the newest is what is sold.
fn verify_plans(catalog: &Catalog, differences: &mut Vec<Difference>) {
    for (name, plan) in &catalog.plans {
        let versions = catalog.plan_versions.get(name).map_or(&[][..], Vec::as_slice);
        let in_order = (1..).zip(versions).all(|(number, version)| version.version == number);
        let newest =
            versions.last().is_some_and(|last| last.version == plan.version && last.sells_same(plan));
        if !in_order || !newest {
            let detail = "the newest of its versions is not what it sells".to_owned();
            differences.push(Difference { subject: format!("plan {name}"), detail });
        }
    }
}

/// Redemptions of a promotion are numbered without gaps.
async fn verify_redemptions(
    store: &dyn Store,
    catalog: &Catalog,
    differences: &mut Vec<Difference>,
) -> Result<(), EngineError> {
    let Some(redemptions) = store.redemption_store() else { return Ok(()) };
    for promotion in catalog.promotions.keys() {
        let mut last = 0;
        loop {
            let page = redemptions.redemptions(promotion, last, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                if row.number != last + 1 {
                    let detail = format!("redemption {} is missing", last + 1);
                    differences.push(Difference { subject: format!("promotion {promotion}"), detail });
                }
                last = row.number;
            }
        }
    }
    Ok(())
}

/// Records of changes are numbered without gaps.
async fn verify_audit(store: &dyn Store, differences: &mut Vec<Difference>) -> Result<(), EngineError> {
    let mut last = 0;
    loop {
        let query = AuditQuery { after: last, oldest_first: true, limit: PAGE, ..AuditQuery::default() };
        let records = store.audit(&query).await?;
        if records.is_empty() {
            return Ok(());
        }
        for (number, _) in records {
            if number != last + 1 {
                let detail = format!("record {} is missing", last + 1);
                differences.push(Difference { subject: "audit".to_owned(), detail });
            }
            last = number;
        }
    }
}

/// What the stored checkpoints say of a customer's journal. Customers before it are gone.
async fn points_of(
    customer: &CustomerId,
    stored: Option<&mut Anchored<'_>>,
    verification: &mut Verification,
) -> Result<Vec<Point>, EngineError> {
    let Some(stored) = stored else { return Ok(Vec::new()) };
    while let Some((named, points)) = stored.next(Some(customer)).await? {
        if named == *customer {
            return Ok(points);
        }
        report_gone(&named, &points, verification);
    }
    Ok(Vec::new())
}

fn report_gone(customer: &CustomerId, points: &[Point], verification: &mut Verification) {
    if let Some(last) = points.iter().max_by_key(|point| point.end.seq).filter(|point| point.end.seq > 0) {
        let detail = gone_since(last.end.seq, &last.name());
        verification.differences.push(Difference { subject: customer.to_string(), detail });
    }
}

/// What was refunded of each charge so far.
#[derive(Default)]
struct Refunds(BTreeMap<ChargeId, (u32, Credits)>);

impl Refunds {
    /// Whether a refund goes on where the last one of its charge ended, and all of them are no more than the charge cost.
    async fn takes(
        &mut self,
        store: &dyn Store,
        customer: &CustomerId,
        refunded: &Refunded,
    ) -> Result<bool, StoreError> {
        let (number, total) = self.0.entry(refunded.charge).or_default();
        *number = number.saturating_add(1);
        *total = total.saturating_add(refunded.amount);
        let stored = store.entries(customer, refunded.charge.entry.saturating_sub(1), 1).await?;
        let charge = stored.first().and_then(|stored| Entry::parse(&stored.body).ok());
        let cost = charge.as_ref().and_then(Entry::charged_usage).map(|(_, rated)| rated.cost);
        Ok(*number == refunded.number && *total == refunded.total && cost.is_some_and(|cost| *total <= cost))
    }
}

/// Verifies a customer's journal; returns where it has imported usage.
async fn verify_customer(
    store: &dyn Store,
    row: &CustomerRow,
    before: Option<&CustomerId>,
    points: &[Point],
    mut file: Option<&mut FileCheck>,
    verification: &mut Verification,
) -> Result<Option<ImportedSpan>, StoreError> {
    let customer = &row.customer;
    let differences = &mut verification.differences;
    let mut differ = |detail: String| differences.push(Difference { subject: customer.to_string(), detail });
    let newest = store.snapshot_before(customer, Seq::MAX, FORMAT).await?;
    let mut state = CustomerState::new(customer.clone());
    let mut keys = Vec::new();
    let mut refunds = Refunds::default();
    // The number whose hash the file names, and the hash that is there.
    let (wanted, mut found) = (file.as_ref().and_then(|file| file.seq(customer)), None);
    let mut is_forged = false;
    loop {
        let page = store.entries(customer, state.seq, PAGE).await?;
        if page.is_empty() {
            break;
        }
        for stored in page {
            let hash: ChainHash = stored.hash;
            let entry = match state.fold_verified(stored.seq, &stored.body, &hash) {
                Ok(entry) => entry,
                Err(error) if let Some(format) = error.newer() => {
                    verification.newer.push(Newer { customer: customer.clone(), seq: stored.seq, format });
                    file.into_iter().for_each(|file| file.skip(customer));
                    return Ok(None);
                }
                Err(error) => {
                    // What follows builds on it, so nothing more can be said of this customer.
                    differ(error.to_string());
                    file.into_iter().for_each(|file| file.skip(customer));
                    return Ok(None);
                }
            };
            if wanted == Some(stored.seq) {
                found = Some(hash);
            }
            let other = points.iter().find(|point| point.end.seq == stored.seq && point.end.hash != hash);
            if let Some(point) = other.filter(|_| !is_forged) {
                // What follows is chained to it.
                is_forged = true;
                differ(format!("entry {} is not the one that {} names", stored.seq, point.name()));
            }
            if entry.at != stored.at {
                differ(format!("entry {} is stored under another time than it says", stored.seq));
            }
            if let Some(key) = &entry.key {
                keys.push(((customer.clone(), key_hash(key)), entry.seq));
            }
            if let Some(reservation) = entry.ends() {
                keys.push(((customer.clone(), end_hash(reservation)), entry.seq));
            }
            if entry.imported_usage().is_some_and(|imported| imported.first) {
                keys.push(((customer.clone(), first_import_hash()), entry.seq));
            }
            if let Event::PromotionRedeemed(redeemed) = &entry.event {
                let PromotionRedeemed { promotion, number, .. } = &**redeemed;
                let claimed = match store.redemption_store() {
                    Some(redemptions) => redemptions.redemption_of(promotion, customer).await?,
                    None => None,
                };
                if claimed != Some(*number) {
                    let place = claimed.map_or_else(|| "none".to_owned(), |claimed| claimed.to_string());
                    differ(format!(
                        "entry {} redeems {promotion} as number {number}, and {place} was claimed for it",
                        entry.seq
                    ));
                }
            }
            if let Some(refunded) = entry.refunded() {
                keys.push(((customer.clone(), refund_hash(refunded.charge, refunded.number)), entry.seq));
                if !refunds.takes(store, customer, refunded).await? {
                    let charge = refunded.charge;
                    differ(format!("entry {} does not follow the refunds of {charge} before it", entry.seq));
                }
            }
            verification.entries += 1;
            if let Some(snapshot) = newest.as_ref().filter(|snapshot| snapshot.seq == entry.seq) {
                verification.snapshots += 1;
                match serde_json::from_str::<CustomerState>(&snapshot.state) {
                    Ok(saved) if saved == state => {}
                    Ok(_) => {
                        differ(format!("the saved state after entry {} is not the journal's fold", entry.seq))
                    }
                    Err(error) => {
                        differ(format!("the saved state after entry {} can't be read: {error}", entry.seq))
                    }
                }
            }
        }
        let (lookups, seqs): (Vec<_>, Vec<_>) = keys.drain(..).unzip();
        for ((found, expected), (_, hash)) in store.find_keys(&lookups).await?.iter().zip(seqs).zip(&lookups)
        {
            if *found != Some(expected) {
                let key = hex(hash);
                differ(format!("idempotency key {key} leads to entry {found:?} instead of {expected}"));
            }
        }
    }
    if let Some(point) = points.iter().max_by_key(|point| point.end.seq)
        && point.end.seq > state.seq
    {
        differ(cut_off(state.seq, point.end.seq, &point.name()));
    }
    if let Some(detail) = file.as_mut().and_then(|file| file.journal(customer, state.seq, found.as_ref())) {
        differ(detail);
    }
    if let Some(snapshot) = newest.filter(|snapshot| snapshot.seq > state.seq) {
        differ(format!(
            "a saved state is after entry {}, but the journal ends at {}",
            snapshot.seq, state.seq
        ));
    }
    let same = state.profile.as_ref().is_some_and(|profile| {
        serde_json::from_str::<proviso_ledger::model::customer::Profile>(&row.profile)
            .is_ok_and(|saved| saved == *profile)
    });
    let awaits = row.awaits_payment == state.awaits_payment();
    if !same || row.closed != state.closed || row.plan != plan_of(&state) || !awaits {
        differ("the customer's row is not what its journal gives".to_owned());
    }
    // Read again after the journal: what was written meanwhile moves it.
    if is_too_late(row, &state)
        && store.entries(customer, state.seq, 1).await?.is_empty()
        && let Some(row) = store.customers(before, 1).await?.into_iter().find(|row| row.customer == *customer)
        && is_too_late(&row, &state)
        && store.entries(customer, state.seq, 1).await?.is_empty()
    {
        let due = state.next_due().map(|(at, _)| at.to_string()).unwrap_or_default();
        let stored = row.due_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        differ(format!("what is due at {due} is to be looked for {stored}"));
    }
    Ok(state.imported)
}

/// Whether what is due next would not be looked for in time. A row may name a time that is too early, never one that is too late.
fn is_too_late(row: &CustomerRow, state: &CustomerState) -> bool {
    let due = state.next_due().map(|(at, _)| at);
    due.is_some_and(|due| row.due_at.is_none_or(|stored| stored > due))
}
