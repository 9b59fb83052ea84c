//! The catalog's rows as checkpoints name them, compared with those that are there.

use super::statement::Stamp;
use crate::verify::Difference;
use std::collections::BTreeMap;

/// The catalog's rows by table, key and number.
pub(crate) type Stamps = BTreeMap<(String, String, u64), Stamp>;

/// Compares the catalog with what was known of it at revision `at`. Returns whether it is an older one, of which rows may
/// be missing or in an earlier state.
pub(super) fn compare_catalog(
    expected: &Stamps,
    at: u64,
    found: &Stamps,
    revision: u64,
    name: &str,
    differences: &mut Vec<Difference>,
) -> bool {
    let mut differ = |stamp: &Stamp, detail: String| {
        differences.push(Difference { subject: stamp.name(), detail });
    };
    for (row, stamp) in expected {
        // The row's state is of a change that this catalog has not seen.
        let is_later = stamp.revision > revision;
        match found.get(row) {
            Some(now) if now.digest == stamp.digest => {}
            // Changed after the checkpoint, or not changed yet.
            Some(now) if now.revision > at || is_later && now.revision < stamp.revision => {}
            Some(_) => differ(stamp, format!("was edited since {name}")),
            None if is_later => {}
            None => differ(stamp, format!("is gone since {name}")),
        }
    }
    for (row, now) in found {
        if now.revision > revision {
            differ(now, format!("claims revision {}, but the catalog is at {revision}", now.revision));
        } else if now.revision <= at && !expected.contains_key(row) {
            differ(now, format!("claims to be older than {name}, which does not know it"));
        }
    }
    revision < at
}

/// Rows of the catalog by what they are.
pub(crate) fn by_row(stamps: impl IntoIterator<Item = Stamp>) -> Stamps {
    stamps.into_iter().map(|stamp| ((stamp.table.clone(), stamp.key.clone(), stamp.number), stamp)).collect()
}
