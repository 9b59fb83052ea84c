//! Carries a history out on `proviso_decide`, with no store and no engine around it.

use crate::{
    answer::{
        Answer, BalanceSnap, Books, CounterAt, GrantSnap, Host, Order, ReservationSnap, Snapshot, Status,
    },
    commands::{BudgetSpec, Change, Command, GrantSpec, Part, UsageSpec, When, Who},
    policy::{Table, TablePolicy, category, credits, euros, instant},
    settings::{
        AfterTrial, AllowanceRule, CounterSpec, FEATURES, HOUR, Mode, OwnGrant, PlanSpec, Settings,
        TrialRule, Unit, Whose, Window,
    },
};
use proviso_decide::{
    DecideError, Decider, Journal, Stop,
    catalog::{Plan, Plans, sold_at},
    command::{self, ActualUsage, CustomerChange, Reply, Request, Ttl, UsageRequest},
    policy::Lookup,
    precondition::Expected,
};
use proviso_ledger::{
    journal::{Draw, Entry, Event, PlanChangeTime},
    model::{
        amounts::Quantity,
        answers::{Allowance, Needs},
        counter,
        ids::{Digest, GrantId, Key, Name, PlanChangeId, ReservationId, TermsId},
        json::JsonText,
        period::{Interval, IntervalUnit},
        plan_grant::{PlanExpiry, PlanGrant, PlanTrial, Recurrence, TrialEnd},
        terms::{Mode as TermsMode, OnFault, Owner, PolicyRef, Terms, TermsDraft, TermsKey},
        time::Timestamp,
        transfer::Book,
        view::Expiry,
    },
    rules::{
        grants::GrantRequest,
        refund::{Portion, RefundRequest, Refundable},
        rejection::Rejection,
    },
    state::{BudgetState, CustomerState, GrantStatus, LATE_WINDOW, Origin},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

#[derive(Default)]
struct Catalog {
    /// The versions of each.
    plans: BTreeMap<Name, Vec<Plan>>,
    terms: BTreeMap<Name, Vec<Arc<Terms>>>,
}

impl Plans for Catalog {
    fn plan(&self, plan: &Name) -> Option<&Plan> {
        self.plans.get(plan)?.last()
    }

    fn plan_version(&self, plan: &Name, version: u32) -> Option<&Plan> {
        self.plans.get(plan)?.iter().find(|one| one.version == version)
    }

    fn plan_at(&self, plan: &Name, at: Timestamp) -> Option<&Plan> {
        sold_at(self.plans.get(plan)?.iter(), at)
    }

    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>] {
        self.terms.get(plan).map_or(&[], Vec::as_slice)
    }
}

pub struct DecideHost {
    catalog: Catalog,
    table: Table,
    policy: Arc<TablePolicy>,
    state: CustomerState,
    now: i64,
    /// All that was written.
    journal: BTreeMap<u64, Arc<Entry>>,
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn digest() -> Digest {
    Digest([7; 32])
}

impl DecideHost {
    fn draft(&self, settings: &Settings, starts: Option<i64>, ends: Option<i64>) -> TermsDraft {
        TermsDraft {
            policy: PolicyRef { name: name("reference"), version: 1, digest: digest() },
            settings: JsonText::from(&serde_json::json!({})),
            prepared: TablePolicy::add(&self.table, settings),
            needs: Needs {
                balances: true,
                grants: true,
                customer_attributes: false,
                entity_attributes: false,
            },
            effective_at: starts.map(instant),
            ends_at: ends.map(instant),
            mode: TermsMode::Active,
            on_fault: OnFault::Deny,
            contract: None,
            time_zone: None,
            note: None,
            canary: None,
        }
    }

    fn bind_to_plan(
        &mut self,
        plan: &str,
        settings: &Settings,
        starts: Option<i64>,
        ends: Option<i64>,
    ) -> Answer {
        let draft = self.draft(settings, starts, ends);
        let list = self.catalog.terms.entry(name(plan)).or_default();
        let id = TermsId { entry: list.len() as u64 + 1, index: 0 };
        let terms_key = TermsKey { owner: Owner::Plan(name(plan)), id };
        match draft.bind(terms_key, instant(self.now), list) {
            Ok(terms) => {
                list.push(Arc::new(terms));
                plain("bound")
            }
            Err(_) => plain("error:terms"),
        }
    }

