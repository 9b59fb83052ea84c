//! Refunds: what a charge cost goes back, at most once in all. What was drawn last goes back first: overage, then grants from
//! the last one drawn to the first.
//!
//! A state remembers no charges. The caller reads the charge and its last refund from the journal, and sees to it that no other
//! refund has come after that one.

use super::{bounds::MOST_LIVE, rejection::Rejection};
use crate::{
    journal::{Count, Draw, Entry, Event, Rated, Refunded, Shape},
    model::{
        amounts::{Credits, Decimal, Quantity, Rounding},
        counter::Measure,
        grant::{Category, CreditType, Grant},
        ids::{ChargeId, GrantId, Seq},
        time::Timestamp,
        transfer::{Book, Transfer},
        usage::Usage,
    },
    state::{CustomerState, Draft, GrantState, GrantStatus, grants::CarriedOn},
};
use std::{borrow::Cow, sync::Arc};

/// The most refunds of one charge. The last one is of all that is left, so that nothing is left for good.
pub const MOST_REFUNDS: u32 = 64;

/// A charge as the journal has it, with what was refunded of it.
#[derive(Debug, Clone)]
pub struct Refundable {
    /// The entry of the charge or commit.
    pub charge: Arc<Entry>,
    /// For a commit, the entry that made its reservation.
    pub reserved: Option<Arc<Entry>>,
    /// The entry of its last refund.
    pub last: Option<Arc<Entry>>,
    /// The grants that it drew and that the state has forgotten.
    pub grants: Vec<Grant>,
}

/// How much of a charge is refunded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Portion {
    /// All that is left of it.
    Rest,
    /// So much of its cost.
    Amount(Credits),
    /// These of its quantities, sorted by name, with what they cost.
    Quantities(Vec<(String, Quantity)>),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// How much.
    pub portion: Portion,
    /// Why.
    pub reason: String,
    /// Whether credits of grants that have expired are given anew. Else they expire at once.
    pub reissue_expired: bool,
}

impl Refundable {
    /// The charge's id.
    #[must_use]
    pub fn id(&self) -> ChargeId {
        self.charge.charge_id()
    }

    /// The number that the next refund has.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.refunded().map_or(1, |last| last.number.saturating_add(1))
    }

    /// What of a charge's draw from a grant had expired before: usage that was reported late brought it back.
    fn drawn_after_expiry(&self, id: GrantId, drawn: Credits) -> Credits {
        let entries = [Some(&self.charge), self.reserved.as_ref()];
        let transfers = entries.into_iter().flatten().flat_map(|entry| &entry.transfers);
        let back = transfers.filter(|one| one.from == Book::Expired && one.to == Book::Grant(id));
        back.fold(Credits::ZERO, |sum, one| sum.saturating_add(one.amount)).min(drawn)
    }

    fn refunded(&self) -> Option<&Refunded> {
        self.last.as_ref().and_then(|entry| entry.refunded())
    }

    /// How much of a quantity was given back.
    fn given_back(&self, name: &str) -> Quantity {
        let given = self.refunded().and_then(|last| last.total_quantities.0.iter().find(|one| one.0 == name));
        given.map_or(Quantity::ZERO, |(_, amount)| *amount)
    }

    /// What is left of each quantity that was used.
    fn left(&self, usage: &Usage) -> Vec<(String, Quantity)> {
        let left = usage.quantities.iter().map(|(name, amount)| {
            (name.clone(), amount.saturating_sub(self.given_back(name)).max(Quantity::ZERO))
        });
        left.filter(|(_, left)| left.is_positive()).collect()
    }

    /// What is left of the cost.
    fn left_of_cost(&self) -> Result<Credits, Rejection> {
        let (_, rated) = self.charge.charged_usage().ok_or_else(|| Rejection::ChargeNotFound(self.id()))?;
        let before = self.refunded().map_or(Credits::ZERO, |last| last.total);
        Ok(rated.cost.saturating_sub(before))
    }

    /// The part of the cost and the quantities that go back.
    fn portion(&self, portion: Portion) -> Result<(Credits, Vec<(String, Quantity)>), Rejection> {
        let (usage, rated) =
            self.charge.charged_usage().ok_or_else(|| Rejection::ChargeNotFound(self.id()))?;
        let left = self.left_of_cost()?;
        let (amount, quantities) = match portion {
            Portion::Rest => (left, self.left(usage)),
            Portion::Amount(amount) if amount.is_positive() && amount.is_acceptable() => (amount, Vec::new()),
            Portion::Amount(_) => return Err(Rejection::AmountOutOfRange("amount")),
            Portion::Quantities(quantities) => {
                for (name, amount) in &quantities {
                    let left = usage.quantity(name).saturating_sub(self.given_back(name));
                    if *amount > left {
                        return Err(Rejection::RefundExceedsQuantity(name.clone(), left.max(Quantity::ZERO)));
                    }
                }
                let quantities: Vec<_> =
                    quantities.into_iter().filter(|(_, amount)| amount.is_positive()).collect();
                if quantities.is_empty() {
                    return Err(Rejection::AmountOutOfRange("quantities"));
                }
                (cost_of(usage, rated, &quantities)?, quantities)
            }
        };
        if amount > left || amount.is_zero() && quantities.is_empty() {
            return Err(Rejection::RefundExceedsCharge(left));
        }
        Ok((amount, quantities))
    }
}

