//! Burn-down: from which grants a cost is drawn, and what funds the part that they can't.
//!
//! Usage draws the grants that were live when it occurred first (what rolled over of them, or what expired of them), then
//! those of now.

use super::late::Leftovers;
use crate::{
    journal::{Draw, Offer},
    model::{
        amounts::Credits,
        answers::{Overage, Rating, Refusal, SettleFrom, TopUp},
        grant::{Category, CreditType, Grant},
        ids::{GrantId, Key},
        time::Timestamp,
        transfer::{Book, Transfer},
        view::Expiry,
    },
    state::{CustomerState, GrantState, GrantStatus},
};
use std::collections::{BTreeMap, BTreeSet};

/// What is drawn for: a feature (none: a fee, a correction), when it was used and when it is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use<'a> {
    pub credit: &'a CreditType,
    pub feature: Option<&'a Key>,
    pub occurred_at: Timestamp,
    pub now: Timestamp,
    /// Grants that may not be drawn.
    pub barred: &'a BTreeSet<GrantId>,
}

/// No grants.
pub(crate) static NONE: BTreeSet<GrantId> = BTreeSet::new();

/// Where the credits for a cost come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Funding {
    /// From standing grants, and whether of what expired of them.
    pub draws: Vec<(Draw, bool)>,
    /// A grant issued on the spot, what is drawn from it, and what of the rest pays outstanding overage.
    pub top_up: Option<(Grant, Credits, Credits)>,
    /// Beyond all grants.
    pub overage: Credits,
    /// The part of `overage` that the policy's answer does not allow.
    pub exceeded: Credits,
}

/// Whether a cost must be funded whatever the policy says of new usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obligation {
    /// As the policy allows.
    AsAllowed,
    /// In any case: it reports what was used.
    Billed,
}

/// Why a cost finds no funding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfunded {
    /// No, for this reason.
    Refused(Box<Refusal>, Vec<Offer>),
    /// The policy's answer breaks a rule of the ledger.
    Invalid(String),
}

impl<'a> Use<'a> {
    /// A cost of now that belongs to no feature.
    pub(crate) fn general(credit: &'a CreditType, now: Timestamp) -> Self {
        Self { credit, feature: None, occurred_at: now, now, barred: &NONE }
    }
}

impl CustomerState {
    /// What a usage may draw without overage.
    pub(crate) fn available_to(&self, using: Use<'_>) -> Credits {
        self.drawable(using).fold(Credits::ZERO, |sum, (_, amount)| sum.saturating_add(amount))
    }

    /// By how much `cost` exceeds what is available to it; zero when it does not.
    pub(crate) fn shortfall(&self, using: Use<'_>, cost: Credits) -> Credits {
        cost.saturating_sub(self.available_to(using)).max(Credits::ZERO)
    }

