//! Movements of credits between books, and what follows from them for grants, reservations and periods.

use super::{Account, CustomerState, GrantState, GrantStatus, ReservationState};
use crate::model::{
    amounts::Credits,
    grant::Grant,
    ids::{GrantId, ReservationId},
    time::Timestamp,
    transfer::{Book, Transfer},
};
use std::sync::Arc;

/// What of an amount that comes back to a grant that has ended goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flows {
    /// To what was carried over of the grant.
    pub rolled: Option<(GrantId, Credits)>,
    /// To the next allowance of its cycle.
    pub next: Option<(GrantId, Credits)>,
    /// What the next allowance lets expire first.
    skipped: Credits,
}

impl CustomerState {
    /// What of an `amount` that comes back to `grant` goes on: nothing, unless it has expired.
    pub(crate) fn flows(&self, grant: &GrantState, amount: Credits) -> Flows {
        let mut flows = Flows::default();
        if grant.status != GrantStatus::Expired {
            return flows;
        }
        let mut rest = amount;
        if let Some(onward) = grant.onward {
            let follows = onward.follows(amount);
            rest = rest.saturating_sub(follows);
            flows.rolled = Some((onward.to, follows));
        }
        let next = grant.next.and_then(|next| self.grant(next));
        if let Some((next, incoming)) = next.and_then(|next| Some((next.grant.id, next.incoming?))) {
            flows.skipped = rest.min(incoming.skip);
            flows.next = Some((next, rest.saturating_sub(flows.skipped).min(incoming.limit)));
        }
        flows
    }

    pub(crate) fn add_grant(&mut self, grant: &Grant) {
        let ends_at = self.grant_end(grant);
        let place = self
            .grants
            .partition_point(|other| other.grant.burn_down_order(other.ends_at, grant, ends_at).is_lt());
        let state = GrantState {
            grant: Arc::new(grant.clone()),
            remaining: Credits::ZERO,
            held: Credits::ZERO,
            spent: Credits::ZERO,
            expired: Credits::ZERO,
            voided: Credits::ZERO,
            status: GrantStatus::Live,
            usable_since: grant.effective_at,
            ends_at,
            ended_at: None,
            allowance_of: None,
            onward: None,
            next: None,
            incoming: None,
        };
        self.grants.insert(place, state);
    }

    /// Puts the ends of grants right that follow a period, after anchor, zone, interval or period changed.
    pub(crate) fn refresh_ends(&mut self) {
        let ends: Vec<Option<Timestamp>> =
            self.grants.iter().map(|state| self.grant_end(&state.grant)).collect();
        let mut moved = false;
        for (state, end) in self.grants.iter_mut().zip(ends) {
            // What has ended stays ended.
            if state.status == GrantStatus::Live && state.ends_at != end {
                state.ends_at = end;
                moved = true;
            }
        }
        if moved {
            self.sort_grants();
        }
    }

    fn sort_grants(&mut self) {
        self.grants.sort_by(|a, b| a.grant.burn_down_order(a.ends_at, &b.grant, b.ends_at));
    }

    pub(crate) fn grant_mut(&mut self, id: GrantId) -> Result<&mut GrantState, String> {
        self.grants.iter_mut().find(|grant| grant.grant.id == id).ok_or_else(|| format!("no grant {id}"))
    }

    pub(crate) fn end_grant(
        &mut self,
        id: GrantId,
        status: GrantStatus,
        at: Timestamp,
    ) -> Result<(), String> {
        let grant = self.grant_mut(id)?;
        grant.status = status;
        grant.ended_at = Some(at);
        // What ended early comes before what was carried on of it, when late usage draws both.
        if grant.ends_at != Some(at) {
            grant.ends_at = Some(at);
            self.sort_grants();
        }
        Ok(())
    }

    fn account_mut(&mut self, transfer: &Transfer) -> &mut Account {
        if !self.accounts.contains_key(&transfer.credit) {
            self.accounts.insert(transfer.credit.clone(), Account::default());
        }
        self.accounts.entry(transfer.credit.clone()).or_default()
    }