/// What quantities cost: their part of the lines that bear their names, or, where the lines don't tell, their part of the whole
/// cost if it is the same part of every quantity. Rounded down.
fn cost_of(usage: &Usage, rated: &Rated, quantities: &[(String, Quantity)]) -> Result<Credits, Rejection> {
    let used = |name: &str| usage.quantity(name).decimal();
    let part_of = |cost: Credits, (name, amount): &(String, Quantity)| {
        cost.mul_div(amount.decimal(), used(name), Rounding::Down).ok()
    };
    let is_itemized = Credits::checked_sum(rated.lines.iter().map(|line| line.cost)) == Some(rated.cost);
    let of_lines = quantities.iter().map(|quantity| {
        let lines: Vec<_> = rated.lines.iter().filter(|line| bears(&line.label, &quantity.0)).collect();
        // Labels are for people: only where the lines add up to what was used are they taken at their word.
        let counted = Quantity::checked_sum(lines.iter().map(|line| line.quantity))?;
        let cost = Credits::checked_sum(lines.iter().map(|line| line.cost))?;
        if counted.decimal() == used(&quantity.0) { part_of(cost, quantity) } else { None }
    });
    if let Some(parts) = of_lines.collect::<Option<Vec<_>>>().filter(|_| is_itemized)
        && let Some(sum) = Credits::checked_sum(parts)
    {
        return Ok(sum);
    }
    let named = |name: &str| quantities.iter().find(|quantity| quantity.0 == name);
    let whole = usage.quantities.iter().filter(|(_, amount)| amount.is_positive());
    let parts = whole
        .map(|(name, _)| Decimal::ONE.mul_div(named(name)?.1.decimal(), used(name), Rounding::Down).ok());
    match parts.collect::<Option<Vec<_>>>().as_deref() {
        Some([first, others @ ..]) if others.iter().all(|part| part == first) => {
            let quantity = quantities.first().ok_or(Rejection::RefundNotDivisible)?;
            part_of(rated.cost, quantity).ok_or(Rejection::RefundNotDivisible)
        }
        _ => Err(Rejection::RefundNotDivisible),
    }
}

/// Whether a line's label is a quantity's name, as the standard policy writes it: `input_tokens` is `input tokens`, and what a
/// tier or a block adds comes after a comma.
fn bears(label: &str, name: &str) -> bool {
    let label = label.split_once(',').map_or(label, |(name, _)| name);
    label.len() == name.len()
        && label.bytes().zip(name.bytes()).all(|(a, b)| a == b || a == b' ' && b == b'_')
}

