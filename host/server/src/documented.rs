//! The problems that each operation documents. An operation lists groups of codes that its extractors and its use of the
//! engine bring, and its own codes; the API document shows them by status, each with an example.

use proviso_api::{
    ProblemCode::{self, *},
    budget::OverBudget,
    problem::ProblemDetails,
};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::{
    ToSchema,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        example::{Example, ExampleBuilder},
    },
};

/// The media type of problems.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Of every operation that needs an API key: it knows its query parameters, too.
pub const CALLER: &[ProblemCode] = &[
    ApiKeyRequired,
    ApiKeyInvalid,
    ScopeMissing,
    TooManyRequests,
    InvalidQuery,
    StorageUnavailable,
    InternalError,
];
/// Of a change that has nothing to compare `If-Match` with.
pub const UNCONDITIONAL: &[ProblemCode] = &[PreconditionUnsupported];
/// Of a caller that must not be narrowed to a customer.
pub const OPERATOR: &[ProblemCode] = &[KeyIsNarrowed];
/// Of a caller that must be allowed to decide what the customer of the path gets.
pub const GRANTOR: &[ProblemCode] = &[KeyMayNotGrant];
/// Of a path that names a customer.
pub const CUSTOMER: &[ProblemCode] = &[InvalidPath, CustomerNotFound];
/// Of a JSON body.
pub const BODY: &[ProblemCode] = &[
    MalformedJson,
    InvalidRequest,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyIncomplete,
    BodyTimeout,
    Overloaded,
];
/// Of a body of lines, each of which is refused by itself.
pub const LINES: &[ProblemCode] =
    &[InvalidRequest, UnsupportedMediaType, BodyTooLarge, BodyIncomplete, BodyTimeout, Overloaded];
/// Of a list.
pub const LIST: &[ProblemCode] = &[InvalidQuery, InvalidCursor];
/// Of an optional idempotency key.
pub const KEY: &[ProblemCode] = &[InvalidIdempotencyKey, IdempotencyKeyReused];
/// Of a required idempotency key.
pub const REQUIRED_KEY: &[ProblemCode] =
    &[InvalidIdempotencyKey, IdempotencyKeyReused, IdempotencyKeyRequired];
/// Of all that waits in a customer's lane.
pub const LANE: &[ProblemCode] = &[Overloaded, Contention, ShuttingDown, NewerFormat, UpgradeUnfinished];
/// Of a change of plans, policies or API keys.
pub const CATALOG: &[ProblemCode] = &[Contention];
/// Of a usage that is rated.
pub const RATED: &[ProblemCode] = &[OccurredAtInFuture, OccurredAtTooOld, TotalOutOfRange, TooMany, TooLarge];
/// Of a usage that is charged or reserved.
pub const REFUSED: &[ProblemCode] = &[
    CustomerClosed,
    NoTermsInForce,
    NotEntitled,
    InsufficientCredits,
    PurchaseRequired,
    BudgetExceeded,
    PolicyDenied,
    PolicyFault,
];

/// Documents an operation's problems as a type that `responses(…)` takes: groups, then its own codes, then those of what
/// the body names and does not exist.
macro_rules! problems {
    ($name:ident: $($group:ident)* $(, $code:ident)* $(; named $($named:ident)+)?) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::response::Response>,
            > {
                $crate::documented::responses(
                    &[$($crate::documented::$group,)* &[$(proviso_api::ProblemCode::$code),*]],
                    &[$($(proviso_api::ProblemCode::$named),+)?],
                )
            }
        }
    };
}
pub(crate) use problems;

/// One response for each status that these codes have.
pub fn responses(groups: &[&[ProblemCode]], named: &[ProblemCode]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<ProblemCode>> = BTreeMap::new();
    let by_path = groups.iter().copied().flatten().map(|code| (code.status(), *code));
    let by_body = named.iter().map(|code| (ProblemCode::NAMED_BY_BODY, *code));
    for (status, code) in by_path.chain(by_body) {
        let codes = by_status.entry(status).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), response(status, &codes).into()))
        .collect()
}

fn response(status: u16, codes: &[ProblemCode]) -> Response {
    let lines = codes.iter().map(|code| format!("- `{code}`: {}", code.meaning()));
    let examples = codes.iter().map(|code| {
        let name = example_name(*code, status);
        (code.as_str(), RefOr::<Example>::Ref(Ref::new(format!("#/components/examples/{name}"))))
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(ProblemDetails::name())))
        .examples_from_iter(examples)
        .build();
    ResponseBuilder::new()
        .description(lines.collect::<Vec<_>>().join("\n"))
        .content(PROBLEM_JSON, content)
        .build()
}

/// The examples that the responses refer to.
pub fn examples() -> BTreeMap<String, RefOr<Example>> {
    let statuses = |code: ProblemCode| [code.status(), ProblemCode::NAMED_BY_BODY];
    let all = ProblemCode::ALL.iter().flat_map(|code| statuses(*code).map(|status| (*code, status)));
    all.map(|(code, status)| (example_name(code, status), example(code, status).into())).collect()
}

fn example_name(code: ProblemCode, status: u16) -> String {
    if status == code.status() { code.to_string() } else { format!("{code}_{status}") }
}

fn example(code: ProblemCode, status: u16) -> Example {
    let details = ProblemDetails {
        r#type: format!("urn:proviso:problem:{code}"),
        title: Cow::Borrowed(code.title()),
        status,
        detail: Cow::Borrowed(code.meaning()),
        instance: Cow::Borrowed("/v1/…"),
        code: Cow::Borrowed(code.as_str()),
        policy_code: None,
        errors: Cow::Borrowed(&[]),
        required: None,
        available: None,
        credit: None,
        retry_at: None,
        next_reset_at: None,
        source: None,
        over_budget: OverBudget::default(),
        pending_top_up: None,
        offers: Vec::new(),
        suggestions: Vec::new(),
        late: None,
        policy: None,
        entry: None,
        degraded: None,
        retry_after_seconds: (status == 429 || status == 503).then_some(1),
    };
    ExampleBuilder::new().summary(code.title()).value(serde_json::to_value(details).ok()).build()
}
