//! The numbers of the last entries that this process wrote, so that the next ones need not be looked for before they are
//! written: where the entry before is known to be there, the primary key alone says whether another host was first.
//!
//! It holds only as long as the sessions do. A server that comes back, or another one in its place, may have lost what it
//! had said to be durable (a standby that lagged behind and was promoted), and that must show.

use crate::batch::Demand;
use proviso_ledger::model::ids::{CustomerId, Seq};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Customers that are remembered; with more, all are forgotten.
const MOST: usize = 65_536;

/// Last entries by customer.
#[derive(Debug, Default)]
pub struct Heads(Mutex<HashMap<CustomerId, Seq>>);

impl Heads {
    /// Notes what is durable.
    pub fn learn<'a>(&self, heads: impl Iterator<Item = (&'a CustomerId, Seq)>) {
        let mut known = self.known();
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

    /// Leaves out of `journals` those whose next entry has the number that must come next.
    pub fn leave_out_known(&self, journals: &mut Vec<(&CustomerId, Demand)>) {
        let known = self.known();
        journals.retain(|(customer, demand)| {
            demand.last.is_none() || known.get(*customer) != Some(demand.heads.start())
        });
    }

    /// Believes nothing any more.
    pub fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<CustomerId, Seq>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
