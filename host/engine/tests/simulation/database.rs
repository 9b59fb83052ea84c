//! The database of a run: the contract suite's model with latency and faults. Each host reaches it through a connection
//! of its own, which can be cut or paused.

use crate::{model::Model, support::dice::Dice};
use proviso_ledger::model::{
    ids::{CustomerId, Digest, Seq},
    time::Timestamp,
};
use proviso_store::{
    AuditQuery, AuditRow, Batch, CatalogChange, CatalogRows, Commit, CustomerRow, KeyHash, LoadedCustomer,
    Store, StoreError, StoredAnswer, StoredEntry, StoredSnapshot,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

#[derive(Default)]
struct Data {
    model: Model,
    catalog: CatalogRows,
    modules: HashMap<Digest, Vec<u8>>,
    answers: HashMap<KeyHash, StoredAnswer>,
    audit: Vec<AuditRow>,
    /// By connection: the format that was announced, and when.
    formats: HashMap<u64, (u32, Instant)>,
    /// Until when a customer is left to a connection.
    claims: HashMap<CustomerId, (u64, Instant)>,
}

/// What all hosts share.
pub struct Database {
    dice: Dice,
    is_shared: bool,
    data: Mutex<Data>,
    /// Customers whose journals can't be read.
    damaged: Mutex<HashSet<CustomerId>>,
    /// Whether there is no space left to write to.
    full: AtomicBool,
    faulty: AtomicBool,
    faults: AtomicU64,
    connections: AtomicU64,
    /// Until when every call fails, and until when calls are slow.
    troubles: Mutex<(Instant, Instant)>,
}

impl Database {
    pub fn new(dice: Dice, is_shared: bool) -> Self {
        let now = Instant::now();
        Self {
            dice,
            is_shared,
            data: Mutex::default(),
            damaged: Mutex::default(),
            full: AtomicBool::new(false),
            faulty: AtomicBool::new(false),
            faults: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            troubles: Mutex::new((now, now)),
        }
    }

    /// Whether several hosts may use it at once.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub fn damage(&self, customers: HashSet<CustomerId>) {
        *self.damaged.lock().unwrap() = customers;
    }

    pub fn fill(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub fn allow_faults(&self, allowed: bool) {
        self.faulty.store(allowed, Ordering::Relaxed);
        if !allowed {
            let now = Instant::now();
            *self.troubles.lock().unwrap() = (now, now);
        }
    }

    pub fn fail_for(&self, time: Duration) {
        self.fault();
        self.troubles.lock().unwrap().0 = Instant::now() + time;
    }

    pub fn slow_for(&self, time: Duration) {
        self.fault();
        self.troubles.lock().unwrap().1 = Instant::now() + time;
    }

    fn fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Of every entry ever written, in the customers' order.
    pub fn digest(&self) -> String {
        let data = self.data();
        let entries = data.model.journals.values().flatten();
        let text: String =
            entries.map(|entry| format!("{}{}{:?}", entry.customer, entry.at, entry.hash)).collect();
        Digest::of(text.as_bytes()).to_string()
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }

    fn throws(&self, one_in: u64) -> bool {
        let fault = self.faulty.load(Ordering::Relaxed) && self.dice.one_in(one_in);
        if fault {
            self.fault();
        }
        fault
    }
}

/// One host's way to the database.
pub struct Connection {
    database: Arc<Database>,
    number: u64,
    /// Cut for good: calls never return.
    cut: AtomicBool,
    paused_until: Mutex<Instant>,
}

fn lost() -> StoreError {
    StoreError::Unavailable { detail: "the simulated connection is lost".to_owned() }
}

impl Connection {
    pub fn new(database: Arc<Database>) -> Self {
        let number = database.connections.fetch_add(1, Ordering::Relaxed);
        Self { database, number, cut: AtomicBool::new(false), paused_until: Mutex::new(Instant::now()) }
    }

    pub fn cut(&self) {
        self.database.fault();
        self.cut.store(true, Ordering::Relaxed);
    }

    pub fn pause(&self, time: Duration) {
        self.database.fault();
        *self.paused_until.lock().unwrap() = Instant::now() + time;
    }

    /// The way there or back: takes time, and may not be survived.
    async fn travel(&self) -> Result<(), StoreError> {
        let (failing, slow) = *self.database.troubles.lock().unwrap();
        let now = Instant::now();
        let most = if now < slow { 300 } else { 4 };
        tokio::time::sleep(self.database.dice.millis(0..most)).await;
        let paused_until = *self.paused_until.lock().unwrap();
        tokio::time::sleep_until(paused_until).await;
        if self.cut.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if Instant::now() < failing || self.database.throws(60) { Err(lost()) } else { Ok(()) }
    }

    async fn ask<T>(&self, answer: impl FnOnce(&Data) -> T) -> Result<T, StoreError> {
        self.travel().await?;
        let answer = answer(&self.database.data());
        self.travel().await?;
        Ok(answer)
    }

    /// Does something to the data that may be done long after its connection was lost.
    async fn change(
        &self,
        change: impl FnOnce(&mut Data) -> Commit + Send + 'static,
    ) -> Result<Commit, StoreError> {
        self.travel().await?;
        if self.database.full.load(Ordering::Relaxed) {
            return Err(StoreError::DiskFull);
        }
        if self.database.throws(30) {
            if !self.database.is_shared {
                // Whatever became of it is settled before its only host goes on.
                if self.database.dice.one_in(2) {
                    change(&mut self.database.data());
                }
                return Err(lost());
            }
            let (database, delay) = (self.database.clone(), self.database.dice.millis(0..20_000));
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                change(&mut database.data())
            });
            return Err(lost());
        }
        let commit = change(&mut self.database.data());
        self.travel().await?;
        Ok(commit)
    }
}

