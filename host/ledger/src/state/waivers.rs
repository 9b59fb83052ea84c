//! Overage that was waived, so that a refund of what it was for does not turn into credits that nobody paid for.
//!
//! A waiver takes off what was drawn since all overage was last settled, so it concerns the charges since then.

use crate::model::{amounts::Credits, ids::Seq};
use serde::{Deserialize, Serialize};

/// The most waivers that are told apart. Of more, the oldest count as one.
const MOST: usize = 64;

/// The waivers of one credit type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waivers {
    /// The last entry that left no overage outstanding.
    settled_at: Seq,
    /// Oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waived: Vec<Waived>,
}

/// Overage that was waived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Waived {
    /// It was drawn by entries after this one.
    after: Seq,
    /// The entry that waived it.
    at: Seq,
    /// How much, less what was refunded of it.
    left: Credits,
}

impl Waived {
    const fn concerns(self, charge: Seq) -> bool {
        self.after < charge && charge < self.at
    }
}

impl Waivers {
    /// How much of the overage of a charge may have been waived.
    pub(crate) fn of(&self, charge: Seq) -> Credits {
        let waived = self.waived.iter().filter(|waived| waived.concerns(charge));
        waived.fold(Credits::ZERO, |sum, waived| sum.saturating_add(waived.left))
    }

    /// Whether all overage was settled since a charge.
    pub(crate) const fn is_settled_since(&self, charge: Seq) -> bool {
        charge < self.settled_at
    }

    pub(crate) fn waive(&mut self, at: Seq, amount: Credits) {
        self.waived.push(Waived { after: self.settled_at, at, left: amount });
        if self.waived.len() > MOST {
            let oldest = self.waived.remove(0);
            if let Some(next) = self.waived.first_mut() {
                next.after = oldest.after.min(next.after);
                next.left = next.left.saturating_add(oldest.left);
            }
        }
    }

    /// Nothing is outstanding any more.
    pub(crate) const fn settle(&mut self, at: Seq) {
        self.settled_at = at;
    }

    /// So much of a charge's waived overage was refunded.
    pub(crate) fn refund(&mut self, charge: Seq, amount: Credits) {
        let mut rest = amount;
        for waived in self.waived.iter_mut().filter(|waived| waived.concerns(charge)) {
            let part = rest.min(waived.left);
            waived.left = waived.left.saturating_sub(part);
            rest = rest.saturating_sub(part);
        }
        self.waived.retain(|waived| waived.left.is_positive());
    }
}
