//! Plays a case on the real engine: a fresh database, the built module behind the server's limits, a clock that only the
//! case moves. In goes a case; out comes, for each step, what happened.

use super::{
    format::{
        Action, Case, CaseFile, CommitStep, CustomerSetup, CustomerStep, GrantStep, IntervalSetup, Step,
        TermsStep, UsageStep, overlay,
    },
    observe,
};
use crate::error::Error;
use proviso_api::usage::DEFAULT_TTL_SECONDS;
use proviso_engine::{
    Clock, Engine, EngineError, Expected, Options, PlanChange, TermsInput,
    command::{ActualUsage, CheckOutcome, Command, ProfileChange, Reply, Request, Ttl, UsageRequest},
};
use proviso_ledger::{
    credits::Quantity,
    customer::Profile,
    decision::Usage,
    grant::{Grant, default_credit},
    ids::{GrantId, Key, Name, ReservationId, TermsId},
    journal::Entry,
    period::{Interval, IntervalUnit},
    state::CustomerState,
    terms::{Mode, OnFault, Owner},
    time::{Timestamp, Zone},
};
use proviso_policy::Runtime;
use proviso_store::{SqliteOptions, SqliteStore};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// When a case begins that does not say.
const START: &str = "2026-01-01T00:00:00Z";
/// Entries of one step that are looked at.
const MOST_ENTRIES: u32 = 10_000;

/// What a step came to.
pub struct Played {
    /// How the action ended.
    pub outcome: Outcome,
    /// What was written since the step before, oldest first.
    pub entries: Vec<Entry>,
    /// The customer afterwards.
    pub state: Arc<CustomerState>,
    /// The time.
    pub now: Timestamp,
    /// What grants are called: as steps named them, else by category.
    pub names: HashMap<GrantId, String>,
}

/// How an action ended.
pub enum Outcome {
    /// Nothing was asked.
    Nothing,
    /// With an entry.
    Entry(Arc<Entry>),
    /// With an answer to a check.
    Check(Box<CheckOutcome>),
    /// It was not carried out.
    Error(EngineError),
}

/// A case that is being played.
pub struct Play {
    engine: Arc<Engine>,
    clock: Clock,
    customer: Key,
    policy: Name,
    settings: Value,
    seq: u64,
    grants: HashMap<GrantId, String>,
    reservations: HashMap<String, ReservationId>,
    terms: HashMap<String, TermsId>,
    // Removed when the play ends.
    _folder: tempfile::TempDir,
}

/// A step that can't be played, for a reason that lies in the case.
pub type Mistake = String;

impl Play {
    /// A fresh host with the policy bound to a plan, and a customer on the plan.
    ///
    /// The inner error is one of the case.
    pub async fn begin(
        runtime: Arc<Runtime>,
        module: Vec<u8>,
        file: &CaseFile,
        case: &Case,
    ) -> Result<Result<Self, Mistake>, Error> {
        let folder = tempfile::tempdir().map_err(Error::system("a folder for the test's database"))?;
        let store = SqliteStore::open(SqliteOptions::new(folder.path().join("proviso.db"))).await?;
        let start = match case.start.or(file.start) {
            Some(start) => start.0,
            None => START.parse().map_err(|error| EngineError::Internal(format!("{error}")))?,
        };
        let clock = Clock::new(move || start);
        // Time moves only between steps, and each step asks for what is due: nothing is left to a sweeper.
        let options = Options { sweep_every: Duration::from_secs(86_400), ..Options::default() };
        let engine = Engine::start(Arc::new(store), runtime, clock.clone(), options).await?;
        let name =
            |text: &str| text.parse::<Name>().map_err(|error| EngineError::Internal(error.to_string()));
        let customer: Result<Key, _> = "customer".parse();
        let settings =
            case.settings.as_ref().map_or_else(|| file.settings.clone(), |own| overlay(&file.settings, own));
        let mut play = Self {
            engine,
            clock,
            customer: customer.map_err(|error| EngineError::Internal(error.to_string()))?,
            policy: name("policy")?,
            settings,
            seq: 0,
            grants: HashMap::new(),
            reservations: HashMap::new(),
            terms: HashMap::new(),
            _folder: folder,
        };
        play.engine.upload(play.policy.clone(), module, || 0).await?;
        Ok(play.set_up(name("plan")?, case.customer.or(&file.customer), start).await.map(|()| play))
    }