    fn refundable(&self, seq: u64) -> Refundable {
        let charge = self.journal[&seq].clone();
        let is_refund = |entry: &&Arc<Entry>| {
            entry.refunded().is_some_and(|refunded| refunded.charge == charge.charge_id())
        };
        let grant = |draw: &Draw| {
            let grants = self.journal[&draw.grant.entry].grants();
            grants.iter().find(|grant| grant.id == draw.grant).cloned()
        };
        Refundable {
            reserved: charge.commits().map(|id| self.journal[&id.entry].clone()),
            last: self.journal.values().rev().find(is_refund).cloned(),
            grants: charge.draws().iter().filter_map(grant).collect(),
            charge,
        }
    }

    fn request(&self, order: &Order) -> command::Command {
        let after = |delta: i64| instant(order.now + delta);
        let target = order.target.unwrap_or((u64::MAX, 0));
        let grant = GrantId { entry: target.0, index: target.1 };
        let reservation = ReservationId { entry: target.0, index: target.1 };
        match &order.command {
            Command::Pass(_) | Command::Read | Command::BindToPlan { .. } => command::Command::Sweep,
            Command::Configure { plan, zone, anchor, allowance } => {
                command::Command::Configure(Box::new(CustomerChange {
                    plan: change(plan, |plan| name(plan)),
                    time_zone: change(zone, |zone| zone.parse().unwrap()),
                    anchor: change(anchor, |delta| after(*delta)),
                    allowance: asked(*allowance),
                    ..CustomerChange::default()
                }))
            }
            Command::ChangePlan { plan, when, allowance, dry_run } => {
                command::Command::ChangePlan(Box::new(command::CustomerPlanChange {
                    plan: plan.map(name),
                    version: None,
                    when: match when {
                        When::Now => None,
                        When::PeriodEnd => Some(PlanChangeTime::PeriodEnd),
                        When::In(delta) => Some(PlanChangeTime::At(after(*delta))),
                    },
                    allowance: asked(*allowance),
                    dry_run: *dry_run,
                }))
            }
            Command::Sell { .. } => unreachable!("is no request"),
            Command::Migrate { plan, pick, period_end, allowance, dry_run } => {
                let versions = self.catalog.plans[&name(plan)].len() as u64;
                command::Command::Migrate(Box::new(command::CustomerMigration {
                    plan: name(plan),
                    from: None,
                    to: 1 + (*pick % versions) as u32,
                    at_period_end: *period_end,
                    allowance: asked(*allowance),
                    dry_run: *dry_run,
                }))
            }
            Command::CancelPlanChange => {
                command::Command::CancelPlanChange(PlanChangeId { entry: target.0, index: 0 })
            }
            Command::Bind { settings, starts_in, lasts } => {
                let starts = starts_in.map(|delta| order.now + delta);
                let ends = lasts.map(|lasts| starts.unwrap_or(order.now).max(order.now) + lasts);
                command::Command::BindTerms(Box::new(self.draft(settings, starts, ends)))
            }
            Command::EndTerms { ends_in, .. } => command::Command::EndTerms {
                id: TermsId { entry: target.0, index: 0 },
                ends_at: ends_in.map(after),
                expected: Expected::Anything,
            },
            Command::Grant(spec) => command::Command::Grant(Box::new(grant_request(spec, order.now))),
            Command::Void { .. } => command::Command::Void(grant),
            Command::Adjust { credit, amount } => command::Command::Adjust {
                credit: key(credit),
                amount: credits(*amount),
                reason: "a correction".to_owned(),
            },
            Command::Reset { anchor_now } => command::Command::Reset { anchor_now: *anchor_now },
            Command::Close => command::Command::Close(Expected::Anything),
            Command::Charge(spec) => command::Command::Charge(Box::new(usage_request(spec, order.now))),
            Command::Check(spec) => command::Command::Check(Box::new(usage_request(spec, order.now))),
            Command::Reserve(spec, ttl) => {
                command::Command::Reserve(Box::new(usage_request(spec, order.now)), Ttl::new(*ttl).unwrap())
            }
            Command::Commit { .. } => command::Command::Commit(
                reservation,
                Box::new(ActualUsage {
                    quantities: vec![("units".to_owned(), Quantity::from_units(order.units))],
                    attributes: None,
                }),
            ),
            Command::Release { .. } => command::Command::Release(reservation),
            Command::Refund { part, reissue, .. } => match order.target {
                Some(target) => command::Command::Refund(
                    Box::new(self.refundable(target.0)),
                    Box::new(RefundRequest {
                        portion: match part {
                            Part::Rest => Portion::Rest,
                            Part::Cost(_) => Portion::Amount(credits(order.units)),
                            Part::Units(_) => Portion::Quantities(vec![(
                                "units".to_owned(),
                                Quantity::from_units(order.units),
                            )]),
                        },
                        reason: "a complaint".to_owned(),
                        reissue_expired: *reissue,
                    }),
                ),
                None => command::Command::Sweep,
            },
            Command::Extend { ttl, .. } => command::Command::Extend(reservation, Ttl::new(*ttl).unwrap()),
            Command::SetEntity { entity, parent } => {
                command::Command::SetEntity(Box::new(command::EntityChange {
                    id: key(entity),
                    parent: parent.map_or(command::Change::Clear, |parent| command::Change::Set(key(parent))),
                    attributes: command::Change::Keep,
                    expected: Expected::Anything,
                }))
            }
            Command::SetBudget { id, spec } => {
                command::Command::SetBudget(Box::new(budget_change(key(id), spec)))
            }
            Command::RemoveBudget { id } => command::Command::RemoveBudget(key(id), Expected::Anything),
        }
    }
}

fn asked(allowance: Mode) -> Allowance {
    match allowance {
        Mode::Prorate => Allowance::Prorate,
        Mode::Full => Allowance::Full,
        Mode::Carry | Mode::Asked => Allowance::Carry,
    }
}

fn change<T, U>(change: &Change<T>, make: impl Fn(&T) -> U) -> command::Change<U> {
    match change {
        Change::Keep => command::Change::Keep,
        Change::Clear => command::Change::Clear,
        Change::Set(value) => command::Change::Set(make(value)),
    }
}

fn budget_change(id: Key, spec: &BudgetSpec) -> command::BudgetChange {
    use command::Change::{Clear, Keep, Set};
    let (entity, attribute) = match spec.who {
        // What is there already is cleared, whichever it is.
        Who::Customer => (Clear, Clear),
        Who::Entity(entity) => (Set(key(entity)), Keep),
        Who::Model(model) => (Keep, Set(("model".to_owned(), model.to_owned()))),
    };
    command::BudgetChange {
        id,
        entity,
        attribute,
        features: Set(spec.features.iter().map(|feature| key(feature)).collect()),
        window: Some(match spec.window {
            Window::Period => counter::Window::Period,
            Window::Cycle => counter::Window::Cycle,
            Window::Day => counter::Window::Day,
            Window::Week => counter::Window::Week,
            Window::Month => counter::Window::Month,
            Window::Hours(hours) => counter::Window::Hours(hours),
            Window::Lifetime => counter::Window::Lifetime,
        }),
        limit: Some(Quantity::from_units(spec.limit).decimal()),
        quantity: if spec.units { Set("units".to_owned()) } else { Keep },
        credit: if spec.units { Keep } else { Set(key(spec.credit)) },
        hard: Set(spec.hard),
        warn_at: Set(vec![80]),
        expected: Expected::Anything,
    }
}

fn usage_request(spec: &UsageSpec, now: i64) -> UsageRequest {
    UsageRequest {
        feature: key(spec.feature),
        quantities: vec![("units".to_owned(), Quantity::from_units(spec.units))],
        attributes: spec.model.iter().map(|model| ("model".to_owned(), (*model).to_owned())).collect(),
        entity: spec.entity.map(key),
        occurred_at: spec.ago.map(|ago| instant(now - ago)),
    }
}

fn grant_request(spec: &GrantSpec, now: i64) -> GrantRequest {
    GrantRequest {
        credit: key(spec.credit),
        amount: credits(spec.amount),
        category: category(spec.category),
        priority: spec.priority,
        effective_at: spec.effective_in.map(|delta| instant(now + delta)),
        expires: Expiry {
            at: spec.expires_in.map(|delta| instant(now + delta)),
            with_period: spec.with_period,
        },
        features: spec.features.iter().map(|feature| key(feature)).collect(),
        cost_basis: spec.paid.map(euros),
        metadata: Vec::new(),
    }
}

fn plain(what: &str) -> Answer {
    Answer { what: what.to_owned(), ..Answer::default() }
}

impl Host for DecideHost {
    fn begin(start: i64, plans: &[PlanSpec]) -> Self {
        let table: Table = Arc::new(Mutex::new(Vec::new()));
        let policy = Arc::new(TablePolicy::new(table.clone()));
        let mut host = Self {
            catalog: Catalog::default(),
            table,
            policy,
            state: CustomerState::new(key("acme")),
            now: start,
            journal: BTreeMap::new(),
        };
        for spec in plans {
            let interval = spec.interval.map(|(unit, count)| {
                let unit = match unit {
                    Unit::Hour => IntervalUnit::Hour,
                    Unit::Day => IntervalUnit::Day,
                    Unit::Week => IntervalUnit::Week,
                    Unit::Month => IntervalUnit::Month,
                    Unit::Quarter => IntervalUnit::Quarter,
                    Unit::Year => IntervalUnit::Year,
                };
                Interval::new(unit, u16::try_from(count).unwrap()).unwrap()
            });
            let plan = Plan {
                plan: name(spec.key),
                name: spec.key.to_owned(),
                interval,
                entitlements: BTreeMap::new(),
                grants: spec.own.grants.iter().map(own_grant).collect(),
                trial: spec.own.trial.as_ref().map(own_trial),
                version: 1,
                created_at: instant(start),
                version_created_at: instant(start),
            };
            host.catalog.plans.insert(plan.plan.clone(), vec![plan]);
            host.bind_to_plan(spec.key, &spec.settings, None, None);
        }
        host
    }

