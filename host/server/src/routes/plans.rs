//! Plans: how long periods are, what customers are entitled to, and the terms that decide for them.

use super::terms::{named_by_terms, new_terms, no_canary};
use crate::{
    access::{Manage, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, IfMatch, Json, Paging, PlanName, Query, few, short},
    problem::Problem,
    wire,
};
use axum::extract::State;
use proviso_api::{
    Page, Patch,
    entitlement::EntitlementValue,
    plan::{Interval, IntervalUnits, MAX_FEATURES, Plan as PlanView, PlanInput},
    plan_grant::{self, PlanGrant, Trial},
    problem::FieldError,
    terms::TermsInput,
};
use proviso_decide::catalog::Plans as _;
use proviso_engine::{
    DecideError, EngineError, PlanChange, PlanTermsChange, acting_as, canary_under_way,
    catalog::{Catalog, Plan},
    plan_tag, scheduled,
};
use proviso_ledger::model::{
    entitlement::Entitlement,
    ids::Key,
    terms::{in_force, shadows},
    time::Timestamp,
};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

problems!(
    PutProblems: CALLER OPERATOR BODY CATALOG,
    InvalidPath, PlanIntervalFixed, ContractFixed, ChangedMeanwhile, SettingsInvalid; named PolicyNotFound VersionNotFound PlanNotFound
);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, PlanNotFound);
problems!(ListProblems: CALLER OPERATOR LIST);

/// Create or change a plan
///
/// An absent field stays as it is, null clears it. The same request again changes nothing. A change of entitlements, grants or trial makes
/// a new version: customers stay on the one that they were sold until they are migrated. Name and terms are of all versions.
#[utoipa::path(
    put,
    path = "/v1/plans/{plan}",
    operation_id = "put_plan",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan's name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the plan that is changed"),
    ),
    request_body = PlanInput,
    responses(
        (status = 200, description = "In force", body = PlanView),
        (status = 201, description = "Created", body = PlanView),
        PutProblems,
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(plan): At<PlanName>,
    IfMatch(expected): IfMatch,
    Json(body): Json<PlanInput>,
) -> Result<Answer, Problem> {
    let PlanInput { name, interval, entitlements, grants, trial, terms } = body;
    match &terms {
        Patch::Value(terms) => {
            no_canary(terms, "/terms")?;
            caller.may_bind(&terms.policy)?;
        }
        // Ends those in force.
        Patch::Null => {
            let (catalog, now) = (app.engine.catalog(), app.now());
            if let Some(terms) = in_force(catalog.terms_of(&plan.0), now) {
                caller.may_bind(&terms.policy.name)?;
            }
        }
        Patch::Absent => {}
    }
    let parts = PlanParts {
        name: name.into_option(),
        interval: interval.into_option(),
        entitlements: entitlements.map(|features| features.0).into_option(),
        grants: grants.into_option(),
        trial: trial.into_option(),
    };
    let terms = terms.map(terms_change).into_option().into();
    let change = PlanChange { terms, expected, ..plan_change(parts)? };
    let put = acting_as(caller.by(), app.engine.put_plan(plan.0, change)).await;
    let (plan, created) = put.map_err(|error| match error {
        error @ EngineError::Decide(DecideError::PlanNotFound(_)) => {
            Problem::from(error).named_by("/trial/then/plan")
        }
        error => named_by_terms(error, "/terms"),
    })?;
    let (catalog, now) = (app.engine.catalog(), app.now());
    Ok(Answer::put(created, &view(&catalog, &plan, now))?.tagged(Some(plan_tag(&catalog, &plan, now)?)))
}

/// Read a plan
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}",
    operation_id = "read_plan",
    tag = "Plans",
    params(("plan" = String, Path, description = "The plan")),
    responses((status = 200, description = "The plan", body = PlanView), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanName>,
) -> Result<Answer, Problem> {
    let (catalog, now) = (app.engine.catalog(), app.now());
    let plan = catalog.plans.get(&plan.0).ok_or(DecideError::PlanNotFound(plan.0))?;
    Ok(Answer::ok(&view(&catalog, plan, now))?.tagged(Some(plan_tag(&catalog, plan, now)?)))
}

