//! Usage as an export has it: what reports count, in the order of the journal, with who paid for it.

use crate::{
    engine::Engine,
    error::EngineError,
    reads::parse,
    rollup::counted::{Counted, Payers},
};
use proviso_ledger::{
    model::{
        amounts::Credits,
        ids::{CustomerId, Key, Seq},
        time::Timestamp,
        usage::Usage,
    },
    state::CustomerState,
};

/// Entries that are read at a time.
const PAGE: u32 = 500;

/// Usage that was charged, refunded or imported.
#[derive(Debug)]
pub struct ExportedUsage {
    /// Its id elsewhere: the one that it was imported with, or else one of this host's.
    pub id: String,
    /// What was used.
    pub usage: Usage,
    /// The time that reports count it at.
    pub at: Timestamp,
    /// The credit type.
    pub credit: Key,
    /// What it cost, or what was given back.
    pub cost: Credits,
    /// What paid for it, by the grants' category, or `overage`.
    pub paid: Vec<(&'static str, Credits)>,
    /// Whether it takes earlier usage back.
    pub refund: bool,
}

/// The id elsewhere of something that a customer has here. Another host's ids of the same customer are others, so that what was
/// moved twice keeps them apart.
#[must_use]
pub fn export_id(state: &CustomerState, what: &str) -> String {
    format!("{}-{what}", state.created_at.0)
}

impl Engine {
    /// The usage in some entries of a customer after `after` and up to its state's last one, and the last entry that was looked at.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn usage_to_export(
        &self,
        state: &CustomerState,
        after: Seq,
    ) -> Result<(Vec<ExportedUsage>, Seq), EngineError> {
        let (customer, store): (&CustomerId, _) = (&state.customer, &*self.shared.store);
        let page = store.entries(customer, after, PAGE).await?;
        let (mut found, mut last) = (Vec::new(), state.seq);
        let mut payers = Payers::new(store, customer);
        for stored in page.iter().take_while(|stored| stored.seq <= state.seq) {
            last = stored.seq;
            let entry = parse(customer, stored)?;
            let Some(counted) = Counted::of(&entry) else { continue };
            let paid = payers.of(&entry, counted.cost).await?;
            let id = match entry.imported_usage() {
                Some(imported) => imported.external_id.to_string(),
                None => export_id(state, &entry.seq.to_string()),
            };
            found.push(ExportedUsage {
                id,
                usage: counted.usage.clone(),
                at: counted.at,
                credit: counted.credit.clone(),
                cost: counted.cost,
                // What cost nothing, or is not known, is named by nobody.
                paid: paid
                    .into_iter()
                    .filter(|(payer, amount)| !payer.is_empty() && amount.is_positive())
                    .collect(),
                refund: counted.is_refund,
            });
        }
        Ok((found, last))
    }
}
