//! Plans, their terms and what is said of policies, as they shall be, all at once: what has to change is found, and committed as one change
//! of the catalog or not at all. Each thing that changes is recorded as if it had been changed by itself.

mod reconcile;

use crate::{
    audit,
    catalog::Catalog,
    changes::{self, Changed, json},
    engine::Engine,
    error::EngineError,
    plan_terms::{add_terms, end},
    plans::{PlanChange, plan_rows},
    policies::policy_rows,
    rollout::raised,
    shared::Shared,
    terms::TermsInput,
};
use proviso_decide::{
    catalog::Plans as _,
    change::Change,
    command::Idempotency,
    precondition::{Expected, Tag},
};
use proviso_ledger::model::{
    ids::{Name, TermsId},
    resources::ResourceClass,
    terms::{self, Terms, TermsDraft},
    time::Timestamp,
};
use proviso_store::{CatalogChange, PlanTermsRow};
use reconcile::Step;
pub use reconcile::{canary_under_way, scheduled};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, slice};

/// What shall be. What is not named stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// What is said of policies.
    pub policies: BTreeMap<Name, DesiredPolicy>,
    /// Plans.
    pub plans: BTreeMap<Name, DesiredPlan>,
    /// Whether the terms of plans that are not named end.
    pub prune: bool,
}

/// What shall be said of a policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DesiredPolicy {
    /// For people.
    pub description: Change<String>,
    /// How much its versions may use.
    pub class: Change<ResourceClass>,
}

/// A plan as it shall be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DesiredPlan {
    /// All but its terms.
    pub change: PlanChange,
    /// Its terms; none leaves those that it has. At most one of them is a canary.
    pub terms: Option<Vec<TermsInput>>,
}

/// One change, as the audit records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// What kind of change.
    pub kind: String,
    /// What is changed.
    pub subject: String,
    /// What asks for it, as a JSON pointer into the request; none for what the request does not name.
    pub place: Option<String>,
    /// What was there before: of a thing that stays, only what changes.
    pub before: Option<Value>,
    /// What is there afterwards, likewise.
    pub after: Option<Value>,
    /// Of terms that are bound: those whose place they take.
    pub replaces: Option<Value>,
}

/// What is not done, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// About what.
    pub subject: String,
    /// Where in the request, as a JSON pointer.
    pub place: String,
    /// Why, and what can be done.
    pub detail: String,
}

/// What was changed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Whether it was.
    pub applied: bool,
    /// A digest of the changes: another one means that something else would happen.
    pub digest: String,
    /// The changes, in their order.
    pub changes: Vec<PlannedChange>,
    /// How many of the things that the request names are as they shall be.
    pub unchanged: u64,
    /// What is not done.
    pub remarks: Vec<Remark>,
}

impl Engine {
    /// Brings plans, their terms and what is said of policies to what they shall be, in one change; a dry run only says what would
    /// change. `expected` is about the digest of the changes.
    ///
    /// # Errors
    /// [`EngineError::Within`] for an error of one part of the request; other changes than were expected.
    pub async fn apply(
        &self,
        desired: Desired,
        dry_run: bool,
        expected: Expected,
        idempotency: Option<Idempotency>,
    ) -> Result<Changed<Applied>, EngineError> {
        let shared = self.shared.clone();
        self.changes
            .run(async move { shared.apply(&desired, dry_run, &expected, idempotency.as_ref()).await })
            .await
    }
}

/// Terms that are to be bound, with their settings prepared, by plan and place in its list.
type Drafts = BTreeMap<(Name, usize), TermsDraft>;

impl Shared {
    async fn apply(
        &self,
        desired: &Desired,
        dry_run: bool,
        expected: &Expected,
        idempotency: Option<&Idempotency>,
    ) -> Result<Changed<Applied>, EngineError> {
        if let Some(idempotency) = idempotency.filter(|_| !dry_run)
            && let Some(value) = self.answered_change(idempotency).await?
        {
            return Ok(Changed { value, replayed: true });
        }
        let drafts = self.drafts(desired).await?;
        if dry_run {
            let catalog = self.catalog.load_full();
            let work = Work::of(&catalog, desired, &drafts, self.clock.now())?;
            let (value, tag) = work.applied(false)?;
            expected.check(|| Ok(Some(tag)))?;
            return Ok(Changed { value, replayed: false });
        }
        self.change_once(idempotency, |catalog, now| {
            let work = Work::of(catalog, desired, &drafts, now)?;
            let writes = work.writes.clone();
            let (value, tag) = work.applied(true)?;
            expected.check(|| Ok(Some(tag)))?;
            Ok((writes, value))
        })
        .await
    }