impl CustomerState {
    /// The entry that refunds a charge.
    ///
    /// # Errors
    /// A closed customer; no charge, or more than is left of it; quantities whose cost is not known; too many grants or refunds.
    /// [`Rejection::RefundedMeanwhile`] when `of` was read before the state.
    pub fn refund(&self, at: Timestamp, of: &Refundable, request: RefundRequest) -> Result<Draft, Rejection> {
        self.require_open()?;
        let number = of.next_number();
        if number > MOST_REFUNDS {
            return Err(Rejection::TooMany(MOST_REFUNDS as usize, "refunds of this charge"));
        }
        let (amount, quantities) = of.portion(request.portion)?;
        let left = of.left_of_cost()?;
        if number == MOST_REFUNDS && amount < left {
            return Err(Rejection::LastRefund(number - 1, left));
        }
        let charged = of.charge.charged_usage();
        let (usage, Rated { credit, .. }) = charged.ok_or_else(|| Rejection::ChargeNotFound(of.id()))?;
        if amount > self.accounts.get(credit).map_or(Credits::ZERO, |account| account.spent) {
            return Err(Rejection::RefundedMeanwhile);
        }
        let before = of.refunded().map_or(Credits::ZERO, |last| last.total);
        let mut back = GivingBack {
            state: Cow::Borrowed(self),
            at,
            credit,
            charge: of.id().entry,
            forgotten: &of.grants,
            reissue_expired: request.reissue_expired,
            transfers: Vec::new(),
            grants: Vec::new(),
            waived: Credits::ZERO,
            expired_again: Vec::new(),
            new: 0,
        };
        back.give(of, before, amount)?;
        let GivingBack { transfers, grants, waived, expired_again, .. } = back;
        let live = self.live_grants();
        if !grants.is_empty() && live + grants.len() > MOST_LIVE {
            return Err(Rejection::TooMany(live, "grants"));
        }
        let total_quantities = usage.quantities.iter().map(|(name, _)| {
            let now = quantities.iter().find(|one| one.0 == *name).map_or(Quantity::ZERO, |one| one.1);
            (name.clone(), of.given_back(name).saturating_add(now))
        });
        let refunded = Refunded {
            charge: of.id(),
            number,
            reason: request.reason,
            reissue_expired: request.reissue_expired,
            credit: credit.clone(),
            amount,
            total: before.saturating_add(amount),
            total_quantities: Shape(total_quantities.filter(|(_, total)| total.is_positive()).collect()),
            usage: Usage { quantities, ..usage.clone() },
            waived,
            expired_again,
            grants,
        };
        let counts = self.counts_back(&of.charge.counts, &refunded);
        let budgets = self.budgets_back(&of.charge.budgets, of.charge.seq, &refunded);
        Ok(Draft {
            counts,
            budgets,
            ..Draft::moving(Event::Refunded(Box::new(refunded)), credit.clone(), transfers)
        })
    }

    /// What a refund takes off the charge's counts, in the windows that are still kept.
    fn counts_back(&self, counts: &[Count], refunded: &Refunded) -> Vec<Count> {
        let back = counts.iter().filter_map(|count| {
            let part = match &count.counter.measure {
                Measure::Cost => refunded.amount.decimal(),
                Measure::Quantity(name) => refunded.usage.quantity(name).decimal(),
            };
            let add = part.min(self.counters.used(count)).checked_neg().filter(|add| add.is_negative())?;
            Some(Count { add, ..count.clone() })
        });
        back.collect()
    }
}

/// What a part of a charge was drawn from.
#[derive(Clone, Copy)]
enum Drawn {
    Overage,
    Grant(GrantId),
    /// From a grant that had expired.
    Expired(GrantId),
}