    /// Carries a movement out.
    ///
    /// # Errors
    /// One that its book can't give, or that names no book.
    pub(crate) fn move_credits(&mut self, transfer: &Transfer) -> Result<(), String> {
        let amount = transfer.amount;
        if amount <= Credits::ZERO {
            return Err(format!("a transfer of {amount}"));
        }
        match (transfer.from, transfer.to) {
            (Book::Issued, Book::Grant(id)) => {
                let grant = self.grant_mut(id)?;
                grant.remaining = more(grant.remaining, amount)?;
                let account = self.account_mut(transfer);
                account.issued = more(account.issued, amount)?;
            }
            (Book::Issued, Book::Overage) => {
                let account = self.account_mut(transfer);
                account.issued = more(account.issued, amount)?;
                account.overage = less(account.overage, amount)?;
            }
            (Book::Grant(id), to) => self.leave_grant(id, to, transfer)?,
            (Book::Overage, Book::Spent | Book::Reserved(_)) => {
                let account = self.account_mut(transfer);
                account.overage = more(account.overage, amount)?;
                self.arrive(transfer, None)?;
            }
            (Book::Reserved(id), to) => self.leave_reservation(id, to, transfer)?,
            // Usage of a time when the grant was live.
            (Book::Expired, Book::Grant(id)) => {
                let account = self.account_mut(transfer);
                account.expired = less(account.expired, amount)?;
                let grant = self.grant_mut(id)?;
                grant.expired = less(grant.expired, amount)?;
                grant.remaining = more(grant.remaining, amount)?;
                let allowance_of = grant.allowance_of;
                self.add_given(allowance_of, transfer, amount)?;
            }
            // What was spent of it is given back.
            (Book::Spent, Book::Grant(id)) => {
                let account = self.account_mut(transfer);
                account.spent = less(account.spent, amount)?;
                let grant = self.grant_mut(id)?;
                grant.spent = less(grant.spent, amount)?;
                grant.remaining = more(grant.remaining, amount)?;
            }
            (from, to) => return Err(format!("no movement goes from {from} to {to}")),
        }
        Ok(())
    }

    fn leave_grant(&mut self, id: GrantId, to: Book, transfer: &Transfer) -> Result<(), String> {
        let amount = transfer.amount;
        let grant = self.grant_mut(id)?;
        grant.remaining = less(grant.remaining, amount)?;
        match to {
            Book::Spent | Book::Overage => grant.spent = more(grant.spent, amount)?,
            Book::Reserved(_) => grant.held = more(grant.held, amount)?,
            Book::Grant(newer) => {
                let target = self.grant_mut(newer)?;
                target.remaining = more(target.remaining, amount)?;
                // A younger grant that has ended, too, hands it on.
                return self.note_return(newer, transfer, true);
            }
            Book::Expired => {
                grant.expired = more(grant.expired, amount)?;
                // What comes back to a grant that has ended was taken off where it came back.
                if grant.status == GrantStatus::Live {
                    let allowance_of = grant.allowance_of;
                    self.add_given(allowance_of, transfer, Credits::ZERO.saturating_sub(amount))?;
                }
            }
            Book::Voided => grant.voided = more(grant.voided, amount)?,
            Book::Issued => return Err("credits can't be un-issued".to_owned()),
        }
        self.arrive(transfer, Some(id))
    }

    /// Puts the amount into a book that is no grant.
    fn arrive(&mut self, transfer: &Transfer, from: Option<GrantId>) -> Result<(), String> {
        if let Book::Reserved(id) = transfer.to {
            let reservation = self.reservations.get_mut(&id).ok_or_else(|| format!("no reservation {id}"))?;
            match from {
                Some(grant) => reservation.holds.push((grant, transfer.amount)),
                None => reservation.overage = more(reservation.overage, transfer.amount)?,
            }
            return Ok(());
        }
        let account = self.account_mut(transfer);
        match transfer.to {
            Book::Spent => account.spent = more(account.spent, transfer.amount)?,
            Book::Expired => account.expired = more(account.expired, transfer.amount)?,
            Book::Voided => account.voided = more(account.voided, transfer.amount)?,
            Book::Overage => account.overage = less(account.overage, transfer.amount)?,
            Book::Issued | Book::Grant(_) | Book::Reserved(_) => {}
        }
        Ok(())
    }

