//! `GET /v1/customers/{customer}/balance`: a customer's credits, now or as they were.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Customer, Read},
    answer::Answer,
    app::App,
    documented::problems,
    extract::Query,
    problem::Problem,
    wire,
};
use axum::extract::State;
use proviso_api::{
    balances::{Balances, CreditBalance},
    schema,
};
use proviso_ledger::{
    model::{grant::default_credit, ids::Key, time::Timestamp},
    state::{CustomerState, GrantState, GrantStatus},
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

problems!(BalanceProblems: CALLER CUSTOMER LANE, InvalidQuery);

/// The instant of a balance.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AsOf {
    /// The instant; defaults to now.
    #[param(value_type = Option<schema::Time>)]
    at: Option<Timestamp>,
}

/// Read a balance
///
/// With `at`, as it was at that instant, with all that was due by then.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/balance",
    operation_id = "read_balance",
    tag = "Reading",
    params(("customer" = String, Path, description = "The customer"), AsOf),
    responses((status = 200, description = "By credit type", body = Balances), BalanceProblems),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<AsOf>,
) -> Result<Answer, Problem> {
    let now = app.now();
    match query.at {
        Some(at) if at > now => Err(Problem::bad_query(format!("at must not lie ahead of {now}"))),
        Some(at) => {
            let state = app.engine.state_at(&customer.id, at).await?;
            Answer::ok(&balances(&state, at))
        }
        None => {
            let state = app.engine.state(&customer.id).await?;
            Answer::ok(&balances(&state, now.max(state.at)))
        }
    }
}

fn balances(state: &CustomerState, at: Timestamp) -> Balances<'_> {
    let mut credits: Vec<Key> = state.accounts.keys().cloned().collect();
    if credits.is_empty() {
        credits.push(default_credit());
    }
    let of_credit = |credit: Key| CreditBalance {
        balance: wire::balance_at(state, &credit, at),
        grants: relevant(state, &credit).map(|grant| wire::grant(grant, at)).collect(),
        credit,
    };
    Balances {
        customer: state.customer.clone(),
        at,
        balances: credits.into_iter().map(of_credit).collect(),
        reservations: state.reservations.iter().filter_map(wire::open_reservation).collect(),
        leases: state.reservations.iter().filter_map(wire::open_lease).collect(),
    }
}

/// Grants that may be drawn, now or later, and those that reservations still hold a part of.
fn relevant<'a>(state: &'a CustomerState, credit: &Key) -> impl Iterator<Item = &'a GrantState> {
    let of_credit = state.grants.iter().filter(move |grant| &grant.grant.credit == credit);
    of_credit.filter(|grant| grant.status == GrantStatus::Live || !grant.held.is_zero())
}
