//! Usage totals that are kept beside the journal, so that a report need not read it.
//!
//! Totals are by time of use: for each quarter of an hour (every zone of today begins its hours and days with one) and for each
//! day in UTC, by feature, model and credit type, and once more by entity. They are written after the entries, by the
//! [`roller`], together with a cursor that says up to which entry they go; a [report](report) adds what came after it from the
//! journal. So what they say is exact, or not there: *their presence affects cost, never meaning*. What is grouped by other
//! attributes is read from the journal.

mod additions;
pub(crate) mod counted;
mod index;
pub(crate) mod journal;
pub(crate) mod news;
mod pieces;
mod report;
pub(crate) mod roller;
mod totals;
mod verify;

pub(crate) use report::collect;
pub(crate) use verify::verify;

use proviso_ledger::model::time::Timestamp;

/// The format of the stored bodies and of what they are of. With another one all are made anew.
const FORMAT: u32 = 1;

/// How long a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grain {
    Quarter,
    Day,
}

impl Grain {
    const ALL: [Self; 2] = [Self::Quarter, Self::Day];

    /// The number in the database.
    const fn number(self) -> u8 {
        match self {
            Self::Quarter => 0,
            Self::Day => 1,
        }
    }

    const fn micros(self) -> i64 {
        match self {
            Self::Quarter => 900 * Timestamp::SECOND,
            Self::Day => 86_400 * Timestamp::SECOND,
        }
    }

    const fn slot(self, at: Timestamp) -> i64 {
        at.0.div_euclid(self.micros())
    }

    const fn start(self, slot: i64) -> Timestamp {
        Timestamp(slot.saturating_mul(self.micros()))
    }
}

/// What is totalled. Usage of no entity is in the first kind only, so that who has no entities has no more rows for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Usage of no entity.
    Plain,
    /// Usage of all entities together.
    OfEntities,
    /// Usage of each entity, with those above it.
    OfEntity,
    /// Which entries a slot has usage of. For quarters only.
    Index,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Plain, Self::OfEntities, Self::OfEntity, Self::Index];

    /// The number in the database.
    const fn number(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::OfEntities => 1,
            Self::OfEntity => 2,
            Self::Index => 3,
        }
    }
}
