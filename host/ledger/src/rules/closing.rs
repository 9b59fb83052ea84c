//! Resets: a period closes and the next one opens, as the policy decides and as far as the ledger's rules allow.

use crate::{
    credits::Credits,
    decision::{NewGrant, ResetOutcome, Rollover, SettleMethod, Settlement},
    draw::LARGEST_AMOUNT,
    error::{Denied, Rejection},
    grant::{Category, CreditType, Grant},
    ids::GrantId,
    journal::{DecisionRecord, Event, Reset, ResetReason, Rolled},
    state::{CustomerState, Draft, GrantStatus, Period},
    time::Timestamp,
    transfer::{Book, Transfer},
};

impl CustomerState {
    /// The period that a reset at `at` opens; none for a customer without a profile.
    #[must_use]
    pub fn next_period(&self, at: Timestamp) -> Option<Period> {
        let profile = self.profile.as_ref()?;
        Some(Period {
            number: self.period.as_ref().map_or(0, |period| period.number).saturating_add(1),
            start: at,
            end: profile.schedule().and_then(|schedule| schedule.next_after(at)),
        })
    }

    /// The entry that closes the current period, if any, and opens `opened`.
    ///
    /// # Errors
    /// [`Denied::InvalidDecision`] when the outcome breaks a rule: rolls over more than remains, names unknown grants,
    /// issues or settles out of range. [`Denied::Rejected`] for a closed customer.
    pub fn reset(
        &self,
        at: Timestamp,
        reason: ResetReason,
        opened: Period,
        decision: Option<DecisionRecord>,
        outcome: ResetOutcome,
    ) -> Result<Draft, Denied> {
        self.require_open()?;
        let mut reset = Reset {
            reason,
            closed: self.period.clone(),
            opened,
            decision,
            grants: Vec::new(),
            rolled: Vec::new(),
            expired: Vec::new(),
            fees: Vec::new(),
            settled: Vec::new(),
            notes: Vec::new(),
        };
        let main_credit =
            outcome.issue.first().map_or_else(|| self.main_credit(), |grant| grant.credit.clone());
        let mut plan = Plan { scratch: self.clone(), transfers: Vec::new(), at };
        let carried = plan.carry_out(&mut reset, outcome);
        carried.map_err(Denied::InvalidDecision)?;
        Ok(Draft::moving(Event::Reset(Box::new(reset)), main_credit, plan.transfers))
    }

    /// Checks that an early reset makes sense.
    ///
    /// # Errors
    /// A closed customer, or one without a period.
    pub fn check_early_reset(&self) -> Result<(), Rejection> {
        self.require_open()?;
        if self.period.is_some() { Ok(()) } else { Err(Rejection::NoPeriod) }
    }
}

/// A reset being worked out: each step moves credits on a scratch copy, so that the next one sees what is left.
struct Plan {
    scratch: CustomerState,
    transfers: Vec<Transfer>,
    at: Timestamp,
}

impl Plan {
    fn carry_out(&mut self, reset: &mut Reset, outcome: ResetOutcome) -> Result<(), String> {
        for rollover in &outcome.roll_over {
            self.roll_over(reset, rollover)?;
        }
        for id in outcome.expire {
            self.expire(reset, id)?;
        }
        for fee in outcome.fees {
            check_amount("a fee", fee.amount)?;
            let (draws, missing) = self.scratch.draw(&fee.credit, None, fee.amount, &[], self.at);
            for draw in draws {
                self.step(&fee.credit, Book::Grant(draw.grant), Book::Spent, draw.amount)?;
            }
            self.step(&fee.credit, Book::Overage, Book::Spent, missing)?;
            reset.fees.push(fee);
        }
        for grant in outcome.issue {
            self.issue(reset, grant)?;
        }
        for settlement in outcome.settle {
            self.settle(&settlement)?;
            reset.settled.push(settlement);
        }
        reset.notes = outcome.notes;
        Ok(())
    }

    fn step(&mut self, credit: &CreditType, from: Book, to: Book, amount: Credits) -> Result<(), String> {
        if amount.is_zero() {
            return Ok(());
        }
        let transfer = CustomerState::transfer(credit, from, to, amount);
        self.scratch.move_credits(&transfer)?;
        self.transfers.push(transfer);
        Ok(())
    }