#[async_trait::async_trait]
impl Store for Connection {
    fn is_shared(&self) -> bool {
        self.database.is_shared
    }

    async fn load(
        &self,
        known: &[(CustomerId, Seq)],
        format: u32,
    ) -> Result<Vec<LoadedCustomer>, StoreError> {
        let load = |data: &Data, customer: &CustomerId, seq: Seq| {
            let mut loaded = data.model.load_after(customer, seq, format);
            if self.database.damaged.lock().unwrap().contains(customer) {
                loaded.tail.iter_mut().for_each(|entry| entry.body.clear());
            }
            loaded
        };
        self.ask(|data| known.iter().map(|(customer, seq)| load(data, customer, *seq)).collect()).await
    }

    async fn find_keys(&self, keys: &[(CustomerId, KeyHash)]) -> Result<Vec<Option<Seq>>, StoreError> {
        self.ask(|data| keys.iter().map(|key| data.model.keys.get(key).copied()).collect()).await
    }

    async fn keys(
        &self,
        customer: &CustomerId,
        after: Option<KeyHash>,
        limit: u32,
    ) -> Result<Vec<(KeyHash, Seq)>, StoreError> {
        self.ask(|data| data.model.keys_after(customer, after, usize::try_from(limit).unwrap())).await
    }

    async fn commit(&self, batch: Batch) -> Result<Commit, StoreError> {
        if self.database.throws(40) {
            return Ok(Commit::Conflict);
        }
        self.change(move |data| {
            data.model.revision = data.catalog.revision;
            let written: Vec<_> = batch
                .customers
                .iter()
                .map(|row| &row.customer)
                .chain(batch.due.iter().map(|(c, _)| c))
                .cloned()
                .collect();
            let commit = data.model.commit(&batch);
            if commit == Commit::Durable {
                data.claims.retain(|customer, _| !written.contains(customer));
            }
            commit
        })
        .await
    }

    async fn entries(
        &self,
        customer: &CustomerId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let limit = usize::try_from(limit).unwrap();
        self.ask(|data| {
            data.model.entries(customer).into_iter().filter(|entry| entry.seq > after).take(limit).collect()
        })
        .await
    }

    async fn entries_before(
        &self,
        customer: &CustomerId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let limit = usize::try_from(limit).unwrap();
        self.ask(|data| {
            let entries = data.model.entries(customer).into_iter().rev();
            entries.filter(|entry| before.is_none_or(|before| entry.seq < before)).take(limit).collect()
        })
        .await
    }

    async fn seq_at(&self, customer: &CustomerId, at: Timestamp) -> Result<Seq, StoreError> {
        self.ask(|data| {
            let entries = data.model.entries(customer);
            entries.iter().rev().find(|entry| entry.at <= at).map_or(0, |entry| entry.seq)
        })
        .await
    }

    async fn snapshot_before(
        &self,
        customer: &CustomerId,
        seq: Seq,
        format: u32,
    ) -> Result<Option<StoredSnapshot>, StoreError> {
        self.ask(|data| data.model.snapshot_before(customer, seq, format)).await
    }

    async fn customers(
        &self,
        after: Option<&CustomerId>,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        let limit = usize::try_from(limit).unwrap();
        self.ask(|data| {
            let rows = data.model.customers.values();
            rows.filter(|row| after.is_none_or(|after| row.customer > *after)).take(limit).cloned().collect()
        })
        .await
    }

    async fn due(&self, at: Timestamp, limit: u32, claim: Duration) -> Result<Vec<CustomerId>, StoreError> {
        self.travel().await?;
        let due = {
            let mut data = self.database.data();
            let now = Instant::now();
            let free = |claims: &HashMap<CustomerId, (u64, Instant)>, customer: &CustomerId| {
                claims.get(customer).is_none_or(|(by, until)| *by == self.number || *until <= now)
            };
            let rows = data.model.customers.values();
            let mut due: Vec<_> = rows
                .filter(|row| {
                    row.due_at.is_some_and(|due_at| due_at <= at) && free(&data.claims, &row.customer)
                })
                .map(|row| (row.due_at, row.customer.clone()))
                .collect();
            due.sort();
            due.truncate(usize::try_from(limit).unwrap());
            let due: Vec<_> = due.into_iter().map(|(_, customer)| customer).collect();
            data.claims.extend(due.iter().map(|customer| (customer.clone(), (self.number, now + claim))));
            due
        };
        self.travel().await?;
        Ok(due)
    }

