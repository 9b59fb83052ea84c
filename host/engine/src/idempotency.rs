//! Idempotency keys: the hash by which they are looked up, and the answer to a repeated request.

use crate::error::EngineError;
use proviso_decide::command::{Idempotency, Outcome};
use proviso_ledger::{
    journal::Entry,
    model::ids::{ChargeId, Digest, IdempotencyKey, ReservationId},
};
use proviso_store::KeyHash;
use std::sync::Arc;

/// The first 16 bytes of the key's SHA-256.
pub(crate) fn key_hash(key: &IdempotencyKey) -> KeyHash {
    hash(key.as_str())
}

/// The key of a charge's n-th refund, which can be taken once. No caller's key has a line feed.
pub(crate) fn refund_hash(charge: ChargeId, number: u32) -> KeyHash {
    hash(&format!("\nrefund {number} of {charge}"))
}

/// The key of what ended a reservation, which can be taken once.
pub(crate) fn end_hash(reservation: ReservationId) -> KeyHash {
    hash(&format!("\nend of {reservation}"))
}

/// The key of a customer's first imported usage: whoever has it has some.
pub(crate) fn first_import_hash() -> KeyHash {
    hash("\nfirst imported usage")
}

fn hash(text: &str) -> KeyHash {
    let digest = Digest::of(text.as_bytes()).0;
    let mut hash = KeyHash::default();
    for (to, from) in hash.iter_mut().zip(digest) {
        *to = from;
    }
    hash
}

/// The entry as the answer to a repeat of the request that it answered first.
pub(crate) fn replay(entry: &Arc<Entry>, repeat: Option<&Idempotency>) -> Result<Outcome, EngineError> {
    if repeat.map(|(_, request)| request) == entry.request.as_ref() {
        Ok(Outcome { entry: entry.clone(), replayed: true })
    } else {
        Err(EngineError::IdempotencyKeyReused)
    }
}
