//! What the API document says beside its operations, which are collected from the handlers.

use crate::documented;
use proviso_api::problem::ProblemDetails;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Proviso",
        description = "Runs the terms of every customer's contract as code, over an exact and durable credit ledger.\n\n\
            Credits are decimal strings. Times are RFC 3339 in UTC. Errors are RFC 9457 problem details with a stable \
            `code`; each operation lists the codes that it can answer. POST requests take an `Idempotency-Key`, and \
            need one where credits move: a repeat is answered as before, with `Idempotency-Replayed: true`. A PUT \
            leaves fields that are absent as they are and clears those that are null; with the `ETag` of a read in \
            `If-Match` it is refused when something changed meanwhile. Every answer has an `X-Request-Id`."
    ),
    components(schemas(ProblemDetails)),
    modifiers(&Components),
    security(("api_key" = [])),
    tags(
        (name = "Usage", description = "The hot path: check, charge, reserve and commit"),
        (name = "Reading", description = "Balances, entitlements, the journal, usage reports"),
        (name = "Customers", description = "Customers and their credits"),
        (name = "Top-ups", description = "Credits that are sold again by themselves, and the payments for them"),
        (name = "Entities and budgets", description = "Who under a customer uses what, and how much they may"),
        (name = "Selling", description = "What is sold beside plans: add-ons, packs of credits, and credits for a code"),
        (name = "Plans", description = "Plans and the terms that are bound to them"),
        (name = "Policies", description = "Policies and their versions"),
        (name = "Moving", description = "Moving in from another system, and out to one"),
        (name = "Operating", description = "API keys, health, metrics"),
    ),
)]
pub struct Document;

struct Components;

impl Modify for Components {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
        components.examples.extend(documented::examples());
    }
}