    /// The terms that are to be bound, as their policies prepare them.
    async fn drafts(&self, desired: &Desired) -> Result<Drafts, EngineError> {
        self.refresh_catalog().await?;
        let (catalog, now) = (self.catalog.load_full(), self.clock.now());
        let mut drafts = Drafts::new();
        for (plan, wanted) in &desired.plans {
            let Some(list) = &wanted.terms else { continue };
            for step in steps(&catalog, plan, list, now)? {
                let Step::Bind(n) = step else { continue };
                let Some(input) = list.get(n) else { continue };
                let within = |error| within(place(plan, n), error);
                let version = reconcile::version(&catalog, input).map_err(within)?.version;
                let input = TermsInput { version: Some(version), ..input.clone() };
                drafts.insert((plan.clone(), n), self.prepare_terms(input).await.map_err(within)?);
            }
        }
        Ok(drafts)
    }
}

/// The changes, as they come to be. Only the terms of one plan build on each other.
struct Work<'a> {
    catalog: &'a Catalog,
    drafts: &'a Drafts,
    now: Timestamp,
    writes: Vec<CatalogChange>,
    changes: Vec<PlannedChange>,
    remarks: Vec<Remark>,
    unchanged: u64,
}

impl<'a> Work<'a> {
    fn of(
        catalog: &'a Catalog,
        desired: &Desired,
        drafts: &'a Drafts,
        now: Timestamp,
    ) -> Result<Self, EngineError> {
        let (writes, changes, remarks) = (Vec::new(), Vec::new(), Vec::new());
        let mut work = Self { catalog, drafts, now, writes, changes, remarks, unchanged: 0 };
        for (name, policy) in &desired.policies {
            let place = format!("/policies/{name}");
            let DesiredPolicy { description, class } = policy;
            let (rows, _) = policy_rows(catalog, name, description.clone(), *class, now)?;
            work.write_or_count(place, rows)?;
        }
        for (name, plan) in &desired.plans {
            let place = format!("/plans/{name}");
            let is_plan = |next: &Name| desired.plans.contains_key(next);
            let rows = plan_rows(catalog, name, &plan.change, now, is_plan);
            let (rows, _) = rows.map_err(|error| within(place.clone(), error))?;
            work.write_or_count(place, rows)?;
        }
        for (name, plan) in &desired.plans {
            if let Some(list) = &plan.terms {
                work.bring_terms(name, list)?;
            }
        }
        if desired.prune {
            let others: Vec<Name> =
                catalog.plans.keys().filter(|plan| !desired.plans.contains_key(*plan)).cloned().collect();
            for plan in others {
                work.bring_terms(&plan, &[])?;
            }
        }
        Ok(work)
    }

    fn bring_terms(&mut self, plan: &Name, list: &[TermsInput]) -> Result<(), EngineError> {
        let (catalog, now) = (self.catalog, self.now);
        let decides = terms::in_force(catalog.terms_of(plan), now);
        let decides = decides.map(|terms| audit::value(&**terms)).transpose()?;
        // The plan's terms alone: a whole catalog may be large, and each step needs those before it.
        let mut own = Catalog::default();
        own.plan_terms.insert(plan.clone(), catalog.terms_of(plan).to_vec());
        let mut is_same = true;
        for step in steps(catalog, plan, list, now)? {
            let known = |id: TermsId| {
                let found = own.terms_of(plan).iter().find(|terms| terms.key.id == id);
                found.map(|terms| (**terms).clone()).ok_or(EngineError::TermsNotFound)
            };
            let at = |n: usize| move |error| within(place(plan, n), error);
            let (n, row, replaces) = match step {
                Step::Keep => continue,
                Step::RolledBack(n, id) => {
                    self.remark(plan, n, id, was_rolled_back(&known(id)?));
                    continue;
                }
                Step::Complete(n, id) => {
                    let detail =
                        "decides for all customers: take out `canary`, and the terms that it replaced";
                    self.remark(plan, n, id, detail.to_owned());
                    continue;
                }
                Step::End(id) => {
                    let terms = known(id)?;
                    (None, end(plan, &terms, Some(now.max(terms.effective_at)), now)?, None)
                }
                Step::Until(n, id, ends_at) => {
                    (Some(n), end(plan, &known(id)?, ends_at, now).map_err(at(n))?, None)
                }
                Step::Raise(n, id, share) => {
                    let terms = raised(&known(id)?, share, now).map_err(at(n))?;
                    let row = PlanTermsRow { plan: plan.clone(), number: id.entry, body: json(&terms)? };
                    (Some(n), CatalogChange::SetPlanTerms(row), None)
                }
                Step::Bind(n) => {
                    // Another host changed something since the settings were prepared.
                    let draft = self.drafts.get(&(plan.clone(), n)).ok_or(EngineError::Contention)?;
                    let (row, _) = add_terms(&own, plan, draft.clone(), now).map_err(at(n))?;
                    (Some(n), row, decides.clone())
                }
            };
            is_same = false;
            self.tell(&own, n.map(|n| place(plan, n)), slice::from_ref(&row), replaces)?;
            own = own.updated(changes::rows(0, slice::from_ref(&row)))?;
            self.writes.push(row);
        }
        self.unchanged = self.unchanged.saturating_add(u64::from(is_same && !list.is_empty()));
        Ok(())
    }

