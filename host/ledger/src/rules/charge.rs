//! Charges: a usage, rated, is drawn at once. And the refusal that all kinds of charging share.

use crate::{
    decision::{Counter, Overage, Rating, Refusal, Usage},
    draw::Unfunded,
    error::Denied,
    journal::{Charged, DecisionRecord, Event, Intent, Rated, Refused},
    state::{CustomerState, Draft},
    time::Timestamp,
    transfer::Book,
};

/// What a policy decided about a usage.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Who decided, for the journal.
    pub record: DecisionRecord,
    /// The cost.
    pub rating: Rating,
    /// What happens beyond what is available; none when it was not asked, because enough is there.
    pub overage: Option<Overage>,
    /// The counters that the terms in force declare.
    pub counters: Vec<Counter>,
}

impl CustomerState {
    /// The entry that charges a usage.
    ///
    /// # Errors
    /// [`Denied::Refused`] when credits are missing, else see [`Denied`].
    pub fn charge(&self, at: Timestamp, usage: Usage, decision: Decision) -> Result<Draft, Denied> {
        self.require_open()?;
        let Decision { record, rating, overage, counters } = decision;
        let funding = match self.fund(at, Some(&usage.feature), &rating, rating.cost, overage.as_ref()) {
            Ok(funding) => funding,
            Err(unfunded) => return Err(self.unfunded(at, Intent::Charge, usage, rating, record, unfunded)),
        };
        let counts = self.counts(&counters, &usage, rating.cost, at);
        let credit = rating.credit.clone();
        let transfers = funding.transfers(&credit, Book::Spent);
        let charged = Charged { usage, rated: rated(rating), decision: record, top_up: funding.top_up() };
        Ok(Draft { counts, ..Draft::moving(Event::Charged(Box::new(charged)), credit, transfers) })
    }

    /// The entry that records a refusal by the policy's `rate`, or because no policy could decide.
    #[must_use]
    pub fn refuse(
        &self,
        at: Timestamp,
        intent: Intent,
        usage: Usage,
        refusal: Refusal,
        decision: Option<DecisionRecord>,
    ) -> Refused {
        let credit = self.main_credit();
        Refused {
            intent,
            code: refusal.code,
            detail: refusal.detail,
            rated: None,
            available: self.available(&credit, Some(&usage.feature), at),
            retry_at: refusal.retry_at,
            offers: Vec::new(),
            decision,
            usage,
        }
    }

    /// The draft that puts a refusal into the journal.
    #[must_use]
    pub fn refused(&self, refused: Refused) -> Draft {
        let credit = refused.rated.as_ref().map_or_else(|| self.main_credit(), |rated| rated.credit.clone());
        Draft::moving(Event::Refused(Box::new(refused)), credit, Vec::new())
    }

    pub(crate) fn unfunded(
        &self,
        at: Timestamp,
        intent: Intent,
        usage: Usage,
        rating: Rating,
        decision: DecisionRecord,
        unfunded: Unfunded,
    ) -> Denied {
        match unfunded {
            Unfunded::Invalid(detail) => Denied::InvalidDecision(detail),
            Unfunded::Refused(refusal, offers) => Denied::Refused(Box::new(Refused {
                intent,
                code: refusal.code,
                detail: refusal.detail,
                available: self.available(&rating.credit, Some(&usage.feature), at),
                rated: Some(rated(rating)),
                retry_at: refusal.retry_at,
                offers,
                decision: Some(decision),
                usage,
            })),
        }
    }

    /// The credit type to show where a policy named none: the only one, or `credits`.
    #[must_use]
    pub fn main_credit(&self) -> crate::grant::CreditType {
        let mut credits = self.accounts.keys();
        match (credits.next(), credits.next()) {
            (Some(only), None) => only.clone(),
            _ => crate::grant::default_credit(),
        }
    }
}

pub(crate) fn rated(rating: Rating) -> Rated {
    Rated { credit: rating.credit, cost: rating.cost, lines: rating.lines }
}
