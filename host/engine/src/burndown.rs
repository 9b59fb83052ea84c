//! What grants had left at each of some instants, ready to chart: a fold of the journal that is looked at on the way.

use crate::{engine::Engine, error::EngineError};
use proviso_ledger::{
    model::{
        amounts::Credits,
        grant::Grant,
        ids::{CustomerId, GrantId},
        time::Timestamp,
    },
    state::{CustomerState, GrantStatus},
};
use std::{collections::BTreeMap, sync::Arc};

/// Entries that are read at a time.
const PAGE: u32 = 1_000;

/// What a grant had left, what reservations held of it included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burndown {
    /// The grant.
    pub grant: Arc<Grant>,
    /// At each of the instants.
    pub left: Vec<Credits>,
}

impl Engine {
    /// What each grant had left at these instants, which are in order and not ahead of now, with all that was due by then. Grants
    /// that had nothing left at any of them are not in it.
    ///
    /// # Errors
    /// An unknown customer, a damaged journal, or the store's.
    pub async fn burndown(
        &self,
        customer: &CustomerId,
        instants: &[Timestamp],
    ) -> Result<Vec<Burndown>, EngineError> {
        let Some(first) = instants.first() else { return Ok(Vec::new()) };
        let mut state = self.state_at(customer, *first).await?;
        let mut grants: BTreeMap<GrantId, Burndown> = BTreeMap::new();
        let mut place = 0;
        loop {
            let page = self.shared.store.entries(customer, state.seq, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for stored in page {
                while instants.get(place).is_some_and(|at| *at < stored.at) {
                    look(&state, place, instants.len(), &mut grants);
                    place += 1;
                }
                if place == instants.len() {
                    return Ok(grants.into_values().collect());
                }
                let folded = state.fold(stored.seq, &stored.body, &stored.hash);
                folded.map_err(|error| EngineError::journal(customer, error))?;
            }
            if is_last {
                break;
            }
        }
        while place < instants.len() {
            look(&state, place, instants.len(), &mut grants);
            place += 1;
        }
        Ok(grants.into_values().collect())
    }
}

fn look(state: &CustomerState, place: usize, count: usize, grants: &mut BTreeMap<GrantId, Burndown>) {
    for one in state.grants.iter().filter(|one| one.status == GrantStatus::Live) {
        let left = one.remaining.saturating_add(one.held);
        if left.is_positive() {
            let new = || Burndown { grant: one.grant.clone(), left: vec![Credits::ZERO; count] };
            let series = grants.entry(one.grant.id).or_insert_with(new);
            if let Some(point) = series.left.get_mut(place) {
                *point = left;
            }
        }
    }
}