    fn leave_reservation(&mut self, id: ReservationId, to: Book, transfer: &Transfer) -> Result<(), String> {
        let amount = transfer.amount;
        let reservation = self.reservations.get_mut(&id).ok_or_else(|| format!("no reservation {id}"))?;
        match to {
            // What a commit spends of grants is named by `taken`; this moves the sum.
            Book::Spent => {
                let account = self.account_mut(transfer);
                account.spent = more(account.spent, amount)?;
            }
            Book::Overage => {
                reservation.overage = less(reservation.overage, amount)?;
                let account = self.account_mut(transfer);
                account.overage = less(account.overage, amount)?;
            }
            Book::Grant(grant) => {
                take_hold(reservation, grant, amount)?;
                let state = self.grant_mut(grant)?;
                state.held = less(state.held, amount)?;
                state.remaining = more(state.remaining, amount)?;
                self.note_return(grant, transfer, false)?;
            }
            _ => return Err(format!("no movement goes from a reservation to {to}")),
        }
        Ok(())
    }

    /// Counts what came back to an ended grant against the limits of where it goes on to, and against what its period gave,
    /// unless an older grant gave it.
    fn note_return(&mut self, id: GrantId, transfer: &Transfer, handed_on: bool) -> Result<(), String> {
        let Some(grant) = self.grant(id).filter(|grant| grant.status == GrantStatus::Expired) else {
            return Ok(());
        };
        let (allowance_of, flows) = (grant.allowance_of, self.flows(grant, transfer.amount));
        // What rolls over stays with the customer.
        let mut change = Credits::ZERO;
        if let Some((_, amount)) = flows.rolled {
            if let Some(onward) = &mut self.grant_mut(id)?.onward {
                onward.limit = less(onward.limit, amount)?;
            }
            change = amount;
        }
        if let Some((next, amount)) = flows.next
            && let Some(incoming) = &mut self.grant_mut(next)?.incoming
        {
            incoming.skip = less(incoming.skip, flows.skipped)?;
            incoming.limit = less(incoming.limit, amount)?;
        }
        if !handed_on {
            change = change.saturating_sub(transfer.amount);
        }
        self.add_given(allowance_of, transfer, change)
    }

    fn add_given(&mut self, period: Option<u32>, transfer: &Transfer, amount: Credits) -> Result<(), String> {
        let past = period.and_then(|number| self.past.iter_mut().find(|past| past.period.number == number));
        let given = past.and_then(|past| past.given.iter_mut().find(|given| given.credit == transfer.credit));
        if let Some(given) = given {
            given.amount = more(given.amount, amount)?.max(Credits::ZERO);
        }
        Ok(())
    }

    /// Whether no running total leaves its range; all else that a transfer needs is given by how drafts are made.
    pub(crate) fn totals_fit(&self, transfers: &[Transfer]) -> bool {
        let Some(moved) = Credits::checked_sum(transfers.iter().map(|transfer| transfer.amount)) else {
            return false;
        };
        transfers.iter().all(|transfer| {
            let account = self.accounts.get(&transfer.credit).copied().unwrap_or_default();
            [account.issued, account.spent, account.expired, account.voided, account.overage]
                .iter()
                .all(|total| total.checked_add(moved).is_some())
        })
    }
}

/// Takes an amount out of a hold.
pub(crate) fn take_hold(
    reservation: &mut ReservationState,
    grant: GrantId,
    amount: Credits,
) -> Result<(), String> {
    let mut left = amount;
    for (held, hold) in &mut reservation.holds {
        if *held == grant {
            let part = left.min(*hold);
            *hold = less(*hold, part)?;
            left = less(left, part)?;
        }
    }
    if left.is_zero() { Ok(()) } else { Err(format!("the reservation does not hold {amount} of {grant}")) }
}

pub(crate) fn more(total: Credits, amount: Credits) -> Result<Credits, String> {
    total.checked_add(amount).ok_or_else(|| format!("{total} + {amount} does not fit"))
}

pub(crate) fn less(total: Credits, amount: Credits) -> Result<Credits, String> {
    match total.checked_sub(amount) {
        Some(rest) if !rest.is_negative() => Ok(rest),
        _ => Err(format!("a book that holds {total} can't give {amount}")),
    }
}
