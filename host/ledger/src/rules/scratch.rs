//! The end or the beginning of a period being worked out: each step moves credits on a copy, so that the next one sees what
//! is left.

use super::{
    bounds::{MOST_BYTES, MOST_LIVE, grant_bytes},
    draw::{Use, draw_transfers},
    grants::check_end,
};
use crate::{
    journal::Settlement,
    model::{
        amounts::Credits,
        answers::{self, SettleMethod},
        grant::{CreditType, Grant},
        ids::GrantId,
        time::Timestamp,
        transfer::{Book, Transfer},
    },
    state::{CustomerState, GrantStatus},
};
use std::collections::BTreeSet;

pub(super) struct Scratch {
    pub state: CustomerState,
    pub transfers: Vec<Transfer>,
    pub at: Timestamp,
    /// Grants that this entry makes, in order.
    pub grants: Vec<Grant>,
    /// Grants that it may not draw.
    pub barred: BTreeSet<GrantId>,
    /// How many live grants there were before.
    live: usize,
    /// What the callers' own data takes in all grants, in bytes.
    bytes: usize,
}

impl Scratch {
    pub fn new(state: &CustomerState, at: Timestamp) -> Self {
        Self {
            live: state.live_grants(),
            bytes: state.grants.iter().map(|state| grant_bytes(&state.grant)).sum(),
            state: state.clone(),
            transfers: Vec::new(),
            at,
            grants: Vec::new(),
            barred: BTreeSet::new(),
        }
    }

    pub fn step(&mut self, credit: &CreditType, from: Book, to: Book, amount: Credits) -> Result<(), String> {
        if amount.is_zero() {
            return Ok(());
        }
        self.carry_out(Transfer::new(credit, from, to, amount))
    }

    pub fn carry_out(&mut self, transfer: Transfer) -> Result<(), String> {
        if self.state.too_many_credit_types(&transfer.credit).is_some() {
            return Err(format!("{} would be one credit type too many", transfer.credit));
        }
        self.state.move_credits(&transfer)?;
        self.transfers.push(transfer);
        Ok(())
    }

    pub fn live(&self, id: GrantId) -> Result<Grant, String> {
        match self.state.grant(id) {
            Some(state) if state.status == GrantStatus::Live => Ok((*state.grant).clone()),
            _ => Err(format!("{id} is no live grant")),
        }
    }

    pub fn next_id(&self) -> Result<GrantId, String> {
        let index = u32::try_from(self.grants.len()).map_err(|_| "too many grants".to_owned())?;
        Ok(GrantId { index, ..self.state.next_grant() })
    }

    /// How many more grants there may be.
    pub fn free_places(&self) -> usize {
        // A customer that may be given no more must still get what its periods bring, and carry over what it has.
        (MOST_LIVE * 2).saturating_sub(self.live + self.grants.len())
    }

    /// Adds a grant without its credits, as of `at`. It may begin with nothing, where it takes credits that come back.
    pub fn add(&mut self, grant: Grant, at: Timestamp) -> Result<(), String> {
        check_end(&grant, at).map_err(|rejection| rejection.to_string())?;
        if self.free_places() == 0 {
            return Err("there are too many live grants".to_owned());
        }
        self.bytes = self.bytes.saturating_add(grant_bytes(&grant));
        if self.bytes > MOST_BYTES * 2 {
            return Err(format!("the features of grants would take more than {} bytes", MOST_BYTES * 2));
        }
        self.state.add_grant(&grant);
        self.grants.push(grant);
        Ok(())
    }

    pub fn expire(&mut self, id: GrantId) -> Result<(), String> {
        let credit = self.live(id)?.credit;
        let remaining = self.state.grant(id).map_or(Credits::ZERO, |state| state.remaining);
        self.step(&credit, Book::Grant(id), Book::Expired, remaining)?;
        let grant = self.state.grant_mut(id)?;
        grant.status = GrantStatus::Expired;
        grant.ended_at = Some(self.at);
        Ok(())
    }

    /// Draws a cost of no feature; what grants don't cover becomes overage.
    pub fn draw(&mut self, credit: &CreditType, amount: Credits) -> Result<(), String> {
        let missing = self.draw_into(credit, amount, Book::Spent)?;
        self.step(credit, Book::Overage, Book::Spent, missing)
    }

    fn draw_into(&mut self, credit: &CreditType, amount: Credits, to: Book) -> Result<Credits, String> {
        let using = Use { barred: &self.barred, ..Use::general(credit, self.at) };
        let (draws, missing) = self.state.draw(using, amount, &[]);
        let transfers: Vec<Transfer> = draw_transfers(credit, &draws, to).collect();
        transfers.into_iter().try_for_each(|transfer| self.carry_out(transfer))?;
        Ok(missing)
    }

    pub fn settle(&mut self, settlement: answers::Settlement) -> Result<Option<Settlement>, String> {
        let answers::Settlement { credit, amount, method } = settlement;
        let outstanding = self.state.outstanding(&credit);
        let wanted = match amount {
            Some(amount) => {
                check_amount("a settlement", amount)?;
                if amount > outstanding {
                    return Err(format!("a settlement of {amount} for an overage of {outstanding}"));
                }
                amount
            }
            None => outstanding,
        };
        let settled = match method {
            SettleMethod::Invoice | SettleMethod::Waive => {
                self.step(&credit, Book::Issued, Book::Overage, wanted)?;
                wanted
            }
            SettleMethod::Deduct => {
                let missing = self.draw_into(&credit, wanted, Book::Overage)?;
                wanted.saturating_sub(missing)
            }
        };
        Ok(settled.is_positive().then_some(Settlement { credit, amount: settled, method }))
    }
}

pub(super) fn check_amount(what: &str, amount: Credits) -> Result<(), String> {
    if amount > Credits::ZERO && amount.is_acceptable() {
        Ok(())
    } else {
        Err(format!("{what} of {amount} is not above 0 and at most {}", Credits::LARGEST))
    }
}
