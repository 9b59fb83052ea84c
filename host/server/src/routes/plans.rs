//! Plans: how long periods are, what customers are entitled to, and the terms that decide for them.

use super::{
    customers::short,
    entitlements::{EntitlementBody, Kind, kind_and_value},
    terms::{Terms, TermsBody, explained},
};
use crate::{
    access::{Manage, Operator, Read},
    answers::Answer,
    app::App,
    extract::{At, Json, Page, Paging, PlanKey, Query},
    problem::{FieldError, Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_engine::{
    EngineError, PlanChange,
    catalog::{Catalog, Plan},
};
use proviso_ledger::model::{
    ids::Key,
    period::{Interval, IntervalUnit},
    terms::{Terms as LedgerTerms, in_force},
    time::Timestamp,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt, sync::Arc};
use utoipa::ToSchema;

/// The most features that one plan names.
const MOST_FEATURES: usize = 1_000;
/// The most units of one interval.
const MOST_UNITS: u16 = 1_000;

/// A plan, as the caller describes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PlanInput, example = json!({
    "name": "Pro",
    "interval": "month",
    "entitlements": { "chat": { "type": "metered" }, "seats": { "type": "static", "value": 25 } },
    "terms": { "policy": "standard", "settings": { "rates": [{ "price": { "per_unit": "0.001" } }] } }
}))]
pub struct PlanBody {
    /// For people; the plan's key, when it is not said.
    #[serde(default)]
    name: Option<String>,
    /// How long its periods are: a unit such as `month`, or a unit and a count; null when they never end by themselves.
    /// It can't change.
    #[serde(default)]
    #[schema(value_type = Option<IntervalInput>)]
    interval: Option<IntervalBody>,
    /// What its customers are entitled to, by feature.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, EntitlementBody>)]
    entitlements: BTreeMap<Key, EntitlementBody>,
    /// Terms to bind now, unless the same are in force already.
    #[serde(default)]
    terms: Option<TermsBody>,
}

/// `"month"` or `{"unit": "month", "count": 3}`.
#[derive(Debug)]
struct IntervalBody(Interval);

/// A unit, or a unit and a count of 1 to 1000.
#[derive(ToSchema)]
#[schema(as = Interval)]
#[serde(untagged)]
#[expect(dead_code, reason = "it stands for the interval in the API document")]
pub enum IntervalInput {
    /// One unit: `hour`, `day`, `week`, `month`, `quarter` or `year`.
    #[schema(example = "month")]
    Unit(String),
    /// Some units.
    Units(Units),
}

/// Some units.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IntervalUnits)]
pub struct Units {
    /// `hour`, `day`, `week`, `month`, `quarter` or `year`.
    #[schema(value_type = String, example = "month")]
    unit: IntervalUnit,
    /// How many, 1 to 1000.
    #[schema(minimum = 1, maximum = 1000)]
    count: u16,
}

