//! Charges: a usage, rated, is drawn at once. And the refusal that all kinds of charging share.

use super::{
    budgeting::Exceeded,
    draw::{Funding, NONE, Obligation, Unfunded, Use},
    rejection::Denied,
};
use crate::{
    journal::{BudgetCount, Charged, Count, DecisionRecord, Event, Intent, Rated, Refused, Unrated},
    model::{
        answers::{Overage, Rating, Refusal, RefusalKind, SettleFrom},
        counter::Counter,
        grant::CreditType,
        time::{Timestamp, Zone},
        transfer::Book,
        usage::Usage,
    },
    state::{CustomerState, Draft},
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
    /// The counters that the terms in force and their shadows declare, each with the zone that its terms name.
    pub counters: Vec<(Counter, Option<Zone>)>,
    /// What pays outstanding overage.
    pub settle_from: SettleFrom,
    /// Of a commit: why the policy gave it no price, so that it is rated as it was reserved.
    pub unrated: Option<Unrated>,
}

/// A usage whose cost is funded, and what it adds to counters.
pub(super) struct Paid {
    pub usage: Usage,
    pub rating: Rating,
    pub decision: DecisionRecord,
    pub funding: Funding,
    pub counts: Vec<Count>,
    pub budgets: Vec<BudgetCount>,
}

impl CustomerState {
    /// The entry that charges a usage.
    ///
    /// # Errors
    /// [`Denied::Refused`] when credits are missing, else see [`Denied`].
    pub fn charge(&self, at: Timestamp, usage: Usage, decision: Decision) -> Result<Draft, Denied> {
        self.require_open()?;
        let Paid { usage, rating, decision, funding, counts, budgets } =
            self.pay(at, Intent::Charge, usage, decision)?;
        let credit = rating.credit.clone();
        let transfers = funding.transfers(&credit, Book::Spent);
        let late = self.late(&usage);
        let charged =
            Charged { usage, late, rated: rated(rating), decision, settled: None, top_up: funding.top_up() };
        Ok(Draft { counts, budgets, ..Draft::moving(Event::Charged(Box::new(charged)), credit, transfers) })
    }

    /// Funds a usage that is charged or reserved.
    pub(super) fn pay(
        &self,
        at: Timestamp,
        intent: Intent,
        usage: Usage,
        decision: Decision,
    ) -> Result<Paid, Denied> {
        let Decision { record, rating, overage, counters, settle_from, .. } = decision;
        self.require_place_for_credit(&rating.credit)?;
        // Before anything is bought for it.
        let budgets = self.budget_counts(&usage, &rating.credit, rating.cost, None);
        if let Some(exceeded) = self.exceeded(&budgets, at) {
            return Err(self.over_budget(at, intent, usage, rating, record, exceeded));
        }
        let using = self.using(&rating.credit, &usage, at);
        let obligation = Obligation::AsAllowed;
        match self.fund(using, &rating, rating.cost, overage.as_ref(), obligation, settle_from) {
            Ok(funding) => {
                let counts = self.counts(&counters, &usage, rating.cost, None);
                self.require_place_for_counts(&counts, &budgets)?;
                Ok(Paid { usage, rating, decision: record, funding, counts, budgets })
            }
            Err(unfunded) => Err(self.unfunded(at, intent, usage, rating, record, unfunded)),
        }
    }

    /// The entry that records a refusal by the policy's `rate`, or because no policy could decide.
    #[must_use]
    pub fn refuse(
        &self,
        at: Timestamp,
        intent: Intent,
        usage: Usage,
        credit: CreditType,
        refusal: Refusal,
        decision: Option<DecisionRecord>,
    ) -> Refused {
        Refused {
            intent,
            late: self.late(&usage),
            invalid: refusal.kind == RefusalKind::Invalid,
            code: refusal.code,
            by_policy: refusal.by_policy,
            detail: refusal.detail,
            rated: None,
            available: self.available_to(self.using(&credit, &usage, at)),
            source: None,
            over_budget: None,
            pending_top_up: None,
            credit,
            retry_at: refusal.retry_at,
            offers: Vec::new(),
            suggestions: refusal.suggestions,
            decision,
            usage,
        }
    }

    /// The draft that puts a refusal into the journal.
    #[must_use]
    pub fn refused(&self, refused: Refused) -> Draft {
        let credit = refused.credit.clone();
        Draft::moving(Event::Refused(Box::new(refused)), credit, Vec::new())
    }

    fn over_budget(
        &self,
        at: Timestamp,
        intent: Intent,
        usage: Usage,
        rating: Rating,
        decision: DecisionRecord,
        exceeded: Exceeded,
    ) -> Denied {
        let Exceeded { over, retry_at } = exceeded;
        let refusal = Refusal { retry_at, ..Refusal::by_ledger("budget_exceeded", over.detail()) };
        let refused = self.refuse(at, intent, usage, rating.credit.clone(), refusal, Some(decision));
        let over_budget = Some(Box::new(over));
        Denied::Refused(Box::new(Refused { rated: Some(rated(rating)), over_budget, ..refused }))
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
            Unfunded::Refused(refusal, offers) => {
                let refused = self.refuse(at, intent, usage, rating.credit.clone(), *refusal, Some(decision));
                let (rated, pending_top_up) = (Some(rated(rating)), self.pending_top_up(&refused.credit));
                Denied::Refused(Box::new(Refused { rated, offers, pending_top_up, ..refused }))
            }
        }
    }

    /// What a usage draws on. Before the customer existed there was nothing to draw: that counts as its first instant.
    pub(crate) fn using<'a>(&self, credit: &'a CreditType, usage: &'a Usage, now: Timestamp) -> Use<'a> {
        Use {
            credit,
            feature: Some(&usage.feature),
            occurred_at: self.time_of(usage).min(now),
            now,
            barred: &NONE,
        }
    }

    /// When a usage counts as having occurred: not before the customer existed.
    #[must_use]
    pub fn time_of(&self, usage: &Usage) -> Timestamp {
        usage.occurred_at.max(self.created_at)
    }

    /// The number of the period that a usage occurred in, when that has ended.
    #[must_use]
    pub fn late(&self, usage: &Usage) -> Option<u32> {
        self.period_at(self.time_of(usage)).filter(|found| found.is_past).map(|found| found.period.number)
    }
}

pub(crate) fn rated(rating: Rating) -> Rated {
    let lines = rating.lines.into_iter().map(Into::into).collect();
    Rated { credit: rating.credit, cost: rating.cost, lines }
}
