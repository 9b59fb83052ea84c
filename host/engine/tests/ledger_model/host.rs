//! Histories of several customers, carried out by an engine.

use crate::database::Database;
use proviso_engine::{
    AddOnProductChange, BundleChange, Change, CreditedChange, EngineError, Expected, PlanChange,
    PromotionChange, TermsInput,
    command::{Command as HostCommand, Reply, Request},
    selling::Credited,
};
use proviso_fixtures::{
    host::{self, Host, key},
    policies::repository,
};
use proviso_ledger::{
    model::{
        ids::{ChargeId, CustomerId, Name},
        resources::ResourceClass,
        terms::TermsDraft,
    },
    state::{CustomerState, Origin},
};
use proviso_reference::{
    answer::{Answer, Order, Snapshot},
    commands::Command,
    json,
    packs::{ADD_ONS, PACKS, PROMOTIONS, Pack},
    policy::{euros, instant},
    settings::{AfterTrial, OwnGrants, PlanSpec, Settings, TrialRule},
    translate::{
        Names, add_on_grants, answer, credited, error_name, interval, is_plan_changed_now, lasting,
        own_grant, own_trial, plain, refund_request, request, snapshot,
    },
};
use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

static POLICY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = repository().join("host/reference/policy");
    proviso_policy::build::build(&folder).unwrap_or_else(|error| panic!("the policy does not build: {error}"))
});

pub struct EngineHost {
    host: Host,
    /// How many versions of each plan were sold.
    sold: Mutex<BTreeMap<Name, u64>>,
}

fn customer(n: usize) -> CustomerId {
    key(&format!("c{n}"))
}

/// Customers share the engine's catalog, so each has plans of its own. The first version of each is the one that is made before the
/// plans that its trial may lead to.
fn names(n: usize) -> Names {
    Names { prefix: format!("c{n}-"), before: 1 }
}

fn terms(settings: &Settings, (starts, ends): (Option<i64>, Option<i64>)) -> TermsInput {
    TermsInput {
        policy: key("reference"),
        effective_at: starts.map(instant),
        ends_at: ends.map(instant),
        ..host::input(json::settings(settings))
    }
}

fn credited_change(pack: &Pack) -> CreditedChange {
    let Credited { amount, credit, category, priority, features, expires } = credited(pack);
    CreditedChange {
        amount: Some(amount),
        credit: Change::Set(credit),
        category: Change::Set(category),
        priority: Change::Set(priority),
        features: Change::Set(features),
        expires: Change::Set(expires),
    }
}

fn refused(error: &EngineError) -> Answer {
    match error {
        EngineError::Decide(error) => plain(error_name(error)),
        error => plain(&format!("engine: {error}")),
    }
}

impl EngineHost {
    /// An engine whose clock begins at `now`, with the policy of the histories.
    pub async fn start(database: &Database, now: i64) -> Self {
        let host = Host::on(database.open().await, &instant(now).to_string()).await;
        let this = Self { host, sold: Mutex::default() };
        let engine = &this.host.engine;
        // What a history binds and holds may be more than a policy of the default class can look at.
        let class = Change::Set(ResourceClass::Large);
        engine.put_policy(key("reference"), Change::Keep, class, Expected::Anything).await.unwrap();
        engine.upload(key("reference"), POLICY.clone(), || 0).await.unwrap();
        this.sell_packs().await;
        this
    }

    /// What is sold beside plans, to all customers.
    async fn sell_packs(&self) {
        let engine = &self.host.engine;
        for spec in &ADD_ONS {
            let interval = spec.interval.map_or(Change::Clear, |of| Change::Set(interval(of)));
            let grants = Change::Set(add_on_grants(spec));
            let change = AddOnProductChange { interval, grants, ..AddOnProductChange::default() };
            engine.put_add_on(key(spec.key), change, Expected::Anything).await.unwrap();
        }
        for pack in &PACKS {
            let price = pack.price.map_or(Change::Clear, |price| Change::Set(euros(price)));
            let change = BundleChange { credits: credited_change(pack), price, ..BundleChange::default() };
            engine.put_bundle(key(pack.key), change, Expected::Anything).await.unwrap();
        }
        for pack in &PROMOTIONS {
            let change = PromotionChange { credits: credited_change(pack), ..PromotionChange::default() };
            engine.put_promotion(key(pack.key), change, Expected::Anything).await.unwrap();
        }
    }

    pub async fn put_plans(&self, n: usize, plans: &[PlanSpec]) {
        let (engine, names) = (&self.host.engine, names(n));
        for spec in plans {
            let terms = terms(&spec.settings, (None, None));
            let interval = spec.interval.map(interval);
            let trial = TrialRule { hours: 1_000, grants: Vec::new(), then: AfterTrial::Stay };
            let change = PlanChange {
                trial: Change::Set(own_trial(&trial, &names)),
                ..PlanChange::replacing(spec.key.to_owned(), interval, Default::default(), Some(terms))
            };
            engine.put_plan(names.plan(spec.key), change).await.unwrap();
        }
        for spec in plans {
            self.sell(n, spec.key, &spec.own).await.unwrap();
        }
    }