impl<'de> Deserialize<'de> for IntervalBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = IntervalBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a unit such as \"month\", or {\"unit\": \"month\", \"count\": 3}")
            }

            fn visit_str<E: Error>(self, unit: &str) -> Result<IntervalBody, E> {
                let unit = IntervalUnit::deserialize(serde::de::value::StrDeserializer::new(unit))?;
                Ok(IntervalBody(Interval { unit, count: 1 }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IntervalBody, A::Error> {
                let Units { unit, count } = Units::deserialize(MapAccessDeserializer::new(map))?;
                if (1..=MOST_UNITS).contains(&count) {
                    Ok(IntervalBody(Interval { unit, count }))
                } else {
                    Err(A::Error::custom(format_args!("count must be 1 to {MOST_UNITS}")))
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanAnswer<'a> {
    /// Its key.
    #[schema(value_type = schema::Key)]
    plan: &'a Key,
    /// For people.
    name: &'a str,
    /// How long its periods are; null when they never end by themselves.
    interval: Option<Units>,
    /// What its customers are entitled to, by feature.
    #[schema(value_type = BTreeMap<String, EntitlementOfPlan>)]
    entitlements: BTreeMap<&'a Key, EntitlementOfPlan>,
    /// The terms in force now.
    terms: Option<Terms<'a>>,
    /// When it was created.
    #[schema(value_type = schema::Time)]
    created_at: Timestamp,
}

/// What a feature is entitled to.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntitlementOfPlan {
    /// Its kind.
    r#type: Kind,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

/// Create or change a plan
#[utoipa::path(
    put,
    path = "/v1/plans/{plan}",
    operation_id = "put_plan",
    tag = "Plans",
    params(("plan" = String, Path, description = "The caller's own key")),
    request_body = PlanBody,
    responses(
        (status = 200, description = "Changed", body = PlanAnswer),
        (status = 201, description = "Created", body = PlanAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(app): State<Arc<App>>,
    _: Operator<Manage>,
    At(plan): At<PlanKey>,
    body: Json<PlanBody>,
) -> Result<Answer, Problem> {
    let PlanBody { name, interval, entitlements, terms } = body.value;
    let name = name.unwrap_or_else(|| plan.0.to_string());
    short("/name", &name)?;
    if entitlements.len() > MOST_FEATURES {
        let detail = format!("more than {MOST_FEATURES} features");
        return Err(Problem::invalid(vec![FieldError::new("/entitlements", detail)]));
    }
    let entitlements = entitlements
        .into_iter()
        .map(|(feature, body)| {
            let entitlement = body.read(&format!("/entitlements/{feature}"))?;
            Ok((feature, entitlement))
        })
        .collect::<Result<_, Problem>>()?;
    let interval = interval.map(|interval| interval.0);
    let change = PlanChange { name, interval, entitlements, terms: terms.map(TermsBody::read) };
    let put = app.engine.put_plan(plan.0, change).await;
    let (plan, created) = put.map_err(|error| explained(error, "/terms"))?;
    Answer::put(created, &PlanAnswer::new(&plan, in_force_now(&app, &app.engine.catalog(), &plan).as_deref()))
}

/// Read a plan
#[utoipa::path(
    get,
    path = "/v1/plans/{plan}",
    operation_id = "read_plan",
    tag = "Plans",
    params(("plan" = String, Path, description = "The plan")),
    responses(
        (status = 200, description = "The plan", body = PlanAnswer),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    At(plan): At<PlanKey>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let found = catalog.plans.get(&plan.0).ok_or(EngineError::PlanNotFound(plan.0))?;
    Answer::ok(&PlanAnswer::new(found, in_force_now(&app, &catalog, found).as_deref()))
}

/// List plans
#[utoipa::path(
    get,
    path = "/v1/plans",
    operation_id = "list_plans",
    tag = "Plans",
    params(Paging),
    responses(
        (status = 200, description = "Plans by key", body = Page<PlanAnswer>),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Operator<Read>,
    Query(paging): Query<Paging>,
) -> Result<Answer, Problem> {
    let catalog = app.engine.catalog();
    let now = app.engine.clock().now();
    let plans = catalog.plans.values().map(|plan| {
        let terms = in_force(catalog.terms_of(Some(&plan.plan)), now);
        PlanAnswer::new(plan, terms.map(Arc::as_ref))
    });
    Answer::ok(&paging.page(plans, |plan| plan.plan.clone())?)
}

fn in_force_now(app: &App, catalog: &Catalog, plan: &Plan) -> Option<Arc<LedgerTerms>> {
    in_force(catalog.terms_of(Some(&plan.plan)), app.engine.clock().now()).cloned()
}

impl<'a> PlanAnswer<'a> {
    fn new(plan: &'a Plan, terms: Option<&'a LedgerTerms>) -> Self {
        let entitlement = |entitlement| {
            let (r#type, value) = kind_and_value(entitlement);
            EntitlementOfPlan { r#type, value }
        };
        Self {
            plan: &plan.plan,
            name: &plan.name,
            interval: plan.interval.map(|Interval { unit, count }| Units { unit, count }),
            entitlements: plan
                .entitlements
                .iter()
                .map(|(feature, one)| (feature, entitlement(one)))
                .collect(),
            terms: terms.map(Terms::new),
            created_at: plan.created_at,
        }
    }
}
