//! Threads of their own for decisions that take long, so that neither a lane nor whoever serves connections waits for them.
//! Each policy has its turn, however much waits for others.

use proviso_ledger::model::ids::Digest;
use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;
use tracing::error;

/// How much less than others these threads get of a busy processor, as `nice` counts it: about a tenth.
const NICE: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// Where slow decisions are made. When it is dropped, what waits is dropped, too, and the threads end.
pub(crate) struct Workers {
    threads: usize,
    stack_bytes: usize,
    turns: Arc<Turns>,
}

#[derive(Default)]
struct Turns {
    waiting: Mutex<Waiting>,
    ready: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: HashMap<Option<Digest>, VecDeque<Work>>,
    /// Whose turn is next.
    order: VecDeque<Option<Digest>>,
    started: bool,
    closed: bool,
}

impl Workers {
    /// So many threads, which start with the first work; none is for simulations: work is then done by tasks of the runtime,
    /// in an order that it alone decides.
    pub fn new(threads: usize, stack_bytes: usize) -> Self {
        Self { threads, stack_bytes, turns: Arc::default() }
    }

    /// Whether tasks of the runtime do the work, which must not block.
    pub const fn are_tasks(&self) -> bool {
        self.threads == 0
    }

    /// Does the work when it is the turn of `policy`; none when it panicked or there is no thread to do it.
    pub async fn run<T: Send + 'static>(
        &self,
        policy: Option<Digest>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.are_tasks() {
            tokio::task::yield_now().await;
            return std::panic::catch_unwind(AssertUnwindSafe(work)).ok();
        }
        let (sender, done) = oneshot::channel();
        self.push(policy, Box::new(move || drop(sender.send(work()))));
        done.await.ok()
    }

    fn push(&self, policy: Option<Digest>, work: Work) {
        let mut waiting = self.turns.lock();
        if !waiting.started {
            waiting.started = true;
            self.start();
        }
        let Waiting { work: all, order, .. } = &mut *waiting;
        all.entry(policy)
            .or_insert_with(|| {
                order.push_back(policy);
                VecDeque::new()
            })
            .push_back(work);
        drop(waiting);
        self.turns.ready.notify_one();
    }

    fn start(&self) {
        for number in 0..self.threads {
            let turns = self.turns.clone();
            let thread = std::thread::Builder::new()
                .name(format!("slow-policy-{number}"))
                .stack_size(self.stack_bytes)
                .spawn(move || turns.work());
            if let Err(error) = thread {
                error!(%error, "a thread for slow policies can't be started");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut waiting = self.turns.lock();
        waiting.closed = true;
        let rest = std::mem::take(&mut waiting.work);
        drop(waiting);
        self.turns.ready.notify_all();
        drop(rest);
    }
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        give_way();
        while let Some(work) = self.next() {
            // Whoever waits for it finds that it was dropped.
            if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
                error!("a slow decision ended in a defect");
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(work) = waiting.next() {
                return Some(work);
            }
            waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Work> {
        let policy = self.order.pop_front()?;
        let work = self.work.get_mut(&policy)?;
        let next = work.pop_front();
        if work.is_empty() {
            self.work.remove(&policy);
        } else {
            self.order.push_back(policy);
        }
        next
    }
}

/// Lets all other threads go first where the processor is busy.
fn give_way() {
    // Linux counts niceness by thread; elsewhere it would be that of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        error!(%error, "a thread for slow policies can't give way to others");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn each_policy_has_its_turn() {
        let workers = Workers::new(1, 1 << 20);
        let done = Arc::new(Mutex::new(Vec::new()));
        let policies = [Digest::of(b"flood"), Digest::of(b"calm")].map(Some);
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = workers.run(None, move || gate.recv().is_err());
        let note = |name: &'static str| {
            let done = done.clone();
            move || done.lock().unwrap().push(name)
        };
        let flood = (0..5).map(|_| workers.run(policies[0], note("flood")));
        let calm = (0..2).map(|_| workers.run(policies[1], note("calm")));
        let rest =
            futures_util::future::join_all(flood.map(|run| run.boxed()).chain(calm.map(|run| run.boxed())));
        // All waits before the first is through.
        let opened = async { drop(open) };
        let (first, rest, ()) = tokio::join!(biased; first, rest, opened);
        assert_eq!((first, rest.len()), (Some(true), 7));
        let done = done.lock().unwrap().clone();
        assert_eq!(done, ["flood", "calm", "flood", "calm", "flood", "flood", "flood"]);
    }

    #[tokio::test]
    async fn what_panics_is_none_and_ends_no_thread() {
        for threads in [0, 1] {
            let workers = Workers::new(threads, 1 << 20);
            assert_eq!(workers.run(None, || -> u8 { panic!("a defect") }).await, None);
            assert_eq!(workers.run(None, || 7_u8).await, Some(7));
        }
    }
}
