//! Charges of the past and their refunds. A state remembers neither: a charge is read by its number, its refunds by their keys,
//! each of which the store takes once. So a refund that was decided on an old reading is never written, on whichever host.

use crate::{
    engine::Engine,
    error::EngineError,
    idempotency::{key_hash, refund_hash},
};
use proviso_decide::{
    DecideError,
    command::{Command, Outcome, Reply, Request},
};
use proviso_ledger::{
    journal::Entry,
    model::{
        grant::Grant,
        ids::{ChargeId, CustomerId, GrantId, IdempotencyKey, Seq},
    },
    rules::{
        refund::{MOST_REFUNDS, RefundRequest, Refundable},
        rejection::Rejection,
    },
    state::{CustomerState, Origin},
};
use std::{collections::BTreeMap, sync::Arc};

/// A charge and what was refunded of it.
#[derive(Debug)]
pub struct RefundedCharge {
    /// The entry of the charge or commit.
    pub charge: Arc<Entry>,
    /// The entry of its last refund.
    pub last: Option<Arc<Entry>>,
}

impl Engine {
    /// A charge or commit, however long ago it was.
    ///
    /// # Errors
    /// An unknown customer or charge, a damaged journal, or the store's.
    pub async fn charge(&self, customer: &CustomerId, id: ChargeId) -> Result<RefundedCharge, EngineError> {
        self.state(customer).await?;
        self.read_charge(customer, id).await
    }

    /// Refunds a charge. Refunds of one charge that come at once are decided one after another.
    ///
    /// # Errors
    /// See [`CustomerState::refund`] and [`EngineError`].
    pub async fn refund(
        &self,
        customer: &CustomerId,
        id: ChargeId,
        refund: RefundRequest,
        origin: Origin,
    ) -> Result<Outcome, EngineError> {
        // Each time that it is too late, another one has been made, and a charge has no more than so many.
        for _ in 0..=MOST_REFUNDS {
            let state = self.state(customer).await?;
            let RefundedCharge { charge, last } = self.read_charge(customer, id).await?;
            let grants = self.forgotten_grants(&state, &charge).await?;
            let reserved = self.reserved(customer, &charge).await?;
            let of = Refundable { charge, reserved, last, grants };
            let command = Command::Refund(Box::new(of), Box::new(refund.clone()));
            let request = Request { customer: customer.clone(), command, origin: origin.clone() };
            match self.execute(request).await {
                Err(EngineError::Decide(DecideError::Rejected(Rejection::RefundedMeanwhile))) => {}
                Ok(Reply::Entry(outcome)) => return Ok(outcome),
                Ok(other) => {
                    return Err(EngineError::Internal(format!("a refund was answered with {other:?}")));
                }
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::Contention)
    }

    async fn read_charge(&self, customer: &CustomerId, id: ChargeId) -> Result<RefundedCharge, EngineError> {
        let charge = if id.index == 0 { self.find_entry(customer, id.entry).await? } else { None };
        let charge = charge.filter(|entry| entry.charged_usage().is_some());
        let charge = charge.ok_or(Rejection::ChargeNotFound(id))?;
        let keys: Vec<_> =
            (1..=MOST_REFUNDS).map(|number| (customer.clone(), refund_hash(id, number))).collect();
        let last = self.shared.store.find_keys(&keys).await?.into_iter().flatten().max();
        let last = match last {
            Some(seq) => Some(self.shared.entry(customer, seq).await?),
            None => None,
        };
        Ok(RefundedCharge { charge, last })
    }

    /// The entry that made the reservation of a commit.
    async fn reserved(
        &self,
        customer: &CustomerId,
        charge: &Entry,
    ) -> Result<Option<Arc<Entry>>, EngineError> {
        match charge.commits() {
            Some(id) => self.find_entry(customer, id.entry).await,
            None => Ok(None),
        }
    }

    /// The grants that a charge drew and that the state has forgotten.
    async fn forgotten_grants(
        &self,
        state: &CustomerState,
        charge: &Entry,
    ) -> Result<Vec<Grant>, EngineError> {
        let mut by_entry: BTreeMap<Seq, Vec<GrantId>> = BTreeMap::new();
        for draw in charge.draws().iter().filter(|draw| state.grant(draw.grant).is_none()) {
            by_entry.entry(draw.grant.entry).or_default().push(draw.grant);
        }
        let mut grants = Vec::new();
        for (seq, ids) in by_entry {
            let entry = self.shared.entry(&state.customer, seq).await?;
            grants.extend(entry.grants().iter().filter(|grant| ids.contains(&grant.id)).cloned());
        }
        Ok(grants)
    }
}

impl Engine {
    /// The charge that was made under a key; none where the key is unknown, or what came under it was no charge that was taken.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn charge_under(
        &self,
        customer: &CustomerId,
        key: &IdempotencyKey,
    ) -> Result<Option<ChargeId>, EngineError> {
        let found = self.shared.store.find_keys(&[(customer.clone(), key_hash(key))]).await?;
        let Some(seq) = found.into_iter().next().flatten() else { return Ok(None) };
        let entry = self.shared.entry(customer, seq).await?;
        Ok(entry.charged_usage().map(|_| entry.charge_id()))
    }
}
