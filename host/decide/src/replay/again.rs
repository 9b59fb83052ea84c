//! One recorded entry, decided again on the state that it was decided on. It agrees when all of it is the same: outcome, cost,
//! lines, terms by their digest, fuel, log, shadows, movements and counts.

use super::{difference, history::History};
use crate::{
    Decider, Stop,
    catalog::Plans,
    policy::{Lookup, Policies},
};
use proviso_ledger::{
    journal::{DecisionRecord, Entry, Event, Intent, ShadowRecord},
    model::{answers::Suggestion, ids::Digest, usage::Usage},
    state::{CustomerState, Draft, LATE_WINDOW},
};

/// The faults that the host's surroundings bring: they may not come again.
const BY_CHANCE: [&str; 2] = ["deadline_exceeded", MODULE_UNAVAILABLE];
const MODULE_UNAVAILABLE: &str = "module_unavailable";

/// What an entry's decision came to when it was made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// No policy was asked for this entry: there is nothing to decide.
    Undecided,
    /// The same in every bit.
    Agrees,
    /// Something else: what, for people.
    Differs(String),
    /// It can't be made again.
    CantBe(Unrepeatable),
}

/// Why a decision can't be made again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unrepeatable {
    /// A module that decided is gone, or can't be loaded.
    ModuleGone(Digest),
    /// A fault decided that came of the host's surroundings, not of the policy: its code.
    ByChance(String),
    /// The entry does not say what was asked: a reservation that was refused although the policy would have allowed less.
    NotRecorded,
}

/// What deciding again came to, or which module must be loaded first.
pub type Outcome = Result<Again, Digest>;

/// Decides an entry again. `state` is what the journal before it gives.
///
/// # Errors
/// The module that must be loaded first.
pub fn again(history: &History, policies: Policies<'_>, state: &CustomerState, entry: &Entry) -> Outcome {
    let Some(record) = entry.decision() else { return Ok(Again::Undecided) };
    if let Lookup::Unavailable(_) = policies(&record.policy.digest)
        && !fault_is(record, MODULE_UNAVAILABLE)
    {
        return Ok(Again::CantBe(Unrepeatable::ModuleGone(record.policy.digest)));
    }
    let found = match compare(history, policies, state, entry)? {
        Ok(()) => return Ok(Again::Agrees),
        Err(found) => found,
    };
    // What was bound or ended at the same time was there, or not yet, as the entry says.
    if let Some(said) = history.pinned(state.plan(), entry.at, record)
        && compare(&said, policies, state, entry)?.is_ok()
    {
        return Ok(Again::Agrees);
    }
    if let Found::Gone(digest) = found {
        return Ok(Again::CantBe(Unrepeatable::ModuleGone(digest)));
    }
    if let Some(code) = by_chance(record) {
        return Ok(Again::CantBe(Unrepeatable::ByChance(code.to_owned())));
    }
    Ok(match found {
        Found::Unsaid => Again::CantBe(Unrepeatable::NotRecorded),
        Found::Other(detail) => Again::Differs(detail),
        Found::Gone(digest) => Again::CantBe(Unrepeatable::ModuleGone(digest)),
    })
}

/// How a decision that was made again differs.
enum Found {
    /// In this.
    Other(String),
    /// Since a shadow's module is gone.
    Gone(Digest),
    /// Since the entry does not say what was asked.
    Unsaid,
}

fn compare(
    plans: &dyn Plans,
    policies: Policies<'_>,
    state: &CustomerState,
    entry: &Entry,
) -> Result<Result<(), Found>, Digest> {
    let decider = Decider { plans, policies, now: entry.at, late_window: LATE_WINDOW, most_due: usize::MAX };
    let other = |detail: String| Ok(Err(Found::Other(detail)));
    let draft = match decider.redecide(state, entry) {
        Ok(Some(draft)) => draft,
        Ok(None) => return other("would not be written now".to_owned()),
        Err(Stop::Need(digest)) => return Err(digest),
        Err(Stop::Error(error) | Stop::Defect(error)) => {
            return other(format!("can't be decided now: {error}"));
        }
        Err(Stop::Unfinished) => return other("is not finished".to_owned()),
    };
    if draft.event != entry.event {
        if let Some(digest) = gone_shadow(plans, state, entry, &draft) {
            return Ok(Err(Found::Gone(digest)));
        }
        if is_unsaid(entry, &draft) {
            return Ok(Err(Found::Unsaid));
        }
        return other(difference::of_events(&entry.event, &draft.event));
    }
    if draft.transfers != entry.transfers {
        return other(difference::of_lists("transfers", &entry.transfers, &draft.transfers));
    }
    if draft.counts != entry.counts {
        return other(difference::of_lists("counts", &entry.counts, &draft.counts));
    }
    Ok(Ok(()))
}

