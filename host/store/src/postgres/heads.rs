//! The numbers of the last entries that this process wrote, so that the next commit need not look for them: where the
//! entry before is known to exist, the primary key alone tells whether another host was first.
//!
//! A number is true only on the server that stored the entry. Another server in its place may lack what this one has
//! acknowledged (a standby that lagged behind and was promoted), and a commit must notice that. So sessions belong to
//! generations: all of one generation are of one run of one server, told by when it started, and none of them is lost.
//! Numbers are noted and used only through sessions of the newest generation. What a session of an older one reports,
//! however late, is ignored.

use crate::batch::JournalPrecondition;
use proviso_ledger::model::ids::{CustomerId, Seq};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Customers that are remembered; with more, all are forgotten.
const MOST: usize = 65_536;

/// When a server was started, in microseconds by its own clock. Tells it from every server that may take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerStart(pub i64);

/// Which sessions a session belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u64);

/// Last entries by customer.
#[derive(Debug, Default)]
pub struct Heads(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    generation: u64,
    /// The server of this generation; None before its first session.
    server: Option<ServerStart>,
    heads: HashMap<CustomerId, Seq>,
}

impl Known {
    fn begin_generation(&mut self, server: Option<ServerStart>) {
        self.generation += 1;
        self.server = server;
        self.heads.clear();
    }
}

impl Heads {
    /// The generation of a new session.
    pub fn join(&self, server: ServerStart) -> Generation {
        let mut known = self.known();
        match known.server {
            None => known.server = Some(server),
            Some(known_server) if known_server != server => known.begin_generation(Some(server)),
            Some(_) => {}
        }
        Generation(known.generation)
    }

    /// Ends a generation of which a session was lost, unless it has ended already.
    pub fn end(&self, generation: Generation) {
        let mut known = self.known();
        if known.generation == generation.0 {
            known.begin_generation(None);
        }
    }

    pub fn is_current(&self, generation: Generation) -> bool {
        self.known().generation == generation.0
    }

    /// Notes the last entries that a commit left, which was acknowledged to a session of this generation.
    pub fn note<'a>(&self, generation: Generation, heads: impl Iterator<Item = (&'a CustomerId, Seq)>) {
        let mut known = self.known();
        if known.generation != generation.0 {
            return;
        }
        let known = &mut known.heads;
        if known.len() > MOST {
            known.clear();
        }
        for (customer, head) in heads {
            match known.get_mut(customer) {
                Some(known) => *known = head,
                None => drop(known.insert(customer.clone(), head)),
            }
        }
    }

    /// Removes from `journals` those whose next entry follows the known last one, for a commit on a session of this
    /// generation.
    pub fn remove_known(
        &self,
        generation: Generation,
        journals: &mut Vec<(&CustomerId, JournalPrecondition)>,
    ) {
        let known = self.known();
        if known.generation == generation.0 {
            journals.retain(|(customer, journal)| {
                journal.last.is_none() || known.heads.get(*customer) != Some(journal.heads.start())
            });
        }
    }

    /// Forgets all numbers, because one was found to be wrong.
    pub fn forget(&self) {
        self.known().heads.clear();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: ServerStart = ServerStart(1);
    const NEW: ServerStart = ServerStart(2);

    fn acme() -> CustomerId {
        "acme".parse().unwrap()
    }

    /// Whether a commit of entry 4 through a session of this generation looks for entry 3.
    fn looks(heads: &Heads, generation: Generation) -> bool {
        let acme = acme();
        let mut journals = vec![(&acme, JournalPrecondition { heads: 3..=3, last: Some(4) })];
        heads.remove_known(generation, &mut journals);
        !journals.is_empty()
    }

    /// What happens to the session that commits, and to another one.
    #[derive(Debug, Clone, Copy)]
    enum SessionEvent {
        /// Entry 3, which the first session wrote, is noted.
        Note,
        /// Another session is lost.
        Lose,
        /// Another session connects.
        Join(ServerStart),
    }

    #[test]
    fn a_note_of_an_older_generation_is_never_used() {
        use SessionEvent::{Join, Lose, Note};
        for (events, looks_on_newest) in [
            // The pool grows: one server, so one generation.
            (&[Note][..], false),
            (&[Note, Join(OLD)], false),
            (&[Join(OLD), Note], false),
            // A failover that shows in another session, at every point around the note.
            (&[Note, Lose, Join(NEW)], true),
            (&[Lose, Note, Join(NEW)], true),
            (&[Lose, Join(NEW), Note], true),
            // A failover that no session was lost by.
            (&[Note, Join(NEW)], true),
            (&[Join(NEW), Note], true),
            // A lost session alone is reason enough to look again.
            (&[Lose, Join(OLD), Note], true),
            (&[Note, Lose, Join(OLD)], true),
        ] {
            let heads = Heads::default();
            let first = heads.join(OLD);
            let (mut other, mut newest) = (first, first);
            for event in events {
                match event {
                    Note => heads.note(first, [(&acme(), 3)].into_iter()),
                    Lose => heads.end(other),
                    Join(server) => {
                        other = heads.join(*server);
                        newest = other;
                    }
                }
            }
            assert_eq!(looks(&heads, newest), looks_on_newest, "{events:?}");
            // The session that committed knows no more than the newest, and nothing once it is of an older generation.
            assert_eq!(looks(&heads, first), looks_on_newest || !heads.is_current(first), "{events:?}");
        }
    }

    #[test]
    fn sessions_that_are_lost_together_begin_one_generation() {
        let heads = Heads::default();
        let (one, other) = (heads.join(OLD), heads.join(OLD));
        heads.end(one);
        let renewed = heads.join(NEW);
        heads.note(renewed, [(&acme(), 3)].into_iter());
        // Found out later, and says nothing about the new server.
        heads.end(other);
        assert!(heads.is_current(renewed));
        assert!(!looks(&heads, renewed));
        heads.forget();
        assert!(looks(&heads, renewed));
    }
}
