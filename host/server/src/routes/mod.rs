//! All routes, and from the same list the API's document. One file for each resource; each handler reads typed values,
//! asks the engine once or twice, and renders.

mod adjustments;
mod api_keys;
mod balance;
mod batch;
mod charges;
mod charging;
mod check;
mod customers;
mod docs;
pub mod entitlements;
mod events;
mod grants;
mod ledger;
mod operations;
mod plans;
mod policies;
mod reservations;
mod reset;
pub mod terms;
mod test_clock;
mod usage;
mod usages;
mod versions;

use crate::{app::App, problem::Problem};
use axum::Router;
use std::sync::Arc;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

/// All routes and their document.
pub fn all(test_clock: bool) -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let mut router = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(charges::charge))
        .routes(routes!(check::check))
        .routes(routes!(reservations::reserve))
        .routes(routes!(reservations::commit))
        .routes(routes!(reservations::release))
        .routes(routes!(batch::batch))
        .routes(routes!(events::ingest))
        .routes(routes!(balance::get))
        .routes(routes!(entitlements::list))
        .routes(routes!(entitlements::get, entitlements::put, entitlements::delete))
        .routes(routes!(ledger::list))
        .routes(routes!(usage::report))
        .routes(routes!(customers::list))
        .routes(routes!(customers::get, customers::put, customers::delete))
        .routes(routes!(grants::list, grants::create))
        .routes(routes!(grants::get))
        .routes(routes!(grants::void))
        .routes(routes!(adjustments::create))
        .routes(routes!(reset::reset))
        .routes(routes!(plans::list))
        .routes(routes!(plans::get, plans::put))
        .routes(routes!(terms::list_of_plan, terms::bind_to_plan))
        .routes(routes!(terms::get_of_plan))
        .routes(routes!(terms::end_of_plan))
        .routes(routes!(terms::list_of_customer, terms::bind_to_customer))
        .routes(routes!(terms::get_of_customer))
        .routes(routes!(terms::end_of_customer))
        .routes(routes!(policies::list))
        .routes(routes!(policies::get, policies::put))
        .routes(routes!(versions::list, versions::upload))
        .routes(routes!(versions::get, versions::delete))
        .routes(routes!(versions::module))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(operations::metrics))
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::page))
        .routes(routes!(docs::file));
    if test_clock {
        router = router.routes(routes!(test_clock::get, test_clock::advance));
    }
    router.split_for_parts()
}

/// What is answered where there is nothing.
pub async fn not_found() -> Problem {
    Problem::no_route()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Proviso",
        description = "Runs the terms of every customer's contract as code, over an exact and durable credit ledger.\n\n\
            Credits are decimal strings. Times are RFC 3339 in UTC. Errors are RFC 9457 problem details with a stable \
            `code`. POST requests take an `Idempotency-Key`: a repeat is answered as before, with \
            `Idempotency-Replayed: true`."
    ),
    modifiers(&BearerAuth),
    security(("api_key" = [])),
    tags(
        (name = "Usage", description = "The hot path: check, charge, reserve and commit"),
        (name = "Reading", description = "Balances, entitlements, the journal, usage reports"),
        (name = "Customers", description = "Customers and their credits"),
        (name = "Plans", description = "Plans and the terms that are bound to them"),
        (name = "Policies", description = "Policies and their versions"),
        (name = "Operating", description = "API keys, health, metrics"),
    ),
)]
struct Document;

struct BearerAuth;

impl Modify for BearerAuth {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
    }
}
