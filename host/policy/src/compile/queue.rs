//! How many compilations run at once and how many wait. Loading a module that is in force goes before uploads and is never
//! turned away: a tenant who uploads a lot must not stop the policies of others.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a module is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be judged.
    Upload,
    /// To be run: it was judged before.
    Load,
}

#[derive(Debug)]
pub(super) struct Queue {
    at_once: usize,
    waiting_uploads: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    running: usize,
    loads: usize,
    uploads: usize,
}

/// Leave to compile, until it is dropped.
pub(super) struct Slot<'a>(&'a Queue);

impl Queue {
    pub(super) const fn new(at_once: usize, waiting_uploads: usize) -> Self {
        let state = State { running: 0, loads: 0, uploads: 0 };
        // Without a slot every compilation would wait for ever.
        let at_once = if at_once == 0 { 1 } else { at_once };
        Self { at_once, waiting_uploads, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// Waits for a slot; none when too many uploads wait already.
    pub(super) fn enter(&self, purpose: Purpose) -> Option<Slot<'_>> {
        let mut state = self.lock();
        match purpose {
            Purpose::Load => state.loads += 1,
            Purpose::Upload => {
                let is_free = state.running < self.at_once && state.loads == 0 && state.uploads == 0;
                if !is_free && state.uploads >= self.waiting_uploads {
                    return None;
                }
                state.uploads += 1;
            }
        }
        let must_wait = |state: &mut State| {
            state.running >= self.at_once || (purpose == Purpose::Upload && state.loads > 0)
        };
        let mut state = self.freed.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner);
        match purpose {
            Purpose::Load => state.loads -= 1,
            Purpose::Upload => state.uploads -= 1,
        }
        state.running += 1;
        // The last load that waited may have held back uploads for which there are slots.
        self.freed.notify_all();
        Some(Slot(self))
    }

    /// Nothing panics while it is held, and the numbers are whole even then.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc::channel, thread};

    fn waiting(queue: &Queue) -> (usize, usize) {
        let state = queue.lock();
        (state.loads, state.uploads)
    }

    /// Starts `purpose` on a thread and returns once it waits.
    fn wait<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        queue: &'scope Queue,
        purpose: Purpose,
        told: &std::sync::mpsc::Sender<Purpose>,
    ) {
        let before = waiting(queue);
        let told = told.clone();
        scope.spawn(move || {
            let slot = queue.enter(purpose).unwrap();
            told.send(purpose).unwrap();
            drop(slot);
        });
        while waiting(queue) == before {
            thread::yield_now();
        }
    }

    #[test]
    fn loads_go_first_and_only_uploads_are_turned_away() {
        let queue = Queue::new(2, 1);
        let (told, order) = channel();
        let slots = [Purpose::Upload, Purpose::Load].map(|purpose| queue.enter(purpose).unwrap());
        thread::scope(|scope| {
            wait(scope, &queue, Purpose::Upload, &told);
            assert!(queue.enter(Purpose::Upload).is_none(), "one upload may wait");
            for _ in 0..3 {
                wait(scope, &queue, Purpose::Load, &told);
            }
            let [one, other] = slots;
            // With a single slot the order is seen.
            drop(one);
            let order: Vec<_> = order.iter().take(4).collect();
            assert_eq!(order.last(), Some(&Purpose::Upload), "{order:?}");
            drop(other);
        });
        let state = queue.lock();
        assert_eq!((state.running, state.loads, state.uploads), (0, 0, 0));
    }

    #[test]
    fn no_upload_waits_where_none_may() {
        let queue = Queue::new(0, 0);
        let slot = queue.enter(Purpose::Upload).unwrap();
        assert!(queue.enter(Purpose::Upload).is_none());
        drop(slot);
        assert!(queue.enter(Purpose::Upload).is_some());
    }
}
