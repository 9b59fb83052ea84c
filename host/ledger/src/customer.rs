//! What a customer is: its profile, its closing, its terms and entitlement overrides.

use crate::{
    entitlement::Override,
    error::Rejection,
    ids::{Key, Name, TermsId},
    journal::{Configured, Event},
    period::{Interval, Schedule},
    state::{CustomerState, Draft, Period},
    terms::{Owner, Terms, TermsKey},
    time::{Timestamp, Zone},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The most live grants, reservations, terms or overrides that one customer has.
pub const MOST_LIVE: usize = 10_000;

/// A customer as the caller describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// For people.
    pub name: String,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Name>,
    /// The plan's interval, as it was when the plan was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// The zone in which periods and days are counted.
    pub time_zone: Zone,
    /// From where periods are counted.
    pub anchor: Timestamp,
    /// The caller's data, which policies may read.
    #[serde(with = "crate::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// Its ids in other systems, by the system's name; sorted by name.
    #[serde(with = "crate::pairs", default, skip_serializing_if = "Vec::is_empty")]
    pub external_ids: Vec<(String, String)>,
}

impl Profile {
    /// The rule of its periods; none without an interval.
    #[must_use]
    pub fn schedule(&self) -> Option<Schedule> {
        self.interval.map(|interval| Schedule { anchor: self.anchor, interval, zone: self.time_zone.clone() })
    }
}

impl CustomerState {
    /// The entry that creates or changes the customer.
    ///
    /// A change of plan leaves the period alone: a reset must follow. A change of zone or anchor moves its end.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`].
    pub fn configure(&self, at: Timestamp, profile: Profile) -> Result<Draft, Rejection> {
        self.require_open()?;
        let same_plan = self.profile.as_ref().is_some_and(|before| before.plan == profile.plan);
        let period = match (&self.period, profile.schedule()) {
            (Some(period), Some(schedule)) if same_plan => {
                Some(Period { end: schedule.next_after(at), ..period.clone() })
            }
            (Some(period), None) if same_plan => Some(Period { end: None, ..period.clone() }),
            (period, _) => period.clone(),
        };
        Ok(Draft::new(Event::Configured(Configured { profile, period })))
    }

    /// The entry that closes the customer.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`].
    pub fn close(&self) -> Result<Draft, Rejection> {
        self.require_open()?;
        Ok(Draft::new(Event::Closed {}))
    }

    /// The entry that binds terms to the customer. They are numbered by the entry that binds them.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`]; an end that is not after the start; too many terms.
    pub fn bind_terms(&self, at: Timestamp, mut terms: Terms) -> Result<Draft, Rejection> {
        self.require_open()?;
        if terms.effective_at < at {
            terms.effective_at = at;
        }
        if terms.ends_at.is_some_and(|end| end <= terms.effective_at) {
            return Err(Rejection::NotLater("ends_at", terms.effective_at));
        }
        if self.terms.len() >= MOST_LIVE {
            return Err(Rejection::TooMany(self.terms.len(), "terms"));
        }
        terms.key = TermsKey { owner: Owner::Customer, id: TermsId { entry: self.seq + 1, index: 0 } };
        terms.created_at = at;
        Ok(Draft::new(Event::TermsBound(Arc::new(terms))))
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
        if self.overrides.len() >= MOST_LIVE {
            return Err(Rejection::TooMany(self.overrides.len(), "overrides"));
        }
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
