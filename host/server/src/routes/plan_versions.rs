//! Versions of plans: what each sells, how many customers it has, and their moves from one to another.

use super::plans::entitlements;
use crate::{
    access::{Manage, Operator, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{At, DryRun, KeyedUnlessDry, List, Paging, PlanName, PlanVersionNumber, Query},
    problem::{Problem, code_of},
};
use axum::extract::State;
use proviso_api::{
    Page,
    plan_grant::{PlanGrant, Trial},
    plan_version::{
        MAX_CUSTOMERS, MigratedCredits, MigratedCustomer, Migration, MigrationInput, MigrationOutcome,
        MigrationTime, PlanVersion,
    },
};
use proviso_engine::{
    DecideError, EngineError, MigratedCustomer as Moved, MigrationPage, MigrationPlace, PlanMigration,
    acting_as,
    catalog::Plan,
    command::{Migrated, PlanChangePreview},
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{amounts::Credits, grant::CreditType, ids::Name, transfer::Book},
};
use std::{collections::BTreeMap, sync::Arc};

problems!(ListProblems: CALLER OPERATOR LIST, InvalidPath, PlanNotFound);
problems!(ReadProblems: CALLER OPERATOR, InvalidPath, PlanNotFound, PlanVersionNotFound);
problems!(
    MigrateProblems: CALLER UNCONDITIONAL OPERATOR BODY REQUIRED_KEY CATALOG,
    InvalidPath, PlanNotFound, ShuttingDown; named PlanVersionNotFound
);

impl DryRun for MigrationInput {
    fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// List a plan's versions
///
/// By number. The newest is what is sold.
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}/versions",
    operation_id = "list_plan_versions",
    tag = "Plans",
    params(("plan" = String, Path, description = "The plan"), Paging),
    responses((status = 200, description = "Versions by number", body = Page<PlanVersion>), ListProblems),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanName>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let versions = versions(&app, plan.0).await?;
    Answer::ok(&paging.page(versions, |version| version.version)?)
}

/// Read a version of a plan
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}/versions/{version}",
    operation_id = "read_plan_version",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        ("version" = u32, Path, description = "The version's number"),
    ),
    responses((status = 200, description = "The version", body = PlanVersion), ReadProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanName>,
    At(version): At<PlanVersionNumber>,
) -> Result<Answer, Problem> {
    let found = versions(&app, plan.0.clone()).await?.into_iter().find(|one| one.version == version.0);
    let missing = || EngineError::from(DecideError::PlanVersionNotFound(plan.0, version.0));
    Answer::ok(&found.ok_or_else(missing)?)
}

async fn versions(app: &App, plan: Name) -> Result<Vec<PlanVersion>, Problem> {
    let catalog = app.engine.catalog();
    let Some(newest) = catalog.plans.get(&plan) else { return Err(DecideError::PlanNotFound(plan).into()) };
    let customers: BTreeMap<u32, u64> = app.engine.plan_customers(&plan).await?.into_iter().collect();
    let view = |version: &Arc<Plan>| PlanVersion {
        plan: version.plan.clone(),
        version: version.version,
        is_sold: version.version == newest.version,
        customers: customers.get(&version.version).copied().unwrap_or_default(),
        entitlements: entitlements(version),
        grants: version.grants.iter().map(PlanGrant::from).collect(),
        trial: version.trial.as_ref().map(Trial::from),
        created_at: version.version_created_at,
    };
    Ok(catalog.plan_versions.get(&plan).into_iter().flatten().map(view).collect())
}