    fn execute(&mut self, order: &Order) -> Answer {
        self.now = order.now;
        if let Command::Sell { plan, own } = &order.command {
            let versions = self.catalog.plans.get_mut(&name(plan)).unwrap();
            let newest = versions.last().unwrap();
            let next = Plan {
                version: newest.version + 1,
                version_created_at: instant(order.now),
                grants: own.grants.iter().map(own_grant).collect(),
                trial: own.trial.as_ref().map(own_trial),
                ..newest.clone()
            };
            versions.push(next);
            return plain("sold");
        }
        let request = Request {
            customer: self.state.customer.clone(),
            command: self.request(order),
            origin: Origin::default(),
        };
        let policy = self.policy.clone();
        let policies = move |_: &Digest| Lookup::Ready(policy.clone());
        let decider = Decider {
            plans: &self.catalog,
            policies: &policies,
            now: instant(order.now),
            late_window: LATE_WINDOW,
            most_due: usize::MAX,
        };
        let mut journal = Journal::default();
        let reply = decider.decide(&mut self.state, &request, &mut journal);
        if let Command::BindToPlan { plan, settings, starts_in, lasts } = &order.command {
            let starts = starts_in.map(|delta| order.now + delta);
            let ends = lasts.map(|lasts| starts.unwrap_or(order.now).max(order.now) + lasts);
            return self.bind_to_plan(plan, settings, starts, ends);
        }
        let written = journal.written.into_iter().map(|written| (written.entry.seq, written.entry));
        self.journal.extend(written);
        match reply {
            Ok(_) if matches!(order.command, Command::Refund { .. }) && order.target.is_none() => {
                plain("error:charge_not_found")
            }
            // Its last entry begins a period, or there is none to begin.
            Ok(Reply::Entry(_)) if is_plan_changed_now(order) => plain("plan_changed"),
            Ok(reply) => answer(&reply),
            Err(Stop::Error(error)) => plain(error_name(&error)),
            Err(stop) => plain(&format!("defect: {stop:?}")),
        }
    }

