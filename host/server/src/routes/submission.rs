//! Usages that are to be charged, each once: one by itself, or many that are answered in their order. Charges, batches and
//! events share it.

use crate::{
    access::{self, Caller},
    answer::Answer,
    app::App,
    extract::callers,
    problem::Problem,
    render,
};
use axum::http::StatusCode;
use futures_util::future::maybe_done;
use proviso_api::{
    charge::{BatchResult, Charge, ChargeOrProblem},
    decision::Warning,
    usage::Usage,
};
use proviso_engine::{
    Engine,
    command::{Command, Idempotency, Outcome, Request, UsageRequest},
};
use proviso_ledger::{
    model::ids::{CustomerId, Digest, IdempotencyKey, LeaseId, Name},
    state::Origin,
};
use serde_json::value::RawValue;
use std::{
    future::poll_fn,
    task::{Context, Poll},
};
use tracing::error;

/// The pointer with which the engine's problems name a usage's time.
const OCCURRED_AT: &str = "/occurred_at";

/// A usage that is to be charged, once.
pub struct Submission {
    customer: CustomerId,
    idempotency: Idempotency,
    /// The id of the API key.
    by: Option<Name>,
    usage: Usage,
    /// The lease that it is settled under.
    lease: Option<LeaseId>,
    /// Where the request has the usage's time, as a JSON pointer.
    time_at: &'static str,
    warnings: Vec<Warning>,
}

/// A charge or its refusal that is durable.
struct Submitted {
    customer: CustomerId,
    outcome: Outcome,
    warnings: Vec<Warning>,
}

impl Submission {
    pub fn new(customer: CustomerId, idempotency: Idempotency, usage: Usage) -> Self {
        Self {
            customer,
            idempotency,
            by: None,
            usage,
            lease: None,
            time_at: OCCURRED_AT,
            warnings: Vec::new(),
        }
    }

    /// Of the item at `place` of a list, which has its own key: one that hosts alone may use is refused.
    pub fn of_item(
        place: &str,
        kind: &[u8],
        customer: CustomerId,
        key: IdempotencyKey,
        usage: Usage,
    ) -> Result<Self, Problem> {
        let key = callers(key).map_err(|problem| problem.about("/idempotency_key").within(place))?;
        let digest = digest(kind, &customer, &usage, &[])?;
        Ok(Self::new(customer, (key, digest), usage))
    }

    /// The same, from a request that has the time elsewhere and of which not everything was taken as it was sent.
    pub fn read_from(self, time_at: &'static str, warnings: Vec<Warning>) -> Self {
        Self { time_at, warnings, ..self }
    }

    /// The same, settled under a lease that is known to be one.
    pub fn under(self, lease: LeaseId) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// The same, from someone with this API key.
    pub fn with_key(self, id: &Name) -> Self {
        Self { by: Some(id.clone()), ..self }
    }

    /// The same, if the caller may see the customer, and the customer may make one more request.
    pub fn by(self, app: &App, caller: &Caller<access::Usage>) -> Result<Self, Problem> {
        if caller.sees(&self.customer) {
            app.limit_customer(&self.customer)?;
            Ok(Self { by: Some(caller.key.id.clone()), ..self })
        } else {
            // As if it did not exist: a narrowed key must not learn of other customers.
            Err(Problem::customer_not_found(&self.customer))
        }
    }

    async fn submit(self, app: &App) -> Result<Submitted, Problem> {
        let Self { customer, idempotency, by, usage, lease, time_at, warnings } = self;
        let usage = Box::new(usage_request(usage));
        let command = match lease {
            Some(lease) => Command::Settle(lease, usage),
            None => Command::Charge(usage),
        };
        let origin = Origin { idempotency: Some(idempotency), by };
        match app.record(Request { customer: customer.clone(), command, origin }).await {
            Ok(outcome) => Ok(Submitted { customer, outcome, warnings }),
            Err(problem) => Err(problem.renamed(OCCURRED_AT, time_at)),
        }
    }
}

