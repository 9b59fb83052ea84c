//! Carries a history out on `proviso_decide`, with no store and no engine around it.

use crate::{
    answer::{Answer, Host, Order, Snapshot},
    commands::Command,
    packs::{ADD_ONS, PACKS, PROMOTIONS},
    policy::{Table, TablePolicy, euros, instant},
    settings::{PlanSpec, Settings},
    translate::{
        Names, add_on_grants, answer, credited, error_name, interval, is_plan_changed_now, key, lasting,
        own_grant, own_trial, plain, request, snapshot,
    },
};
use proviso_decide::{
    Decider, Journal, Stop,
    catalog::{Plan, Plans, sold_at},
    command::{Reply, Request},
    policy::Lookup,
    selling::{AddOn, Bundle, Promotion},
};
use proviso_ledger::{
    journal::{Draw, Entry},
    model::{
        add_on::SoldAddOn,
        answers::Needs,
        ids::{Digest, Name, TermsId},
        json::JsonText,
        terms::{Mode as TermsMode, OnFault, Owner, PolicyRef, Terms, TermsDraft, TermsKey},
        time::Timestamp,
    },
    rules::refund::Refundable,
    state::{CustomerState, LATE_WINDOW, Origin},
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
    add_ons: BTreeMap<Name, AddOn>,
    bundles: BTreeMap<Name, Bundle>,
    promotions: BTreeMap<Name, Promotion>,
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

    fn add_on(&self, add_on: &Name) -> Option<&AddOn> {
        self.add_ons.get(add_on)
    }

    fn bundle(&self, bundle: &Name) -> Option<&Bundle> {
        self.bundles.get(bundle)
    }

    fn promotion(&self, promotion: &Name) -> Option<&Promotion> {
        self.promotions.get(promotion)
    }

    fn terms_of(&self, plan: &Name) -> &[Arc<Terms>] {
        self.terms.get(plan).map_or(&[], Vec::as_slice)
    }
}

/// The pure core, driven by hand.
pub struct DecideHost {
    catalog: Catalog,
    table: Table,
    policy: Arc<TablePolicy>,
    state: CustomerState,
    now: i64,
    /// All that was written.
    journal: BTreeMap<u64, Arc<Entry>>,
    names: Names,
}

impl Catalog {
    /// What is sold beside plans.
    fn sell_packs(&mut self, start: i64) {
        let created_at = instant(start);
        for spec in &ADD_ONS {
            let add_on: Name = spec.key.parse().unwrap();
            let sold = SoldAddOn {
                version: 1,
                interval: spec.interval.map(interval),
                grants: add_on_grants(spec),
                entitlements: BTreeMap::new(),
            };
            let (name, max_quantity, for_sale) = (spec.key.to_owned(), None, true);
            let add_on_sold =
                AddOn { add_on: add_on.clone(), name, sold, max_quantity, for_sale, created_at };
            self.add_ons.insert(add_on, add_on_sold);
        }
        for pack in &PACKS {
            let (bundle, name, credits): (Name, _, _) =
                (pack.key.parse().unwrap(), pack.key.to_owned(), credited(pack));
            let price = pack.price.map(euros);
            let sold = Bundle { bundle: bundle.clone(), name, credits, price, for_sale: true, created_at };
            self.bundles.insert(bundle, sold);
        }
        for pack in &PROMOTIONS {
            let promotion: Name = pack.key.parse().unwrap();
            let given = Promotion {
                promotion: promotion.clone(),
                name: pack.key.to_owned(),
                credits: credited(pack),
                starts_at: None,
                ends_at: None,
                max_redemptions: None,
                plans: Vec::new(),
                created_at,
            };
            self.promotions.insert(promotion, given);
        }
    }
}

impl DecideHost {
    fn draft(&self, settings: &Settings, (starts, ends): (Option<i64>, Option<i64>)) -> TermsDraft {
        TermsDraft {
            policy: PolicyRef { name: "reference".parse().unwrap(), version: 1, digest: Digest([7; 32]) },
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
        lasting: (Option<i64>, Option<i64>),
    ) -> Answer {
        let draft = self.draft(settings, lasting);
        let plan = self.names.plan(plan);
        let list = self.catalog.terms.entry(plan.clone()).or_default();
        let id = TermsId { entry: list.len() as u64 + 1, index: 0 };
        let terms_key = TermsKey { owner: Owner::Plan(plan), id };
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
            names: Names::default(),
        };
        host.catalog.sell_packs(start);
        for spec in plans {
            let plan = Plan {
                plan: host.names.plan(spec.key),
                name: spec.key.to_owned(),
                interval: spec.interval.map(interval),
                entitlements: BTreeMap::new(),
                grants: spec.own.grants.iter().map(own_grant).collect(),
                trial: spec.own.trial.as_ref().map(|trial| own_trial(trial, &host.names)),
                version: 1,
                created_at: instant(start),
                version_created_at: instant(start),
            };
            host.catalog.plans.insert(plan.plan.clone(), vec![plan]);
            host.bind_to_plan(spec.key, &spec.settings, (None, None));
        }
        host
    }

    fn execute(&mut self, order: &Order) -> Answer {
        self.now = order.now;
        if let Command::Sell { plan, own } = &order.command {
            let versions = self.catalog.plans.get_mut(&self.names.plan(plan)).unwrap();
            let newest = versions.last().unwrap();
            let next = Plan {
                version: newest.version + 1,
                version_created_at: instant(order.now),
                grants: own.grants.iter().map(own_grant).collect(),
                trial: own.trial.as_ref().map(|trial| own_trial(trial, &self.names)),
                ..newest.clone()
            };
            versions.push(next);
            return plain("sold");
        }
        let versions = |plan: &str| self.catalog.plans[&self.names.plan(plan)].len() as u64;
        let terms = match &order.command {
            Command::Bind { settings, starts_in, lasts } => {
                Some(self.draft(settings, lasting(order.now, *starts_in, *lasts)))
            }
            _ => None,
        };
        let refundable = match (&order.command, order.target) {
            (Command::Refund { .. }, Some(target)) => Some(self.refundable(target.0)),
            _ => None,
        };
        let request = Request {
            customer: self.state.customer.clone(),
            command: request(order, &self.names, terms, refundable, versions),
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
            return self.bind_to_plan(plan, settings, lasting(order.now, *starts_in, *lasts));
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
        snapshot(&self.state, &self.names, self.now)
    }
}
