//! One request, decided in memory: what is due first, then the command, with the policies asked in between. In go a
//! state and a request; out come sealed entries and a reply. Nothing waits here: a policy that is not loaded yet is
//! asked for, and the request is decided again once it is there.

mod rating;
mod resets;

use crate::{
    catalog::Catalog,
    changes,
    command::{Command, Outcome, ProfileChange, Reply, Request, UsageRequest},
    error::EngineError,
};
use proviso_ledger::{
    decision::Usage,
    due::Due,
    entitlement::{self, Entitlement, Source},
    error::{Denied, Rejection},
    fold::{SealError, Sealed},
    ids::Digest,
    journal::{ChainHash, Entry, ResetReason},
    state::{CustomerState, Draft},
    time::Timestamp,
};
use proviso_policy::Module;
use std::sync::Arc;

/// How far ahead of the host's clock a usage may lie: 5 minutes, in microseconds.
const AHEAD: i64 = 300 * Timestamp::SECOND;

/// Gives the modules that are loaded; none means: load it and come again.
pub(crate) type Modules<'a> = &'a dyn Fn(&Digest) -> Option<Arc<Module>>;

/// What a request needs to be decided.
pub(crate) struct Decider<'a> {
    /// The plans and their terms, as of the instant of the decision.
    pub catalog: &'a Catalog,
    /// The loaded modules.
    pub modules: Modules<'a>,
    /// The host's clock.
    pub now: Timestamp,
    /// How old a usage may be, in microseconds.
    pub late_window: i64,
}

/// Why a request is not decided yet, or at all.
pub(crate) enum Stop {
    /// This module must be loaded first.
    Need(Digest),
    /// It can't be carried out.
    Error(EngineError),
    /// The state was left in pieces by a defect: drop it.
    Defect(EngineError),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Error(rejection.into())
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Error(error)
    }
}

/// An entry that awaits its commit.
pub(crate) struct Written {
    pub entry: Arc<Entry>,
    pub body: String,
    pub hash: ChainHash,
}

/// The entries that a request made so far.
#[derive(Default)]
pub(crate) struct Journal {
    /// In order.
    pub written: Vec<Written>,
}

impl Journal {
    fn seal(&mut self, state: &mut CustomerState, at: Timestamp, draft: Draft) -> Result<Arc<Entry>, Stop> {
        let Sealed { entry, body, hash } = state.seal(at, draft).map_err(|error| match error {
            SealError::Rejected(rejection) => Stop::Error(rejection.into()),
            SealError::Defect(error) => Stop::Defect(EngineError::Damaged(state.customer.clone(), error)),
        })?;
        let entry = Arc::new(entry);
        self.written.push(Written { entry: entry.clone(), body, hash });
        Ok(entry)
    }
}

