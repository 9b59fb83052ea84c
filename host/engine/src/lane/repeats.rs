//! Repeats of refusals that no entry counts yet. Each was answered, and its key is durable; how many there were of one refusal is
//! written once its minute is over, or when the lane ends. A crash loses the count of the last minute, and nothing else.

use crate::queue::Job;
use proviso_decide::command::{Command, Request};
use proviso_ledger::{
    journal::RefusalsRepeated,
    model::{
        ids::{CustomerId, Seq},
        time::Timestamp,
    },
    rules::repeat::WINDOW,
    state::Origin,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// With more refusals than this, all are written at once.
const MOST: usize = 4_096;
const AFTER: Duration = Duration::from_micros(WINDOW.unsigned_abs());

/// A request that was answered with an earlier refusal.
pub(super) struct Repeat {
    pub customer: CustomerId,
    /// The entry that records the refusal.
    pub of: Seq,
    pub at: Timestamp,
}

#[derive(Default)]
pub(super) struct Repeats {
    counted: BTreeMap<(CustomerId, Seq), Counted>,
    /// When the first of them is to be written.
    next: Option<Instant>,
}

struct Counted {
    times: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    /// When they are to be written.
    due: Instant,
}

impl Repeats {
    /// Counts one that is durable.
    pub fn count(&mut self, Repeat { customer, of, at }: Repeat) {
        let now = Instant::now();
        let due = if self.counted.len() >= MOST { now } else { now + AFTER };
        let counted = self.counted.entry((customer, of));
        let counted = counted.or_insert(Counted { times: 0, first_at: at, last_at: at, due });
        counted.times = counted.times.saturating_add(1);
        counted.first_at = counted.first_at.min(at);
        counted.last_at = counted.last_at.max(at);
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
    }

    /// When there is something to be written next.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Takes the requests that write what is due.
    pub fn take_due(&mut self) -> Vec<Job> {
        let now = Instant::now();
        self.take(|counted| counted.due <= now)
    }

    /// Takes the requests that write all there is.
    pub fn take_all(&mut self) -> Vec<Job> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(&Counted) -> bool) -> Vec<Job> {
        let (due, later): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.counted).into_iter().partition(|(_, counted)| is_due(counted));
        self.next = later.values().map(|counted: &Counted| counted.due).min();
        self.counted = later;
        due.into_iter().map(|((customer, of), counted)| job(customer, of, &counted)).collect()
    }
}

/// Nobody waits for its reply.
fn job(customer: CustomerId, of: Seq, counted: &Counted) -> Job {
    let Counted { times, first_at, last_at, .. } = *counted;
    let repeated = RefusalsRepeated { of, times, first_at, last_at };
    let request = Request { customer, command: Command::CountRepeats(repeated), origin: Origin::default() };
    Job { request, key_hash: None, guard: None, attempts: 0, arrival: 0, reply: oneshot::channel().0 }
}
