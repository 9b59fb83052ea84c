//! Plays a case: one customer's state in memory, a catalog of the case's plans, and the policies behind their trait. Time moves
//! by steps, and what is due is written before each action, as on a server.

use super::format::{
    Action, Case, CaseFile, CommitStep, ContractSetup, CustomerStep, GrantStep, IntervalSetup, PLAN,
    PlanSetup, PlanStep, Settings, Setup, Step, TermsStep, UsageStep,
};
use crate::{span::Span, verbs::policy::text};
use proviso_api::{
    plan_grant::{read_grants, read_trial},
    problem::FieldError,
};
use proviso_decide::precondition::Expected;
use proviso_decide::{
    DecideError, Decider, Journal, Stop,
    catalog::{Plan, Plans},
    command::{
        ActualUsage, Change, CheckOutcome, Command, CustomerChange, Reply, Request, Ttl, UsageRequest,
    },
    policy::{Failure, Lookup, Policy},
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        amounts::Quantity,
        answers::SettingsProblem,
        grant::default_credit,
        ids::{Digest, GrantId, Name, NameError, ReservationId, TermsId},
        json::JsonText,
        period::{Interval, IntervalError, IntervalUnit},
        plan_grant::{PlanTrial, TrialEnd},
        terms::{ContractDraft, Mode, OnFault, Owner, PolicyRef, Terms, TermsDraft, TermsKey},
        time::{TimeError, Timestamp, Zone},
        view::Expiry,
    },
    rules::grants::GrantRequest,
    state::{CustomerState, LATE_WINDOW, Origin},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// When a case begins that names no start.
const START: &str = "2026-01-01T00:00:00Z";

/// The policy under test.
pub struct Subject {
    /// The SHA-256 of its module.
    pub digest: Digest,
    /// The module, loaded.
    pub policy: Arc<dyn Policy>,
}

/// What a step came to.
pub struct Played<'a> {
    /// How the action ended.
    pub outcome: Outcome,
    /// What was written since the step before, oldest first.
    pub entries: Vec<Arc<Entry>>,
    /// The customer afterwards.
    pub state: &'a CustomerState,
    /// The time.
    pub now: Timestamp,
    /// What grants are called: as steps named them, else by category.
    pub names: &'a HashMap<GrantId, String>,
}

/// How an action ended.
pub enum Outcome {
    /// Nothing was asked.
    Nothing,
    /// With an entry.
    Entry(Arc<Entry>),
    /// With an answer to a check, and the entry that the charge would have made.
    Check(Box<CheckOutcome>, Arc<Entry>),
    /// It was not carried out.
    Error(Declined),
}

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Declined {
    /// The policy refuses the settings.
    #[error("the policy refuses these settings:{}", listed(.0))]
    Settings(Vec<SettingsProblem>),
    /// The policy failed on the settings.
    #[error("the policy failed on these settings: {}", text::fault(.0.code, &.0.detail, &.0.log).join("\n"))]
    Failed(Failure),
    /// What was asked can't be carried out as given.
    #[error(transparent)]
    Command(#[from] DecideError),
}

fn listed(problems: &[SettingsProblem]) -> String {
    problems.iter().map(|problem| format!("\n{}: {}", problem.pointer, problem.detail)).collect()
}

/// A step that can't be played, for a reason that lies in the case.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(String);

macro_rules! mistake_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Mistake {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )*};
}
mistake_from!(String, &str, NameError, TimeError, IntervalError, DecideError);

/// The plans of a case, as they stay.
#[derive(Default)]
struct Catalog(BTreeMap<Name, (Plan, Vec<Arc<Terms>>)>);

impl Plans for Catalog {
    fn plan(&self, plan: &Name) -> Option<&Plan> {
        self.0.get(plan).map(|(plan, _)| plan)
    }

    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>] {
        self.0.get(plan).map_or(&[], |(_, terms)| terms)
    }
}

/// A case that is being played.
pub struct Play<'a> {
    subject: &'a Subject,
    policy: Name,
    plans: Catalog,
    settings: Settings,
    state: CustomerState,
    now: Timestamp,
    /// Written since the last step.
    written: Vec<Arc<Entry>>,
    grants: HashMap<GrantId, String>,
    reservations: HashMap<String, ReservationId>,
    terms: HashMap<String, TermsId>,
}

