//! Movements of credits between books, and what follows from them for grants, reservations and periods.

use super::{Account, CarriedTo, CustomerState, EndsWith, GrantState, GrantStatus, Onward, ReservationState};
use crate::{
    journal::Draw,
    model::{
        amounts::{Credits, Rounding},
        grant::{Category, CreditType, Grant},
        ids::{GrantId, ReservationId},
        time::Timestamp,
        transfer::{Book, Transfer},
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Where an amount goes that comes back to a grant that has ended; the rest ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flow {
    /// To what was carried over of the grant.
    pub rolled: Option<(GrantId, Credits)>,
    /// To the allowance after it in the cycle.
    pub carried: Option<(GrantId, Credits)>,
    /// So much is skipped before that.
    pub skipped: Credits,
}

impl Flow {
    /// The parts that go on, and where to.
    pub fn parts(&self) -> impl Iterator<Item = (GrantId, Credits)> {
        [self.rolled, self.carried].into_iter().flatten().filter(|(_, amount)| amount.is_positive())
    }
}

impl GrantState {
    /// The part of `amount` that goes into what was carried over of it, once reservations give it back.
    pub(crate) fn rolls_on(&self, amount: Credits) -> Credits {
        let Some(Onward { share, limit, .. }) = self.onward else { return Credits::ZERO };
        let part = amount.decimal().mul(share, Rounding::Down).map_or(amount, Credits::new);
        part.min(amount).min(limit)
    }
}

impl CustomerState {
    /// Where `amount` goes that comes back to `grant`.
    pub(crate) fn flow(&self, grant: &GrantState, amount: Credits) -> Flow {
        let mut flow = Flow::default();
        if grant.status != GrantStatus::Expired {
            return flow;
        }
        let mut rest = amount;
        if let Some(target) = grant.onward.and_then(|onward| self.grant(onward.to)) {
            let part = grant.rolls_on(amount);
            rest = rest.saturating_sub(part);
            flow.rolled = Some((target.grant.id, part));
        }
        let carried = grant.carried_to.and_then(|carried| Some((self.grant(carried.to)?, carried.limit)));
        if let Some((target, incoming, most)) =
            carried.and_then(|(target, most)| Some((target, target.incoming?, most)))
        {
            let rest = rest.min(most);
            flow.skipped = rest.min(incoming.skip);
            let part = rest.saturating_sub(flow.skipped).min(incoming.limit);
            flow.carried = Some((target.grant.id, part));
        }
        flow
    }

    pub(crate) fn add_grant(&mut self, grant: &Grant) {
        let ends_with = grant.expires_with_period.map(|number| {
            let after = number.saturating_sub(self.period_number_at(grant.effective_at));
            EndsWith { number, after }
        });
        let with_period = ends_with.and_then(|with| self.period_end(with.number));
        let ends_at = [grant.expires_at, with_period].into_iter().flatten().min();
        let state = GrantState {
            grant: Arc::new(grant.clone()),
            remaining: Credits::ZERO,
            held: Credits::ZERO,
            spent: Credits::ZERO,
            expired: Credits::ZERO,
            voided: Credits::ZERO,
            status: GrantStatus::Live,
            usable_since: grant.effective_at,
            ends_with,
            ends_at,
            ended_at: None,
            allowance_of: None,
            bridges: false,
            rolled_to: None,
            onward: None,
            carried_to: None,
            incoming: None,
        };
        self.grants.insert(state);
    }

    /// Puts the ends of grants right that follow a period, after anchor, zone, interval or period changed at `at`. For one that
    /// only becomes usable later, the period in which it does has another number then.
    pub(crate) fn refresh_ends(&mut self, at: Timestamp) {
        // Many grants end with the same few periods.
        let mut of_period: BTreeMap<u32, Option<Timestamp>> = BTreeMap::new();
        let mut ends = Vec::new();
        // What has ended stays ended.
        for state in self.grants.by_id().filter(|state| state.status == GrantStatus::Live) {
            let Grant { effective_at, expires_at, .. } = *state.grant;
            let ends_with = state.ends_with.map(|with| match &self.period {
                Some(_) if effective_at > at => {
                    let number = self.period_number_at(effective_at).saturating_add(with.after);
                    EndsWith { number, ..with }
                }
                _ => with,
            });
            let with_period = ends_with.and_then(|with| {
                *of_period.entry(with.number).or_insert_with(|| self.period_end(with.number))
            });
            ends.push((ends_with, [expires_at, with_period].into_iter().flatten().min()));
        }
        let mut moved = false;
        let live = self.grants.by_id_mut().filter(|state| state.status == GrantStatus::Live);
        for (state, (ends_with, ends_at)) in live.zip(ends) {
            state.ends_with = ends_with;
            if state.ends_at != ends_at {
                state.ends_at = ends_at;
                moved = true;
            }
        }
        if moved {
            self.grants.sort();
        }
    }

    pub(crate) fn grant_mut(&mut self, id: GrantId) -> Result<&mut GrantState, String> {
        self.grants.get_mut(id).ok_or_else(|| format!("no grant {id}"))
    }

    pub(crate) fn end_grants(
        &mut self,
        ids: &[GrantId],
        status: GrantStatus,
        at: Timestamp,
    ) -> Result<(), String> {
        let mut moved = false;
        for id in ids {
            let grant = self.grant_mut(*id)?;
            grant.status = status;
            grant.ended_at = Some(at);
            // What ended early comes before what was carried on of it, when late usage draws both.
            moved |= grant.ends_at.replace(at) != Some(at);
        }
        if moved {
            self.grants.sort();
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
                self.add_given(allowance_of, &transfer.credit, amount)?;
            }
            // What was spent of it is given back.
            (Book::Spent, Book::Grant(id)) => {
                let account = self.account_mut(transfer);
                account.spent = less(account.spent, amount)?;
                let grant = self.grant_mut(id)?;
                grant.spent = less(grant.spent, amount)?;
                grant.remaining = more(grant.remaining, amount)?;
                self.note_return(id, transfer)?;
            }
            // A refund of what was drawn beyond all grants, or of a grant that is gone for good.
            (Book::Spent, Book::Overage | Book::Expired | Book::Voided) => {
                let account = self.account_mut(transfer);
                account.spent = less(account.spent, amount)?;
                self.arrive(transfer, None)?;
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
                let allowance_of = grant.allowance_of;
                let target = self.grant_mut(newer)?;
                target.remaining = more(target.remaining, amount)?;
                // What rolls over stays given; what the next allowance takes counts there: when its period ends, or now if it has.
                if target.grant.category != Category::Rollover {
                    let taken_by = target.allowance_of;
                    self.add_given(allowance_of, &transfer.credit, Credits::ZERO.saturating_sub(amount))?;
                    self.add_given(taken_by, &transfer.credit, amount)?;
                }
                // A younger grant that has ended, too, hands it on.
                return self.note_return(newer, transfer);
            }
            Book::Expired => {
                grant.expired = more(grant.expired, amount)?;
                let allowance_of = grant.allowance_of;
                self.add_given(allowance_of, &transfer.credit, Credits::ZERO.saturating_sub(amount))?;
            }
            Book::Voided => grant.voided = more(grant.voided, amount)?,
            Book::Issued => return Err("credits can't be un-issued".to_owned()),
        }
        self.arrive(transfer, Some(id))
    }

    /// Puts the amount into a book that is no grant.
    fn arrive(&mut self, transfer: &Transfer, from: Option<GrantId>) -> Result<(), String> {
        if let Book::Reserved(id) = transfer.to {
            let revives = from.and_then(|grant| self.grant(grant));
            let revives = revives.is_some_and(|grant| grant.status == GrantStatus::Expired);
            return self.change_reservation(id, |reservation| {
                match from {
                    Some(grant) => {
                        reservation.holds.push((grant, transfer.amount));
                        if revives {
                            reservation.revived.push(grant);
                        }
                    }
                    None => reservation.overage = more(reservation.overage, transfer.amount)?,
                }
                Ok(())
            });
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

    pub(crate) fn change_reservation<T>(
        &mut self,
        id: ReservationId,
        change: impl FnOnce(&mut ReservationState) -> Result<T, String>,
    ) -> Result<T, String> {
        self.reservations.change(&id, change).ok_or_else(|| format!("no reservation {id}"))?
    }

    fn leave_reservation(&mut self, id: ReservationId, to: Book, transfer: &Transfer) -> Result<(), String> {
        let amount = transfer.amount;
        match to {
            // What a commit spends of grants is named by `taken`; this moves the sum.
            Book::Spent => {
                let account = self.account_mut(transfer);
                account.spent = more(account.spent, amount)?;
            }
            Book::Overage => {
                self.change_reservation(id, |reservation| {
                    reservation.overage = less(reservation.overage, amount)?;
                    Ok(())
                })?;
                let account = self.account_mut(transfer);
                account.overage = less(account.overage, amount)?;
            }
            Book::Grant(grant) => {
                let revived = self.change_reservation(id, |reservation| {
                    take_hold(reservation, grant, amount)?;
                    Ok(reservation.revived.contains(&grant))
                })?;
                let state = self.grant_mut(grant)?;
                state.held = less(state.held, amount)?;
                state.remaining = more(state.remaining, amount)?;
                // What had expired before does not go on.
                if !revived {
                    self.note_return(grant, transfer)?;
                }
            }
            _ => return Err(format!("no movement goes from a reservation to {to}")),
        }
        Ok(())
    }

    /// What had expired of a grant before late usage drew it expires again.
    pub(crate) fn expire_again(&mut self, credit: &CreditType, draw: Draw) -> Result<(), String> {
        let grant = self.grant_mut(draw.grant)?;
        grant.spent = less(grant.spent, draw.amount)?;
        grant.expired = more(grant.expired, draw.amount)?;
        let allowance_of = grant.allowance_of;
        self.add_given(allowance_of, credit, Credits::ZERO.saturating_sub(draw.amount))
    }

    /// Counts what came back to an ended grant against the limits of where it goes on to.
    pub(crate) fn note_return(&mut self, id: GrantId, transfer: &Transfer) -> Result<(), String> {
        let Some(grant) = self.grant(id) else { return Ok(()) };
        let Flow { rolled, carried, skipped } = self.flow(grant, transfer.amount);
        if let (Some((_, part)), Some(onward)) = (rolled, self.grant_mut(id)?.onward.as_mut()) {
            onward.limit = less(onward.limit, part)?;
        }
        if let Some((to, part)) = carried {
            if let Some(CarriedTo { limit, .. }) = self.grant_mut(id)?.carried_to.as_mut() {
                *limit = less(*limit, part.saturating_add(skipped))?;
            }
            if let Some(incoming) = self.grant_mut(to)?.incoming.as_mut() {
                incoming.skip = less(incoming.skip, skipped)?;
                incoming.limit = less(incoming.limit, part)?;
            }
        }
        Ok(())
    }

    /// Counts what an allowance of a past period gave more or less than was known when that ended.
    fn add_given(&mut self, period: Option<u32>, credit: &CreditType, amount: Credits) -> Result<(), String> {
        let past = period.and_then(|number| self.past_period_mut(number));
        let given = past.and_then(|past| past.given.iter_mut().find(|given| given.credit == *credit));
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
