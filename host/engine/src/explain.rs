//! Refusals of a lane, told in full. A lane decides on a state that forgets what is closed, and refuses a check as it would
//! refuse the charge; what callers must know beyond that is found here, once, for the server and for every other caller.

use crate::{
    engine::{Asked, Engine},
    error::EngineError,
};
use proviso_decide::{
    DecideError,
    command::{CheckOutcome, Reply, UsageRequest},
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        ids::{CustomerId, Seq},
        transfer::Book,
    },
    rules::rejection::Rejection,
};

impl Engine {
    /// The reply, or the error as the caller should see it.
    pub(crate) async fn explained(
        &self,
        customer: &CustomerId,
        asked: Asked,
        error: EngineError,
    ) -> Result<Reply, EngineError> {
        match (asked, error) {
            (
                Asked::Check(usage),
                EngineError::Decide(
                    error @ (DecideError::NoTermsInForce | DecideError::Rejected(Rejection::CustomerClosed)),
                ),
            ) => self.not_allowed(customer, &usage, &error).await,
            // A state keeps no closed reservations: the journal tells those from ones that never were.
            (
                Asked::Close(id),
                EngineError::Decide(DecideError::Rejected(Rejection::ReservationClosed(_))),
            ) => {
                let made = |entry: &Entry| id.index == 0 && matches!(entry.event, Event::Reserved(_));
                let rejection = if self.has_entry(customer, id.entry, made).await? {
                    Rejection::ReservationClosed(id)
                } else {
                    Rejection::ReservationNotFound(id)
                };
                Err(rejection.into())
            }
            // The same for leases.
            (Asked::Lease(id), EngineError::Decide(DecideError::Rejected(Rejection::LeaseClosed(_)))) => {
                self.opened_lease(customer, id).await?;
                Err(Rejection::LeaseClosed(id).into())
            }
            // The same for grants of which nothing is left.
            (Asked::Void(id), EngineError::Decide(DecideError::Rejected(Rejection::GrantNotFound(_)))) => {
                let made =
                    |entry: &Entry| entry.transfers.iter().any(|transfer| transfer.to == Book::Grant(id));
                let rejection = if self.has_entry(customer, id.entry, made).await? {
                    Rejection::GrantClosed(id)
                } else {
                    Rejection::GrantNotFound(id)
                };
                Err(rejection.into())
            }
            // And for top-ups of long ago.
            (Asked::TopUp(id), EngineError::Decide(DecideError::Rejected(Rejection::TopUpNotFound(_)))) => {
                let made = |entry: &Entry| id.index == 0 && matches!(entry.event, Event::TopUpRequested(_));
                let rejection = if self.has_entry(customer, id.entry, made).await? {
                    Rejection::TopUpClosed(id, "closed")
                } else {
                    Rejection::TopUpNotFound(id)
                };
                Err(rejection.into())
            }
            (_, error) => Err(error),
        }
    }

    /// A charge would be refused before any policy is asked: that answers a check, it does not fail it.
    async fn not_allowed(
        &self,
        customer: &CustomerId,
        usage: &UsageRequest,
        error: &DecideError,
    ) -> Result<Reply, EngineError> {
        let reason = match error {
            DecideError::NoTermsInForce => "no_terms_in_force",
            _ => "customer_closed",
        };
        let state = self.state(customer).await?;
        let at = self.clock().now().max(state.at);
        Ok(Reply::Check(Box::new(CheckOutcome {
            allowed: false,
            reason: reason.to_owned(),
            detail: error.to_string(),
            ..CheckOutcome::unrated(&state, &usage.feature, state.main_credit(), at)
        })))
    }

    async fn has_entry(
        &self,
        customer: &CustomerId,
        seq: Seq,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<bool, EngineError> {
        Ok(self.find_entry(customer, seq).await?.is_some_and(|entry| fits(&entry)))
    }
}