    async fn set_up(&mut self, plan: Name, setup: CustomerSetup, start: Timestamp) -> Result<(), Mistake> {
        let month = Interval { unit: IntervalUnit::Month, count: 1 };
        let interval = setup.interval.unwrap_or(IntervalSetup(Some(month))).0;
        let terms = self.terms_input(self.settings.clone());
        let change = PlanChange::replacing("Plan".to_owned(), interval, BTreeMap::new(), Some(terms));
        self.engine.put_plan(plan.clone(), change).await.map_err(|error| said(&error))?;
        let profile = Profile {
            name: "Customer".to_owned(),
            plan: Some(plan),
            interval: None,
            time_zone: setup.time_zone.unwrap_or_else(Zone::utc),
            anchor: start,
            attributes: setup.attributes.unwrap_or_default().into_iter().collect(),
            external_ids: Vec::new(),
        };
        self.configure(profile, setup.anchor.map(|anchor| anchor.0)).await.map_err(|error| said(&error))?;
        // What this wrote counts as written by the first step, so that a case can look at it.
        Ok(())
    }

    /// Plays one step.
    pub async fn step(&mut self, step: &Step) -> Result<Result<Played, Mistake>, Error> {
        if let Err(mistake) = self.move_clock(step) {
            return Ok(Err(mistake));
        }
        let outcome = match self.act(step).await {
            Ok(outcome) => outcome,
            Err(mistake) => return Ok(Err(mistake)),
        };
        let state = self.engine.state(&self.customer).await?;
        let mut entries = self.engine.ledger(&self.customer, None, MOST_ENTRIES).await?.entries;
        entries.retain(|(entry, _)| entry.seq > self.seq);
        entries.reverse();
        self.seq = state.seq;
        let entries: Vec<Entry> = entries.into_iter().map(|(entry, _)| entry).collect();
        for grant in entries.iter().flat_map(observe::made) {
            self.grants.entry(grant.id).or_insert_with(|| grant.category.as_str().to_owned());
        }
        let now = self.clock.now();
        Ok(Ok(Played { outcome, entries, state, now, names: self.grants.clone() }))
    }

    /// Lets go of the database.
    pub async fn end(self) {
        self.engine.close().await;
    }

    fn move_clock(&self, step: &Step) -> Result<(), Mistake> {
        let now = self.clock.now();
        let to = step.at.map_or(now, |at| at.0).plus_micros(step.advance.map_or(0, |span| span.micros()));
        if to < now {
            return Err(format!("the clock only moves forward: it is {now} already"));
        }
        let _moved = self.clock.advance_to(to);
        Ok(())
    }

    async fn act(&mut self, step: &Step) -> Result<Outcome, Mistake> {
        let command = match step.action()? {
            Action::Wait => return Ok(Outcome::Nothing),
            Action::Charge(usage) => Command::Charge(self.usage(usage)),
            Action::Check(usage) => Command::Check(self.usage(usage)),
            Action::Reserve(reserve) => {
                let seconds =
                    reserve.ttl.map_or(Ok(DEFAULT_TTL_SECONDS), |ttl| u32::try_from(ttl.0.as_secs()));
                let ttl = Ttl(seconds.map_err(|_| "ttl is too long".to_owned())?);
                Command::Reserve(self.usage(&reserve.usage()), ttl)
            }
            Action::Commit(commit) => Command::Commit(self.reservation(&commit.reservation)?, actual(commit)),
            Action::Release(name) => Command::Release(self.reservation(name)?),
            Action::Grant(grant) => Command::Grant(Box::new(self.grant(grant))),
            Action::Void(name) => Command::Void(self.grant_named(name)?),
            Action::Adjust(amount) => {
                Command::Adjust { credit: default_credit(), amount, reason: "a case".to_owned() }
            }
            Action::Reset => Command::Reset,
            Action::Terms(terms) => match self.prepare(terms).await {
                Ok(terms) => Command::BindTerms(Box::new(terms)),
                Err(error) => return Ok(Outcome::Error(error)),
            },
            Action::EndTerms(name) => {
                let id = self.terms.get(name).ok_or_else(|| format!("no step bound terms as {name:?}"))?;
                Command::EndTerms { id: *id, ends_at: None, expected: Expected::Anything }
            }
            Action::Customer(change) => return self.change(change).await,
        };
        let request = Request { customer: self.customer.clone(), command, idempotency: None };
        Ok(match self.engine.execute(request).await {
            Ok(Reply::Entry(outcome)) => {
                self.remember(step, outcome.entry.seq);
                Outcome::Entry(outcome.entry)
            }
            Ok(Reply::Check(check)) => Outcome::Check(check),
            Ok(_) => Outcome::Nothing,
            Err(error) => Outcome::Error(error),
        })
    }