    /// The grants that a usage may draw, with how much, in burn-down order: those that were live when it occurred first.
    fn drawable<'a>(&'a self, using: Use<'a>) -> impl Iterator<Item = (&'a GrantState, Credits)> {
        let fits = move |grant: &&GrantState| {
            &grant.grant.credit == using.credit
                && grant.grant.covers(using.feature)
                && !using.barred.contains(&grant.grant.id)
        };
        let then = self.grants.iter().filter(fits).filter(move |grant| grant.was_usable(using.occurred_at));
        let since = self.grants.iter().filter(fits).filter(move |grant| {
            using.occurred_at < using.now
                && grant.is_usable(using.now)
                && !grant.was_usable(using.occurred_at)
        });
        let mut leftovers = Leftovers::of(self);
        let then = then.map(move |grant| (grant, leftovers.take(grant)));
        then.chain(since.map(|grant| (grant, grant.remaining))).filter(|(_, amount)| amount.is_positive())
    }

    /// Draws `cost` in the policy's order first and in burn-down order then. Returns the draws, each with whether it takes
    /// what expired, and what they leave.
    pub(crate) fn draw(
        &self,
        using: Use<'_>,
        cost: Credits,
        first: &[GrantId],
    ) -> (Vec<(Draw, bool)>, Credits) {
        if first.is_empty() {
            return take(self.drawable(using), cost);
        }
        let place: BTreeMap<GrantId, usize> = first.iter().copied().zip(0..).collect();
        let mut drawable: Vec<(&GrantState, Credits)> = self.drawable(using).collect();
        drawable.sort_by_key(|(grant, _)| place.get(&grant.grant.id).copied().unwrap_or(usize::MAX));
        take(drawable.into_iter(), cost)
    }

    /// Funds `cost`, a part or all of `rating`'s, as the policy's `overage` answer allows (none: not at all).
    pub(crate) fn fund(
        &self,
        using: Use<'_>,
        rating: &Rating,
        cost: Credits,
        overage: Option<&Overage>,
        obligation: Obligation,
        settle_from: SettleFrom,
    ) -> Result<Funding, Unfunded> {
        self.check_rating(rating).map_err(Unfunded::Invalid)?;
        let (draws, shortfall) = self.draw(using, cost, &rating.draw_order);
        let mut funding = Funding { draws, top_up: None, overage: Credits::ZERO, exceeded: Credits::ZERO };
        if shortfall.is_zero() {
            return Ok(funding);
        }
        match self.beyond(using, rating, shortfall, overage, settle_from) {
            Ok(Beyond::Overage) => funding.overage = shortfall,
            Ok(Beyond::TopUp(grant, settles)) => funding.top_up = Some((grant, shortfall, settles)),
            Err(_) if obligation == Obligation::Billed => {
                funding.overage = shortfall;
                funding.exceeded = match overage {
                    Some(Overage::Allow(limit)) => {
                        let drawn = self.drawn_beyond(&rating.credit);
                        shortfall.min(drawn.saturating_add(shortfall).above(*limit))
                    }
                    _ => shortfall,
                };
            }
            Err(unfunded) => return Err(unfunded),
        }
        Ok(funding)
    }

    fn beyond(
        &self,
        using: Use<'_>,
        rating: &Rating,
        shortfall: Credits,
        overage: Option<&Overage>,
        settle_from: SettleFrom,
    ) -> Result<Beyond, Unfunded> {
        let refused = |refusal, offers| Err(Unfunded::Refused(Box::new(refusal), offers));
        let insufficient =
            || Refusal::by_ledger("insufficient_credits", format!("{shortfall} credits are missing"));
        match overage {
            None | Some(Overage::Reduce(_)) => refused(insufficient(), Vec::new()),
            Some(Overage::Deny(refusal)) => refused(refusal.clone(), Vec::new()),
            Some(Overage::RequirePurchase(offers)) => {
                let refusal = Refusal { code: "purchase_required".to_owned(), ..insufficient() };
                refused(refusal, offers.iter().cloned().map(Offer::from).collect())
            }
            Some(Overage::Allow(limit)) => {
                let drawn = self.drawn_beyond(&rating.credit);
                if drawn.saturating_add(shortfall) > *limit {
                    let detail = format!(
                        "{shortfall} credits are missing; with the outstanding overage of {drawn} that is over the \
                         limit of {limit}"
                    );
                    return refused(Refusal { detail, ..insufficient() }, Vec::new());
                }
                Ok(Beyond::Overage)
            }
            Some(Overage::TopUp(top_up)) => {
                let grant = self
                    .top_up_grant(using.now, &rating.credit, shortfall, top_up)
                    .map_err(Unfunded::Invalid)?;
                let rest = grant.amount.saturating_sub(shortfall);
                let settles = match settle_from {
                    SettleFrom::Purchases => rest.min(self.outstanding(&rating.credit)),
                    SettleFrom::Reset | SettleFrom::Never => Credits::ZERO,
                };
                Ok(Beyond::TopUp(grant, settles))
            }
        }
    }

    /// The overage that is outstanding or held.
    fn drawn_beyond(&self, credit: &CreditType) -> Credits {
        self.accounts.get(credit).map_or(Credits::ZERO, |account| account.overage)
    }

    fn check_rating(&self, rating: &Rating) -> Result<(), String> {
        if rating.cost.is_negative() || !rating.cost.is_acceptable() {
            return Err(format!("a cost of {} is not between 0 and {}", rating.cost, Credits::LARGEST));
        }
        if rating.draw_order.is_empty() {
            return Ok(());
        }
        let known: BTreeSet<GrantId> = self.grants.iter().map(|state| state.grant.id).collect();
        let mut named = BTreeSet::new();
        for id in &rating.draw_order {
            if !known.contains(id) {
                return Err(format!("the draw order names {id}, which is no live grant"));
            }
            // Drawn from twice, a grant would give more than it has.
            if !named.insert(*id) {
                return Err(format!("the draw order names {id} twice"));
            }
        }
        Ok(())
    }

    fn top_up_grant(
        &self,
        at: Timestamp,
        credit: &CreditType,
        shortfall: Credits,
        top_up: &TopUp,
    ) -> Result<Grant, String> {
        if top_up.amount < shortfall || !top_up.amount.is_acceptable() {
            return Err(format!("a top-up of {} for a shortfall of {shortfall}", top_up.amount));
        }
        let Expiry { at: expires_at, with_period } = top_up.expires;
        if expires_at.is_some_and(|expiry| expiry <= at) {
            return Err("a top-up that has expired already".to_owned());
        }
        Ok(Grant {
            id: self.next_grant(),
            credit: credit.clone(),
            amount: top_up.amount,
            category: Category::TopUp,
            priority: top_up.priority,
            effective_at: at,
            expires_at,
            expires_with_period: with_period.map(|n| self.period_number_at(at).saturating_add(n)),
            features: Vec::new(),
            cost_basis: top_up.cost_basis,
            metadata: Vec::new(),
        })
    }
}

