//! Refusals that come again: which are the same, so that an entry that counts them takes the place of one for each.

use crate::{
    journal::{Entry, Event, RefusalsRepeated, Refused},
    model::{
        ids::{Digest, Name, Seq},
        time::Timestamp,
        usage::Usage,
    },
    state::{CustomerState, Draft},
};

/// For so long after a refusal its repeats are counted and not recorded each: a minute, in microseconds.
pub const WINDOW: i64 = 60 * Timestamp::SECOND;

/// A recorded refusal that a request may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The entry that records it.
    pub seq: Seq,
    /// When that was accepted.
    pub at: Timestamp,
    likeness: Digest,
}

impl Standing {
    /// What of an entry a request may repeat; none where it is no refusal, or came without an idempotency key.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let Event::Refused(refused) = &entry.event else { return None };
        let likeness = likeness(refused, entry.request.as_ref()?, entry.by.as_ref())?;
        Some(Self { seq: entry.seq, at: entry.at, likeness })
    }

    /// Whether its repeats are still counted at `at`.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.at.plus_micros(WINDOW) > at
    }
}

/// Which of these a draft repeats that would be accepted at `at`: the same request of the same API key, refused by the same terms
/// for the same reason, with all that the answer shows.
#[must_use]
pub fn repeated(standing: &[Standing], draft: &Draft, at: Timestamp) -> Option<Seq> {
    if standing.is_empty() {
        return None;
    }
    let Event::Refused(refused) = &draft.event else { return None };
    let (_, request) = draft.origin.idempotency.as_ref()?;
    let likeness = likeness(refused, request, draft.origin.by.as_ref())?;
    let mut open = standing.iter().filter(|one| one.is_open(at));
    open.find(|one| one.likeness == likeness).map(|one| one.seq)
}

/// A digest of all that makes refusals the same. Left out is what no answer shows and what may change by the minute: when the usage
/// occurred, if the request does not say so itself; the fuel, the log, and what shadows made of it.
fn likeness(refused: &Refused, request: &Digest, by: Option<&Name>) -> Option<Digest> {
    let mut alike = refused.clone();
    alike.usage = Usage { occurred_at: Timestamp(0), ..alike.usage };
    if let Some(decision) = &mut alike.decision {
        decision.fuel = 0;
        decision.log.clear();
        decision.shadows.clear();
        if let Some(fault) = &mut decision.fault {
            fault.detail.clear();
        }
    }
    let text = serde_json::to_vec(&(alike, request.to_string(), by)).ok()?;
    Some(Digest::of(&text))
}

impl CustomerState {
    /// The entry that counts repeats of a refusal.
    #[must_use]
    pub fn count_repeats(&self, at: Timestamp, repeated: RefusalsRepeated) -> Draft {
        let (first_at, last_at) = (repeated.first_at.min(at), repeated.last_at.min(at));
        Draft::new(Event::RefusalsRepeated(RefusalsRepeated { first_at, last_at, ..repeated }))
    }
}

/// What is wrong with an entry that counts repeats.
pub(crate) fn check(entry: &Entry, repeated: &RefusalsRepeated) -> Result<(), String> {
    let RefusalsRepeated { of, times, first_at, last_at } = *repeated;
    if of >= entry.seq || times == 0 {
        return Err(format!("{times} repeats of entry {of} can't be counted by entry {}", entry.seq));
    }
    if first_at > last_at || last_at > entry.at {
        return Err(format!("repeats from {first_at} until {last_at} can't be counted at {}", entry.at));
    }
    Ok(())
}
