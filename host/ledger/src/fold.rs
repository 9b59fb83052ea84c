//! The fold: the one place where a state changes. New entries and stored entries go through the same function, so a
//! state in memory and a state computed from the journal can't differ.

use crate::{
    credits::Credits,
    error::{FoldError, Rejection},
    grant::Grant,
    ids::{GrantId, ReservationId},
    journal::{self, After, ChainHash, Entry, Event, Reserved},
    state::{Account, CustomerState, Draft, GrantState, GrantStatus, ReservationState},
    time::Timestamp,
    transfer::{Book, Transfer},
};
use std::sync::Arc;

/// A new entry with the text that is stored and the hash that covers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// The entry.
    pub entry: Entry,
    /// Its JSON text, as hashed.
    pub body: String,
    /// Its hash in the chain.
    pub hash: ChainHash,
}

/// Grants of which nothing is left are forgotten at a reset, and whenever there are more than this.
const MOST_EXHAUSTED: usize = 256;

impl CustomerState {
    /// Numbers, balances and chains a draft, and takes it into the state.
    ///
    /// # Errors
    /// [`Rejection::TotalOutOfRange`] before anything has changed. After another error the state must be dropped and
    /// loaded again: a command built a draft that does not fit, which is a defect.
    pub fn seal(&mut self, at: Timestamp, draft: Draft) -> Result<Sealed, SealError> {
        if !self.totals_fit(&draft.transfers) || !self.counts_fit(&draft.counts) {
            return Err(SealError::Rejected(Rejection::TotalOutOfRange));
        }
        let (key, request) = draft.idempotency.unzip();
        let mut entry = Entry {
            seq: self.seq + 1,
            at: at.max(self.at),
            key,
            request,
            event: draft.event,
            transfers: draft.transfers,
            counts: draft.counts,
            after: None,
        };
        self.apply(&entry).map_err(SealError::Defect)?;
        entry.after = draft.credit.map(|credit| After {
            balance: self.balance(&credit, entry.at),
            next_reset_at: self.next_reset_at(),
        });
        let body = serde_json::to_string(&entry).map_err(|error| {
            SealError::Defect(FoldError::Unreadable { seq: entry.seq, detail: error.to_string() })
        })?;
        self.hash = journal::chain(&self.hash, &body);
        Ok(Sealed { entry, body, hash: self.hash })
    }

    /// Takes a stored entry in and checks its place in the chain.
    ///
    /// # Errors
    /// See [`FoldError`]. The state must be dropped then.
    pub fn fold(&mut self, seq: u64, body: &str, hash: &ChainHash) -> Result<Entry, FoldError> {
        let chained = journal::chain(&self.hash, body);
        if &chained != hash {
            return Err(FoldError::Hash(seq));
        }
        let entry = Entry::parse(seq, body)?;
        if entry.seq != seq {
            return Err(FoldError::Gap { expected: seq, found: entry.seq });
        }
        self.apply(&entry)?;
        self.hash = chained;
        Ok(entry)
    }

