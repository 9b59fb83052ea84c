//! Plans in memory.

use super::{module, policy::Scripted};
use proviso_decide::{
    catalog::{Plan, Plans, sold_at},
    policy::Policy,
    replay::History,
    selling::{AddOn, Bundle, Promotion},
};
use proviso_ledger::model::{
    ids::{Name, TermsId},
    json::JsonText,
    period::Interval,
    plan_grant::PlanTrial,
    terms::{Mode, OnFault, Owner, PolicyRef, Terms, TermsDraft, TermsKey},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Default)]
pub struct Catalog {
    /// The versions of each, in order, and its terms.
    plans: BTreeMap<Name, (Vec<Plan>, Vec<Arc<Terms>>)>,
    pub add_ons: BTreeMap<Name, AddOn>,
    pub bundles: BTreeMap<Name, Bundle>,
    pub promotions: BTreeMap<Name, Promotion>,
}

impl Plans for Catalog {
    fn plan(&self, plan: &Name) -> Option<&Plan> {
        self.plans.get(plan)?.0.last()
    }

    fn plan_version(&self, plan: &Name, version: u32) -> Option<&Plan> {
        self.plans.get(plan)?.0.get(version as usize - 1)
    }

    fn plan_at(&self, plan: &Name, at: Timestamp) -> Option<&Plan> {
        sold_at(self.plans.get(plan)?.0.iter(), at)
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
        self.plans.get(plan).map_or(&[], |(_, terms)| terms)
    }
}

impl Catalog {
    /// As replays see it.
    pub fn history(&self) -> History {
        let terms = self.plans.iter().map(|(plan, (_, terms))| (plan.clone(), terms.clone()));
        History::new(self.plans.values().flat_map(|(versions, _)| versions.clone()), terms)
    }

    /// Puts a plan. Its interval stays.
    pub fn put(&mut self, plan: &Name, interval: Option<Interval>, at: Timestamp) -> &mut Plan {
        let new = || {
            let (plan, name, entitlements) = (plan.clone(), plan.to_string(), BTreeMap::new());
            let (grants, trial, version) = (Vec::new(), None, 1);
            let (created_at, version_created_at) = (at, at);
            let plan = Plan {
                plan,
                name,
                version,
                interval,
                entitlements,
                grants,
                trial,
                created_at,
                version_created_at,
            };
            (vec![plan], Vec::new())
        };
        self.plans.entry(plan.clone()).or_insert_with(new).0.last_mut().unwrap()
    }

    /// Sells what the newest version of a plan sells as another version from now on, to be changed.
    pub fn put_version(&mut self, plan: &Name, at: Timestamp) -> &mut Plan {
        let (versions, _) = self.plans.get_mut(plan).unwrap();
        let newest = versions.last().unwrap();
        let next = Plan { version: newest.version + 1, version_created_at: at, ..newest.clone() };
        versions.push(next);
        versions.last_mut().unwrap()
    }

    pub fn bind(&mut self, plan: &Name, draft: TermsDraft, at: Timestamp) -> TermsKey {
        let (_, terms) = self.plans.get_mut(plan).unwrap();
        let id = TermsId { entry: terms.len() as u64 + 1, index: 0 };
        let key = TermsKey { owner: Owner::Plan(plan.clone()), id };
        terms.push(Arc::new(draft.bind(key.clone(), at, terms).unwrap()));
        key
    }
}

impl Catalog {
    /// Changes terms of a plan, as the host does.
    pub fn change(&mut self, key: &TermsKey, change: impl FnOnce(&mut Terms)) {
        let Owner::Plan(plan) = &key.owner else { panic!("{key} is not a plan's") };
        let (_, all) = self.plans.get_mut(plan).unwrap();
        let found = all.iter_mut().find(|terms| terms.key == *key).unwrap();
        change(Arc::make_mut(found));
    }
}

fn fill(grants: &mut Value, category: &str, recurrence: &str) {
    for grant in grants.as_array_mut().unwrap() {
        let grant = grant.as_object_mut().unwrap();
        let recurrence = grant.entry("recurrence").or_insert(recurrence.into()).clone();
        let ends = if recurrence == "period" { json!({"with_period": 0}) } else { json!("never") };
        grant.entry("expires").or_insert(ends);
        grant.entry("credit").or_insert("credits".into());
        grant.entry("category").or_insert(category.into());
    }
}

/// What the grants of an add-on leave out.
pub fn fill_grants(json: &mut Value) {
    if let Some(grants) = json.get_mut("grants") {
        fill(grants, "prepaid", "period");
    }
}

/// What a plan gives whatever its policy does, with what it leaves out.
pub fn gives(plan: &mut Plan, json: &str) {
    let mut json: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    if let Some(grants) = json.get_mut("grants") {
        fill(grants, "plan", "period");
    }
    if let Some(trial) = json.get_mut("trial") {
        fill(&mut trial["grants"], "trial", "trial");
    }
    plan.grants = json.get("grants").map_or_else(Vec::new, |grants| Vec::deserialize(grants).unwrap());
    plan.trial = json.get("trial").map(|trial| PlanTrial::deserialize(trial).unwrap());
}

/// Terms of a scripted policy with these settings.
pub fn draft(settings: &str) -> TermsDraft {
    let scripted = Scripted::new("scripted");
    let json: Value = serde_json::from_str(settings).unwrap_or_else(|error| panic!("{error}: {settings}"));
    let prepared = scripted.prepare(settings).unwrap().value.unwrap();
    TermsDraft {
        policy: PolicyRef { name: "scripted".parse().unwrap(), version: 1, digest: module("scripted") },
        settings: JsonText::from(&json),
        prepared,
        needs: scripted.manifest().needs,
        effective_at: None,
        ends_at: None,
        mode: Mode::Active,
        on_fault: OnFault::Deny,
        contract: None,
        time_zone: None,
        note: None,
        canary: None,
    }
}
