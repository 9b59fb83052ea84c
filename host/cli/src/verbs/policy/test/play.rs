//! Plays a case: one customer's state in memory, a catalog of the case's plans, and the policies behind their trait. Time moves
//! by steps, and what is due is written before each action, as on a server.

use super::format::{
    Action, Case, CaseFile, CommitStep, ContractSetup, CustomerSetup, CustomerStep, GrantStep, IntervalSetup,
    PLAN, PlanSetup, PlanStep, Settings, Setup, Step, TermsStep, UsageStep,
};
use crate::{span::Span, verbs::policy::text};
use proviso_api::{
    plan_grant::{read_grants, read_trial},
    problem::FieldError,
    usage::Usage,
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

/// A policy's module, loaded.
#[derive(Clone)]
pub struct Loaded {
    /// Its SHA-256.
    pub digest: Digest,
    /// The policy.
    pub policy: Arc<dyn Policy>,
}

/// The policy under test, and others that a case may bind.
#[derive(Clone)]
pub struct Subject {
    /// The policy under test.
    pub main: Loaded,
    /// The others, by the name that the case file gives them.
    pub others: BTreeMap<String, Loaded>,
}

impl Subject {
    /// A policy alone.
    pub fn new(digest: Digest, policy: Arc<dyn Policy>) -> Self {
        Self { main: Loaded { digest, policy }, others: BTreeMap::new() }
    }

    /// The policy of a name; none is the one under test.
    fn named(&self, name: Option<&str>) -> Result<&Loaded, Mistake> {
        match name {
            None => Ok(&self.main),
            Some(name) => self.others.get(name).ok_or_else(|| format!("there is no policy {name:?}").into()),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Loaded> {
        std::iter::once(&self.main).chain(self.others.values())
    }
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
    /// What terms are called that steps named, of plans too.
    pub terms: &'a HashMap<TermsKey, String>,
    /// The most fuel that a decision may take here.
    pub max_fuel: Option<u64>,
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

/// The plans of a case, as they stay, with their terms.
#[derive(Default)]
pub struct Catalog(pub BTreeMap<Name, (Plan, Vec<Arc<Terms>>)>);

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
    now: Timestamp,
    max_fuel: Option<u64>,
    /// The customer that steps are about which name none.
    first: Party,
    others: BTreeMap<String, Party>,
    /// What terms are called that steps named.
    terms: HashMap<TermsKey, String>,
}

/// A customer of the case.
struct Party {
    state: CustomerState,
    /// Written since its last step.
    written: Vec<Arc<Entry>>,
    grants: HashMap<GrantId, String>,
    reservations: HashMap<String, ReservationId>,
    terms: HashMap<String, TermsId>,
}

impl Party {
    fn new(name: &str) -> Result<Self, Mistake> {
        Ok(Self {
            state: CustomerState::new(name.parse().map_err(|error| format!("customer {name:?}: {error}"))?),
            written: Vec::new(),
            grants: HashMap::new(),
            reservations: HashMap::new(),
            terms: HashMap::new(),
        })
    }
}

impl<'a> Play<'a> {
    /// Customers on plans that policies are bound to.
    pub fn begin(subject: &'a Subject, file: &CaseFile, case: &Case) -> Result<Self, Mistake> {
        let Setup { start, settings, customer, customers, mut plans, max_fuel } = file.setup(case);
        let mut play = Self {
            subject,
            policy: "policy".parse()?,
            plans: Catalog::default(),
            settings,
            now: start.map_or_else(|| START.parse(), Ok)?,
            max_fuel,
            first: Party::new("customer")?,
            others: BTreeMap::new(),
            terms: HashMap::new(),
        };
        let begin_on =
            std::iter::once(&customer).chain(customers.values()).filter_map(|setup| setup.plan.clone());
        for plan in begin_on.chain([PLAN.parse()?]) {
            plans.entry(plan).or_default();
        }
        let month = Interval::new(IntervalUnit::Month, 1)?;
        let interval = customer.interval.unwrap_or(IntervalSetup(Some(month)));
        for (name, plan) in plans {
            play.put_plan(name, plan, interval)?;
        }
        play.check_trials()?;
        play.put_customer(None, customer)?;
        for (name, setup) in customers {
            play.others.insert(name.clone(), Party::new(&name)?);
            play.put_customer(Some(&name), setup)?;
        }
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

    /// What this writes counts as written by the customer's first step, so that a case can look at it.
    fn put_customer(&mut self, on: Option<&str>, setup: CustomerSetup) -> Result<(), Mistake> {
        let change = CustomerChange {
            plan: Change::Set(setup.plan.map_or_else(|| PLAN.parse(), Ok)?),
            time_zone: change(setup.time_zone),
            anchor: change(setup.anchor.map(|anchor| anchor.0)),
            attributes: change(setup.attributes.map(|attributes| attributes.into_iter().collect())),
            ..CustomerChange::default()
        };
        self.decide(on, Command::Configure(Box::new(change)))??;
        Ok(())
    }

    fn put_plan(&mut self, name: Name, setup: PlanSetup, interval: IntervalSetup) -> Result<(), Mistake> {
        let (plan, terms) =
            set_up(self.subject, &self.policy, &self.settings, &name, setup, interval, self.now)?;
        self.plans.0.insert(name, (plan, vec![terms]));
        Ok(())
    }

    fn bind_to_plan(&mut self, name: Name, draft: TermsDraft) -> Result<TermsKey, Mistake> {
        let (_, bound) = self.plans.0.get_mut(&name).ok_or_else(|| format!("there is no plan {name}"))?;
        let entry = u64::try_from(bound.len()).unwrap_or(u64::MAX).saturating_add(1);
        let key = TermsKey { owner: Owner::Plan(name.clone()), id: TermsId { entry, index: 0 } };
        let terms = draft
            .bind(key.clone(), self.now, bound)
            .map_err(|error| Mistake(format!("plan {name}: {error}")))?;
        bound.push(Arc::new(terms));
        Ok(key)
    }

    fn party(&mut self, on: Option<&str>) -> Result<&mut Party, Mistake> {
        match on {
            None => Ok(&mut self.first),
            Some(name) => {
                self.others.get_mut(name).ok_or_else(|| format!("there is no customer {name:?}").into())
            }
        }
    }

    /// Plays one step.
    pub fn step(&mut self, step: &Step) -> Result<Played<'_>, Mistake> {
        self.move_clock(step)?;
        let on = step.on.as_deref();
        // Also for an action that is not carried out: on a server, reading the customer afterwards would write what is due.
        self.decide(on, Command::Read)??;
        let outcome = self.act(step)?;
        let party = self.party(on)?;
        let entries = std::mem::take(&mut party.written);
        for grant in entries.iter().flat_map(|entry| entry.grants()) {
            party.grants.entry(grant.id).or_insert_with(|| grant.category.as_str().to_owned());
        }
        let (now, max_fuel) = (self.now, self.max_fuel);
        let Party { state, grants, .. } = match on {
            None => &self.first,
            Some(name) => self.others.get(name).ok_or("no such customer")?,
        };
        Ok(Played { outcome, entries, state, now, names: grants, terms: &self.terms, max_fuel })
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
    fn decide(&mut self, on: Option<&str>, command: Command) -> Result<Result<Reply, DecideError>, Mistake> {
        let mut journal = Journal::default();
        let reply = self
            .on_state(on, command, |decider, state, request| decider.decide(state, request, &mut journal))?;
        self.party(on)?.written.extend(journal.written.into_iter().map(|written| written.entry));
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
        on: Option<&str>,
        command: Command,
        act: impl FnOnce(&Decider<'_>, &mut CustomerState, &Request) -> T,
    ) -> Result<T, Mistake> {
        let subject = self.subject;
        let policies = |digest: &Digest| match subject.all().find(|loaded| loaded.digest == *digest) {
            Some(loaded) => Lookup::Ready(loaded.policy.clone()),
            None => Lookup::Unavailable("not a policy of this case".to_owned()),
        };
        let party = match on {
            None => &mut self.first,
            Some(name) => {
                self.others.get_mut(name).ok_or_else(|| format!("there is no customer {name:?}"))?
            }
        };
        let decider = Decider {
            plans: &self.plans,
            policies: &policies,
            now: self.now,
            late_window: LATE_WINDOW,
            most_due: usize::MAX,
        };
        let request = Request { customer: party.state.customer.clone(), command, origin: Origin::default() };
        Ok(act(&decider, &mut party.state, &request))
    }

    fn act(&mut self, step: &Step) -> Result<Outcome, Mistake> {
        let on = step.on.as_deref();
        let command = match step.action()? {
            Action::Wait => return Ok(Outcome::Nothing),
            Action::Check(usage) => return self.check(on, usage),
            Action::Charge(usage) => Command::Charge(usage_request(&usage.0)),
            Action::Reserve(reserve) => {
                Command::Reserve(usage_request(&reserve.usage), reserve.ttl.map_or(Ok(Ttl::DEFAULT), ttl)?)
            }
            Action::Extend(extend) => {
                Command::Extend(self.reservation(on, &extend.reservation)?, ttl(extend.ttl)?)
            }
            Action::Commit(commit) => {
                Command::Commit(self.reservation(on, &commit.reservation)?, actual(commit))
            }
            Action::Release(name) => Command::Release(self.reservation(on, name)?),
            Action::Grant(grant) => Command::Grant(grant_request(grant)),
            Action::Void(name) => Command::Void(self.grant_named(on, name)?),
            Action::Adjust(amount) => {
                Command::Adjust { credit: default_credit(), amount, reason: "a case".to_owned() }
            }
            Action::Reset(reset) => Command::Reset { anchor_now: reset.anchor.is_some() },
            Action::RetryPeriod(number) => Command::RetryPeriod(number),
            Action::Terms(terms) => match (self.terms_draft(terms)?, &terms.plan) {
                (Ok(draft), None) => Command::BindTerms(Box::new(draft)),
                (Ok(draft), Some(plan)) => {
                    let key = self.bind_to_plan(plan.clone(), draft)?;
                    if let Some(name) = &terms.r#as {
                        self.terms.insert(key, name.clone());
                    }
                    // What the new terms change at once is written by the next read.
                    self.decide(on, Command::Read)??;
                    return Ok(Outcome::Nothing);
                }
                (Err(declined), _) => return Ok(Outcome::Error(declined)),
            },
            Action::EndTerms(name) => {
                let found = self.party(on)?.terms.get(name).copied();
                let id = found.ok_or_else(|| format!("no step bound terms as {name:?} to this customer"))?;
                Command::EndTerms { id, ends_at: None, expected: Expected::Anything }
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
        Ok(match self.decide(on, command)? {
            Ok(Reply::Entry(outcome)) => {
                self.remember(step, &outcome.entry)?;
                Outcome::Entry(outcome.entry)
            }
            Ok(_) => Outcome::Nothing,
            Err(error) => Outcome::Error(error.into()),
        })
    }

    /// A check, and the charge that it stands for on a copy of the customer, for what a check does not tell: draws, fuel, log and
    /// the text of a fault.
    fn check(&mut self, on: Option<&str>, usage: &UsageStep) -> Result<Outcome, Mistake> {
        let check = match self.decide(on, Command::Check(usage_request(&usage.0)))? {
            Ok(Reply::Check(check)) => check,
            Ok(_) => return Err("a defect of proviso: a check without an answer".into()),
            Err(error) => return Ok(Outcome::Error(error.into())),
        };
        let charge = Command::Charge(usage_request(&usage.0));
        let charged = self.on_state(on, charge, |decider, state, request| {
            decider.decide(&mut state.clone(), request, &mut Journal::default())
        })?;
        match charged {
            Ok(Reply::Entry(outcome)) => Ok(Outcome::Check(check, outcome.entry)),
            _ => Err("a defect of proviso: a check is answered, and the charge is not".into()),
        }
    }

    /// Gives what a step made the name that it asks for.
    fn remember(&mut self, step: &Step, entry: &Entry) -> Result<(), Mistake> {
        if let (Event::TermsBound(terms), Some(name)) =
            (&entry.event, step.terms.as_ref().and_then(|terms| terms.r#as.clone()))
        {
            self.terms.insert(terms.key.clone(), name);
        }
        let party = self.party(step.on.as_deref())?;
        match &entry.event {
            Event::Granted(grant) => {
                if let Some(name) = step.grant.as_ref().and_then(|grant| grant.r#as.clone()) {
                    party.grants.insert(grant.id, name);
                }
            }
            Event::Reserved(_) => {
                if let Some(reserve) = &step.reserve {
                    let id = ReservationId { entry: entry.seq, index: 0 };
                    party.reservations.insert(reserve.name.clone(), id);
                }
            }
            Event::TermsBound(terms) => {
                if let Some(name) = step.terms.as_ref().and_then(|terms| terms.r#as.clone()) {
                    party.terms.insert(name, terms.key.id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn grant_named(&mut self, on: Option<&str>, name: &str) -> Result<GrantId, Mistake> {
        let grants = &self.party(on)?.grants;
        // Of several grants of a category, the newest.
        let found = grants.iter().filter(|(_, known)| *known == name).map(|(id, _)| *id).max();
        found.ok_or_else(|| format!("there is no grant {name:?}").into())
    }

    fn reservation(&mut self, on: Option<&str>, name: &str) -> Result<ReservationId, Mistake> {
        let found = self.party(on)?.reservations.get(name).copied();
        found.ok_or_else(|| format!("no step reserved credits as {name:?}").into())
    }

    fn terms_draft(&self, step: &TermsStep) -> Result<Result<TermsDraft, Declined>, Mistake> {
        let prepared = self.prepare(step.policy.as_deref(), &self.settings.with(&step.settings))?;
        Ok(prepared.map(|draft| TermsDraft {
            effective_at: step.effective_at.map(|at| at.0),
            ends_at: step.ends_at.map(|at| at.0),
            mode: step.mode,
            on_fault: step.on_fault,
            contract: step.contract.clone().map(contract_draft),
            time_zone: step.time_zone.clone(),
            ..draft
        }))
    }

    fn prepare(
        &self,
        policy: Option<&str>,
        settings: &Settings,
    ) -> Result<Result<TermsDraft, Declined>, Mistake> {
        prepare(self.subject, &self.policy, policy, settings)
    }
}

/// A plan as it is set up, with the terms that are bound to it. `main` is what the policy under test is called, `below` are the settings
/// that those of the plan are laid over, and `interval` is for a plan that names none.
pub fn set_up(
    subject: &Subject,
    main: &Name,
    below: &Settings,
    name: &Name,
    setup: PlanSetup,
    interval: IntervalSetup,
    now: Timestamp,
) -> Result<(Plan, Arc<Terms>), Mistake> {
    let PlanSetup {
        policy,
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
        ..prepare(subject, main, policy.as_deref(), &below.with(&settings))?
            .map_err(|declined| Mistake(format!("plan {name}: {declined}")))?
    };
    let plan = Plan {
        plan: name.clone(),
        name: name.to_string(),
        interval: own_interval.unwrap_or(interval).0,
        entitlements,
        grants,
        trial,
        version: 1,
        created_at: now,
        version_created_at: now,
    };
    let key = TermsKey { owner: Owner::Plan(name.clone()), id: TermsId { entry: 1, index: 0 } };
    let terms = draft.bind(key, now, &[]).map_err(|error| Mistake(format!("plan {name}: {error}")))?;
    Ok((plan, Arc::new(terms)))
}

/// Terms of a policy with these settings. The outer error is a mistake of the case.
fn prepare(
    subject: &Subject,
    main: &Name,
    policy: Option<&str>,
    settings: &Settings,
) -> Result<Result<TermsDraft, Declined>, Mistake> {
    let Loaded { digest, policy: loaded } = subject.named(policy)?;
    let settings = JsonText::from(&settings.0);
    let prepared = match loaded.prepare(settings.as_str()) {
        Ok(prepared) => prepared.value.map_err(Declined::Settings),
        Err(failure) => Err(Declined::Failed(failure)),
    };
    let name = policy.map_or_else(|| Ok(main.clone()), str::parse)?;
    Ok(prepared.map(|prepared| TermsDraft {
        policy: PolicyRef { name, version: 1, digest: *digest },
        prepared,
        settings,
        needs: loaded.manifest().needs,
        effective_at: None,
        ends_at: None,
        mode: Mode::Active,
        on_fault: OnFault::Deny,
        contract: None,
        time_zone: None::<Zone>,
        note: None,
        canary: None,
    }))
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

fn usage_request(usage: &Usage) -> Box<UsageRequest> {
    Box::new(UsageRequest {
        feature: usage.feature.clone(),
        quantities: usage.quantities.0.clone(),
        attributes: usage.attributes.0.clone(),
        entity: usage.entity.clone(),
        occurred_at: usage.occurred_at,
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
    let attributes = step.actual.attributes.as_ref().map(|attributes| attributes.0.clone());
    Box::new(ActualUsage { quantities: step.actual.quantities.0.clone(), attributes })
}