    /// Gives what a step made the name that it asks for.
    fn remember(&mut self, step: &Step, entry: u64) {
        if let Some(name) = step.grant.as_ref().and_then(|grant| grant.r#as.clone()) {
            self.grants.insert(GrantId { entry, index: 0 }, name);
        }
        if let Some(reserve) = &step.reserve {
            self.reservations.insert(reserve.r#as.clone(), ReservationId { entry, index: 0 });
        }
        if let Some(name) = step.terms.as_ref().and_then(|terms| terms.r#as.clone()) {
            self.terms.insert(name, TermsId { entry, index: 0 });
        }
    }

    fn usage(&self, step: &UsageStep) -> Box<UsageRequest> {
        let usage = Usage {
            feature: step.feature.clone(),
            quantities: quantities(&step.quantities),
            attributes: step.attributes.clone().into_iter().collect(),
            entity: step.entity.clone(),
            occurred_at: step.occurred_at.map_or(self.clock.now(), |at| at.0),
        };
        Box::new(UsageRequest { usage, has_time: step.occurred_at.is_some() })
    }

    fn grant(&self, step: &GrantStep) -> Grant {
        Grant {
            id: GrantId { entry: 0, index: 0 },
            credit: step.credit.clone().unwrap_or_else(default_credit),
            amount: step.amount,
            category: step.category,
            priority: step.priority,
            effective_at: step.effective_at.map_or(self.clock.now(), |at| at.0),
            expires_at: step.expires_at.map(|at| at.0),
            features: step.features.clone(),
            cost_basis: step.cost_basis.clone(),
            metadata: Vec::new(),
        }
    }

    fn grant_named(&self, name: &str) -> Result<GrantId, Mistake> {
        // Of several grants of a category, the newest.
        let found = self.grants.iter().filter(|(_, known)| *known == name).map(|(id, _)| *id).max();
        found.ok_or_else(|| format!("there is no grant {name:?}"))
    }

    fn reservation(&self, name: &str) -> Result<ReservationId, Mistake> {
        self.reservations.get(name).copied().ok_or_else(|| format!("no step reserved credits as {name:?}"))
    }

    fn terms_input(&self, settings: Value) -> TermsInput {
        TermsInput {
            policy: self.policy.clone(),
            version: None,
            settings,
            effective_at: None,
            ends_at: None,
            mode: Mode::Active,
            on_fault: OnFault::Deny,
        }
    }

    async fn prepare(&self, step: &TermsStep) -> Result<proviso_ledger::terms::Terms, EngineError> {
        let input = TermsInput {
            effective_at: step.effective_at.map(|at| at.0),
            ends_at: step.ends_at.map(|at| at.0),
            on_fault: step.on_fault,
            ..self.terms_input(overlay(&self.settings, &step.settings))
        };
        self.engine.prepare_terms(Owner::Customer, input).await
    }

    async fn change(&self, step: &CustomerStep) -> Result<Outcome, Mistake> {
        let state = self.engine.state(&self.customer).await.map_err(|error| said(&error))?;
        let mut profile = state.profile.clone().ok_or("the customer has no profile")?;
        if let Some(zone) = &step.time_zone {
            profile.time_zone = zone.clone();
        }
        if let Some(attributes) = &step.attributes {
            profile.attributes = attributes.clone().into_iter().collect();
        }
        Ok(self.configure(profile, None).await.map_or_else(Outcome::Error, |()| Outcome::Nothing))
    }

    async fn configure(&self, profile: Profile, anchor: Option<Timestamp>) -> Result<(), EngineError> {
        let command = Command::Configure(Box::new(ProfileChange::replacing(profile, anchor)));
        let request = Request { customer: self.customer.clone(), command, idempotency: None };
        self.engine.execute(request).await.map(drop)
    }
}

fn quantities(given: &BTreeMap<String, Quantity>) -> Vec<(String, Quantity)> {
    given.iter().map(|(name, amount)| (name.clone(), *amount)).collect()
}

fn actual(step: &CommitStep) -> Box<ActualUsage> {
    let attributes = step.attributes.clone().map(|attributes| attributes.into_iter().collect());
    Box::new(ActualUsage { quantities: quantities(&step.quantities), attributes })
}

/// An error of the engine with all that it knows.
pub fn said(error: &EngineError) -> String {
    match error {
        EngineError::SettingsInvalid(problems) => {
            let problems: String =
                problems.iter().map(|problem| format!("\n{}: {}", problem.pointer, problem.detail)).collect();
            format!("{error}{problems}")
        }
        EngineError::PolicyRejected(rejection) => format!("{error}: {rejection}"),
        _ => error.to_string(),
    }
}
