//! Binding terms to a customer: prepared first, then bound by the customer's lane.

use crate::{engine::Engine, error::EngineError, terms::TermsInput};
use proviso_decide::{
    command::{Command, Outcome, Reply, Request},
    precondition::{Expected, Subject},
};
use proviso_ledger::{model::ids::CustomerId, state::Origin};

impl Engine {
    /// Binds terms to a customer; they win over those of its plan. `expected` is about the customer.
    ///
    /// # Errors
    /// Those of [`Engine::prepare_terms`] and of [`Engine::execute`].
    pub async fn bind_customer_terms(
        &self,
        customer: CustomerId,
        input: TermsInput,
        expected: Expected,
        origin: Origin,
    ) -> Result<Outcome, EngineError> {
        // The version that answered the first request may be deleted by now, so a repeat is not prepared again.
        if let Some(idempotency) = &origin.idempotency
            && let Some(outcome) = self.answered(&customer, idempotency).await?
        {
            return Ok(outcome);
        }
        let terms = self.prepare_terms(input).await?;
        let command = expected.of(Subject::Customer, Command::BindTerms(Box::new(terms)));
        let request = Request { customer, command, origin };
        match self.execute(request).await? {
            Reply::Entry(outcome) => Ok(outcome),
            _ => Err(EngineError::Internal("terms were bound without an entry".to_owned())),
        }
    }
}
