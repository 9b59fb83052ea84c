//! `POST /v1/charges/batch`: many charges, for any customers, each on its own. One that fails holds back no other.

use super::{
    charging::{self, Charging, ItemResult},
    usages::UsageBody,
};
use crate::{
    access::{Caller, Usage},
    answers::Answer,
    app::App,
    extract::{Attributes, Quantities, is_of_type, object, read_body},
    problem::{Problem, ProblemBody},
    schema,
};
use axum::extract::{Request, State};
use proviso_engine::Engine;
use proviso_ledger::model::{
    ids::{CustomerId, IdempotencyKey, Key},
    time::Timestamp,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

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
    charging::many(&app, parts.uri.path(), &bytes, |place, item| charge(place, item)?.by(&caller)).await
}

fn charge(place: &str, raw: &RawValue) -> Result<Charging, Problem> {
    let bytes = raw.get().as_bytes();
    let item: Item = object(place, bytes)?;
    let Item { customer, idempotency_key, feature, quantities, attributes, entity, occurred_at } = item;
    let idempotency = (idempotency_key, Engine::request_digest(&[b"batch", bytes]));
    let usage = UsageBody { feature, quantities, attributes, entity, occurred_at }.into();
    Ok(Charging { customer, idempotency, usage, time_at: "/occurred_at" })
}
