//! `/v1/apply`: plans, their terms and policies as they shall be, in one change or none.

use super::{
    plans::{PlanParts, plan_change},
    terms::{named_by_terms, new_terms, split_canary},
};
use crate::{
    access::{Manage, Operator},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{IfMatch, Json, MaybeKeyed, short},
    problem::Problem,
};
use axum::extract::State;
use proviso_api::{
    apply::{ApplyChange, ApplyInput, ApplyRemark, ApplyReport, MAX_TERMS, MAX_THINGS, PlanDefinition},
    policy::PolicyInput,
    terms::TermsInput,
};
use proviso_decide::catalog::Plans as _;
use proviso_engine::{
    Applied, Change, Changed, DecideError, Desired, DesiredPlan, DesiredPolicy, EngineError,
    TermsInput as NewTerms, acting_as,
    catalog::{Catalog, Scope},
};
use proviso_ledger::model::{ids::Name, terms::Mode, time::Timestamp};
use std::{borrow::Cow, sync::Arc};

problems!(
    ApplyProblems: CALLER OPERATOR BODY KEY CATALOG,
    PlanIntervalFixed, ContractFixed, ChangedMeanwhile, SettingsInvalid, CanaryRunning, CanaryAlone, CanaryShareLower;
    named PolicyNotFound VersionNotFound PlanNotFound
);

/// Apply plans, terms and policies
///
/// Finds what has to change so that plans, their terms and what is said of policies are as the request has them, and makes these changes in
/// one step or not at all; the audit records each by itself. With `dry_run` it only says what would change. With the digest of a dry run
/// as `If-Match` exactly those changes are made, and 412 says that others would be. Needs the scope `manage`, and `policies` where
/// policies are named.
#[utoipa::path(
    post,
    path = "/v1/apply",
    operation_id = "apply",
    tag = "Plans",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same for repeats"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of a dry run"),
    ),
    request_body = ApplyInput,
    responses((status = 200, description = "What was changed, or would be", body = ApplyReport), ApplyProblems),
)]
pub async fn apply(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    IfMatch(expected): IfMatch,
    MaybeKeyed { idempotency, body: Json(body) }: MaybeKeyed<Json<ApplyInput>>,
) -> Result<Answer, Problem> {
    let ApplyInput { policies, plans, prune, dry_run } = body;
    for (pointer, count) in [("/policies", policies.len()), ("/plans", plans.len())] {
        if count > MAX_THINGS {
            return Err(Problem::invalid_field(pointer, format!("more than {MAX_THINGS}")));
        }
    }
    if !policies.is_empty() {
        caller.may(Scope::Policies)?;
    }
    if prune {
        caller.may_bind_all()?;
    }
    let catalog = app.engine.catalog();
    let mut desired = Desired { prune, ..Desired::default() };
    for (name, input) in policies {
        let policy = policy(&caller, &catalog, &name, input)?;
        desired.policies.insert(name, policy);
    }
    for (name, definition) in plans {
        let plan = plan(&caller, &catalog, &name, definition, app.now(), prune)?;
        desired.plans.insert(name, plan);
    }
    let applied = acting_as(caller.by(), app.engine.apply(desired, dry_run, expected, idempotency)).await;
    let Changed { value, replayed } = applied.map_err(problem)?;
    Ok(Answer::ok(&report(&value))?.tagged_by(&value.digest).replayed(replayed))
}

fn policy(
    caller: &Operator<Manage>,
    catalog: &Catalog,
    name: &Name,
    input: PolicyInput,
) -> Result<DesiredPolicy, Problem> {
    caller.may_bind(name)?;
    let PolicyInput { description, resource_class } = input;
    short(&format!("/policies/{name}/description"), description.value().map_or("", String::as_str))?;
    let mut class: Change<_> = resource_class.into_option().into();
    let known = catalog.policies.get(name).map(|policy| policy.class);
    // Who may not set it may say what it is.
    if class.apply(known).unwrap_or_default() == known.unwrap_or_default() {
        class = Change::Keep;
    } else {
        caller.may_set_class()?;
    }
    Ok(DesiredPolicy { description: description.into_option().into(), class })
}

