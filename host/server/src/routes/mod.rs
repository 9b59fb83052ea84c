//! All routes, and from the same list the API's document. One file for each resource; a handler reads typed values, asks
//! the engine once or twice, and renders.

mod add_ons;
mod adjustments;
mod api_keys;
mod apply;
mod audit;
mod backtests;
mod balance;
mod batch;
mod budgets;
mod bundles;
mod burndown;
mod charges;
mod check;
mod csv_table;
mod customers;
mod docs;
mod entities;
mod entitlements;
mod events;
mod exports;
mod focus;
mod forecast;
mod grants;
mod imports;
mod leases;
mod ledger;
mod operations;
mod plan_changes;
mod plan_versions;
mod plans;
mod policies;
mod promotions;
mod reservations;
mod resets;
mod revenue;
mod reversals;
mod rollout;
mod shadow_report;
mod submission;
mod terms;
mod test_clock;
mod top_ups;
mod usage_report;
mod versions;

use crate::{app::App, document::Document, problem::Problem};
use axum::Router;
use std::sync::Arc;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Health, readiness and metrics.
pub fn operations() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
        .routes(routes!(operations::metrics))
}

/// All routes and their document; without those for operators where these have an address of their own.
pub fn all(test_clock: bool, with_operations: bool) -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let mut router = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(charges::charge))
        .routes(routes!(charges::get))
        .routes(routes!(charges::refund))
        .routes(routes!(check::check))
        .routes(routes!(reservations::list, reservations::reserve))
        .routes(routes!(reservations::get))
        .routes(routes!(reservations::commit))
        .routes(routes!(reservations::release))
        .routes(routes!(reservations::extend))
        .routes(routes!(leases::list, leases::open))
        .routes(routes!(leases::get))
        .routes(routes!(leases::extend))
        .routes(routes!(leases::settle))
        .routes(routes!(leases::close))
        .routes(routes!(batch::batch))
        .routes(routes!(reversals::reverse))
        .routes(routes!(events::ingest))
        .routes(routes!(balance::get))
        .routes(routes!(entitlements::list))
        .routes(routes!(entitlements::get, entitlements::put, entitlements::delete))
        .routes(routes!(entitlements::query))
        .routes(routes!(entities::list))
        .routes(routes!(entities::get, entities::put, entities::delete))
        .routes(routes!(budgets::list))
        .routes(routes!(budgets::get, budgets::put, budgets::delete))
        .routes(routes!(ledger::list))
        .routes(routes!(usage_report::report))
        .routes(routes!(usage_report::report_all))
        .routes(routes!(burndown::read))
        .routes(routes!(forecast::read))
        .routes(routes!(revenue::of_customer))
        .routes(routes!(revenue::of_all))
        .routes(routes!(focus::of_customer))
        .routes(routes!(focus::of_all))
        .routes(routes!(customers::list))
        .routes(routes!(customers::get, customers::put, customers::delete))
        .routes(routes!(grants::list, grants::create))
        .routes(routes!(grants::get))
        .routes(routes!(grants::void))
        .routes(routes!(top_ups::rules))
        .routes(routes!(top_ups::rule, top_ups::put, top_ups::delete))
        .routes(routes!(top_ups::awaited))
        .routes(routes!(top_ups::list))
        .routes(routes!(top_ups::get))
        .routes(routes!(top_ups::pay))
        .routes(routes!(top_ups::decline))
        .routes(routes!(adjustments::create))
        .routes(routes!(resets::reset))
        .routes(routes!(resets::retry))
        .routes(routes!(resets::missed))
        .routes(routes!(plan_changes::list, plan_changes::create))
        .routes(routes!(plan_changes::get, plan_changes::cancel))
        .routes(routes!(add_ons::list))
        .routes(routes!(add_ons::get, add_ons::put))
        .routes(routes!(add_ons::list_of_customer))
        .routes(routes!(add_ons::get_of_customer, add_ons::put_to_customer, add_ons::delete_of_customer))
        .routes(routes!(bundles::list))
        .routes(routes!(bundles::get, bundles::put))
        .routes(routes!(bundles::purchase))
        .routes(routes!(promotions::list))
        .routes(routes!(promotions::get, promotions::put))
        .routes(routes!(promotions::redemptions))
        .routes(routes!(promotions::redeem))
        .routes(routes!(plans::list))
        .routes(routes!(plans::get, plans::put))
        .routes(routes!(plan_versions::list))
        .routes(routes!(plan_versions::get))
        .routes(routes!(plan_versions::migrate))
        .routes(routes!(terms::list_of_plan, terms::bind_to_plan))
        .routes(routes!(terms::get_of_plan))
        .routes(routes!(terms::end_of_plan))
        .routes(routes!(rollout::raise))
        .routes(routes!(rollout::report))
        .routes(routes!(shadow_report::of_plan))
        .routes(routes!(terms::list_of_customer, terms::bind_to_customer))
        .routes(routes!(terms::get_of_customer))
        .routes(routes!(terms::end_of_customer))
        .routes(routes!(shadow_report::of_customer))
        .routes(routes!(policies::list))
        .routes(routes!(policies::get, policies::put))
        .routes(routes!(versions::list, versions::upload))
        .routes(routes!(versions::get, versions::delete))
        .routes(routes!(versions::module))
        .routes(routes!(backtests::start))
        .routes(routes!(backtests::get))
        .routes(routes!(imports::import))
        .routes(routes!(exports::export))
        .routes(routes!(apply::apply))
        .routes(routes!(api_keys::list, api_keys::create))
        .routes(routes!(api_keys::get, api_keys::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::page))
        .routes(routes!(docs::file));
    if with_operations {
        router = router.merge(operations());
    }
    if test_clock {
        router = router.routes(routes!(test_clock::get, test_clock::advance));
    }
    router.split_for_parts()
}

/// The answer where there is no route.
pub async fn not_found() -> Problem {
    Problem::no_route()
}
