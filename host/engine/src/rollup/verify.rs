//! Verification of usage totals: they are made anew from the journal and compared.

use super::{
    FORMAT, Grain, Kind,
    additions::Additions,
    counted::{Counted, MOST_LATE, Payers},
};
use crate::{error::EngineError, reads::parse};
use proviso_ledger::{
    model::{
        ids::{CustomerId, Seq},
        time::Timestamp,
    },
    state::ImportedSpan,
};
use proviso_store::{RollupCursor, RollupRow, RollupSpan, Store};

/// Entries that are read at a time.
const PAGE: u32 = 2_000;
/// Totals of slots that are complete are compared and dropped after so many entries.
const COMPARE_EVERY: Seq = 50_000;

/// Compares a customer's totals with its journal, which is known to be intact; says what differs. Totals that a newer host keeps
/// are left alone. `imported` is where the journal has imported usage.
///
/// # Errors
/// A damaged journal, or the store's.
pub(crate) async fn verify(
    store: &dyn Store,
    customer: &CustomerId,
    imported: Option<ImportedSpan>,
    mut differ: impl FnMut(String),
) -> Result<(), EngineError> {
    let Some(rollups) = store.rollup_store() else { return Ok(()) };
    let (cursor, _) = rollups.rollups(customer, &[]).await?;
    if cursor.format != FORMAT {
        return Ok(());
    }
    let mut anew = Anew {
        store,
        customer,
        additions: Additions::default(),
        payers: Payers::new(store, customer),
        seq: 0,
        at: Timestamp(0),
    };
    let mut compared = Timestamp(i64::MIN / 2);
    let mut next = COMPARE_EVERY;
    while anew.seq < cursor.through {
        anew.read(next.min(cursor.through)).await?;
        if anew.seq < next.min(cursor.through) {
            differ(format!(
                "usage totals take in entry {}, but the journal ends at {}",
                cursor.through, anew.seq
            ));
            return Ok(());
        }
        next = next.saturating_add(COMPARE_EVERY);
        // An import may be of any time.
        if imported.is_some_and(|imported| anew.seq < imported.last) {
            continue;
        }
        // No entry from here on is of usage before this.
        let settled = Grain::Day.start(Grain::Day.slot(anew.at.plus_micros(-MOST_LATE)) - 1);
        if settled > compared {
            let expected = anew.additions.split_before(settled).sums().onto(&[])?;
            let (_, found) = rollups.rollups(customer, &spans(compared, settled)).await?;
            compare(expected, &found, &mut differ);
            compared = settled;
        }
    }
    // The rest may go on while it is looked at.
    let (RollupCursor { through, .. }, found) =
        rollups.rollups(customer, &spans(compared, Timestamp(i64::MAX / 2))).await?;
    anew.read(through).await?;
    compare(anew.additions.sums().onto(&[])?, &found, &mut differ);
    Ok(())
}

/// Totals that are made anew.
struct Anew<'a> {
    store: &'a dyn Store,
    customer: &'a CustomerId,
    additions: Additions,
    payers: Payers<'a>,
    /// The last entry that is in them, and its time.
    seq: Seq,
    at: Timestamp,
}

impl Anew<'_> {
    /// Takes in the entries up to a number.
    async fn read(&mut self, through: Seq) -> Result<(), EngineError> {
        while self.seq < through {
            let limit = u32::try_from(through - self.seq).unwrap_or(PAGE).min(PAGE);
            let page = self.store.entries(self.customer, self.seq, limit).await?;
            if page.is_empty() {
                break;
            }
            for stored in page {
                let entry = parse(self.customer, &stored)?;
                if let Some(counted) = Counted::of(&entry) {
                    self.additions.add(stored.seq, &counted, &self.payers.of(&entry, counted.cost).await?);
                }
                (self.seq, self.at) = (stored.seq, stored.at);
            }
        }
        Ok(())
    }
}

/// All totals of slots that begin in this time.
fn spans(from: Timestamp, to: Timestamp) -> Vec<RollupSpan> {
    let of = |grain: Grain| {
        let slots = grain.slot(from)..grain.slot(to);
        Kind::ALL.map(|kind| RollupSpan { grain: grain.number(), kind: kind.number(), slots: slots.clone() })
    };
    Grain::ALL.into_iter().flat_map(of).collect()
}

fn compare(mut expected: Vec<RollupRow>, found: &[RollupRow], differ: &mut impl FnMut(String)) {
    expected.sort_unstable_by_key(|row| row.id);
    let mut found: Vec<&RollupRow> = found.iter().collect();
    found.sort_unstable_by_key(|row| row.id);
    let (mut expected, mut found) = (expected.iter().peekable(), found.into_iter().peekable());
    loop {
        let (next, word) = match (expected.peek(), found.peek()) {
            (None, None) => return,
            (Some(wanted), Some(row)) if wanted.id == row.id => {
                let differs =
                    (wanted.body != row.body).then_some((wanted.id, "are not what its journal gives"));
                expected.next();
                found.next();
                match differs {
                    Some(differs) => differs,
                    None => continue,
                }
            }
            (Some(wanted), row) if row.is_none_or(|row| wanted.id < row.id) => {
                let id = wanted.id;
                expected.next();
                (id, "are missing")
            }
            (_, Some(row)) => {
                let id = row.id;
                found.next();
                (id, "are of usage that its journal does not have")
            }
            (Some(_), None) => return,
        };
        let grain = if next.grain == Grain::Day.number() { Grain::Day } else { Grain::Quarter };
        differ(format!("usage totals of {} {word}", grain.start(next.slot)));
    }
}