fn plan(
    caller: &Operator<Manage>,
    catalog: &Catalog,
    name: &Name,
    definition: PlanDefinition,
    now: Timestamp,
    prune: bool,
) -> Result<DesiredPlan, Problem> {
    let place = format!("/plans/{name}");
    let PlanDefinition { name: title, interval, entitlements, grants, trial, terms } = definition;
    let parts = PlanParts {
        name: Some(title),
        interval: Some(interval),
        entitlements: Some(Some(entitlements)),
        grants: Some(Some(grants)),
        trial: Some(trial),
    };
    let change = plan_change(parts).map_err(|problem| problem.within(&place))?;
    let terms = terms.or_else(|| prune.then(Vec::new));
    let terms = match terms {
        Some(list) => {
            // Those that the list leaves out end.
            for terms in
                catalog.terms_of(name).iter().filter(|terms| terms.ends_at.is_none_or(|end| end > now))
            {
                caller.may_bind(&terms.policy.name)?;
            }
            Some(all_terms(caller, list, now, &format!("{place}/terms"))?)
        }
        None => None,
    };
    Ok(DesiredPlan { change, terms })
}

fn all_terms(
    caller: &Operator<Manage>,
    list: Vec<TermsInput>,
    now: Timestamp,
    place: &str,
) -> Result<Vec<NewTerms>, Problem> {
    if list.len() > MAX_TERMS {
        return Err(Problem::invalid_field(place, format!("more than {MAX_TERMS} terms")));
    }
    let mut all: Vec<NewTerms> = Vec::with_capacity(list.len());
    for (n, input) in list.into_iter().enumerate() {
        caller.may_bind(&input.policy)?;
        let place = format!("{place}/{n}");
        let (input, canary) = split_canary(input).map_err(|problem| problem.within(&place))?;
        let terms = NewTerms { canary, ..new_terms(input) };
        let clashes = |other: &NewTerms| match (&terms.canary, &other.canary) {
            (Some(_), Some(_)) => true,
            (None, None) => {
                let decides = terms.mode == Mode::Active && other.mode == Mode::Active;
                let has_begun = terms.effective_at.is_some_and(|from| from <= now);
                decides && !has_begun && terms.effective_at == other.effective_at
            }
            _ => false,
        };
        if all.iter().any(clashes) {
            let detail = if terms.canary.is_some() {
                "is another canary: a plan has one at a time"
            } else {
                "would take effect together with terms before it: give each an effective_at of its own"
            };
            return Err(Problem::invalid_field(place, detail));
        }
        all.push(terms);
    }
    Ok(all)
}

/// The problem, with pointers into the request.
fn problem(error: EngineError) -> Problem {
    let EngineError::Within(place, error) = error else { return error.into() };
    let problem = match &*error {
        EngineError::PolicyNotFound(_)
        | EngineError::VersionNotFound(..)
        | EngineError::SettingsInvalid(_) => {
            return named_by_terms(*error, &place);
        }
        EngineError::Decide(DecideError::PlanNotFound(_)) => {
            return Problem::from(*error).named_by(&format!("{place}/trial/then/plan"));
        }
        EngineError::CanaryShareLower(_) => Problem::from(*error).within("/canary"),
        EngineError::PlanIntervalFixed => Problem::from(*error).about("/interval"),
        _ => Problem::from(*error).about(""),
    };
    problem.within(&place)
}

fn report(applied: &Applied) -> ApplyReport<'_> {
    let changes = applied.changes.iter().map(|change| ApplyChange {
        r#type: Cow::Borrowed(&change.kind),
        subject: Cow::Borrowed(&change.subject),
        pointer: change.place.as_deref().map(Cow::Borrowed),
        before: change.before.as_ref().map(Cow::Borrowed),
        after: change.after.as_ref().map(Cow::Borrowed),
        replaces: change.replaces.as_ref().map(Cow::Borrowed),
    });
    let remarks = applied.remarks.iter().map(|remark| ApplyRemark {
        subject: Cow::Borrowed(&remark.subject),
        pointer: Cow::Borrowed(&remark.place),
        detail: Cow::Borrowed(&remark.detail),
    });
    ApplyReport {
        applied: applied.applied,
        digest: Cow::Borrowed(&applied.digest),
        changes: changes.collect(),
        unchanged: applied.unchanged,
        remarks: remarks.collect(),
    }
}