impl Decider<'_> {
    /// The draft of a recorded entry, decided anew at its time on the state before it; none when nothing would be written.
    pub(crate) fn redecide(&self, state: &CustomerState, entry: &Entry) -> Result<Option<Draft>, Stop> {
        let at = entry.at;
        Ok(Some(match &entry.event {
            Event::Charged(charged) => match &charged.settled {
                Some(settled) => self.settle(state, settled.lease, charged.usage.clone(), at)?,
                None => self.charge(state, charged.usage.clone(), at)?,
            },
            Event::Reserved(reserved) => {
                let mut usage = reserved.usage.clone();
                if let Some(asked) = &reserved.reduced_from {
                    usage.quantities.clone_from(&asked.0);
                }
                self.reserve(state, usage, at, reserved.expires_at)?
            }
            Event::Committed(committed) => {
                let reported = committed.as_reserved.as_ref().and_then(|unrated| unrated.reported.as_deref());
                let usage = reported.unwrap_or(&committed.usage).clone();
                self.commit(state, committed.reservation, usage, at)?
            }
            Event::Refused(refused) => self.ask_again(state, refused.intent, refused.usage.clone(), at)?,
            Event::PeriodClosed(closed) if closed.retried => {
                self.retry_period(state, closed.period.number, at)?
            }
            Event::PeriodClosed(closed) => self.close_period(state, at, closed.reason)?,
            Event::PeriodOpened(opened) if opened.retried => {
                self.retry_period(state, opened.period.number, at)?
            }
            Event::PeriodOpened(opened) => self.open_period(state, at, opened.reason, opened.allowance)?,
            Event::OverageSettled(_) => return self.settle_after_closing(state, at),
            _ => return Ok(None),
        }))
    }

    /// The draft of a usage that was refused: for as long as the default where it was to be held.
    pub(crate) fn ask_again(
        &self,
        state: &CustomerState,
        intent: Intent,
        usage: Usage,
        at: proviso_ledger::model::time::Timestamp,
    ) -> Result<Draft, Stop> {
        match intent {
            Intent::Charge => self.charge(state, usage, at),
            Intent::Reserve => self.reserve(state, usage, at, crate::command::Ttl::DEFAULT.after(at)),
            Intent::Commit(id) => self.commit(state, id, usage, at),
            Intent::Settle(lease) => self.settle(state, lease, usage, at),
        }
    }
}

fn fault_is(record: &DecisionRecord, code: &str) -> bool {
    record.fault.as_ref().is_some_and(|fault| fault.code == code)
}

/// The code of what may not come again in a decision, its shadows included.
fn by_chance(record: &DecisionRecord) -> Option<&str> {
    let fault = record.fault.iter().map(|fault| fault.code.as_str());
    let failed = record.shadows.iter().filter(|shadow| shadow.failed);
    let shadows = failed.filter_map(|shadow| shadow.code.as_deref());
    fault.chain(shadows).find(|code| BY_CHANCE.contains(code))
}

/// The module of a shadow that can't be asked any more.
fn gone_shadow(plans: &dyn Plans, state: &CustomerState, entry: &Entry, draft: &Draft) -> Option<Digest> {
    let recorded = &entry.decision()?.shadows;
    let shadows = &draft.event.decision()?.shadows;
    let is_gone = |one: &&ShadowRecord| one.failed && one.code.as_deref() == Some(MODULE_UNAVAILABLE);
    let mut gone = shadows.iter().filter(is_gone);
    let gone = gone.find(|one| !recorded.contains(one))?;
    let of_plan = state.plan().map_or(&[][..], |plan| plans.terms_of(plan));
    let terms = state.terms.iter().chain(of_plan).find(|terms| terms.key == gone.terms)?;
    Some(terms.policy.digest)
}

/// Whether a reservation was refused after the policy had allowed less: only that less is recorded, as the usage and as what would be
/// allowed, and the fuel of both questions.
fn is_unsaid(entry: &Entry, draft: &Draft) -> bool {
    let (Event::Refused(refused), Some(made)) = (&entry.event, draft.event.decision()) else {
        return false;
    };
    let fuel = entry.decision().map_or(0, |record| record.fuel);
    let suggests_itself = |suggestion: &Suggestion| suggestion.quantities == refused.usage.quantities;
    let was_reduced = fuel > made.fuel || refused.suggestions.iter().any(suggests_itself);
    refused.intent == Intent::Reserve && was_reduced && refused.rated.is_some()
}