impl Decider<'_> {
    /// Decides one request. Entries for what was due stay valid when the request itself is refused.
    pub(crate) fn decide(
        &self,
        state: &mut CustomerState,
        request: &Request,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        let exists = state.profile.is_some();
        if !exists && !matches!(request.command, Command::Configure(_)) {
            return Err(EngineError::CustomerNotFound(state.customer.clone()).into());
        }
        self.catch_up(state, journal)?;
        let at = self.now.max(state.at);
        match &request.command {
            Command::Read | Command::Sweep => Ok(Reply::State(Arc::new(state.clone()))),
            Command::Check(usage) => self.check(state, usage, at),
            Command::Configure(change) => self.configure(state, change, at, journal),
            command if changes::is_in_force(state, command, at)? => Ok(Reply::State(Arc::new(state.clone()))),
            command => {
                let mut draft = self.draft(state, command, at)?;
                draft.idempotency.clone_from(&request.idempotency);
                let entry = journal.seal(state, at, draft)?;
                Ok(Reply::Entry(Outcome { entry, replayed: false }))
            }
        }
    }

    /// Writes all that is due by now, each at its own instant.
    fn catch_up(&self, state: &mut CustomerState, journal: &mut Journal) -> Result<(), Stop> {
        while let Some((due_at, due)) = state.next_due() {
            if due_at > self.now.max(state.at) {
                break;
            }
            let at = due_at.max(state.at);
            let draft = match due {
                Due::ReservationExpiry(id) => state.expire_reservation(id)?,
                Due::GrantExpiry => state.expire_grants(at),
                Due::PeriodEnd => self.reset(state, at, ResetReason::Scheduled)?,
            };
            journal.seal(state, at, draft)?;
        }
        Ok(())
    }

    fn draft(&self, state: &CustomerState, command: &Command, at: Timestamp) -> Result<Draft, Stop> {
        Ok(match command {
            Command::Charge(usage) => {
                let usage = self.usage(state, usage, at)?;
                self.charge(state, usage, at)?
            }
            Command::Reserve(usage, ttl) => {
                let usage = self.usage(state, usage, at)?;
                self.reserve(state, usage, at, at.plus_micros(i64::from(ttl.0) * Timestamp::SECOND))?
            }
            Command::Commit(id, actual) => {
                let mut usage = state.open_reservation(*id)?.usage.clone();
                usage.quantities.clone_from(&actual.quantities);
                if let Some(attributes) = &actual.attributes {
                    usage.attributes.clone_from(attributes);
                }
                self.commit(state, *id, usage, at)?
            }
            Command::Release(id) => state.release(*id)?,
            Command::Grant(grant) => state.give(at, (**grant).clone())?,
            Command::Void(id) => state.void(*id)?,
            Command::Adjust { credit, amount, reason } => {
                state.adjust(at, credit.clone(), *amount, reason.clone())?
            }
            Command::Reset => {
                state.check_early_reset()?;
                self.reset(state, at, ResetReason::Early)?
            }
            Command::BindTerms(terms) => state.bind_terms(at, (**terms).clone())?,
            Command::EndTerms { id, ends_at, .. } => state.end_terms(at, *id, ends_at.unwrap_or(at))?,
            Command::SetOverride(change) => match change.apply(state, at)? {
                Some(exception) => state.set_override(exception)?,
                None => return Err(EngineError::Internal("an override that is in force".to_owned()).into()),
            },
            Command::RemoveOverride(feature, _) => state.remove_override(feature.clone()),
            Command::Close(_) => state.close()?,
            Command::Configure(_) | Command::Check(_) | Command::Read | Command::Sweep => {
                return Err(EngineError::Internal("a command without a draft".to_owned()).into());
            }
        })
    }

    fn configure(
        &self,
        state: &mut CustomerState,
        change: &ProfileChange,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Result<Reply, Stop> {
        change.expected.check(|| changes::customer_tag(state))?;
        state.require_open()?;
        let mut profile = change.apply(state, at);
        let before = state.profile.clone();
        let plan = match &profile.plan {
            Some(plan) => {
                Some(self.catalog.plans.get(plan).ok_or_else(|| EngineError::PlanNotFound(plan.clone()))?)
            }
            None => None,
        };
        profile.interval = plan.and_then(|plan| plan.interval);
        let plan_changed = before.as_ref().is_none_or(|before| before.plan != profile.plan);
        if before.as_ref() != Some(&profile) {
            let takes_plan = plan_changed && profile.plan.is_some();
            // All or nothing: when the reset needs a policy that is not loaded yet, the whole is decided again.
            let (mut next, mut made) = (state.clone(), Journal::default());
            let draft = next.configure(at, profile)?;
            made.seal(&mut next, at, draft)?;
            if takes_plan {
                let reason =
                    if next.period.is_none() { ResetReason::Started } else { ResetReason::PlanChanged };
                let draft = self.reset(&next, at, reason)?;
                made.seal(&mut next, at, draft)?;
            }
            *state = next;
            journal.written.append(&mut made.written);
        }
        Ok(Reply::Configured { state: Arc::new(state.clone()), created: before.is_none() })
    }

    /// The usage with its time checked or set, if the customer may use the feature at all.
    fn usage(&self, state: &CustomerState, request: &UsageRequest, at: Timestamp) -> Result<Usage, Stop> {
        let mut usage = request.usage.clone();
        if !request.has_time {
            usage.occurred_at = at;
        } else if usage.occurred_at.0.saturating_sub(AHEAD) > at.0 {
            return Err(EngineError::OccurredInFuture(at).into());
        } else if usage.occurred_at.0 < at.0.saturating_sub(self.late_window) {
            return Err(EngineError::OccurredTooOld(at.plus_micros(-self.late_window)).into());
        }
        let plan = state.profile.as_ref().and_then(|profile| profile.plan.as_ref());
        let of_plan = plan.and_then(|plan| self.catalog.plans.get(plan));
        let of_plan = of_plan.and_then(|plan| plan.entitlements.get(&usage.feature));
        match entitlement::evaluate(&usage.feature, at, &state.overrides, of_plan) {
            (Source::Override, Some(Entitlement::Boolean { value: false })) => {
                Err(EngineError::NotEntitled(usage.feature, "override").into())
            }
            (_, Some(Entitlement::Boolean { value: false })) => {
                Err(EngineError::NotEntitled(usage.feature, "plan").into())
            }
            _ => Ok(usage),
        }
    }
}

fn stop(denied: Denied) -> Stop {
    match denied {
        Denied::Rejected(rejection) => Stop::Error(rejection.into()),
        Denied::InvalidDecision(detail) => Stop::Error(EngineError::Internal(detail)),
        Denied::Refused(refused) => {
            Stop::Error(EngineError::Internal(format!("unexpected refusal: {}", refused.code)))
        }
    }
}