impl<'a> Play<'a> {
    /// A customer on a plan that the policy is bound to.
    pub fn begin(subject: &'a Subject, file: &CaseFile, case: &Case) -> Result<Self, Mistake> {
        let Setup { start, settings, customer, mut plans } = file.setup(case);
        let mut play = Self {
            subject,
            policy: "policy".parse()?,
            plans: Catalog::default(),
            settings,
            state: CustomerState::new("customer".parse()?),
            now: start.map_or_else(|| START.parse(), Ok)?,
            written: Vec::new(),
            grants: HashMap::new(),
            reservations: HashMap::new(),
            terms: HashMap::new(),
        };
        let begins_on = customer.plan.map_or_else(|| PLAN.parse(), Ok)?;
        plans.entry(begins_on.clone()).or_default();
        plans.entry(PLAN.parse()?).or_default();
        let month = Interval::new(IntervalUnit::Month, 1)?;
        let interval = customer.interval.unwrap_or(IntervalSetup(Some(month)));
        for (name, plan) in plans {
            play.put_plan(name, plan, interval)?;
        }
        play.check_trials()?;
        let change = CustomerChange {
            plan: Change::Set(begins_on),
            time_zone: change(customer.time_zone),
            anchor: change(customer.anchor.map(|anchor| anchor.0)),
            attributes: change(customer.attributes.map(|attributes| attributes.into_iter().collect())),
            ..CustomerChange::default()
        };
        // What this writes counts as written by the first step, so that a case can look at it.
        play.decide(Command::Configure(Box::new(change)))??;
        Ok(play)
    }

    fn check_trials(&self) -> Result<(), Mistake> {
        for (name, (plan, _)) in &self.plans.0 {
            if let Some(PlanTrial { then: TrialEnd::Plan(next), .. }) = &plan.trial
                && (next == name || !self.plans.0.contains_key(next))
            {
                return Err(Mistake(format!("plan {name}: trial/then: {next} is not another plan")));
            }
        }
        Ok(())
    }

    fn put_plan(&mut self, name: Name, setup: PlanSetup, interval: IntervalSetup) -> Result<(), Mistake> {
        let PlanSetup {
            settings,
            interval: own_interval,
            entitlements,
            grants,
            trial,
            on_fault,
            contract,
            time_zone,
        } = setup;
        let wrong = |error: FieldError| {
            let FieldError { pointer, detail, .. } = error;
            Mistake(format!("plan {name}: {pointer}: {detail}"))
        };
        let grants = read_grants(grants, "grants").map_err(wrong)?;
        let trial = trial.map(|trial| read_trial(trial, "trial")).transpose().map_err(wrong)?;
        let draft = TermsDraft {
            on_fault,
            contract: contract.map(contract_draft),
            time_zone,
            ..self
                .prepare(&self.settings.with(&settings))
                .map_err(|declined| Mistake(format!("plan {name}: {declined}")))?
        };
        let key = TermsKey { owner: Owner::Plan(name.clone()), id: TermsId { entry: 1, index: 0 } };
        let terms =
            draft.bind(key, self.now, &[]).map_err(|error| Mistake(format!("plan {name}: {error}")))?;
        let plan = Plan {
            plan: name.clone(),
            name: name.to_string(),
            interval: own_interval.unwrap_or(interval).0,
            entitlements,
            grants,
            trial,
            created_at: self.now,
        };
        self.plans.0.insert(name, (plan, vec![Arc::new(terms)]));
        Ok(())
    }

