//! What is moved in from another system: grants with what they have left, overage that is outstanding, usage that was billed
//! there, and the period that was running there. It is taken as it was: late windows and policies are for what happens here.

use super::{
    grants::{GrantRequest, GrantTerms, check_end},
    opening::NextPeriod,
    rejection::Rejection,
};
use crate::{
    journal::{Event, GrantImported, OverageImported, PaidElsewhere, PeriodOpened, Trial, UsageImported},
    model::{
        amounts::Credits,
        grant::{Category, CreditType, Grant},
        ids::Key,
        time::Timestamp,
        transfer::{Book, Transfer},
        usage::Usage,
    },
    state::{CustomerState, Draft},
};

/// Which import something came with, and its id in the system that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOrigin {
    /// The import, as the caller named it.
    pub import: Key,
    /// The id in the other system.
    pub external_id: Key,
}

/// A grant that another system gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedGrant {
    /// As it was given.
    pub grant: GrantRequest,
    /// Whether it is said that it never expires; else the terms may say that its category expires with the period.
    pub never_expires: bool,
    /// What of it was spent.
    pub used: Credits,
    /// What of it was voided.
    pub voided: Credits,
    /// Whether it is a plan allowance of the running period; none means one that expires with it and is of category plan or trial.
    pub allowance: Option<bool>,
}

/// Usage that another system billed.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedUsage {
    /// What was used.
    pub usage: Usage,
    /// The credit type.
    pub credit: CreditType,
    /// What it cost.
    pub cost: Credits,
    /// What paid for it.
    pub paid: Vec<PaidElsewhere>,
    /// Whether it takes earlier usage back.
    pub refund: bool,
}

impl CustomerState {
    /// The entry that moves a grant in.
    ///
    /// # Errors
    /// A closed customer, an amount out of range, more used than was granted, an expiry that has passed, too many grants.
    pub fn import_grant(
        &self,
        at: Timestamp,
        origin: ImportOrigin,
        imported: ImportedGrant,
        terms: &GrantTerms,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        let ImportedGrant { grant: request, never_expires, used, voided, allowance } = imported;
        for (amount, field) in [(used, "used"), (voided, "voided")] {
            if amount.is_negative() || !amount.is_acceptable() {
                return Err(Rejection::AmountOutOfRange(field));
            }
        }
        let amount = request.amount;
        if !amount.is_positive() || !amount.is_acceptable() {
            return Err(Rejection::AmountOutOfRange("amount"));
        }
        if used.saturating_add(voided) > amount {
            return Err(Rejection::MoreUsedThanGranted(amount));
        }
        let effective_at = request.effective_at.unwrap_or(at);
        let unsaid = request.expires.at.is_none() && !never_expires;
        let by_category = unsaid && terms.period_categories.contains(&request.category);
        let with_period = request.expires.with_period.or_else(|| by_category.then_some(0));
        let usable_in = self.period_number_at(effective_at.max(at));
        let grant = Grant {
            id: self.next_grant(),
            credit: request.credit,
            amount,
            category: request.category,
            priority: request.priority,
            effective_at,
            expires_at: request.expires.at,
            expires_with_period: with_period.map(|n| usable_in.saturating_add(n)),
            features: request.features,
            cost_basis: request.cost_basis,
            metadata: request.metadata,
        };
        check_end(&grant, at)?;
        self.require_place_for_grant(&grant)?;
        let running = self.period.as_ref().map(|period| period.number);
        let ends_with_running = running.is_some() && grant.expires_with_period == running;
        let by_itself = ends_with_running && matches!(grant.category, Category::Plan | Category::Trial);
        let allowance = running.is_some() && effective_at <= at && allowance.unwrap_or(by_itself);
        let step = |to: Book, amount: Credits| {
            amount.is_positive().then(|| Transfer::new(&grant.credit, Book::Grant(grant.id), to, amount))
        };
        let given = Transfer::new(&grant.credit, Book::Issued, Book::Grant(grant.id), amount);
        let gone = [step(Book::Spent, used), step(Book::Voided, voided)].into_iter().flatten();
        let transfers = [given].into_iter().chain(gone).collect();
        let ImportOrigin { import, external_id } = origin;
        let credit = grant.credit.clone();
        let imported = GrantImported { import, external_id, grant, used, voided, allowance };
        Ok(Draft::moving(Event::GrantImported(Box::new(imported)), credit, transfers))
    }

    /// The entry that moves outstanding overage in.
    ///
    /// # Errors
    /// A closed customer, an amount out of range.
    pub fn import_overage(
        &self,
        origin: ImportOrigin,
        credit: CreditType,
        amount: Credits,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        if !amount.is_positive() || !amount.is_acceptable() {
            return Err(Rejection::AmountOutOfRange("amount"));
        }
        let transfers = vec![Transfer::new(&credit, Book::Overage, Book::Spent, amount)];
        let ImportOrigin { import, external_id } = origin;
        let imported = OverageImported { import, external_id, credit: credit.clone(), amount };
        Ok(Draft::moving(Event::OverageImported(imported), credit, transfers))
    }

    /// The entry that moves usage in. It moves no credits and counts toward nothing but reports.
    ///
    /// # Errors
    /// A closed customer, an amount out of range, more paid than it cost.
    pub fn import_usage(&self, origin: ImportOrigin, imported: ImportedUsage) -> Result<Draft, Rejection> {
        self.require_open()?;
        let ImportedUsage { usage, credit, cost, paid, refund } = imported;
        if cost.is_negative() || !cost.is_acceptable() {
            return Err(Rejection::AmountOutOfRange("cost"));
        }
        if paid.iter().any(|one| one.amount.is_negative() || !one.amount.is_acceptable()) {
            return Err(Rejection::AmountOutOfRange("paid"));
        }
        let sum = paid.iter().fold(Credits::ZERO, |sum, one| sum.saturating_add(one.amount));
        if sum > cost {
            return Err(Rejection::MorePaidThanCost(cost));
        }
        let ImportOrigin { import, external_id } = origin;
        let first = self.imported.is_none();
        let imported = UsageImported { import, external_id, usage, credit, cost, paid, refund, first };
        Ok(Draft::new(Event::UsageImported(Box::new(imported))))
    }

    /// The entry that goes on with a period that ran in another system: no policy is asked, since what it gave is moved in, too.
    /// `once` are the keys of grants that the plan gives once and that count as given.
    ///
    /// # Errors
    /// [`Rejection::CustomerClosed`].
    pub fn resume_period(
        &self,
        next: NextPeriod,
        once: Vec<Key>,
        trial: Option<Trial>,
    ) -> Result<Draft, Rejection> {
        self.require_open()?;
        let (opened, _, _) = PeriodOpened::begin(next, None);
        let opened = PeriodOpened { moved_in: true, once, trial, ..opened };
        Ok(Draft::new(Event::PeriodOpened(Box::new(opened))))
    }
}
