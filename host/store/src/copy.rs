//! Copies a database to an empty one of any kind. Rows are copied as they are; nothing is decided and no body is parsed.
//!
//! A journal's entries are written before its customer's row is: discard the result of an interrupted copy.

use crate::{
    error::StoreError,
    rows::{
        AuditQuery, Batch, CatalogChange, Commit, CustomerRow, KeyHash, NewEntry, NewKey, NewSnapshot,
        ProductKind, StoredSnapshot,
    },
    store::Store,
};
use proviso_ledger::model::ids::{CustomerId, Name, Seq};

/// Rows that are read at once.
const PAGE: u32 = 1_000;
/// A commit is made when the batch has this many rows or bytes.
const ROWS: usize = 2_000;
const BYTES: usize = 4 << 20;

/// How much was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Customers, with their journals, keys and snapshots.
    pub customers: u64,
    /// Entries of all journals.
    pub entries: u64,
}

/// Copies all customers with their journals and idempotency keys, the newest snapshot of this format of each, the catalog
/// with the redemptions of promotions, and the stored answers. Checkpoints are not copied: they are about the first database, and the second begins with its own. Nor are
/// usage totals: a host makes them anew.
/// Nothing may write to either database meanwhile.
///
/// # Errors
/// [`StoreError::NotEmpty`], or an error of either database. What was copied before the error stays in the second one.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    format: u32,
    mut progress: impl FnMut(&Copied),
) -> Result<Copied, StoreError> {
    if to.catalog_revision().await? != 0 {
        return Err(StoreError::NotEmpty { found: "plans, policies or API keys" });
    }
    if !to.customers(None, 1).await?.is_empty() {
        return Err(StoreError::NotEmpty { found: "customers" });
    }
    let mut writer = BatchWriter { to, batch: Batch::default(), rows: 0, bytes: 0 };
    let mut copied = Copied::default();
    let mut after: Option<CustomerId> = None;
    loop {
        let rows = from.customers(after.as_ref(), PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.customer.clone());
        for row in rows {
            copied.entries += customer(from, &mut writer, row, format).await?;
            copied.customers += 1;
            progress(&copied);
        }
    }
    writer.commit().await?;
    catalog(from, to).await?;
    answers(from, to).await?;
    audit(from, to).await?;
    Ok(copied)
}

/// Copies one customer; returns how many entries that were.
async fn customer(
    from: &dyn Store,
    to: &mut BatchWriter<'_>,
    row: CustomerRow,
    format: u32,
) -> Result<Seq, StoreError> {
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
                // It is among the keys below.
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
    if let Some(saved) = from.snapshot_before(&customer, Seq::MAX, format).await? {
        let bytes = saved.state.len();
        let StoredSnapshot { format, seq, at, state } = saved;
        to.batch.snapshots.push(NewSnapshot { customer, format, seq, at, state });
        to.added(bytes).await?;
    }
    let bytes = row.profile.len();
    to.batch.customers.push(row);
    to.added(bytes).await?;
    Ok(head)
}

/// Collects rows into batches of a size that a database writes well.
struct BatchWriter<'a> {
    to: &'a dyn Store,
    batch: Batch,
    rows: usize,
    bytes: usize,
}

impl BatchWriter<'_> {
    /// Counts a row that was put into the batch.
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

async fn catalog(from: &dyn Store, to: &dyn Store) -> Result<(), StoreError> {
    let rows = from.catalog(0).await?;
    let plans = rows.plans.into_iter().map(CatalogChange::PutPlan);
    let plan_versions = rows.plan_versions.into_iter().map(CatalogChange::AddPlanVersion);
    let terms = rows.plan_terms.into_iter().map(CatalogChange::AddPlanTerms);
    let policies = rows.policies.into_iter().map(CatalogChange::PutPolicy);
    let api_keys = rows.api_keys.into_iter().map(CatalogChange::AddApiKey);
    let promotions: Vec<Name> = rows
        .products
        .iter()
        .filter(|(row, _)| row.kind == ProductKind::Promotion)
        .map(|(row, _)| row.product.clone())
        .collect();
    let products = rows.products.into_iter().map(|(row, _)| CatalogChange::PutProduct(row));
    let changes = plans.chain(plan_versions).chain(terms).chain(policies).chain(api_keys).chain(products);
    let changes: Vec<_> = changes.collect();
    if !changes.is_empty() {
        written(to.change_catalog(None, changes, None).await?)?;
    }
    for version in rows.policy_versions {
        let digest = version.digest;
        let bytes = from.module(&digest).await?.ok_or_else(|| StoreError::Corrupt {
            detail: format!("the module {digest} of policy {} is missing", version.policy),
        })?;
        let changes =
            vec![CatalogChange::PutModule { digest, bytes }, CatalogChange::AddPolicyVersion(version)];
        written(to.change_catalog(None, changes, None).await?)?;
    }
    for promotion in promotions {
        redemptions(from, to, &promotion).await?;
    }
    Ok(())
}

/// Numbers have no gaps, and are the same in the copy.
async fn redemptions(from: &dyn Store, to: &dyn Store, promotion: &Name) -> Result<(), StoreError> {
    let (Some(from), Some(to)) = (from.redemption_store(), to.redemption_store()) else { return Ok(()) };
    let mut after = 0;
    loop {
        let rows = from.redemptions(promotion, after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.number;
        written(to.add_redemptions(promotion, rows).await?)?;
    }
}

async fn answers(from: &dyn Store, to: &dyn Store) -> Result<(), StoreError> {
    let mut after: Option<KeyHash> = None;
    loop {
        let answers = from.answers(after, PAGE).await?;
        let Some(last) = answers.last() else { return Ok(()) };
        after = Some(last.key_hash);
        for answer in answers {
            written(to.change_catalog(None, Vec::new(), Some(answer)).await?)?;
        }
    }
}

/// Numbers have no gaps, so they are the same in the copy.
async fn audit(from: &dyn Store, to: &dyn Store) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let query = AuditQuery { after, oldest_first: true, limit: PAGE, ..AuditQuery::default() };
        let rows = from.audit(&query).await?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = *last;
        let changes = rows.into_iter().map(|(_, row)| CatalogChange::AddAudit(row)).collect();
        written(to.change_catalog(None, changes, None).await?)?;
    }
}

/// A conflict in a database that was empty means that someone else writes to it.
fn written(commit: Commit) -> Result<(), StoreError> {
    match commit {
        Commit::Durable => Ok(()),
        Commit::Conflict => Err(StoreError::NotEmpty { found: "what another process wrote meanwhile" }),
    }
}
