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
pub use reconcile::{canary_under_way, scheduled};
use reconcile::Step;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

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
            let work = Work::of(&self.catalog.load(), desired, &drafts, self.clock.now())?;
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

/// The changes, as they come to be: each is made on top of those before it.
struct Work<'a> {
    catalog: Catalog,
    desired: &'a Desired,
    drafts: &'a Drafts,
    now: Timestamp,
    writes: Vec<CatalogChange>,
    changes: Vec<PlannedChange>,
    remarks: Vec<Remark>,
    unchanged: u64,
}

impl<'a> Work<'a> {
    fn of(
        catalog: &Catalog,
        desired: &'a Desired,
        drafts: &'a Drafts,
        now: Timestamp,
    ) -> Result<Self, EngineError> {
        let (writes, changes, remarks) = (Vec::new(), Vec::new(), Vec::new());
        let mut work =
            Self { catalog: catalog.clone(), desired, drafts, now, writes, changes, remarks, unchanged: 0 };
        for (name, policy) in &desired.policies {
            let place = format!("/policies/{name}");
            let DesiredPolicy { description, class } = policy;
            let (rows, _) = policy_rows(&work.catalog, name, description.clone(), *class, now)?;
            work.write_or_count(place, rows)?;
        }
        for (name, plan) in &desired.plans {
            let place = format!("/plans/{name}");
            let is_plan = |next: &Name| desired.plans.contains_key(next);
            let rows = plan_rows(&work.catalog, name, &plan.change, now, is_plan);
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
                work.catalog.plans.keys().filter(|plan| !desired.plans.contains_key(*plan)).cloned().collect();
            for plan in others {
                work.bring_terms(&plan, &[])?;
            }
        }
        Ok(work)
    }

    fn bring_terms(&mut self, plan: &Name, list: &[TermsInput]) -> Result<(), EngineError> {
        let before = terms::in_force(self.catalog.terms_of(plan), self.now).cloned();
        let mut is_same = true;
        for step in steps(&self.catalog, plan, list, self.now)? {
            is_same &= matches!(step, Step::Keep | Step::RolledBack(..) | Step::Complete(..));
            match step {
                Step::Keep => {}
                Step::End(id) => {
                    let terms = self.terms(plan, id)?;
                    let row = end(plan, &terms, Some(self.now.max(terms.effective_at)), self.now)?;
                    self.write(None, vec![row], None)?;
                }
                Step::Until(n, id, ends_at) => {
                    let terms = self.terms(plan, id)?;
                    let row = end(plan, &terms, ends_at, self.now).map_err(|error| within(place(plan, n), error))?;
                    self.write(Some(place(plan, n)), vec![row], None)?;
                }
                Step::Raise(n, id, share) => {
                    let terms = self.terms(plan, id)?;
                    let raised = raised(&terms, share, self.now);
                    let terms = raised.map_err(|error| within(place(plan, n), error))?;
                    let row = PlanTermsRow { plan: plan.clone(), number: id.entry, body: json(&terms)? };
                    self.write(Some(place(plan, n)), vec![CatalogChange::SetPlanTerms(row)], None)?;
                }
                Step::Bind(n) => {
                    // Another host changed something since the settings were prepared.
                    let draft = self.drafts.get(&(plan.clone(), n)).ok_or(EngineError::Contention)?;
                    let bound = add_terms(&self.catalog, plan, draft.clone(), self.now);
                    let (row, _) = bound.map_err(|error| within(place(plan, n), error))?;
                    let replaces = before.as_deref().map(audit::value).transpose()?;
                    self.write(Some(place(plan, n)), vec![row], replaces)?;
                }
                Step::RolledBack(n, id) => {
                    let terms = self.terms(plan, id)?;
                    let ended = terms.canary.as_ref().and_then(|canary| canary.rolled_back.as_ref());
                    let why = ended.map(|ended| format!(" at {}: {}", ended.at, ended.reason));
                    self.remark(plan, n, id, format!(
                        "was rolled back{}. It is not begun again: change its settings or version, or take it out",
                        why.unwrap_or_default()
                    ));
                }
                Step::Complete(n, id) => self.remark(
                    plan,
                    n,
                    id,
                    "decides for all customers: take out the terms that it replaced, and `canary`".to_owned(),
                ),
            }
        }
        self.unchanged = self.unchanged.saturating_add(u64::from(is_same && !list.is_empty()));
        Ok(())
    }

    fn remark(&mut self, plan: &Name, n: usize, id: TermsId, detail: String) {
        let subject = format!("plan/{plan}/{id}");
        self.remarks.push(Remark { subject, place: place(plan, n), detail });
    }

    fn terms(&self, plan: &Name, id: TermsId) -> Result<Terms, EngineError> {
        let found = self.catalog.terms_of(plan).iter().find(|terms| terms.key.id == id);
        found.map(|terms| (**terms).clone()).ok_or(EngineError::TermsNotFound)
    }

    fn write_or_count(&mut self, place: String, rows: Vec<CatalogChange>) -> Result<(), EngineError> {
        if rows.is_empty() {
            self.unchanged = self.unchanged.saturating_add(1);
            return Ok(());
        }
        self.write(Some(place), rows, None)
    }

    fn write(
        &mut self,
        place: Option<String>,
        rows: Vec<CatalogChange>,
        replaces: Option<Value>,
    ) -> Result<(), EngineError> {
        for told in audit::told(&self.catalog, &rows)? {
            let audit::Told { kind, subject, before, after } = told;
            let (place, replaces) = (place.clone(), replaces.clone());
            self.changes.push(PlannedChange { kind, subject, place, before, after, replaces });
        }
        self.catalog = self.catalog.updated(changes::rows(self.catalog.revision, &rows))?;
        self.writes.extend(rows);
        Ok(())
    }

    fn applied(self, applied: bool) -> Result<(Applied, Tag), EngineError> {
        let Self { changes, remarks, unchanged, now, .. } = self;
        // What takes effect at once does so at another time when it is done.
        let mut same = serde_json::to_value(&changes).map_err(|error| EngineError::Internal(error.to_string()))?;
        forget_now(&mut same, &now.to_string());
        let tag = Tag::of(&same)?;
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

/// Where the n-th terms of a plan are in the request.
fn place(plan: &Name, n: usize) -> String {
    format!("/plans/{plan}/terms/{n}")
}

fn within(place: String, error: EngineError) -> EngineError {
    EngineError::Within(place, Box::new(error))
}

fn forget_now(value: &mut Value, now: &str) {
    match value {
        Value::String(text) if text == now => "now".clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(|item| forget_now(item, now)),
        Value::Object(fields) => fields.values_mut().for_each(|field| forget_now(field, now)),
        _ => {}
    }
}