/// List plans
#[utoipa::path(
    get,
    path = "/v1/plans",
    operation_id = "list_plans",
    tag = "Plans",
    params(Paging),
    responses((status = 200, description = "Plans by name", body = Page<PlanView>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let (catalog, now) = (app.engine.catalog(), app.now());
    let plans = catalog.plans.values().map(|plan| view(&catalog, plan, now));
    Answer::ok(&paging.page(plans, |plan| plan.plan.clone())?)
}

/// What a request says of a plan, terms apart: none leaves a field, and nothing in it clears it.
pub(super) struct PlanParts {
    pub name: Option<Option<String>>,
    pub interval: Option<Option<Interval>>,
    pub entitlements: Option<Option<BTreeMap<Key, EntitlementValue>>>,
    pub grants: Option<Option<Vec<PlanGrant>>>,
    pub trial: Option<Option<Trial>>,
}

/// The same in the engine's words.
pub(super) fn plan_change(parts: PlanParts) -> Result<PlanChange, Problem> {
    let PlanParts { name, interval, entitlements, grants, trial } = parts;
    short("/name", name.as_ref().and_then(Option::as_deref).unwrap_or_default())?;
    let entitlements = match entitlements {
        Some(Some(entitlements)) => Some(Some(read_entitlements(entitlements)?)),
        absent_or_null => absent_or_null.map(|_| None),
    };
    let grants = match grants {
        Some(Some(grants)) => Some(Some(plan_grant::read_grants(grants, "/grants").map_err(invalid)?)),
        absent_or_null => absent_or_null.map(|_| None),
    };
    let trial = match trial {
        Some(Some(trial)) => Some(Some(plan_grant::read_trial(trial, "/trial").map_err(invalid)?)),
        absent_or_null => absent_or_null.map(|_| None),
    };
    Ok(PlanChange {
        grants: grants.into(),
        trial: trial.into(),
        name: name.into(),
        interval: interval.map(|interval| interval.map(|interval| interval.0)).into(),
        entitlements: entitlements.into(),
        ..PlanChange::default()
    })
}

pub(super) fn read_entitlements(
    entitlements: BTreeMap<Key, EntitlementValue>,
) -> Result<BTreeMap<Key, Entitlement>, Problem> {
    few("/entitlements", entitlements.len(), MAX_FEATURES, "features")?;
    let read = |(feature, value): (Key, EntitlementValue)| {
        let escaped = feature.as_str().replace('~', "~0").replace('/', "~1");
        let entitlement = value.read(&format!("/entitlements/{escaped}"));
        entitlement.map(|entitlement| (feature, entitlement)).map_err(invalid)
    };
    entitlements.into_iter().map(read).collect()
}

fn invalid(error: FieldError) -> Problem {
    Problem::invalid(vec![error])
}

fn terms_change(body: TermsInput) -> PlanTermsChange {
    // What is cleared becomes what it defaults to.
    let mode = body.mode.into_option().map(Option::unwrap_or_default);
    let on_fault = body.on_fault.into_option().map(Option::unwrap_or_default);
    let ends_at = body.ends_at.into_option().into();
    PlanTermsChange { input: new_terms(body), mode, on_fault, ends_at }
}

pub(super) fn entitlements(plan: &Plan) -> BTreeMap<Key, EntitlementValue> {
    entitlement_values(&plan.entitlements)
}

pub(super) fn entitlement_values(of: &BTreeMap<Key, Entitlement>) -> BTreeMap<Key, EntitlementValue> {
    let value = |(feature, entitlement): (&Key, _)| (feature.clone(), EntitlementValue::from(entitlement));
    of.iter().map(value).collect()
}

fn view<'a>(catalog: &'a Catalog, plan: &'a Plan, now: Timestamp) -> PlanView<'a> {
    let terms = catalog.terms_of(&plan.plan);
    PlanView {
        plan: plan.plan.clone(),
        name: Cow::Borrowed(&plan.name),
        version: plan.version,
        interval: plan
            .interval
            .map(|interval| IntervalUnits { unit: interval.unit(), count: interval.count() }),
        entitlements: entitlements(plan),
        grants: plan.grants.iter().map(PlanGrant::from).collect(),
        trial: plan.trial.as_ref().map(Trial::from),
        terms: in_force(terms, now).map(|terms| wire::terms(terms)),
        shadows: shadows(terms, now).map(|terms| wire::terms(terms)).collect(),
        canary: canary_under_way(terms, now).map(|terms| wire::terms(terms)),
        scheduled: scheduled(terms, now).map(|terms| wire::terms(terms)).collect(),
        created_at: plan.created_at,
    }
}
