//! What a customer is: its profile, its closing, its terms and entitlement overrides.

use super::rejection::Rejection;
use crate::{
    journal::{Configured, Event},
    model::{
        customer::Profile,
        entitlement::Override,
        ids::{Key, TermsId},
        terms::{Owner, TermsDraft, TermsKey},
        time::Timestamp,
    },
    state::{CustomerState, Draft},
};
use std::sync::Arc;

impl CustomerState {
    /// The entry that creates or changes the customer. A change of zone or anchor moves the running period's end.
    ///
    /// A change of plan needs the running period to be closed before and one to be opened after.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`].
    pub fn configure(&self, at: Timestamp, profile: Profile) -> Result<Draft, Rejection> {
        self.require_open()?;
        let schedule = profile.schedule();
        let period_end = self.period.as_ref().and(schedule).and_then(|schedule| schedule.next_after(at));
        Ok(Draft::new(Event::Configured(Configured { profile, period_end, plan_change: None })))
    }

    /// The entry that closes the customer. A running period must be closed before.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`].
    pub fn close_customer(&self) -> Result<Draft, Rejection> {
        self.require_open()?;
        Ok(Draft::new(Event::Closed {}))
    }

    /// The entry that binds terms to the customer. They are numbered by the entry that binds them.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`]; an end that is not after the start; too many terms.
    pub fn bind_terms(&self, at: Timestamp, draft: TermsDraft) -> Result<Draft, Rejection> {
        self.require_open()?;
        self.require_place_for_terms(&draft)?;
        let key = TermsKey { owner: Owner::Customer, id: TermsId { entry: self.seq + 1, index: 0 } };
        Ok(Draft::new(Event::TermsBound(Arc::new(draft.bind(key, at, &self.terms)?))))
    }

    /// The entry that gives the customer's terms an end.
    ///
    /// # Errors
    /// Terms that don't exist or ended before; an end in the past.
    pub fn end_terms(&self, at: Timestamp, id: TermsId, ends_at: Timestamp) -> Result<Draft, Rejection> {
        let terms = self.terms.iter().find(|terms| terms.key.id == id).ok_or(Rejection::TermsNotFound)?;
        match terms.ends_at {
            Some(end) if end <= at => Err(Rejection::TermsEnded(end)),
            _ if ends_at < at => Err(Rejection::NotLater("ends_at", at)),
            _ => Ok(Draft::new(Event::TermsEnded { id, ends_at })),
        }
    }

    /// The entry that sets an entitlement apart from the plan.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`]; an end that is not after the start; too many overrides.
    pub fn set_override(&self, exception: Override) -> Result<Draft, Rejection> {
        self.require_open()?;
        if exception.ends_at.is_some_and(|end| end <= exception.starts_at) {
            return Err(Rejection::NotLater("ends_at", exception.starts_at));
        }
        self.require_place_for_override(&exception.entitlement)?;
        Ok(Draft::new(Event::OverrideSet(exception)))
    }

    /// The entry that takes a feature's overrides back.
    #[must_use]
    pub fn remove_override(&self, feature: Key) -> Draft {
        Draft::new(Event::OverrideRemoved { feature })
    }

    /// Says whether the customer may be charged.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`].
    pub fn require_open(&self) -> Result<(), Rejection> {
        if self.closed { Err(Rejection::CustomerClosed) } else { Ok(()) }
    }
}