    /// What [`fold`](Self::fold) checks, and that the recorded balance and the books agree with the movements.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub fn fold_verified(&mut self, seq: u64, body: &str, hash: &ChainHash) -> Result<Entry, FoldError> {
        let entry = self.fold(seq, body, hash)?;
        if let Some(after) = &entry.after {
            let balance = self.balance(&after.balance.credit, entry.at);
            if balance != after.balance || self.next_reset_at() != after.next_reset_at {
                return Err(FoldError::Balance(seq));
            }
        }
        self.check_books().map_err(|(credit, detail)| FoldError::Books {
            seq,
            credit: credit.to_string(),
            detail,
        })?;
        Ok(entry)
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), FoldError> {
        if entry.seq != self.seq + 1 {
            return Err(FoldError::Gap { expected: self.seq + 1, found: entry.seq });
        }
        if entry.at < self.at {
            return Err(FoldError::TimeGoesBack(entry.seq));
        }
        let broken = |detail: String| FoldError::Transfer { seq: entry.seq, detail };
        self.begin(entry);
        for transfer in &entry.transfers {
            self.move_credits(transfer).map_err(broken)?;
        }
        // Counts name the window they belong to, so a reset may change the period before or after them.
        for count in &entry.counts {
            self.count(count).map_err(broken)?;
        }
        self.finish(entry).map_err(broken)?;
        self.seq = entry.seq;
        self.at = entry.at;
        Ok(())
    }

    /// What must stand before credits move: new grants and reservations, and all that moves nothing.
    fn begin(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Configured(configured) => {
                if self.profile.is_none() {
                    self.created_at = entry.at;
                }
                self.profile = Some(configured.profile.clone());
                self.period = configured.period.clone();
            }
            Event::Closed {} => self.closed = true,
            Event::TermsBound(terms) => self.terms.push(terms.clone()),
            Event::TermsEnded { id, ends_at } => {
                if let Some(terms) = self.terms.iter_mut().find(|terms| terms.key.id == *id) {
                    Arc::make_mut(terms).ends_at = Some(*ends_at);
                }
            }
            Event::OverrideSet(exception) => {
                // One that starts at the same instant is the older version of this one.
                self.overrides
                    .retain(|one| one.feature != exception.feature || one.starts_at != exception.starts_at);
                self.overrides.push(exception.clone());
            }
            Event::OverrideRemoved { feature } => self.overrides.retain(|one| &one.feature != feature),
            Event::Granted(grant) => self.add_grant(grant),
            Event::Adjusted(adjusted) => adjusted.grant.iter().for_each(|grant| self.add_grant(grant)),
            Event::Charged(charged) => charged.top_up.iter().for_each(|grant| self.add_grant(grant)),
            Event::Committed(committed) => committed.top_up.iter().for_each(|grant| self.add_grant(grant)),
            Event::Reserved(reserved) => {
                reserved.top_up.iter().for_each(|grant| self.add_grant(grant));
                self.add_reservation(ReservationId { entry: entry.seq, index: 0 }, reserved);
            }
            Event::Reset(reset) => reset.grants.iter().for_each(|grant| self.add_grant(grant)),
            Event::Voided { .. }
            | Event::Refused(_)
            | Event::Released { .. }
            | Event::ReservationExpired { .. }
            | Event::GrantsExpired { .. } => {}
        }
    }

    /// What may only go once credits have moved: closed reservations, dead and exhausted grants, the old period.
    fn finish(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.event {
            Event::Committed(committed) => {
                for draw in &committed.taken {
                    let grant = self.grant_mut(draw.grant)?;
                    grant.held = less(grant.held, draw.amount)?;
                    grant.spent = more(grant.spent, draw.amount)?;
                }
                let mut reservation =
                    self.reservations.remove(&committed.reservation).ok_or("no such reservation")?;
                for draw in &committed.taken {
                    take_hold(&mut reservation, draw.grant, draw.amount)?;
                }
                reservation.overage = less(reservation.overage, committed.taken_overage)?;
                self.require_empty(&reservation)?;
            }
            Event::Released { reservation } | Event::ReservationExpired { reservation } => {
                let reservation = self.reservations.remove(reservation).ok_or("no such reservation")?;
                self.require_empty(&reservation)?;
            }
            Event::Voided { grant } => self.grant_mut(*grant)?.status = GrantStatus::Voided,
            Event::GrantsExpired { grants } => {
                for grant in grants {
                    self.grant_mut(*grant)?.status = GrantStatus::Expired;
                }
            }
            Event::Reset(reset) => {
                for grant in &reset.expired {
                    self.grant_mut(*grant)?.status = GrantStatus::Expired;
                }
                self.period = Some(reset.opened.clone());
                self.forget_period_totals();
            }
            _ => {}
        }
        let is_reset = matches!(entry.event, Event::Reset(_));
        let crowded = self.grants.len() > MOST_EXHAUSTED;
        self.grants.retain(|grant| {
            !grant.is_exhausted() || (grant.status == GrantStatus::Live && !is_reset && !crowded)
        });
        Ok(())
    }

    pub(crate) fn add_grant(&mut self, grant: &Grant) {
        let place = self.grants.partition_point(|other| other.grant.burn_down_order(grant).is_lt());
        let state = GrantState {
            grant: Arc::new(grant.clone()),
            remaining: Credits::ZERO,
            held: Credits::ZERO,
            spent: Credits::ZERO,
            status: GrantStatus::Live,
        };
        self.grants.insert(place, state);
    }

    fn add_reservation(&mut self, id: ReservationId, reserved: &Reserved) {
        let state = ReservationState {
            usage: reserved.usage.clone(),
            terms: reserved.decision.terms.clone(),
            credit: reserved.rated.credit.clone(),
            holds: Vec::new(),
            overage: Credits::ZERO,
            expires_at: reserved.expires_at,
        };
        self.reservations.insert(id, state);
    }

    /// Holds that were committed leave the reservation through `taken`; all that remains must have been moved out.
    fn require_empty(&self, reservation: &ReservationState) -> Result<(), String> {
        let left = reservation.held();
        if left.is_zero() { Ok(()) } else { Err(format!("a closed reservation still holds {left}")) }
    }

    fn grant_mut(&mut self, id: GrantId) -> Result<&mut GrantState, String> {
        self.grants.iter_mut().find(|grant| grant.grant.id == id).ok_or_else(|| format!("no grant {id}"))
    }

    fn account_mut(&mut self, transfer: &Transfer) -> &mut Account {
        if !self.accounts.contains_key(&transfer.credit) {
            self.accounts.insert(transfer.credit.clone(), Account::default());
        }
        self.accounts.entry(transfer.credit.clone()).or_default()
    }

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
            (Book::Grant(id), to) => {
                let grant = self.grant_mut(id)?;
                grant.remaining = less(grant.remaining, amount)?;
                match to {
                    Book::Spent | Book::Overage => grant.spent = more(grant.spent, amount)?,
                    Book::Reserved(_) => grant.held = more(grant.held, amount)?,
                    Book::Grant(newer) => {
                        let newer = self.grant_mut(newer)?;
                        newer.remaining = more(newer.remaining, amount)?;
                        return Ok(());
                    }
                    Book::Expired | Book::Voided => {}
                    Book::Issued => return Err("credits can't be un-issued".to_owned()),
                }
                self.arrive(transfer, Some(id))?;
            }
            (Book::Overage, Book::Spent | Book::Reserved(_)) => {
                let account = self.account_mut(transfer);
                account.overage = more(account.overage, amount)?;
                self.arrive(transfer, None)?;
            }
            (Book::Reserved(id), to) => self.leave_reservation(id, to, transfer)?,
            (from, to) => return Err(format!("no movement goes from {from} to {to}")),
        }
        Ok(())
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
                let grant = self.grant_mut(grant)?;
                grant.held = less(grant.held, amount)?;
                grant.remaining = more(grant.remaining, amount)?;
            }
            _ => return Err(format!("no movement goes from a reservation to {to}")),
        }
        Ok(())
    }

    /// Whether no running total leaves 64 bits; all else that a transfer needs is given by how drafts are made.
    fn totals_fit(&self, transfers: &[Transfer]) -> bool {
        let moved = transfers.iter().try_fold(0_i64, |sum, transfer| sum.checked_add(transfer.amount.0));
        let Some(moved) = moved else { return false };
        transfers.iter().all(|transfer| {
            let account = self.accounts.get(&transfer.credit).copied().unwrap_or_default();
            [account.issued, account.spent, account.expired, account.voided, account.overage]
                .iter()
                .all(|total| total.0.checked_add(moved).is_some())
        })
    }
}

/// Why a draft was not sealed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SealError {
    /// The command can't be carried out; the state is as before.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A defect: the draft does not fit the state, which is no longer good.
    #[error("a draft does not fit its state: {0}")]
    Defect(FoldError),
}

fn take_hold(reservation: &mut ReservationState, grant: GrantId, amount: Credits) -> Result<(), String> {
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

fn more(total: Credits, amount: Credits) -> Result<Credits, String> {
    total.checked_add(amount).ok_or_else(|| format!("{total} + {amount} does not fit"))
}

fn less(total: Credits, amount: Credits) -> Result<Credits, String> {
    match total.checked_sub(amount) {
        Some(rest) if !rest.is_negative() => Ok(rest),
        _ => Err(format!("a book that holds {total} can't give {amount}")),
    }
}
