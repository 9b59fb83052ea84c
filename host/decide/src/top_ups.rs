//! Automatic top-ups: how their rules change, and when a payment is asked for.

use crate::{
    DecideError, Decider, Journal, Stop,
    change::Change,
    precondition::{Expected, Tag},
};
use proviso_ledger::{
    journal::Event,
    model::{
        amounts::{Credits, Money},
        counter::Window,
        grant::CreditType,
        plan_grant::PlanExpiry,
        time::Timestamp,
        top_up::{AutoTopUp, Fill},
    },
    rules::due::Due,
    state::{AutoTopUpState, CustomerState, Draft},
};

/// Without a word about it: so many top-ups at most...
const MOST: u32 = 5;
/// ...in each of these.
const WINDOW: Window = Window::Day;
/// An hour.
const COOL_DOWN_SECONDS: u32 = 3_600;
/// A day.
const ANSWER_SECONDS: u32 = 86_400;
const MOST_FAILURES: u32 = 3;

/// How the rule for the top-ups of a credit type is put in force or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoTopUpChange {
    /// Of which credit type.
    pub credit: CreditType,
    /// Required where there is no rule yet.
    pub threshold: Option<Credits>,
    /// Required where there is no rule yet.
    pub fill: Option<Fill>,
    /// Defaults to 5.
    pub most: Change<u32>,
    /// Defaults to a day.
    pub window: Change<Window>,
    /// Defaults to an hour.
    pub cool_down_seconds: Change<u32>,
    /// Defaults to a day.
    pub answer_seconds: Change<u32>,
    /// Defaults to 3.
    pub most_failures: Change<u32>,
    /// What one credit costs.
    pub unit_price: Change<Money>,
    /// Defaults to 0.
    pub priority: Change<i32>,
    /// Defaults to never.
    pub expires: Change<PlanExpiry>,
    /// Defaults to yes.
    pub enabled: Change<bool>,
    /// What the caller expects to be in force.
    pub expected: Expected,
}

impl AutoTopUpChange {
    /// The rule after the change; `None` when it is in force already, and nothing holds it back that putting it anew would end.
    pub(crate) fn apply(&self, state: &CustomerState) -> Result<Option<AutoTopUp>, DecideError> {
        let standing = state.auto_top_ups.get(&self.credit);
        let before = standing.map(|state| &state.rule);
        self.expected.check(|| before.map(Tag::of).transpose())?;
        let missing = DecideError::AutoTopUpIncomplete;
        let threshold = self.threshold.or_else(|| before.map(|before| before.threshold));
        let fill = self.fill.or_else(|| before.map(|before| before.fill));
        let after = AutoTopUp {
            threshold: threshold.ok_or(missing("threshold"))?,
            fill: fill.ok_or(missing("target"))?,
            most: self.most.apply(before.map(|before| before.most)).unwrap_or(MOST),
            window: self.window.apply(before.map(|before| before.window)).unwrap_or(WINDOW),
            cool_down_seconds: self
                .cool_down_seconds
                .apply(before.map(|before| before.cool_down_seconds))
                .unwrap_or(COOL_DOWN_SECONDS),
            answer_seconds: self
                .answer_seconds
                .apply(before.map(|before| before.answer_seconds))
                .unwrap_or(ANSWER_SECONDS),
            most_failures: self
                .most_failures
                .apply(before.map(|before| before.most_failures))
                .unwrap_or(MOST_FAILURES),
            unit_price: self.unit_price.apply(before.and_then(|before| before.unit_price)),
            priority: self.priority.apply(before.map(|before| before.priority)).unwrap_or(0),
            expires: self.expires.apply(before.map(|before| before.expires)).unwrap_or(PlanExpiry::Never),
            enabled: self.enabled.apply(before.map(|before| before.enabled)).unwrap_or(true),
        };
        let holds_back = standing.is_some_and(|state| state.failures > 0 || state.halted.is_some());
        Ok(if before == Some(&after) && !holds_back { None } else { Some(after) })
    }
}

/// The tag of a rule for top-ups, whatever became of these; `None` for one that is not there.
///
/// # Errors
/// A rule that can't be written as JSON.
pub fn auto_top_up_tag(state: &CustomerState, credit: &CreditType) -> Result<Option<Tag>, DecideError> {
    state.auto_top_ups.get(credit).map(|AutoTopUpState { rule, .. }| Tag::of(rule)).transpose()
}

impl Decider<'_> {
    /// The entry for a step of a top-up that is due.
    pub(crate) fn due_top_up(&self, state: &CustomerState, at: Timestamp) -> Result<Draft, Stop> {
        let draft = state.due_top_up(at, &self.grant_terms(state, at));
        draft.ok_or_else(|| DecideError::Internal("no top-up is due".to_owned()).into())
    }

    /// Writes what a command makes due of top-ups, in the same commit: a payment is asked for as soon as the threshold is crossed.
    pub(crate) fn raise_top_ups(&self, state: &mut CustomerState, journal: &mut Journal) -> Result<(), Stop> {
        // At one instant each credit type has a request, or an alarm and then a request.
        let most = state.auto_top_ups.len().saturating_mul(2);
        for _ in 0..most {
            match state.next_due() {
                Some((due_at, due @ Due::TopUp(_))) if due_at <= state.at => {
                    self.carry_out(state, due_at, due, journal)?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Asks for the payment of a top-up, where that would make a refused usage possible, and lets the refusal say so.
    pub(crate) fn top_up_refused(
        &self,
        state: &mut CustomerState,
        draft: &mut Draft,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<(), Stop> {
        let Event::Refused(refused) = &mut draft.event else { return Ok(()) };
        if state.auto_top_ups.is_empty() {
            return Ok(());
        }
        let Some(requested) = state.top_up_for(refused, at, &self.grant_terms(state, at)) else {
            return Ok(());
        };
        journal.seal(state, at, requested)?;
        refused.pending_top_up = state.pending_top_up(&refused.credit);
        Ok(())
    }
}
