//! `GET /v1/customers/{customer}/balance`: what a customer has, now or as it was.

#![expect(unused_qualifications, reason = "the parameters' code is generated with full paths")]

use crate::{
    access::{Customer, Read},
    answers::{Answer, Balance, Grant},
    app::App,
    extract::Query,
    problem::{Problem, ProblemBody},
    schema,
};
use axum::extract::State;
use proviso_ledger::{
    model::{
        amounts::Credits,
        grant::default_credit,
        ids::{CustomerId, Key, ReservationId},
        time::Timestamp,
    },
    state::{CustomerState, GrantStatus, ReservationState},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// As of when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AsOf {
    /// The instant; now, when it is not said.
    #[param(value_type = Option<schema::Time>)]
    at: Option<Timestamp>,
}

/// What a customer has.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balances<'a> {
    /// The customer.
    #[schema(value_type = schema::Key)]
    customer: &'a CustomerId,
    /// As of when.
    #[schema(value_type = schema::Time)]
    at: Timestamp,
    /// By credit type.
    balances: Vec<CreditBalance<'a>>,
    /// Open reservations.
    reservations: Vec<OpenReservation<'a>>,
}

/// One credit type's balance and grants.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditBalance<'a> {
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: Key,
    #[serde(flatten)]
    balance: Balance,
    /// The grants behind it, in burn-down order.
    grants: Vec<Grant<'a>>,
}

/// An open reservation.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenReservation<'a> {
    /// Its id.
    #[schema(value_type = schema::Id, example = "res_42")]
    id: ReservationId,
    /// What will be used.
    #[schema(value_type = schema::Key)]
    feature: &'a Key,
    /// Who under the customer will use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Key>)]
    entity: Option<&'a Key>,
    /// The credit type.
    #[schema(value_type = schema::Key, example = "credits")]
    credit: &'a Key,
    /// What is held.
    #[schema(value_type = schema::Credits)]
    reserved: Credits,
    /// When the hold ends by itself.
    #[schema(value_type = schema::Time)]
    expires_at: Timestamp,
}

/// Read a balance
///
/// With `at`, as it was at that instant, with all that was due by then.
#[utoipa::path(
    get,
    path = "/v1/customers/{customer}/balance",
    operation_id = "read_balance",
    tag = "Reading",
    params(("customer" = String, Path, description = "Whose"), AsOf),
    responses(
        (status = 200, description = "By credit type", body = Balances),
        (status = "default", description = "A problem", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    customer: Customer<Read>,
    Query(query): Query<AsOf>,
) -> Result<Answer, Problem> {
    let now = app.engine.clock().now();
    match query.at {
        Some(at) if at > now => Err(Problem::bad_query(format!("at must not lie ahead of {now}"))),
        Some(at) => {
            let state = app.engine.state_at(&customer.id, at).await?;
            Answer::ok(&Balances::new(&state, at))
        }
        None => {
            let state = app.engine.state(&customer.id).await?;
            Answer::ok(&Balances::new(&state, now.max(state.at)))
        }
    }
}

impl<'a> Balances<'a> {
    fn new(state: &'a CustomerState, at: Timestamp) -> Self {
        let mut credits: Vec<Key> = state.accounts.keys().cloned().collect();
        if credits.is_empty() {
            credits.push(default_credit());
        }
        let next_reset_at = state.next_reset_at();
        let balance = |credit: Key| CreditBalance {
            balance: Balance::new(&state.balance(&credit, at), next_reset_at),
            grants: standing(state, &credit).map(|grant| Grant::of(grant, at)).collect(),
            credit,
        };
        Self {
            customer: &state.customer,
            at,
            balances: credits.into_iter().map(balance).collect(),
            reservations: state.reservations.iter().map(OpenReservation::new).collect(),
        }
    }
}

/// Grants that may be drawn, now or later, and those that reservations still hold a part of.
fn standing<'a>(
    state: &'a CustomerState,
    credit: &Key,
) -> impl Iterator<Item = &'a proviso_ledger::state::GrantState> {
    let of_credit = state.grants.iter().filter(move |grant| &grant.grant.credit == credit);
    of_credit.filter(|grant| grant.status == GrantStatus::Live || !grant.held.is_zero())
}

impl<'a> OpenReservation<'a> {
    fn new((id, reservation): (&ReservationId, &'a ReservationState)) -> Self {
        Self {
            id: *id,
            feature: &reservation.usage.feature,
            entity: reservation.usage.entity.as_ref(),
            credit: &reservation.credit,
            reserved: reservation.held(),
            expires_at: reservation.expires_at,
        }
    }
}