/// Move customers to another version
///
/// A page of the customers on the versions that are moved from is moved at once; repeat with `next_cursor` for the next page. Who is
/// moved is not on the old version any more, so pages may be asked for again, and one that was interrupted goes on where it was.
/// Where the versions give other credits, a move ends the running period by the plan's terms and begins one, as a change of plan
/// does; where only entitlements differ, the period goes on. One-time grants and trials are for those who take the plan: a
/// move gives none. A customer that can't be moved does not hold back the others.
#[utoipa::path(
    post,
    path = "/v1/plans/{plan}/migrations",
    operation_id = "migrate_plan",
    tag = "Plans",
    params(
        ("plan" = String, Path, description = "The plan"),
        (
            "Idempotency-Key" = Option<String>,
            Header,
            description = "New for each page, the same for its repeats; required without `dry_run`",
        ),
    ),
    request_body = MigrationInput,
    responses((status = 200, description = "What the page did, or would do", body = Migration), MigrateProblems),
)]
pub async fn migrate(
    State(app): State<Arc<App>>,
    caller: Operator<Manage>,
    At(plan): At<PlanName>,
    KeyedUnlessDry { idempotency, body }: KeyedUnlessDry<MigrationInput>,
) -> Result<Answer, Problem> {
    let MigrationInput { from_version, to_version, customers, attributes, when, .. } = body;
    let (allowance, dry_run) = (body.allowance, body.dry_run);
    let limit = body.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::invalid_field("/limit", "must be 1 to 1000"));
    }
    if from_version.is_some() && from_version == to_version {
        return Err(Problem::invalid_field("/to_version", "must be another than from_version"));
    }
    if let Some(customers) = &customers
        && !(1..=MAX_CUSTOMERS).contains(&customers.len())
    {
        return Err(Problem::invalid_field("/customers", format!("must be 1 to {MAX_CUSTOMERS} customers")));
    }
    let filters = (from_version, to_version, &customers, attributes.as_ref().map(|attributes| &attributes.0));
    let filters = serde_json::to_vec(&filters);
    let filters = filters.map_err(|error| Problem::internal(format!("filters can't be written: {error}")))?;
    let list = List::of([plan.0.as_str().as_bytes(), filters.as_slice()]);
    let after = list.after::<MigrationPlace>(body.cursor.as_deref());
    let after =
        after.map_err(|_| Problem::invalid_field("/cursor", "must be a next_cursor of this migration"))?;
    let migration = PlanMigration {
        plan: plan.0.clone(),
        from: from_version,
        to: to_version,
        customers,
        attributes: attributes.unwrap_or_default().0,
        at_period_end: when == MigrationTime::PeriodEnd,
        allowance,
        dry_run,
        after,
        limit,
    };
    let render = move |page: MigrationPage| {
        let data: Vec<MigratedCustomer> = page.customers.iter().map(moved).collect();
        let mut answer = Migration {
            plan: plan.0,
            from_version,
            to_version: page.to,
            when,
            allowance,
            dry_run,
            outcomes: Default::default(),
            credits: sum(data.iter().flat_map(|one| one.credits.iter().cloned())),
            data,
            customers_left: page.left,
            next_cursor: page.next.as_ref().map(|place| list.cursor(place)),
        };
        for one in &answer.data {
            let counts = &mut answer.outcomes;
            *match one.outcome {
                MigrationOutcome::Migrated => &mut counts.migrated,
                MigrationOutcome::Pending => &mut counts.pending,
                MigrationOutcome::WouldMigrate => &mut counts.would_migrate,
                MigrationOutcome::Unchanged => &mut counts.unchanged,
                MigrationOutcome::Failed => &mut counts.failed,
            } += 1;
        }
        answer
    };
    let migrated = acting_as(caller.by(), app.engine.migrate_plan(migration, idempotency, render)).await;
    let migrated = migrated.map_err(|error| match error {
        EngineError::Decide(DecideError::PlanVersionNotFound(_, version)) => {
            let field = if Some(version) == from_version { "/from_version" } else { "/to_version" };
            Problem::from(error).named_by(field)
        }
        error => error.into(),
    })?;
    Ok(Answer::ok(&migrated.value)?.replayed(migrated.replayed))
}

fn moved(one: &Moved) -> MigratedCustomer {
    let row = |outcome, effective_at, credits| MigratedCustomer {
        customer: one.customer.clone(),
        from_version: one.from,
        outcome,
        effective_at,
        credits,
        code: None,
        detail: None,
    };
    let with =
        |outcome, preview: &PlanChangePreview| row(outcome, Some(preview.effective_at), credits(preview));
    match &one.outcome {
        Ok(Migrated::Done(done)) => with(MigrationOutcome::Migrated, done),
        Ok(Migrated::Preview(preview)) => with(MigrationOutcome::WouldMigrate, preview),
        Ok(Migrated::Pending(at)) => row(MigrationOutcome::Pending, Some(*at), Vec::new()),
        Ok(Migrated::NotConcerned) => row(MigrationOutcome::Unchanged, None, Vec::new()),
        Err(error) => {
            let code = code_of(error);
            // What is internal goes to the log where it is found, not to callers.
            let detail = if code.status() >= 500 { code.meaning().to_owned() } else { error.to_string() };
            MigratedCustomer {
                code: Some(code.as_str().to_owned()),
                detail: Some(detail),
                ..row(MigrationOutcome::Failed, None, Vec::new())
            }
        }
    }
}

/// What the end of a period and the beginning of the next change in credits.
fn credits(preview: &PlanChangePreview) -> Vec<MigratedCredits> {
    let of = |credit: &CreditType| MigratedCredits {
        credit: credit.clone(),
        expired: Credits::ZERO,
        rolled_over: Credits::ZERO,
        given: Credits::ZERO,
    };
    let mut found = Vec::new();
    if let Some(Entry { event: Event::PeriodClosed(closed), transfers, .. }) = preview.closed.as_deref() {
        let expired =
            transfers.iter().filter(|one| matches!((one.from, one.to), (Book::Grant(_), Book::Expired)));
        found.extend(expired.map(|one| MigratedCredits { expired: one.amount, ..of(&one.credit) }));
        let rolled = closed.grants.iter();
        found.extend(rolled.map(|one| MigratedCredits { rolled_over: one.amount, ..of(&one.credit) }));
    }
    if let Some(Entry { event: Event::PeriodOpened(opened), .. }) = preview.opened.as_deref() {
        found
            .extend(opened.grants.iter().map(|one| MigratedCredits { given: one.amount, ..of(&one.credit) }));
    }
    sum(found.into_iter())
}

/// One for each credit type, in their order.
fn sum(all: impl Iterator<Item = MigratedCredits>) -> Vec<MigratedCredits> {
    let mut sums: BTreeMap<CreditType, MigratedCredits> = BTreeMap::new();
    for one in all {
        match sums.get_mut(&one.credit) {
            Some(sum) => {
                sum.expired = sum.expired.saturating_add(one.expired);
                sum.rolled_over = sum.rolled_over.saturating_add(one.rolled_over);
                sum.given = sum.given.saturating_add(one.given);
            }
            None => drop(sums.insert(one.credit.clone(), one)),
        }
    }
    sums.into_values().collect()
}
