//! `POST /v1/imports`: customers, what they have left and what they used, as another system had it. Each record stands by itself
//! and has a key of its own, so that the same file can be sent again, as a whole or from anywhere on.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

mod records;
mod table;

use self::records::Line;
use super::submission::all;
use crate::{
    access::{Manage, Operator},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Query, media_type, read_body},
    problem::Problem,
};
use axum::extract::{Request, State};
use proviso_api::{
    import::{ImportRecord, ImportReport, MAX_RECORDS, RecordType, RefusedRecord},
    schema,
};
use proviso_engine::{
    EngineError,
    command::{Reply, Request as EngineRequest},
};
use proviso_ledger::{model::ids::Key, state::Origin};
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc};
use tracing::error;
use utoipa::IntoParams;

/// The media types of JSON Lines.
const JSON_LINES: [&str; 3] = ["application/x-ndjson", "application/jsonl", "application/ndjson"];
const CSV: &str = "text/csv";
/// The highest number of a line: JSON's numbers are exact up to it.
const MAX_LINE: u64 = 1 << 53;

problems!(ImportProblems: CALLER OPERATOR UNCONDITIONAL LINES LANE);

/// Which import.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Import {
    /// Its name, which every entry keeps.
    #[param(value_type = schema::Key, example = "move-2026-11")]
    import: Key,
    /// The line of the first record in the caller's file, for the report; defaults to 1, and of CSV to 2.
    #[param(minimum = 1, maximum = 9007199254740992_u64)]
    first_line: Option<u64>,
    /// What records are that have no `type`.
    r#type: Option<RecordType>,
}

/// Move in
///
/// Up to 1000 records of customers, entities, budgets, entitlements, grants with what they have left, outstanding overage and usage
/// that was billed elsewhere: JSON Lines, or CSV with a head line and dotted names (`cost_basis.amount`, `quantities.tokens`).
/// Each record is taken or refused by itself, and those of one customer in their order. A record that was taken before is not taken
/// again: the same with the same `id` counts as repeated, another with the same `id` is refused with `idempotency_key_reused`.
#[utoipa::path(
    post,
    path = "/v1/imports",
    operation_id = "import_records",
    tag = "Moving",
    params(Import),
    request_body(
        description = "One record a line",
        content((ImportRecord = "application/x-ndjson"), (String = "text/csv")),
    ),
    responses(
        (status = 200, description = "What was moved in, and what was refused", body = ImportReport),
        ImportProblems,
    ),
)]
pub async fn import(
    State(app): State<Arc<App>>,
    operator: Operator<Manage>,
    Query(Import { import, first_line, r#type }): Query<Import>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, app.options.max_body_bytes, &app.bodies, parts.extensions.get()).await?;
    let kind = media_type(&parts.headers).map(str::to_ascii_lowercase);
    let texts: Vec<(u64, Text<'_>)> = match kind.as_deref() {
        Some(kind) if JSON_LINES.contains(&kind) => json_lines(&bytes),
        Some(CSV) => table::records(&bytes)?,
        _ => return Err(Problem::wrong_type("application/x-ndjson or text/csv")),
    };
    let heads = u64::from(kind.as_deref() == Some(CSV));
    let first = first_line.unwrap_or(1 + heads);
    if first > MAX_LINE {
        return Err(Problem::bad_query(format!("first_line must be at most {MAX_LINE}")));
    }
    let lines = texts.into_iter().map(|(below, text)| (first.saturating_add(below), text));
    let is_blank = |text: &Text<'_>| text.as_ref().is_ok_and(|text| text.iter().all(u8::is_ascii_whitespace));
    let lines: Vec<_> = lines.filter(|(_, text)| !is_blank(text)).collect();
    if lines.len() > MAX_RECORDS {
        let detail =
            format!("an import has {MAX_RECORDS} records at most at once, this one has {}", lines.len());
        return Err(Problem::invalid_field("", detail));
    }
    let by = operator.by();
    let outcomes = lines.into_iter().map(|(number, text)| {
        let line = text.map(|text| Line::read(&text, r#type));
        let line = line.unwrap_or_else(|problem| Line::unread(Some(problem)));
        let (app, import, by) = (&*app, &import, &by);
        async move { (number, taken(app, import, by, line).await) }
    });
    let mut report = ImportReport { import: import.to_string(), ..ImportReport::default() };
    for (number, (line, outcome)) in all(outcomes).await {
        count(&mut report, number, line, outcome);
    }
    Answer::ok(&report)
}

/// A record's JSON, or why there is none.
type Text<'a> = Result<Cow<'a, [u8]>, Problem>;

/// What became of a record.
enum Taken {
    New,
    Repeated,
    /// It says nothing that could be moved in.
    Nothing,
}

type Subject = (Option<RecordType>, Option<String>, Option<String>);

async fn taken(
    app: &App,
    import: &Key,
    by: &proviso_ledger::model::ids::Name,
    line: Line,
) -> (Subject, Result<Taken, Problem>) {
    let Line { r#type, customer, id, what } = line;
    let subject = (r#type, customer, id);
    let outcome = async {
        let Some(ready) = what? else { return Ok(Taken::Nothing) };
        let records::Ready { customer, idempotency, command } = ready(import)?;
        let origin = Origin { idempotency: Some(idempotency), by: Some(by.clone()) };
        match app.engine.execute(EngineRequest { customer, command, origin }).await {
            Ok(Reply::Entry(outcome)) if outcome.replayed => Ok(Taken::Repeated),
            Ok(Reply::Entry(_)) => Ok(Taken::New),
            // It is so already.
            Ok(Reply::Configured { .. } | Reply::State(_)) => Ok(Taken::Repeated),
            Ok(other) => Err(Problem::internal(format!("an import was answered with {other:?}"))),
            Err(error) => Err(named(error)),
        }
    };
    let outcome = outcome.await;
    (subject, outcome)
}

/// What a record names is in it, not in the path.
fn named(error: EngineError) -> Problem {
    use proviso_engine::DecideError;
    use proviso_ledger::rules::rejection::Rejection;
    let pointer = match &error {
        EngineError::Decide(DecideError::CustomerNotFound(_)) => Some("/customer"),
        EngineError::Decide(DecideError::PlanNotFound(_)) => Some("/plan"),
        EngineError::Decide(DecideError::PlanVersionNotFound(..)) => Some("/plan_version"),
        EngineError::Decide(DecideError::Rejected(Rejection::EntityNotFound(_))) => Some("/parent"),
        _ => None,
    };
    let problem = Problem::from(error);
    match pointer {
        Some(pointer) => problem.named_by(pointer),
        None => problem,
    }
}

fn count(report: &mut ImportReport, line: u64, subject: Subject, outcome: Result<Taken, Problem>) {
    report.records += 1;
    let (r#type, customer, id) = subject;
    match outcome {
        Ok(Taken::New) => {
            if let Some(r#type) = r#type {
                *report.imported.entry(r#type).or_default() += 1;
            }
        }
        Ok(Taken::Repeated) => report.repeated += 1,
        Ok(Taken::Nothing) => {}
        Err(problem) => {
            if let Some(defect) = problem.defect() {
                error!(defect, line, "internal error in a record of an import");
            }
            let details = problem.details("");
            report.refused.push(RefusedRecord {
                line,
                r#type,
                customer,
                id,
                status: details.status,
                code: details.code.into_owned(),
                detail: details.detail.into_owned(),
                errors: details.errors.into_owned(),
            });
        }
    }
}

fn json_lines(bytes: &[u8]) -> Vec<(u64, Text<'_>)> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| Ok(Cow::Borrowed(line)));
    (0..).zip(lines).collect()
}
