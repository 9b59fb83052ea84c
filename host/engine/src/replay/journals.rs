//! Journals, read page by page while the page before is worked on, by several workers at once: each takes one customer after
//! another. What is held in memory is two pages for each worker, and a page of customers.

use proviso_ledger::{
    journal::Entry,
    model::ids::{CustomerId, Seq},
};
use proviso_store::{CustomerRow, Store, StoreError, StoredEntry};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::{
    sync::{Mutex, mpsc},
    task::{JoinHandle, JoinSet},
};

/// Entries that are read at a time.
const PAGE: u32 = 500;
/// Customers that are read at a time.
const CUSTOMERS: u32 = 100;

/// A journal from an entry on, read ahead by one page.
pub(super) struct Pages {
    store: Arc<dyn Store>,
    customer: CustomerId,
    next: Option<JoinHandle<Result<Vec<StoredEntry>, StoreError>>>,
}

impl Pages {
    /// After entry `after`.
    pub fn new(store: Arc<dyn Store>, customer: CustomerId, after: Seq) -> Self {
        let mut pages = Self { store, customer, next: None };
        pages.ask(after);
        pages
    }

    /// The next page; empty at the end.
    pub async fn next(&mut self) -> Result<Vec<StoredEntry>, StoreError> {
        let Some(asked) = self.next.take() else { return Ok(Vec::new()) };
        let page = match asked.await {
            Ok(page) => page?,
            Err(error) => return Err(StoreError::Unavailable { detail: error.to_string() }),
        };
        if page.len() == PAGE as usize
            && let Some(last) = page.last()
        {
            self.ask(last.seq);
        }
        Ok(page)
    }

    fn ask(&mut self, after: Seq) {
        let (store, customer) = (self.store.clone(), self.customer.clone());
        self.next = Some(tokio::spawn(async move { store.entries(&customer, after, PAGE).await }));
    }
}

/// Has `work` done for every customer, or for one, by `jobs` workers at once. What they find is handed to `take` as it comes.
pub(super) async fn each_customer<F, W, T>(
    store: &Arc<dyn Store>,
    only: Option<&CustomerId>,
    jobs: NonZeroUsize,
    work: W,
    mut take: impl FnMut(T),
) -> Result<(), StoreError>
where
    T: Send + 'static,
    F: Future<Output = Result<(), StoreError>> + Send,
    W: Fn(CustomerRow, mpsc::Sender<T>) -> F + Clone + Send + Sync + 'static,
{
    let (rows, queue) = mpsc::channel::<CustomerRow>(jobs.get());
    let queue = Arc::new(Mutex::new(queue));
    let (found, mut results) = mpsc::channel::<T>(64);
    let mut workers: JoinSet<Result<(), StoreError>> = JoinSet::new();
    for _ in 0..jobs.get() {
        let (queue, found, work) = (queue.clone(), found.clone(), work.clone());
        workers.spawn(async move {
            loop {
                let next = queue.lock().await.recv().await;
                let Some(row) = next else { return Ok(()) };
                work(row, found.clone()).await?;
            }
        });
    }
    drop((found, queue));
    let (listed, only) = (store.clone(), only.cloned());
    workers.spawn(async move { list(&*listed, only, rows).await });
    // Dropped on an error, which ends the workers.
    while let Some(one) = results.recv().await {
        take(one);
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| StoreError::Unavailable { detail: error.to_string() })??;
    }
    Ok(())
}

async fn list(
    store: &dyn Store,
    only: Option<CustomerId>,
    rows: mpsc::Sender<CustomerRow>,
) -> Result<(), StoreError> {
    let mut after: Option<CustomerId> = None;
    loop {
        let page = match &only {
            Some(customer) => find(store, customer).await?.into_iter().collect(),
            None => store.customers(after.as_ref(), CUSTOMERS).await?,
        };
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.customer.clone());
        for row in page {
            // A worker that failed has ended; the others go on until the queue is empty.
            if rows.send(row).await.is_err() {
                return Ok(());
            }
        }
        if only.is_some() {
            return Ok(());
        }
    }
}

/// A customer's row.
pub(super) async fn find(
    store: &dyn Store,
    customer: &CustomerId,
) -> Result<Option<CustomerRow>, StoreError> {
    // Rows are asked for by what stands before them. Nothing stands between a key and that key with its last character cut off
    // but keys that begin alike.
    let mut before = customer.as_str().to_owned();
    before.pop();
    let mut after: Option<CustomerId> = before.parse().ok();
    loop {
        let page = store.customers(after.as_ref(), CUSTOMERS).await?;
        if let Some(row) = page.iter().find(|row| row.customer == *customer) {
            return Ok(Some(row.clone()));
        }
        match page.last() {
            Some(last) if last.customer < *customer => after = Some(last.customer.clone()),
            _ => return Ok(None),
        }
    }
}

/// The entry, if it refunds a charge. The others are not read as JSON.
pub(super) fn refunding(stored: &StoredEntry) -> Option<Entry> {
    if !stored.body.contains("\"refunded\":") {
        return None;
    }
    Entry::parse(&stored.body).ok().filter(|entry| entry.refunded().is_some())
}