/// Takes `cost` from grants in order.
fn take<'a>(
    drawable: impl Iterator<Item = (&'a GrantState, Credits)>,
    cost: Credits,
) -> (Vec<(Draw, bool)>, Credits) {
    let mut left = cost;
    let mut draws = Vec::with_capacity(1);
    for (grant, most) in drawable {
        if left.is_zero() {
            break;
        }
        let amount = left.min(most);
        left = left.saturating_sub(amount);
        draws.push((Draw { grant: grant.grant.id, amount }, grant.status == GrantStatus::Expired));
    }
    (draws, left)
}

/// What pays for a shortfall.
enum Beyond {
    Overage,
    TopUp(Grant, Credits),
}

impl Funding {
    /// The movements that carry it out, into `to`.
    pub(crate) fn transfers(&self, credit: &CreditType, to: Book) -> Vec<Transfer> {
        let mut transfers = Vec::with_capacity(self.draws.len() + 1);
        if let Some((grant, ..)) = &self.top_up {
            transfers.push(Transfer::new(credit, Book::Issued, Book::Grant(grant.id), grant.amount));
        }
        transfers.extend(draw_transfers(credit, &self.draws, to));
        if let Some((grant, drawn, settles)) = &self.top_up {
            transfers.push(Transfer::new(credit, Book::Grant(grant.id), to, *drawn));
            if !settles.is_zero() {
                transfers.push(Transfer::new(credit, Book::Grant(grant.id), Book::Overage, *settles));
            }
        }
        if !self.overage.is_zero() {
            transfers.push(Transfer::new(credit, Book::Overage, to, self.overage));
        }
        transfers
    }

    /// The grant that is issued on the spot.
    pub(crate) fn top_up(&self) -> Option<Grant> {
        self.top_up.as_ref().map(|(grant, ..)| grant.clone())
    }
}

/// The movements of draws into a book.
pub(crate) fn draw_transfers(
    credit: &CreditType,
    draws: &[(Draw, bool)],
    to: Book,
) -> impl Iterator<Item = Transfer> {
    draws.iter().flat_map(move |(Draw { grant, amount }, expired)| {
        let revived = expired.then(|| Transfer::new(credit, Book::Expired, Book::Grant(*grant), *amount));
        revived.into_iter().chain([Transfer::new(credit, Book::Grant(*grant), to, *amount)])
    })
}
