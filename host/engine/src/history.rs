//! Reservations, leases and grants that a customer's state has forgotten: the journal still has them, and each is found by its number.

use crate::{engine::Engine, error::EngineError, idempotency::end_hash};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        grant::Grant,
        ids::{CustomerId, GrantId, LeaseId, ReservationId},
    },
    rules::rejection::Rejection,
    state::CustomerState,
};
use std::sync::Arc;

/// A reservation that has ended.
#[derive(Debug)]
pub struct EndedReservation {
    /// The entry that made it.
    pub reserved: Arc<Entry>,
    /// The entry that ended it.
    pub end: Arc<Entry>,
}

impl Engine {
    /// A reservation that has ended, however long ago that was.
    ///
    /// # Errors
    /// One that never was, or that is open; a damaged journal, or the store's.
    pub async fn ended_reservation(
        &self,
        customer: &CustomerId,
        id: ReservationId,
    ) -> Result<EndedReservation, EngineError> {
        let reserved = if id.index == 0 { self.find_entry(customer, id.entry).await? } else { None };
        let reserved = reserved.filter(|entry| matches!(entry.event, Event::Reserved(_)));
        let reserved = reserved.ok_or(Rejection::ReservationNotFound(id))?;
        let found = self.shared.store.find_keys(&[(customer.clone(), end_hash(id))]).await?;
        let end = found.into_iter().flatten().next().ok_or(Rejection::ReservationClosed(id))?;
        Ok(EndedReservation { reserved, end: self.shared.entry(customer, end).await? })
    }

    /// The entry that opened a lease, whatever has become of it since.
    ///
    /// # Errors
    /// One that never was; a damaged journal, or the store's.
    pub async fn opened_lease(&self, customer: &CustomerId, id: LeaseId) -> Result<Arc<Entry>, EngineError> {
        let opened = if id.index == 0 { self.find_entry(customer, id.entry).await? } else { None };
        let opened = opened.filter(|entry| matches!(entry.event, Event::LeaseOpened(_)));
        Ok(opened.ok_or(Rejection::LeaseNotFound(id))?)
    }

    /// The entries that opened and ended a lease, however long ago that was.
    ///
    /// # Errors
    /// One that never was, or that is open; a damaged journal, or the store's.
    pub async fn ended_lease(
        &self,
        customer: &CustomerId,
        id: LeaseId,
    ) -> Result<(Arc<Entry>, Arc<Entry>), EngineError> {
        let opened = self.opened_lease(customer, id).await?;
        let found = self.shared.store.find_keys(&[(customer.clone(), end_hash(id.hold()))]).await?;
        let end = found.into_iter().flatten().next().ok_or(Rejection::LeaseClosed(id))?;
        Ok((opened, self.shared.entry(customer, end).await?))
    }

    /// A grant that the state has forgotten; `None` for one that never was.
    ///
    /// # Errors
    /// A damaged journal, or the store's.
    pub async fn forgotten_grant(
        &self,
        state: &CustomerState,
        id: GrantId,
    ) -> Result<Option<Grant>, EngineError> {
        let entry = self.find_entry(&state.customer, id.entry).await?;
        Ok(entry.and_then(|entry| entry.grants().iter().find(|grant| grant.id == id).cloned()))
    }
}
