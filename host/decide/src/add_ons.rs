//! Add-ons: how a customer gets and changes them.

use crate::{
    DecideError, Decider, Stop,
    change::Change,
    precondition::{Expected, Tag},
};
use proviso_ledger::{
    model::{add_on::Attachment, ids::Name, time::Timestamp},
    state::{CustomerState, Draft},
};

/// How an add-on is attached to a customer or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct AddOnChange {
    /// Which add-on.
    pub add_on: Name,
    /// How many of it; defaults to 1.
    pub quantity: Change<u32>,
    /// The version that is sold by now; none keeps the one that the customer was sold.
    pub version: Option<u32>,
    /// From when; defaults to now.
    pub starts_at: Change<Timestamp>,
    /// Until when, exclusive; defaults to for ever.
    pub ends_at: Change<Timestamp>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

/// The tag of an add-on as a customer has it at `at`; none for one that it does not have.
///
/// # Errors
/// One that can't be written as JSON.
pub fn add_on_tag(state: &CustomerState, add_on: &Name, at: Timestamp) -> Result<Option<Tag>, DecideError> {
    state.add_on(add_on, at).map(|state| Tag::of(&state.attachment)).transpose()
}

impl Decider<'_> {
    /// The entry that attaches an add-on or changes it; none where it is so already.
    pub(crate) fn set_add_on(
        &self,
        state: &CustomerState,
        change: &AddOnChange,
        at: Timestamp,
    ) -> Result<Option<Draft>, Stop> {
        let AddOnChange { add_on: name, quantity, version, starts_at, ends_at, expected } = change;
        expected.check(|| add_on_tag(state, name, at))?;
        let before = state.add_on(name, at).map(|state| &state.attachment);
        let newest = self.plans.add_on(name);
        let keeps = before.filter(|before| version.is_none_or(|version| version == before.sold.version));
        let sold = match keeps {
            Some(before) => before.sold.clone(),
            None => {
                let newest = newest.ok_or_else(|| DecideError::AddOnNotFound(name.clone()))?;
                let sold = &newest.sold;
                if !newest.for_sale {
                    return Err(DecideError::AddOnWithdrawn(name.clone()).into());
                }
                if let Some(version) = version.filter(|version| *version != sold.version) {
                    return Err(DecideError::AddOnVersionNotSold(name.clone(), version, sold.version).into());
                }
                sold.clone()
            }
        };
        let had = before.map(|before| before.quantity);
        let quantity = quantity.apply(had).unwrap_or(1);
        let most = newest.and_then(|newest| newest.max_quantity);
        if let Some(most) = most.filter(|most| quantity > (*most).max(had.unwrap_or(0))) {
            return Err(DecideError::AddOnQuantity(most).into());
        }
        let start = before.map_or(at, |before| before.starts_at);
        let starts_at = match starts_at {
            // What has begun stays begun.
            Change::Clear if before.is_some_and(|before| before.starts_at <= at) => start,
            Change::Clear => at,
            starts_at => starts_at.apply(Some(start)).unwrap_or(at),
        };
        let ends_at = ends_at.apply(before.and_then(|before| before.ends_at));
        let attachment = Attachment { sold, quantity, starts_at, ends_at };
        if before == Some(&attachment) {
            return Ok(None);
        }
        Ok(Some(state.set_add_on(at, name.clone(), attachment, &self.grant_terms(state, at))?))
    }

    /// The entry for what an add-on gives that is due.
    pub(crate) fn due_add_on(&self, state: &CustomerState, at: Timestamp) -> Result<Draft, Stop> {
        let draft = state.due_add_on(at, &self.grant_terms(state, at))?;
        draft.ok_or_else(|| DecideError::Internal("no add-on is due".to_owned()).into())
    }
}
