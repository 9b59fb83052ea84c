//! `POST /v1/charges/reversals`: the charges of a batch, undone. What is left of each is refunded, once in all, however often the
//! reversal is sent and whoever else undoes the same charge: each charge has one key for it.

use super::charges::refund_made;
use crate::{
    access::{Caller, Manage},
    answer::Answer,
    app::App,
    documented::problems,
    extract::{Json, short},
    problem::Problem,
};
use axum::{extract::State, http::StatusCode};
use futures_util::future::join_all;
use proviso_api::{
    ProblemCode,
    reversal::{RefundOrProblem, RefundedCredits, Reversal, ReversalInput, ReversalResult, ReversedCharge},
    usage::MAX_BATCH,
};
use proviso_engine::{Engine, command::Outcome};
use proviso_ledger::{
    model::{
        amounts::Credits,
        ids::{ChargeId, CustomerId, IdempotencyKey, Key},
    },
    rules::refund::{Portion, RefundRequest},
    state::Origin,
};
use std::{collections::BTreeMap, sync::Arc};
use tracing::error;

/// What the problems of items are about.
const PATH: &str = "/v1/charges/reversals";

problems!(ReversalProblems: CALLER UNCONDITIONAL BODY);

/// Undo the charges of a batch
///
/// Up to 1000 charges of any customers, named by the keys that they were sent with or by their ids. What is left of each is refunded, by the
/// rules of refunds: back to the grants that it drew, with its counters, budgets and usage. Each is undone once: the same again counts
/// as repeated. One that can't be undone does not hold back the others.
#[utoipa::path(
    post,
    path = "/v1/charges/reversals",
    operation_id = "reverse_charges",
    tag = "Usage",
    request_body = ReversalInput,
    responses(
        (status = 200, description = "What was undone, and one result for each charge, in order", body = Reversal),
        ReversalProblems,
    ),
)]
pub async fn reverse(
    State(app): State<Arc<App>>,
    caller: Caller<Manage>,
    Json(body): Json<ReversalInput>,
) -> Result<Answer, Problem> {
    let ReversalInput { reason, reissue_expired, charges } = body;
    short("/reason", &reason)?;
    if charges.len() > MAX_BATCH {
        let detail = format!("a reversal has {MAX_BATCH} charges at most, this one has {}", charges.len());
        return Err(Problem::invalid_field("/charges", detail));
    }
    let request = RefundRequest { portion: Portion::Rest, reason, reissue_expired };
    let undone = charges.into_iter().enumerate().map(|(number, charge)| {
        let (app, caller, request) = (&*app, &caller, request.clone());
        async move {
            let customer = charge.customer.clone();
            let outcome = undo(app, caller, charge, request).await;
            (customer, outcome.map_err(|problem| problem.within(&format!("/charges/{number}"))))
        }
    });
    // Each reads more than once: one that is not polled must not keep a connection from the others.
    let outcomes = join_all(undone).await;
    Answer::ok(&reversal(&outcomes, PATH)?)
}

async fn undo(
    app: &App,
    caller: &Caller<Manage>,
    charge: ReversedCharge,
    request: RefundRequest,
) -> Result<Outcome, Problem> {
    let ReversedCharge { customer, idempotency_key, charge } = charge;
    if !caller.sees(&customer) {
        return Err(Problem::customer_not_found(&customer));
    }
    if !caller.key.may_grant() {
        return Err(Problem::key_may_not_grant());
    }
    app.limit_customer(&customer)?;
    let id = match (charge, idempotency_key) {
        (Some(charge), None) => charge,
        (None, Some(key)) => app.engine.charge_under(&customer, &key).await?.ok_or_else(|| {
            Problem::new(ProblemCode::ChargeNotFound, "nothing was charged under this key")
                .named_by("/idempotency_key")
        })?,
        _ => return Err(Problem::invalid_field("/charge", "name either the charge or its idempotency_key")),
    };
    let key = reversal_key(id)?;
    // Whatever it is undone for: once.
    let digest = Engine::request_digest(&[b"reversal", key.as_str().as_bytes()]);
    let origin = Origin { idempotency: Some((key, digest)), by: Some(caller.key.id.clone()) };
    Ok(app.engine.refund(&customer, id, request, origin).await?)
}

fn reversal_key(id: ChargeId) -> Result<IdempotencyKey, Problem> {
    let name = format!("reversal:{id}");
    IdempotencyKey::of_host(&name).map_err(|_| Problem::internal(format!("{name} makes no key")))
}

fn reversal<'a>(
    outcomes: &'a [(CustomerId, Result<Outcome, Problem>)],
    path: &'a str,
) -> Result<Reversal<'a>, Problem> {
    let mut reversal = Reversal {
        reversed: 0,
        repeated: 0,
        refused: 0,
        refunded: Vec::new(),
        results: Vec::with_capacity(outcomes.len()),
    };
    let mut refunded: BTreeMap<Key, Credits> = BTreeMap::new();
    for (customer, outcome) in outcomes {
        let (status, replayed, body) = match outcome {
            Ok(Outcome { entry, replayed }) => {
                let refund = refund_made(customer, entry)?;
                if *replayed {
                    reversal.repeated += 1;
                } else {
                    reversal.reversed += 1;
                    let total = refunded.entry(refund.credit.clone()).or_default();
                    *total = total.saturating_add(refund.amount);
                }
                (StatusCode::CREATED, *replayed, RefundOrProblem::Refund(Box::new(refund)))
            }
            Err(problem) => {
                reversal.refused += 1;
                if let Some(defect) = problem.defect() {
                    error!(defect, path, "internal error in an item of a reversal");
                }
                (problem.status(), false, RefundOrProblem::Problem(Box::new(problem.details(path))))
            }
        };
        reversal.results.push(ReversalResult { status: status.as_u16(), replayed, body });
    }
    reversal.refunded =
        refunded.into_iter().map(|(credit, amount)| RefundedCredits { credit, amount }).collect();
    Ok(reversal)
}