    /// Plays one step.
    pub fn step(&mut self, step: &Step) -> Result<Played<'_>, Mistake> {
        self.move_clock(step)?;
        // Also for an action that is not carried out: on a server, reading the customer afterwards would write what is due.
        self.decide(Command::Read)??;
        let outcome = self.act(step)?;
        let entries = std::mem::take(&mut self.written);
        for grant in entries.iter().flat_map(|entry| entry.grants()) {
            self.grants.entry(grant.id).or_insert_with(|| grant.category.as_str().to_owned());
        }
        Ok(Played { outcome, entries, state: &self.state, now: self.now, names: &self.grants })
    }

    fn move_clock(&mut self, step: &Step) -> Result<(), Mistake> {
        let to = step.at.map_or(self.now, |at| at.0).plus_micros(step.advance.map_or(0, Span::micros));
        if to < self.now {
            return Err(format!("the clock only moves forward: it is {} already", self.now).into());
        }
        self.now = to;
        Ok(())
    }

    /// Decides a command. The outer error is a defect of the host, the inner one an answer to the caller.
    fn decide(&mut self, command: Command) -> Result<Result<Reply, DecideError>, Mistake> {
        let mut journal = Journal::default();
        let reply =
            self.on_state(command, |decider, state, request| decider.decide(state, request, &mut journal));
        self.written.extend(journal.written.into_iter().map(|written| written.entry));
        match reply {
            Ok(reply) => Ok(Ok(reply)),
            Err(Stop::Error(error)) => Ok(Err(error)),
            Err(Stop::Defect(error)) => Err(format!("a defect of proviso: {error}").into()),
            Err(Stop::Unfinished) => Err("a defect of proviso: what is due was not finished".into()),
            Err(Stop::Need(digest)) => Err(format!("a defect of proviso: {digest} is not loaded").into()),
        }
    }

    fn on_state<T>(
        &mut self,
        command: Command,
        act: impl FnOnce(&Decider<'_>, &mut CustomerState, &Request) -> T,
    ) -> T {
        let subject = self.subject;
        let policies = |digest: &Digest| {
            if *digest == subject.digest {
                Lookup::Ready(subject.policy.clone())
            } else {
                Lookup::Unavailable("not the policy under test".to_owned())
            }
        };
        let decider = Decider {
            plans: &self.plans,
            policies: &policies,
            now: self.now,
            late_window: LATE_WINDOW,
            most_due: usize::MAX,
        };
        let request = Request { customer: self.state.customer.clone(), command, origin: Origin::default() };
        act(&decider, &mut self.state, &request)
    }

    fn act(&mut self, step: &Step) -> Result<Outcome, Mistake> {
        let command = match step.action()? {
            Action::Wait => return Ok(Outcome::Nothing),
            Action::Check(usage) => return self.check(usage),
            Action::Charge(usage) => Command::Charge(usage_request(usage)),
            Action::Reserve(reserve) => {
                Command::Reserve(usage_request(&reserve.usage()), reserve.ttl.map_or(Ok(Ttl::DEFAULT), ttl)?)
            }
            Action::Extend(extend) => {
                Command::Extend(self.reservation(&extend.reservation)?, ttl(extend.ttl)?)
            }
            Action::Commit(commit) => Command::Commit(self.reservation(&commit.reservation)?, actual(commit)),
            Action::Release(name) => Command::Release(self.reservation(name)?),
            Action::Grant(grant) => Command::Grant(grant_request(grant)),
            Action::Void(name) => Command::Void(self.grant_named(name)?),
            Action::Adjust(amount) => {
                Command::Adjust { credit: default_credit(), amount, reason: "a case".to_owned() }
            }
            Action::Reset(reset) => Command::Reset { anchor_now: reset.anchor.is_some() },
            Action::RetryPeriod(number) => Command::RetryPeriod(number),
            Action::Terms(terms) => match self.terms_draft(terms) {
                Ok(terms) => Command::BindTerms(Box::new(terms)),
                Err(declined) => return Ok(Outcome::Error(declined)),
            },
            Action::EndTerms(name) => {
                let id = self.terms.get(name).ok_or_else(|| format!("no step bound terms as {name:?}"))?;
                Command::EndTerms { id: *id, ends_at: None, expected: Expected::Anything }
            }
            Action::Plan(PlanStep { to, allowance }) => configure(CustomerChange {
                plan: to.clone().map_or(Change::Clear, Change::Set),
                allowance: *allowance,
                ..CustomerChange::default()
            }),
            Action::Anchor(at) => {
                configure(CustomerChange { anchor: Change::Set(at), ..CustomerChange::default() })
            }
            Action::Customer(CustomerStep { time_zone, attributes }) => configure(CustomerChange {
                time_zone: change(time_zone.clone()),
                attributes: change(attributes.clone().map(|attributes| attributes.into_iter().collect())),
                ..CustomerChange::default()
            }),
            Action::CloseCustomer => Command::Close(Expected::Anything),
        };
        Ok(match self.decide(command)? {
            Ok(Reply::Entry(outcome)) => {
                self.remember(step, &outcome.entry);
                Outcome::Entry(outcome.entry)
            }
            Ok(_) => Outcome::Nothing,
            Err(error) => Outcome::Error(error.into()),
        })
    }

    /// A check, and the charge that it stands for on a copy of the customer, for what a check does not tell: draws, fuel, log and
    /// the text of a fault.
    fn check(&mut self, usage: &UsageStep) -> Result<Outcome, Mistake> {
        let check = match self.decide(Command::Check(usage_request(usage)))? {
            Ok(Reply::Check(check)) => check,
            Ok(_) => return Err("a defect of proviso: a check without an answer".into()),
            Err(error) => return Ok(Outcome::Error(error.into())),
        };
        let charged = self.on_state(Command::Charge(usage_request(usage)), |decider, state, request| {
            decider.decide(&mut state.clone(), request, &mut Journal::default())
        });
        match charged {
            Ok(Reply::Entry(outcome)) => Ok(Outcome::Check(check, outcome.entry)),
            _ => Err("a defect of proviso: a check is answered, and the charge is not".into()),
        }
    }

    /// Gives what a step made the name that it asks for.
    fn remember(&mut self, step: &Step, entry: &Entry) {
        match &entry.event {
            Event::Granted(grant) => {
                if let Some(name) = step.grant.as_ref().and_then(|grant| grant.r#as.clone()) {
                    self.grants.insert(grant.id, name);
                }
            }
            Event::Reserved(_) => {
                if let Some(reserve) = &step.reserve {
                    let id = ReservationId { entry: entry.seq, index: 0 };
                    self.reservations.insert(reserve.r#as.clone(), id);
                }
            }
            Event::TermsBound(terms) => {
                if let Some(name) = step.terms.as_ref().and_then(|terms| terms.r#as.clone()) {
                    self.terms.insert(name, terms.key.id);
                }
            }
            _ => {}
        }
    }

    fn grant_named(&self, name: &str) -> Result<GrantId, Mistake> {
        // Of several grants of a category, the newest.
        let found = self.grants.iter().filter(|(_, known)| *known == name).map(|(id, _)| *id).max();
        found.ok_or_else(|| format!("there is no grant {name:?}").into())
    }

    fn reservation(&self, name: &str) -> Result<ReservationId, Mistake> {
        let found = self.reservations.get(name).copied();
        found.ok_or_else(|| format!("no step reserved credits as {name:?}").into())
    }

    fn terms_draft(&self, step: &TermsStep) -> Result<TermsDraft, Declined> {
        Ok(TermsDraft {
            effective_at: step.effective_at.map(|at| at.0),
            ends_at: step.ends_at.map(|at| at.0),
            on_fault: step.on_fault,
            contract: step.contract.clone().map(contract_draft),
            time_zone: step.time_zone.clone(),
            ..self.prepare(&self.settings.with(&step.settings))?
        })
    }

    /// Terms with these settings.
    fn prepare(&self, settings: &Settings) -> Result<TermsDraft, Declined> {
        let policy = &self.subject.policy;
        let settings = JsonText::from(&settings.0);
        let prepared = policy.prepare(settings.as_str()).map_err(Declined::Failed)?.value;
        Ok(TermsDraft {
            policy: PolicyRef { name: self.policy.clone(), version: 1, digest: self.subject.digest },
            prepared: prepared.map_err(Declined::Settings)?,
            settings,
            needs: policy.manifest().needs,
            effective_at: None,
            ends_at: None,
            mode: Mode::Active,
            on_fault: OnFault::Deny,
            contract: None,
            time_zone: None::<Zone>,
            note: None,
        })
    }
}

fn change<T>(to: Option<T>) -> Change<T> {
    to.map_or(Change::Keep, Change::Set)
}

fn configure(change: CustomerChange) -> Command {
    Command::Configure(Box::new(change))
}

fn contract_draft(setup: ContractSetup) -> ContractDraft {
    let ContractSetup { id, start, end } = setup;
    ContractDraft { id, start: start.map(|at| at.0), end: end.map(|at| at.0) }
}

fn ttl(span: Span) -> Result<Ttl, Mistake> {
    let seconds = u32::try_from(span.0.as_secs()).ok().filter(|_| span.0.subsec_nanos() == 0);
    let ttl = seconds.and_then(Ttl::new);
    ttl.ok_or_else(|| format!("ttl must be whole seconds, from 1 to {}", Ttl::LONGEST).into())
}

fn usage_request(step: &UsageStep) -> Box<UsageRequest> {
    Box::new(UsageRequest {
        feature: step.feature.clone(),
        quantities: quantities(&step.quantities),
        attributes: step.attributes.clone().into_iter().collect(),
        entity: step.entity.clone(),
        occurred_at: step.occurred_at.map(|at| at.0),
    })
}

fn grant_request(step: &GrantStep) -> Box<GrantRequest> {
    Box::new(GrantRequest {
        credit: step.credit.clone().unwrap_or_else(default_credit),
        amount: step.amount,
        category: step.category,
        priority: step.priority,
        effective_at: step.effective_at.map(|at| at.0),
        expires: Expiry { at: step.expires_at.map(|at| at.0), with_period: step.expires_with_period },
        features: step.features.clone(),
        cost_basis: step.cost_basis,
        metadata: Vec::new(),
    })
}

fn actual(step: &CommitStep) -> Box<ActualUsage> {
    let attributes = step.attributes.clone().map(|attributes| attributes.into_iter().collect());
    Box::new(ActualUsage { quantities: quantities(&step.quantities), attributes })
}

fn quantities(given: &BTreeMap<String, Quantity>) -> Vec<(String, Quantity)> {
    given.iter().map(|(name, amount)| (name.clone(), *amount)).collect()
}
