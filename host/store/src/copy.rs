//! From one database to another of any kind: everything that is in the first in, the same in the second out, which must
//! be empty. Rows are moved as they are; nothing is decided and no body is looked into here.
//!
//! A journal's entries are written before the rows that make it known: an interrupted copy is to be thrown away.

use crate::{
    Batch, Commit, CustomerRow, KeyHash, NewEntry, NewKey, NewSnapshot, ReferenceChange, Store, StoreError,
};
use proviso_ledger::model::ids::{CustomerId, Seq};

/// Rows that are read at a time.
const PAGE: u32 = 1_000;
/// A commit is made when so many rows or bytes are gathered.
const ROWS: usize = 2_000;
const BYTES: usize = 4 << 20;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Customers, with all that belongs to them.
    pub customers: u64,
    /// Entries of their journals.
    pub entries: u64,
}

/// Copies every journal, every idempotency key, the customers, the newest saved state of each, the reference data and the
/// management requests. Nothing may write to either database meanwhile.
///
/// # Errors
/// [`StoreError::NotEmpty`], or what either database says. Whatever was copied before stays there.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    mut progress: impl FnMut(&Copied),
) -> Result<Copied, StoreError> {
    if to.reference_revision().await? != 0 {
        return Err(StoreError::NotEmpty { found: "plans, policies or API keys" });
    }
    if !to.customers(None, 1).await?.is_empty() {
        return Err(StoreError::NotEmpty { found: "customers" });
    }
    let mut gathered = Gathered { to, batch: Batch::default(), rows: 0, bytes: 0 };
    let mut copied = Copied::default();
    let mut after: Option<CustomerId> = None;
    loop {
        let rows = from.customers(after.as_ref(), PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.customer.clone());
        for row in rows {
            copied.entries += customer(from, &mut gathered, row).await?;
            copied.customers += 1;
            progress(&copied);
        }
    }
    gathered.commit().await?;
    reference(from, to).await?;
    requests(from, to).await?;
    Ok(copied)
}

/// Copies one customer; returns how many entries that were.
async fn customer(from: &dyn Store, to: &mut Gathered<'_>, row: CustomerRow) -> Result<Seq, StoreError> {
    let customer = row.customer.clone();
    let mut head = 0;
    loop {
        let entries = from.entries(&customer, head, PAGE).await?;
        let Some(last) = entries.last() else { break };
        head = last.seq;
        for entry in entries {
            let bytes = entry.body.len();
            to.batch.entries.push(NewEntry {
                customer: customer.clone(),
                seq: entry.seq,
                at: entry.at,
                // With the others below.
                key_hash: None,
                hash: entry.hash,
                body: entry.body,
            });
            to.added(bytes).await?;
        }
    }
    let mut after: Option<KeyHash> = None;
    loop {
        let keys = from.keys(&customer, after, PAGE).await?;
        let Some((last, _)) = keys.last() else { break };
        after = Some(*last);
        for (key_hash, seq) in keys {
            to.batch.keys.push(NewKey { customer: customer.clone(), key_hash, seq });
            to.added(0).await?;
        }
    }
    if let Some(saved) = from.snapshot_before(&customer, Seq::MAX).await? {
        let bytes = saved.state.len();
        to.batch.snapshots.push(NewSnapshot { customer, seq: saved.seq, at: saved.at, state: saved.state });
        to.added(bytes).await?;
    }
    let bytes = row.profile.len();
    to.batch.customers.push(row);
    to.added(bytes).await?;
    Ok(head)
}

/// Rows that go to the other database together.
struct Gathered<'a> {
    to: &'a dyn Store,
    batch: Batch,
    rows: usize,
    bytes: usize,
}

impl Gathered<'_> {
    /// Takes note of a row that was put into the batch.
    async fn added(&mut self, bytes: usize) -> Result<(), StoreError> {
        (self.rows, self.bytes) = (self.rows + 1, self.bytes + bytes);
        if self.rows < ROWS && self.bytes < BYTES {
            return Ok(());
        }
        self.commit().await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        (self.rows, self.bytes) = (0, 0);
        written(self.to.commit(std::mem::take(&mut self.batch)).await?)
    }
}

async fn reference(from: &dyn Store, to: &dyn Store) -> Result<(), StoreError> {
    let reference = from.reference(0).await?;
    let plans = reference.plans.into_iter().map(ReferenceChange::PutPlan);
    let terms = reference.plan_terms.into_iter().map(ReferenceChange::AddPlanTerms);
    let policies = reference.policies.into_iter().map(ReferenceChange::PutPolicy);
    let api_keys = reference.api_keys.into_iter().map(ReferenceChange::AddApiKey);
    let changes: Vec<_> = plans.chain(terms).chain(policies).chain(api_keys).collect();
    if !changes.is_empty() {
        written(to.change_reference(None, changes, None).await?)?;
    }
    for version in reference.policy_versions {
        let digest = version.digest;
        let bytes = from.module(&digest).await?.ok_or_else(|| StoreError::Corrupt {
            detail: format!("the module {digest} of policy {} is missing", version.policy),
        })?;
        let changes =
            vec![ReferenceChange::PutModule { digest, bytes }, ReferenceChange::AddPolicyVersion(version)];
        written(to.change_reference(None, changes, None).await?)?;
    }
    Ok(())
}

async fn requests(from: &dyn Store, to: &dyn Store) -> Result<(), StoreError> {
    let mut after: Option<KeyHash> = None;
    loop {
        let requests = from.requests(after, PAGE).await?;
        let Some(last) = requests.last() else { return Ok(()) };
        after = Some(last.key_hash);
        for request in requests {
            written(to.change_reference(None, Vec::new(), Some(request)).await?)?;
        }
    }
}

/// What is new to an empty database can't meet anything there, unless someone else writes to it.
fn written(commit: Commit) -> Result<(), StoreError> {
    match commit {
        Commit::Durable => Ok(()),
        Commit::Conflict => Err(StoreError::NotEmpty { found: "what another process wrote meanwhile" }),
    }
}