    fn state(&self) -> Snapshot {
        let state = &self.state;
        let at = instant(self.now).max(state.at);
        let balances = state.accounts.keys().map(|credit| {
            let balance = state.balance(credit, at);
            let snap = BalanceSnap {
                granted: balance.granted.units(),
                used: balance.used.units(),
                reserved: balance.reserved.units(),
                available: balance.available.units(),
                overage: balance.overage.units(),
                held_overage: balance.held_overage.units(),
            };
            (credit.to_string(), snap)
        });
        let books = state.accounts.iter().map(|(credit, account)| {
            let books = Books {
                issued: account.issued.units(),
                spent: account.spent.units(),
                expired: account.expired.units(),
                voided: account.voided.units(),
                overage: account.overage.units(),
            };
            (credit.to_string(), books)
        });
        let grants = state.grants.iter().map(|one| {
            let grant = &one.grant;
            let snap = GrantSnap {
                credit: grant.credit.to_string(),
                amount: grant.amount.units(),
                category: grant.category.as_str().to_owned(),
                priority: grant.priority,
                effective: grant.effective_at.0,
                expires_at: grant.expires_at.map(|at| at.0),
                with_period: grant.expires_with_period,
                features: grant.features.iter().map(Key::to_string).collect(),
                paid: grant.cost_basis.map(|basis| basis.amount().units()),
                status: match one.status {
                    GrantStatus::Live => Status::Live,
                    GrantStatus::Expired => Status::Expired,
                    GrantStatus::Voided => Status::Voided,
                },
                remaining: one.remaining.units(),
                held: one.held.units(),
                spent: one.spent.units(),
                expired: one.expired.units(),
                ends_at: one.ends_at.map(|at| at.0),
            };
            ((grant.id.entry, grant.id.index), snap)
        });
        let reservations = state.reservations.iter().map(|(id, one)| {
            let holds = one.holds.iter().map(|(id, amount)| ((id.entry, id.index), amount.units()));
            let snap = ReservationSnap {
                credit: one.credit.to_string(),
                holds: holds.collect(),
                overage: one.overage.units(),
                expires_at: one.expires_at.0,
            };
            ((id.entry, id.index), snap)
        });
        let counters = state.counters.iter().map(|(counter, window, subject, total)| {
            (counter_at(counter, window, subject), (total.used.units(), total.held.units()))
        });
        Snapshot {
            entries: state.seq,
            closed: state.closed,
            plan: state.plan().map(|plan| format!("{plan} {}", state.plan_version().unwrap())),
            pending: state.plan_change_at().map(|at| at.0),
            cycle: state.cycle_window,
            period: state
                .period
                .as_ref()
                .map(|period| (period.number, period.start.0, period.end.map(|end| end.0))),
            balances: balances.collect(),
            crowded: false,
            books: books.collect(),
            grants: grants.collect(),
            reservations: reservations.collect(),
            counters: counters.collect(),
            budgets: state.budgets.iter().flat_map(|(id, one)| totals_of(id, one)).collect(),
        }
    }
}

type BudgetTotal = ((String, Window, i64), (crate::settings::Amount, crate::settings::Amount));

fn totals_of(id: &Key, one: &BudgetState) -> Vec<BudgetTotal> {
    let window = match one.budget.window {
        counter::Window::Period => Window::Period,
        counter::Window::Cycle => Window::Cycle,
        counter::Window::Day => Window::Day,
        counter::Window::Week => Window::Week,
        counter::Window::Month => Window::Month,
        counter::Window::Hours(hours) => Window::Hours(hours),
        counter::Window::Lifetime => Window::Lifetime,
    };
    let total = |(at, total): (&i64, &proviso_ledger::state::BudgetTotal)| {
        ((id.to_string(), window, *at), (total.used.units(), total.held.units()))
    };
    one.windows.iter().map(total).collect()
}

fn counter_at(key: &counter::CounterKey, window: i64, subject: &str) -> CounterAt {
    let spec = CounterSpec {
        cost: key.measure == counter::Measure::Cost,
        features: FEATURES
            .iter()
            .copied()
            .filter(|name| key.features.iter().any(|f| f.as_str() == *name))
            .collect(),
        whose: match key.scope {
            counter::Scope::Customer => Whose::Customer,
            counter::Scope::Entity => Whose::Entity,
            counter::Scope::Attribute(_) => Whose::Model,
        },
        window: match key.window {
            counter::Window::Period => Window::Period,
            counter::Window::Cycle => Window::Cycle,
            counter::Window::Day => Window::Day,
            counter::Window::Week => unreachable!("policies do not declare it"),
            counter::Window::Month => Window::Month,
            counter::Window::Hours(hours) => Window::Hours(hours),
            counter::Window::Lifetime => Window::Lifetime,
        },
    };
    let mut spec = spec;
    spec.features.sort_unstable();
    (spec, window, subject.to_owned())
}

fn is_plan_changed_now(order: &Order) -> bool {
    matches!(order.command, Command::ChangePlan { when: When::Now, dry_run: false, .. })
}

fn answer(reply: &Reply) -> Answer {
    match reply {
        Reply::Preview(_) => plain("preview"),
        Reply::Migrated(migrated) => plain(match **migrated {
            command::Migrated::NotConcerned => "not_concerned",
            command::Migrated::Preview(_) => "preview",
            command::Migrated::Done(_) => "moved",
            command::Migrated::Pending(_) => "move_pending",
        }),
        Reply::State(_) => plain("read"),
        Reply::Configured { .. } => plain("configured"),
        Reply::Check(check) => Answer {
            what: format!("check:{}", check.reason),
            cost: check.cost.map(|cost| cost.units()),
            late: check.late,
            ..Answer::default()
        },
        Reply::Entry(outcome) => of_entry(&outcome.entry),
    }
}

fn of_entry(entry: &Entry) -> Answer {
    let mut answer = Answer::default();
    for transfer in &entry.transfers {
        if let (Book::Overage, Book::Spent | Book::Reserved(_)) = (transfer.from, transfer.to) {
            answer.overage += transfer.amount.units();
        }
        if let (Book::Grant(id), Book::Spent | Book::Reserved(_)) = (transfer.from, transfer.to) {
            *answer.draws.entry((id.entry, id.index)).or_default() += transfer.amount.units();
        }
    }
    match &entry.event {
        Event::Charged(charged) => Answer {
            what: "charged".to_owned(),
            cost: Some(charged.rated.cost.units()),
            late: charged.late,
            top_up: charged.top_up.as_ref().map(|grant| grant.amount.units()),
            ..answer
        },
        Event::Reserved(reserved) => Answer {
            what: if reserved.reduced_from.is_some() { "reduced" } else { "reserved" }.to_owned(),
            cost: Some(reserved.rated.cost.units()),
            late: reserved.late,
            top_up: reserved.top_up.as_ref().map(|grant| grant.amount.units()),
            ..answer
        },
        Event::Committed(committed) => {
            for draw in &committed.taken {
                *answer.draws.entry((draw.grant.entry, draw.grant.index)).or_default() += draw.amount.units();
            }
            Answer {
                what: "committed".to_owned(),
                cost: Some(committed.rated.cost.units()),
                late: committed.late,
                exceeded: committed.exceeded.units(),
                returned: committed.returned.units(),
                top_up: committed.top_up.as_ref().map(|grant| grant.amount.units()),
                ..answer
            }
        }
        Event::Refunded(refunded) => Answer {
            what: "refunded".to_owned(),
            cost: Some(refunded.amount.units()),
            overage: entry
                .transfers
                .iter()
                .filter(|transfer| transfer.to == Book::Overage)
                .map(|transfer| transfer.amount.units())
                .sum(),
            ..Answer::default()
        },
        Event::Refused(refused) => Answer {
            what: format!("refused:{}", refused.code),
            cost: refused.rated.as_ref().map(|rated| rated.cost.units()),
            late: refused.late,
            available: Some(refused.available.units()),
            ..Answer::default()
        },
        event => {
            let what = match event {
                Event::Configured(_) => "configured",
                Event::Closed {} => "closed",
                Event::PlanChangeScheduled(_) => "plan_change_pending",
                Event::PlanChangeCancelled { .. } => "called_off",
                Event::TermsBound(_) => "bound",
                Event::TermsEnded { .. } => "ended",
                Event::Granted(_) => "granted",
                Event::Voided { .. } => "voided",
                Event::Adjusted(_) => "adjusted",
                Event::ReservationExtended { .. } => "extended",
                Event::Released { .. } => "released",
                Event::PeriodOpened(_) => "reset",
                _ => "other",
            };
            plain(what)
        }
    }
}

fn own_grant(own: &OwnGrant) -> PlanGrant {
    let recurrence = if own.once { Recurrence::Once } else { Recurrence::Period };
    plan_grant(own.key, &own.rule, recurrence)
}

fn own_trial(trial: &TrialRule) -> PlanTrial {
    let grant = |(n, rule): (usize, &AllowanceRule)| plan_grant(&format!("t{n}"), rule, Recurrence::Trial);
    PlanTrial {
        duration: hours(trial.hours),
        grants: trial.grants.iter().enumerate().map(grant).collect(),
        then: match trial.then {
            AfterTrial::Stay => TrialEnd::Stay,
            AfterTrial::End => TrialEnd::End,
            AfterTrial::Plan(plan) => TrialEnd::Plan(name(plan)),
        },
    }
}

fn plan_grant(known: &str, rule: &AllowanceRule, recurrence: Recurrence) -> PlanGrant {
    PlanGrant {
        key: key(known),
        amount: credits(rule.amount),
        credit: key(rule.credit),
        category: category(rule.category),
        priority: rule.priority,
        features: rule.features.iter().map(|feature| key(feature)).collect(),
        cost_basis: rule.paid.map(euros),
        recurrence,
        expires: match (rule.lasts, rule.with_period) {
            (Some(lasts), _) => PlanExpiry::After(hours(lasts / HOUR)),
            (None, Some(n)) => PlanExpiry::WithPeriod(n),
            (None, None) => PlanExpiry::Never,
        },
    }
}

fn hours(count: i64) -> Interval {
    Interval::new(IntervalUnit::Hour, u16::try_from(count).unwrap()).unwrap()
}

fn error_name(error: &DecideError) -> &'static str {
    match error {
        DecideError::CustomerNotFound(_) => "error:customer_not_found",
        DecideError::NoTermsInForce => "error:no_terms_in_force",
        DecideError::TrialUsed(..) => "error:trial_used",
        // What the model does not bound.
        DecideError::PreviewTooFar => "preview",
        DecideError::OccurredInFuture(_) => "error:occurred_in_future",
        DecideError::OccurredTooOld(_) => "error:occurred_too_old",
        DecideError::Rejected(rejection) => match rejection {
            Rejection::CustomerClosed => "error:closed",
            Rejection::GrantNotFound(_) | Rejection::GrantClosed(_) => "error:grant_gone",
            Rejection::ReservationNotFound(_) | Rejection::ReservationClosed(_) => "error:reservation_gone",
            Rejection::ReservationTooLong(..) => "error:too_long",
            Rejection::TermsNotFound | Rejection::TermsEnded(_) | Rejection::Terms(_) => "error:terms",
            Rejection::NotLater(..) => "error:not_later",
            Rejection::AdjustmentExceedsAvailable(_) => "error:adjustment_exceeds_available",
            Rejection::TooEarly(..) => "error:too_early",
            Rejection::NoPeriod => "error:no_period",
            Rejection::RefundExceedsCharge(_) | Rejection::RefundExceedsQuantity(..) => {
                "error:refund_exceeds"
            }
            Rejection::RefundNotDivisible => "error:not_divisible",
            Rejection::PlanUnchanged => "error:plan_unchanged",
            Rejection::NoPeriodEnd => "error:no_period_end",
            Rejection::PlanChangePending => "error:plan_change_pending",
            Rejection::PlanChangeNotFound(_) => "error:no_plan_change",
            _ => "error:rejected",
        },
        _ => "error:other",
    }
}