    /// All of it, whatever is known: rows may come twice.
    async fn catalog(&self, _: u64) -> Result<CatalogRows, StoreError> {
        self.ask(|data| data.catalog.clone()).await
    }

    async fn catalog_revision(&self) -> Result<u64, StoreError> {
        self.ask(|data| data.catalog.revision).await
    }

    async fn change_catalog(
        &self,
        base: Option<u64>,
        changes: Vec<CatalogChange>,
        answer: Option<StoredAnswer>,
    ) -> Result<Commit, StoreError> {
        self.change(move |data| {
            if base.is_some_and(|base| base != data.catalog.revision) {
                return Commit::Conflict;
            }
            if answer.as_ref().is_some_and(|answer| data.answers.contains_key(&answer.key_hash)) {
                return Commit::Conflict;
            }
            let mut next = data.catalog.clone();
            let (mut modules, mut audit) = (Vec::new(), Vec::new());
            for change in changes {
                if let CatalogChange::AddAudit(row) = change {
                    audit.push(row);
                } else if !apply(&mut next, &mut modules, change) {
                    return Commit::Conflict;
                }
            }
            next.revision += 1;
            data.catalog = next;
            data.modules.extend(modules);
            data.audit.extend(audit);
            data.answers.extend(answer.map(|answer| (answer.key_hash, answer)));
            Commit::Durable
        })
        .await
    }

    /// All of it, whatever is asked for: nothing here reads it.
    async fn audit(&self, _: &AuditQuery) -> Result<Vec<(u64, AuditRow)>, StoreError> {
        self.ask(|data| (1..).zip(data.audit.iter().cloned()).collect()).await
    }

    async fn module(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(|data| data.modules.get(digest).cloned()).await
    }

    async fn answer(&self, key_hash: KeyHash) -> Result<Option<StoredAnswer>, StoreError> {
        self.ask(|data| data.answers.get(&key_hash).cloned()).await
    }

    async fn answers(&self, after: Option<KeyHash>, limit: u32) -> Result<Vec<StoredAnswer>, StoreError> {
        self.ask(|data| {
            let mut answers: Vec<_> = data.answers.values().cloned().collect();
            answers.retain(|answer| after.is_none_or(|after| answer.key_hash > after));
            answers.sort_unstable_by_key(|answer| answer.key_hash);
            answers.truncate(usize::try_from(limit).unwrap());
            answers
        })
        .await
    }

    async fn announce(&self, reads_format: u32) -> Result<(), StoreError> {
        self.travel().await?;
        self.database.data().formats.insert(self.number, (reads_format, Instant::now()));
        self.travel().await
    }

    async fn oldest_live_format(&self, max_age: Duration) -> Result<Option<u32>, StoreError> {
        let live = |(format, at): &(u32, Instant)| (at.elapsed() <= max_age).then_some(*format);
        self.ask(|data| data.formats.values().filter_map(live).min()).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.ask(|_| ()).await
    }

    async fn close(&self) {
        self.database.data().formats.remove(&self.number);
    }
}

/// The changes that a run makes; false when one meets a row that it must not.
fn apply(catalog: &mut CatalogRows, modules: &mut Vec<(Digest, Vec<u8>)>, change: CatalogChange) -> bool {
    match change {
        CatalogChange::PutPlan(row) => {
            catalog.plans.retain(|plan| plan.plan != row.plan);
            catalog.plans.push(row);
        }
        CatalogChange::AddPlanTerms(row) => {
            if catalog.plan_terms.iter().any(|terms| (&terms.plan, terms.number) == (&row.plan, row.number)) {
                return false;
            }
            catalog.plan_terms.push(row);
        }
        CatalogChange::PutPolicy(row) => {
            catalog.policies.retain(|policy| policy.policy != row.policy);
            catalog.policies.push(row);
        }
        CatalogChange::AddAudit(_) => return false,
        CatalogChange::PutModule { digest, bytes } => modules.push((digest, bytes)),
        CatalogChange::AddPolicyVersion(row) => catalog.policy_versions.push(row),
        CatalogChange::AddApiKey(row) => catalog.api_keys.push(row),
        CatalogChange::SetPlanTerms(row) => {
            let mut all = catalog.plan_terms.iter_mut();
            let found = all.find(|terms| (&terms.plan, terms.number) == (&row.plan, row.number));
            return found.map(|found| *found = row).is_some();
        }
        CatalogChange::SetPolicyVersion(row) => {
            let mut all = catalog.policy_versions.iter_mut();
            let found = all.find(|known| (&known.policy, known.version) == (&row.policy, row.version));
            return found.map(|found| *found = row).is_some();
        }
        CatalogChange::SetApiKey(row) => {
            let found = catalog.api_keys.iter_mut().find(|known| known.id == row.id);
            return found.map(|found| *found = row).is_some();
        }
    }
    true
}

impl Database {
    /// Journals as they are, for the checks.
    pub fn model(&self) -> Model {
        self.data().model.clone()
    }
}