/// The movements of a refund in the making.
struct GivingBack<'a> {
    /// A copy, once limits of what goes on from ended grants change with each part.
    state: Cow<'a, CustomerState>,
    at: Timestamp,
    credit: &'a CreditType,
    charge: Seq,
    forgotten: &'a [Grant],
    reissue_expired: bool,
    transfers: Vec<Transfer>,
    grants: Vec<Grant>,
    waived: Credits,
    expired_again: Vec<Draw>,
    /// How many of `grants` are new.
    new: u32,
}

impl GivingBack<'_> {
    /// Gives the part of a charge back that begins `before` its end.
    fn give(&mut self, of: &Refundable, before: Credits, amount: Credits) -> Result<(), Rejection> {
        let draws = of.charge.draws();
        // Of one grant, what had expired before goes back first.
        let draws = draws.iter().rev().flat_map(|draw| {
            let expired = of.drawn_after_expiry(draw.grant, draw.amount);
            let rest = draw.amount.saturating_sub(expired);
            [(Drawn::Expired(draw.grant), expired), (Drawn::Grant(draw.grant), rest)]
        });
        let (mut skip, mut left) = (before, amount);
        for (from, drawn) in [(Drawn::Overage, of.charge.overage())].into_iter().chain(draws) {
            let skipped = skip.min(drawn);
            skip = skip.saturating_sub(skipped);
            let part = drawn.saturating_sub(skipped).min(left);
            left = left.saturating_sub(part);
            if !part.is_positive() {
                continue;
            }
            match from {
                Drawn::Overage => self.reduce_overage(part),
                Drawn::Grant(grant) => self.return_to_grant(grant, part)?,
                Drawn::Expired(grant) => self.return_to_expired(grant, part),
            }
        }
        self.give_anew(None, left);
        Ok(())
    }

    fn step(&mut self, from: Book, to: Book, amount: Credits) {
        if amount.is_positive() {
            self.transfers.push(Transfer::new(self.credit, from, to, amount));
        }
    }

    /// What was drawn beyond all grants reduces what is owed. What of it was waived since was paid by nobody, and comes back to
    /// nobody; what was settled otherwise was paid, and comes back as credits.
    fn reduce_overage(&mut self, amount: Credits) {
        let waivers = self.state.waivers.get(self.credit);
        let may_be_waived = waivers.map_or(Credits::ZERO, |waivers| waivers.of(self.charge));
        // Once all was settled since, what is owed is of later usage.
        let is_settled = waivers.is_some_and(|waivers| waivers.is_settled_since(self.charge));
        let outstanding = self.state.outstanding(self.credit).max(Credits::ZERO);
        let own = if is_settled { Credits::ZERO } else { amount.min(outstanding) };
        let waived = amount.saturating_sub(own).min(may_be_waived);
        let rest = amount.saturating_sub(own).saturating_sub(waived);
        let owed = rest.min(outstanding.saturating_sub(own));
        self.step(Book::Spent, Book::Overage, own.saturating_add(owed));
        self.step(Book::Spent, Book::Voided, waived);
        self.waived = self.waived.saturating_add(waived);
        self.give_anew(None, rest.saturating_sub(owed));
    }

    /// What had expired before it was used expires again.
    fn return_to_expired(&mut self, id: GrantId, amount: Credits) {
        let spent = self.state.grant(id).map_or(Credits::ZERO, |state| state.spent);
        let own = amount.min(spent);
        if own.is_positive() {
            self.expired_again.push(Draw { grant: id, amount: own });
        }
        self.step(Book::Spent, Book::Expired, amount);
    }

    fn return_to_grant(&mut self, id: GrantId, amount: Credits) -> Result<(), Rejection> {
        if self.state.voided.contains(&id) {
            self.step(Book::Spent, Book::Voided, amount);
            return Ok(());
        }
        let Some(state) = self.state.grant(id) else {
            let grant =
                self.forgotten.iter().find(|grant| grant.id == id).ok_or(Rejection::RefundedMeanwhile)?;
            match (self.state.has_ended(grant, self.at), self.reissue_expired) {
                (true, true) => self.give_anew(Some(grant), amount),
                (true, false) => self.step(Book::Spent, Book::Expired, amount),
                (false, _) => {
                    self.grants.push(grant.clone());
                    self.step(Book::Spent, Book::Grant(id), amount);
                }
            }
            return Ok(());
        };
        // A period that was made good later may have drawn other grants in its place.
        let again = self.expired_again.iter().filter(|draw| draw.grant == id);
        let again = again.fold(Credits::ZERO, |sum, draw| sum.saturating_add(draw.amount));
        let own = amount.min(state.spent.saturating_sub(again));
        let (status, older) = (state.status, state.grant.clone());
        let carried_on = self.state.carried_on(state);
        let follows = state.rolled_to.is_some_and(|to| self.state.grant(to).is_some());
        self.give_anew(None, amount.saturating_sub(own));
        match (status, carried_on) {
            (GrantStatus::Live, _) => self.step(Book::Spent, Book::Grant(id), own),
            (GrantStatus::Voided, _) => {
                self.step(Book::Spent, Book::Grant(id), own);
                self.step(Book::Grant(id), Book::Voided, own);
            }
            // What was carried over of it is voided and forgotten.
            (GrantStatus::Expired, CarriedOn::Voided) if !follows => {
                self.step(Book::Spent, Book::Voided, own);
            }
            (GrantStatus::Expired, carried_on) => {
                let reissues = self.reissue_expired && carried_on != CarriedOn::Voided;
                self.return_to_ended(&older, own, reissues);
            }
        }
        Ok(())
    }

    /// What comes back to a grant that has ended goes where it would have gone had it not been used: into what was carried over
    /// of the grant or into the allowance after it, as far as the policy's limits reach. The rest expires or is given anew.
    fn return_to_ended(&mut self, older: &Grant, amount: Credits, reissues: bool) {
        if !amount.is_positive() {
            return;
        }
        let goes_on = |state: &GrantState| state.onward.is_some() || state.carried_to.is_some();
        if reissues && !self.state.grant(older.id).is_some_and(goes_on) {
            return self.give_anew(Some(older), amount);
        }
        let reissued = reissues.then(|| self.grant_like(Some(older), amount));
        let scratch = self.state.to_mut();
        let instead = reissued.as_ref().map(|new| new.id);
        let transfers = scratch.return_through(self.credit, Book::Spent, older.id, amount, instead);
        if let Some(new) = reissued {
            let into = transfers.iter().filter(|transfer| transfer.to == Book::Grant(new.id));
            let amount = into.fold(Credits::ZERO, |sum, transfer| sum.saturating_add(transfer.amount));
            if amount.is_positive() {
                self.new = self.new.saturating_add(1);
                self.grants.push(Grant { amount, ..new });
            }
        }
        self.transfers.extend(transfers);
    }

    /// Gives credits anew, for what an older grant was for.
    fn give_anew(&mut self, older: Option<&Grant>, amount: Credits) {
        if !amount.is_positive() {
            return;
        }
        let grant = self.grant_like(older, amount);
        self.new = self.new.saturating_add(1);
        self.step(Book::Spent, Book::Grant(grant.id), amount);
        self.grants.push(grant);
    }

    /// The next new grant, for what an older one was for.
    fn grant_like(&self, older: Option<&Grant>, amount: Credits) -> Grant {
        Grant {
            id: GrantId { index: self.new, ..self.state.next_grant() },
            credit: self.credit.clone(),
            amount,
            category: Category::Adjustment,
            priority: older.map_or(0, |older| older.priority),
            effective_at: self.at,
            expires_at: None,
            expires_with_period: None,
            features: older.map(|older| older.features.clone()).unwrap_or_default(),
            cost_basis: None,
            metadata: Vec::new(),
        }
    }
}