    fn remark(&mut self, plan: &Name, n: usize, id: TermsId, detail: String) {
        let subject = format!("plan/{plan}/{id}");
        self.remarks.push(Remark { subject, place: place(plan, n), detail });
    }

    fn write_or_count(&mut self, place: String, rows: Vec<CatalogChange>) -> Result<(), EngineError> {
        if rows.is_empty() {
            self.unchanged = self.unchanged.saturating_add(1);
            return Ok(());
        }
        self.tell(self.catalog, Some(place), &rows, None)?;
        self.writes.extend(rows);
        Ok(())
    }

    /// Notes changes of `catalog` as the audit will record them.
    fn tell(
        &mut self,
        catalog: &Catalog,
        place: Option<String>,
        rows: &[CatalogChange],
        replaces: Option<Value>,
    ) -> Result<(), EngineError> {
        for told in audit::told(catalog, rows)? {
            let audit::Told { kind, subject, before, after } = told;
            let (place, replaces) = (place.clone(), replaces.clone());
            self.changes.push(PlannedChange { kind, subject, place, before, after, replaces });
        }
        Ok(())
    }

    fn applied(self, applied: bool) -> Result<(Applied, Tag), EngineError> {
        let Self { changes, remarks, unchanged, now, .. } = self;
        let tag = digest(&changes, now)?;
        let digest = tag.as_str().to_owned();
        Ok((Applied { applied, digest, changes, unchanged, remarks }, tag))
    }
}

fn steps(
    catalog: &Catalog,
    plan: &Name,
    list: &[TermsInput],
    now: Timestamp,
) -> Result<Vec<Step>, EngineError> {
    reconcile::steps(catalog, plan, list, now).map_err(|(n, error)| within(place(plan, n), error))
}

/// Why a canary is not begun again.
fn was_rolled_back(terms: &Terms) -> String {
    let ended = terms.canary.as_ref().and_then(|canary| canary.rolled_back.as_ref());
    let why = ended.map(|ended| format!(" at {}: {}", ended.at, ended.reason)).unwrap_or_default();
    format!("was rolled back{why}. It is not begun again: change its settings or version, or take it out")
}

/// Where the n-th terms of a plan are in the request.
fn place(plan: &Name, n: usize) -> String {
    format!("/plans/{plan}/terms/{n}")
}

fn within(place: String, error: EngineError) -> EngineError {
    EngineError::Within(place, Box::new(error))
}

/// The digest of changes, which is another one only where something else would happen: not because time went by.
fn digest(changes: &[PlannedChange], now: Timestamp) -> Result<Tag, EngineError> {
    let mut changes = changes.to_vec();
    let now = now.to_string();
    for change in &mut changes {
        for value in [&mut change.before, &mut change.after].into_iter().flatten() {
            if let Value::Object(fields) = value {
                // That of terms takes in when a new contract starts; policy and settings are there themselves.
                for name in ["created_at", "version_created_at", "digest"] {
                    fields.remove(name);
                }
            }
        }
        if let Some(after) = &mut change.after {
            forget_now(after, &now);
        }
    }
    Ok(Tag::of(&changes)?)
}

/// What takes effect at once does so at another time when it is done.
fn forget_now(value: &mut Value, now: &str) {
    match value {
        Value::String(text) if text == now => "now".clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| forget_now(item, now)),
        Value::Object(fields) => fields.values_mut().for_each(|field| forget_now(field, now)),
        _ => {}
    }
}