/// What a usage means, as which kind of request: whoever sends it on may write it anew. The key that it comes under is no part of it, so
/// that the same usage under another one is known to be the same.
pub fn digest(
    kind: &[u8],
    customer: &CustomerId,
    usage: &Usage,
    warnings: &[&str],
) -> Result<Digest, Problem> {
    let Usage { feature, quantities, attributes, entity, occurred_at } = usage;
    let meaning = (customer, feature, &quantities.0, &attributes.0, entity, occurred_at, warnings);
    let meaning = serde_json::to_vec(&meaning);
    let meaning = meaning.map_err(|error| Problem::internal(format!("a usage can't be written: {error}")))?;
    Ok(Engine::request_digest(&[kind, &meaning]))
}

/// A usage in the engine's words.
pub fn usage_request(body: Usage) -> UsageRequest {
    UsageRequest {
        feature: body.feature,
        quantities: body.quantities.0,
        attributes: body.attributes.0,
        entity: body.entity,
        occurred_at: body.occurred_at,
    }
}

/// Charges one usage.
pub async fn one(app: &App, submission: Submission) -> Result<Answer, Problem> {
    let Submitted { customer, outcome, warnings } = submission.submit(app).await?;
    let (status, charge) = render::charge(&customer, &outcome, &warnings)?;
    Ok(Answer::new(status, &charge)?.replayed(outcome.replayed))
}

/// Charges many usages, each on its own, and answers them in their order. `read` reads an item from its JSON and its place,
/// a JSON pointer. Each counts as a request of the caller's key.
pub async fn many(
    app: &App,
    caller: &Caller<access::Usage>,
    path: &str,
    items: Vec<&RawValue>,
    most: usize,
    read: impl Fn(&str, &RawValue) -> Result<Submission, Problem>,
) -> Result<Answer, Problem> {
    if items.len() > most {
        let detail = format!("a batch has {most} items at most, this one has {}", items.len());
        return Err(Problem::invalid_field("", detail));
    }
    let charges = items.into_iter().enumerate().map(|(number, item)| {
        let place = format!("/{number}");
        // The first was counted with the batch.
        let limited = if number == 0 { Ok(()) } else { app.limit_key(&caller.key) };
        let submission =
            limited.and_then(|()| read(&place, item)).and_then(|submission| submission.by(app, caller));
        async move { submission?.submit(app).await.map_err(|problem| problem.within(&place)) }
    });
    let outcomes = all(charges).await;
    let rendered: Vec<_> = outcomes.iter().map(rendered).collect();
    let results: Vec<_> = rendered.iter().map(|item| result(item, path)).collect();
    Answer::ok(&results)
}

/// A charge with its status and whether it is a replay; the problem may be of submitting or of rendering.
type Rendered<'a> = Result<(StatusCode, bool, Charge<'a>), Problem>;

fn rendered(submitted: &Result<Submitted, Problem>) -> Rendered<'_> {
    let Submitted { customer, outcome, warnings } = submitted.as_ref().map_err(Clone::clone)?;
    let (status, charge) = render::charge(customer, outcome, warnings)?;
    Ok((status, outcome.replayed, charge))
}

fn result<'a>(item: &'a Rendered<'a>, path: &'a str) -> BatchResult<'a> {
    match item {
        Ok((status, replayed, charge)) => BatchResult {
            status: status.as_u16(),
            replayed: *replayed,
            body: ChargeOrProblem::Charge(charge),
        },
        Err(problem) => {
            if let Some(defect) = problem.defect() {
                error!(defect, path, "internal error in an item of a batch");
            }
            BatchResult {
                status: problem.status().as_u16(),
                replayed: problem.is_replay(),
                body: ChargeOrProblem::Problem(Box::new(problem.details(path))),
            }
        }
    }
}

/// Starts all, so that their requests wait in the lanes together, then awaits them in order: an answer that comes wakes the
/// task, and then only the first that is still missing is polled.
pub async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| Box::pin(maybe_done(future))).collect();
    poll_fn(|context: &mut Context<'_>| {
        for future in &mut running {
            // Whether it is done already is asked again below.
            let _ = future.as_mut().poll(context);
        }
        Poll::Ready(())
    })
    .await;
    let mut outputs = Vec::with_capacity(running.len());
    for mut future in running {
        future.as_mut().await;
        outputs.extend(future.as_mut().take_output());
    }
    outputs
}