    fn live(&self, id: GrantId) -> Result<Grant, String> {
        match self.scratch.grant(id) {
            Some(state) if state.status == GrantStatus::Live => Ok((*state.grant).clone()),
            _ => Err(format!("{id} is no live grant")),
        }
    }

    fn roll_over(&mut self, reset: &mut Reset, rollover: &Rollover) -> Result<(), String> {
        check_amount("a rollover", rollover.amount)?;
        let older = self.live(rollover.grant)?;
        let newer = Grant {
            id: self.next_id(reset)?,
            amount: rollover.amount,
            category: Category::Rollover,
            priority: rollover.priority,
            effective_at: self.at,
            expires_at: rollover.expires_at,
            ..older
        };
        self.add(reset, newer.clone())?;
        self.step(&newer.credit, Book::Grant(rollover.grant), Book::Grant(newer.id), rollover.amount)?;
        reset.rolled.push(Rolled { from: rollover.grant, to: newer.id });
        Ok(())
    }

    fn expire(&mut self, reset: &mut Reset, id: GrantId) -> Result<(), String> {
        let credit = self.live(id)?.credit;
        let remaining = self.scratch.grant(id).map_or(Credits::ZERO, |state| state.remaining);
        if let Some(state) = self.scratch.grants.iter_mut().find(|state| state.grant.id == id) {
            state.status = GrantStatus::Expired;
        }
        self.step(&credit, Book::Grant(id), Book::Expired, remaining)?;
        reset.expired.push(id);
        Ok(())
    }

    fn issue(&mut self, reset: &mut Reset, new: NewGrant) -> Result<(), String> {
        check_amount("an issue", new.amount)?;
        let grant = Grant {
            id: self.next_id(reset)?,
            credit: new.credit,
            amount: new.amount,
            category: new.category,
            priority: new.priority,
            effective_at: new.effective_at.unwrap_or(self.at).max(self.at),
            expires_at: new.expires_at,
            features: new.features,
            cost_basis: new.cost_basis,
            metadata: Vec::new(),
        };
        self.add(reset, grant.clone())?;
        self.step(&grant.credit, Book::Issued, Book::Grant(grant.id), grant.amount)
    }

    fn settle(&mut self, settlement: &Settlement) -> Result<(), String> {
        let Settlement { credit, amount, method } = settlement;
        check_amount("a settlement", *amount)?;
        let outstanding = self.scratch.settleable(credit);
        if *amount > outstanding {
            return Err(format!("a settlement of {amount} for an overage of {outstanding}"));
        }
        match method {
            SettleMethod::Invoice | SettleMethod::Waive => {
                self.step(credit, Book::Issued, Book::Overage, *amount)
            }
            SettleMethod::Deduct => {
                let (draws, missing) = self.scratch.draw(credit, None, *amount, &[], self.at);
                if !missing.is_zero() {
                    return Err(format!("{missing} of {amount} can't be deducted: no grant has them"));
                }
                for draw in draws {
                    self.step(credit, Book::Grant(draw.grant), Book::Overage, draw.amount)?;
                }
                Ok(())
            }
        }
    }

    fn next_id(&self, reset: &Reset) -> Result<GrantId, String> {
        let index = u32::try_from(reset.grants.len()).map_err(|_| "too many grants".to_owned())?;
        Ok(GrantId { index, ..self.scratch.next_grant() })
    }

    fn add(&mut self, reset: &mut Reset, grant: Grant) -> Result<(), String> {
        self.scratch.check_grant(&grant).map_err(|rejection| rejection.to_string())?;
        self.scratch.add_grant(&grant);
        reset.grants.push(grant);
        Ok(())
    }
}

fn check_amount(what: &str, amount: Credits) -> Result<(), String> {
    if amount > Credits::ZERO && amount <= LARGEST_AMOUNT {
        Ok(())
    } else {
        Err(format!("{what} of {amount} is not above 0 and at most {LARGEST_AMOUNT}"))
    }
}