    /// Sells another version of a plan than before.
    async fn sell(&self, n: usize, plan: &str, own: &OwnGrants) -> Result<(), EngineError> {
        let names = names(n);
        let trial = own.trial.as_ref().map(|trial| own_trial(trial, &names));
        let change = PlanChange {
            grants: Change::Set(own.grants.iter().map(own_grant).collect()),
            trial: trial.map_or(Change::Clear, Change::Set),
            ..PlanChange::default()
        };
        let (plan, _) = self.host.engine.put_plan(names.plan(plan), change).await?;
        let sold = u64::from(plan.version - names.before);
        self.sold.lock().unwrap().insert(plan.plan.clone(), sold);
        Ok(())
    }

    /// What is due by now is due by the plans and terms that there were.
    async fn settle(&self, n: usize) -> Result<(), EngineError> {
        match self.host.engine.state(&customer(n)).await {
            Err(error) if !error_is(&error, "error:customer_not_found") => Err(error),
            _ => Ok(()),
        }
    }

    pub fn at(&self, now: i64) {
        let _ = self.host.clock.advance_to(instant(now));
        assert_eq!(self.host.clock.now(), instant(now), "the clock only moves forward");
    }

    pub async fn sweep(&self) {
        self.host.engine.sweep().await.unwrap();
    }

    /// Ends the engine and starts another on what it left.
    pub async fn restart(self, database: &Database) -> Self {
        let now = self.host.clock.now().to_string();
        self.host.engine.close().await;
        Self { host: Host::on(database.open().await, &now).await, sold: self.sold }
    }

    pub async fn close(self) {
        self.host.engine.close().await;
    }

    pub async fn execute(&self, n: usize, order: &Order) -> Answer {
        match self.try_execute(n, order).await {
            Ok(answer) => answer,
            Err(error) => refused(&error),
        }
    }

    async fn try_execute(&self, n: usize, order: &Order) -> Result<Answer, EngineError> {
        let engine = &self.host.engine;
        match &order.command {
            Command::BindToPlan { plan, settings, starts_in, lasts } => {
                self.settle(n).await?;
                let terms = terms(settings, lasting(order.now, *starts_in, *lasts));
                let bound =
                    engine.bind_plan_terms(names(n).plan(plan), terms, Expected::Anything, None).await;
                match bound {
                    Ok(_) => Ok(plain("bound")),
                    Err(EngineError::Decide(_)) => Ok(plain("error:terms")),
                    Err(error) => Err(error),
                }
            }
            Command::Sell { plan, own } => {
                self.settle(n).await?;
                self.sell(n, plan, own).await?;
                Ok(plain("sold"))
            }
            Command::Refund { part, reissue, .. } => {
                let Some((entry, index)) = order.target else {
                    engine.state(&customer(n)).await?;
                    return Ok(plain("error:charge_not_found"));
                };
                let refund = refund_request(order.units, *part, *reissue);
                let id = ChargeId { entry, index };
                let outcome = engine.refund(&customer(n), id, refund, Origin::default()).await?;
                Ok(answer(&Reply::Entry(outcome)))
            }
            Command::Redeem { promotion } => {
                let outcome = engine.redeem(customer(n), key(promotion.key), Origin::default()).await?;
                Ok(answer(&Reply::Entry(outcome)))
            }
            Command::Bind { settings, starts_in, lasts } => {
                let terms = terms(settings, lasting(order.now, *starts_in, *lasts));
                let prepared = engine.prepare_terms(terms).await?;
                self.ask(n, order, Some(prepared)).await
            }
            _ => self.ask(n, order, None).await,
        }
    }

    async fn ask(&self, n: usize, order: &Order, terms: Option<TermsDraft>) -> Result<Answer, EngineError> {
        let names = names(n);
        let versions = |plan: &str| self.sold.lock().unwrap()[&names.plan(plan)];
        let command: HostCommand = request(order, &names, terms, None, versions);
        let request = Request { customer: customer(n), command, origin: Origin::default() };
        match self.host.engine.execute(request).await? {
            Reply::Entry(_) if is_plan_changed_now(order) => Ok(plain("plan_changed")),
            // An engine answers a check that the core refuses.
            Reply::Check(check) if check.reason == "no_terms_in_force" => {
                Ok(plain("error:no_terms_in_force"))
            }
            Reply::Check(check) if check.reason == "customer_closed" => Ok(plain("error:closed")),
            reply => Ok(answer(&reply)),
        }
    }

    pub async fn state(&self, n: usize, now: i64) -> Snapshot {
        let state = match self.host.engine.state(&customer(n)).await {
            Ok(state) => (*state).clone(),
            Err(error) if error_is(&error, "error:customer_not_found") => CustomerState::new(customer(n)),
            Err(error) => panic!("{error}"),
        };
        snapshot(&state, &names(n), now)
    }
}

fn error_is(error: &EngineError, name: &str) -> bool {
    matches!(error, EngineError::Decide(error) if error_name(error) == name)
}
