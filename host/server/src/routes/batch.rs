//! `POST /v1/charges/batch`: many charges, for any customers, each on its own. One that fails holds back no other.

use super::usages::UsageBody;
use crate::{
    access::{Caller, Usage},
    answers::Answer,
    app::App,
    extract::{Attributes, Quantities, is_of_type, object, parse, read_body},
    problem::{FieldError, Problem, ProblemBody},
    render::{self, Charge, Rendered},
    schema,
};
use axum::extract::{Request, State};
use futures_util::future::join_all;
use proviso_engine::{
    Engine,
    command::{Command, Outcome},
};
use proviso_ledger::{
    ids::{CustomerId, IdempotencyKey, Key},
    time::Timestamp,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// The most charges of one batch.
const MOST: usize = 1_000;

/// One charge of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchCharge, example = json!({
    "customer": "acme",
    "idempotency_key": "7f9c2e",
    "feature": "chat",
    "quantities": { "input_tokens": 1200 }
}))]
pub struct Item {
    /// Who pays.
    #[schema(value_type = schema::Key)]
    customer: CustomerId,
    /// New for each charge of the customer, the same for its repeats.
    #[schema(value_type = String)]
    idempotency_key: IdempotencyKey,
    /// The feature that was used.
    #[schema(value_type = schema::Key)]
    feature: Key,
    /// How much of what; at most 64.
    #[schema(value_type = BTreeMap<String, schema::Quantity>)]
    quantities: Quantities,
    /// What else is known of it; at most 64.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, schema::Attribute>)]
    attributes: Attributes,
    /// The user, team or agent under the customer who used it.
    #[serde(default)]
    #[schema(value_type = Option<schema::Key>)]
    entity: Option<Key>,
    /// When it was used; now, when it is not said.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    occurred_at: Option<Timestamp>,
}

/// What one charge of a batch came to.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResult)]
pub struct ItemResult<'a> {
    /// The status that the charge alone would have had.
    status: u16,
    /// Whether an earlier request with the same key was answered so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// The answer that the charge alone would have had.
    body: ItemBody<'a>,
}

/// The body of a charge, or of its problem.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ChargeOrProblem)]
pub enum ItemBody<'a> {
    /// It was charged.
    #[schema(value_type = Charge)]
    Charge(Box<Rendered<'a>>),
    /// It was not.
    #[schema(value_type = ProblemBody)]
    Problem(Told<'a>),
}

/// Charge many usages
///
/// Up to 1000 charges, each with its own idempotency key, answered in their order.
#[utoipa::path(
    post,
    path = "/v1/charges/batch",
    operation_id = "charge_batch",
    tag = "Usage",
    request_body = Vec<Item>,
    responses(
        (status = 200, description = "One result for each charge, in order", body = Vec<ItemResult>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn batch(
    State(app): State<Arc<App>>,
    caller: Caller<Usage>,
    request: Request,
) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(body, app.options.max_body_bytes).await?;
    if !is_of_type(&parts.headers, "application/json") {
        return Err(Problem::wrong_type("application/json"));
    }
    let items: Vec<&RawValue> = parse(&bytes)?;
    if items.len() > MOST {
        let detail = format!("a batch has {MOST} charges at most, this one has {}", items.len());
        return Err(Problem::invalid(vec![FieldError::new("", detail)]));
    }
    let charges = items.into_iter().enumerate().map(|(place, item)| charge(&app, &caller, place, item));
    let outcomes = join_all(charges).await;
    let results = outcomes.iter().map(|outcome| ItemResult::new(outcome, parts.uri.path()));
    Answer::ok(&results.collect::<Vec<_>>())
}

type Charged = Result<(CustomerId, Outcome), Problem>;

impl<'a> ItemResult<'a> {
    fn new(outcome: &'a Charged, path: &'a str) -> Self {
        let rendered = match outcome {
            Ok((customer, outcome)) => render::render(customer, outcome)
                .map(|(status, body)| (status, outcome.replayed, ItemBody::Charge(Box::new(body)))),
            Err(problem) => Err(problem.clone()),
        };
        let (status, replayed, body) = rendered.unwrap_or_else(|problem| {
            (problem.status(), problem.is_replay(), ItemBody::Problem(Told { problem, path }))
        });
        Self { status: status.as_u16(), replayed, body }
    }
}

/// A problem, told of a path.
pub struct Told<'a> {
    problem: Problem,
    path: &'a str,
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.problem.body(self.path).serialize(serializer)
    }
}

async fn charge(app: &App, caller: &Caller<Usage>, place: usize, raw: &RawValue) -> Charged {
    let item: Item = object(&format!("/{place}"), raw.get().as_bytes())?;
    let Item { customer, idempotency_key, feature, quantities, attributes, entity, occurred_at } = item;
    if !caller.sees(&customer) {
        return Err(Problem::customer_not_found(&customer));
    }
    let digest = Engine::request_digest(&[b"batch", raw.get().as_bytes()]);
    let usage = UsageBody { feature, quantities, attributes, entity, occurred_at };
    let command = Command::Charge(Box::new(usage.into()));
    let outcome = app.record(customer.clone(), command, Some((idempotency_key, digest))).await?;
    Ok((customer, outcome))
}
