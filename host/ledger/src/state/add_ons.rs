//! The add-ons of a customer, with what they have given.

use super::CustomerState;
use crate::{
    journal::{AddOnGiving, Entry, Event, Given},
    model::{
        add_on::{AddOnCycle, Attachment},
        amounts::Credits,
        ids::{Key, Name},
        time::Timestamp,
    },
};
use serde::{Deserialize, Serialize};

/// An add-on that a customer has or had. It stays when it has ended, so that who takes it again is given nothing twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOnState {
    /// How the customer has it, or had it last.
    pub attachment: Attachment,
    /// The last cycle that began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycle: Option<AddOnCycle>,
    /// What it has given in that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// What its one-time grants have ever given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<(Key, Credits)>,
    /// When it gives again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

impl CustomerState {
    /// The add-on, where the customer has it at `at` or will have it.
    #[must_use]
    pub fn add_on(&self, add_on: &Name, at: Timestamp) -> Option<&AddOnState> {
        self.add_ons.get(add_on).filter(|state| !state.attachment.is_over(at))
    }

    /// When the next add-on gives something by itself, and which.
    #[must_use]
    pub fn next_add_on(&self) -> Option<(Timestamp, &Name)> {
        if self.closed {
            return None;
        }
        let due = self.add_ons.iter().filter_map(|(add_on, state)| Some((state.next_at?, add_on)));
        due.min_by_key(|(at, _)| *at)
    }

    /// Takes note of what an entry says of add-ons.
    pub(crate) fn note_add_on(&mut self, entry: &Entry) {
        match &entry.event {
            Event::AddOnChanged(changed) => {
                let attachment = changed.attachment.clone();
                let giving = &changed.giving;
                match self.add_ons.get_mut(&changed.add_on) {
                    Some(state) => {
                        state.attachment = attachment;
                        state.take(giving);
                    }
                    None => {
                        let (cycle, given, once) = (None, Vec::new(), Vec::new());
                        let mut state = AddOnState { attachment, cycle, given, once, next_at: None };
                        state.take(giving);
                        self.add_ons.insert(changed.add_on.clone(), state);
                    }
                }
            }
            Event::AddOnGiven(given) => {
                if let Some(state) = self.add_ons.get_mut(&given.add_on) {
                    state.take(&given.giving);
                }
            }
            Event::AddOnEnded(ended) => {
                if let Some(state) = self.add_ons.get_mut(&ended.add_on) {
                    state.attachment.ends_at = Some(entry.at);
                    state.next_at = None;
                }
            }
            _ => {}
        }
    }
}

impl AddOnState {
    fn take(&mut self, giving: &AddOnGiving) {
        self.cycle = giving.cycle;
        self.given.clone_from(&giving.given);
        self.once.clone_from(&giving.once);
        self.next_at = giving.next_at;
    }
}
