//! What all ways to charge have in common: single charges, batches and events. In come usages that were read from a
//! request, each with its idempotency; out comes the answer of one, or of each of many in order. Nothing is parsed here
//! but the frame of a batch.

use crate::{
    access::{Caller, Usage},
    answers::Answer,
    app::App,
    extract::parse,
    problem::{FieldError, Problem, ProblemBody},
    render::{self, Charge, Rendered},
};
use futures_util::future::maybe_done;
use proviso_engine::command::{Command, Idempotency, Outcome, UsageRequest};
use proviso_ledger::model::ids::CustomerId;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::{
    future::poll_fn,
    task::{Context, Poll},
};
use utoipa::ToSchema;

/// The most charges of one batch.
const MOST: usize = 1_000;
/// Where the engine's problems say that a usage's time stands.
const OCCURRED_AT: &str = "/occurred_at";

/// A usage that is to be charged, once.
pub struct Charging {
    /// Who pays.
    pub customer: CustomerId,
    /// What makes it once.
    pub idempotency: Idempotency,
    /// What was used.
    pub usage: UsageRequest,
    /// Where the request says when, as a JSON pointer.
    pub time_at: &'static str,
}

/// A charge or its refusal that is durable, and whose it is.
type Charged = Result<(CustomerId, Outcome), Problem>;

impl Charging {
    /// As it is, when the caller may see the customer.
    pub fn by(self, caller: &Caller<Usage>) -> Result<Self, Problem> {
        if caller.sees(&self.customer) {
            Ok(self)
        } else {
            // As if it were not there: a narrowed key must not learn who else is.
            Err(Problem::customer_not_found(&self.customer))
        }
    }

    async fn carry_out(self, app: &App) -> Charged {
        let Self { customer, idempotency, usage, time_at } = self;
        let command = Command::Charge(Box::new(usage));
        match app.record(customer.clone(), command, Some(idempotency)).await {
            Ok(outcome) => Ok((customer, outcome)),
            Err(problem) if time_at == OCCURRED_AT => Err(problem),
            Err(problem) => Err(problem.renamed(OCCURRED_AT, time_at)),
        }
    }
}

/// Charges one usage.
pub async fn one(app: &App, charging: Charging) -> Result<Answer, Problem> {
    let (customer, outcome) = charging.carry_out(app).await?;
    render::answer(&customer, &outcome)
}

/// Charges many usages, each on its own, and answers each in its place. `read` makes the usage of an item out of its JSON
/// and its place as a JSON pointer.
pub async fn many(
    app: &App,
    path: &str,
    body: &[u8],
    read: impl Fn(&str, &RawValue) -> Result<Charging, Problem>,
) -> Result<Answer, Problem> {
    let items: Vec<&RawValue> = parse(body)?;
    if items.len() > MOST {
        let detail = format!("a batch has {MOST} items at most, this one has {}", items.len());
        return Err(Problem::invalid(vec![FieldError::new("", detail)]));
    }
    let charges = items.into_iter().enumerate().map(|(number, item)| {
        let place = format!("/{number}");
        let charging = read(&place, item);
        async move { charging?.carry_out(app).await.map_err(|problem| problem.within(&place)) }
    });
    let outcomes = all(charges).await;
    let results: Vec<_> = outcomes.iter().map(|outcome| ItemResult::new(outcome, path)).collect();
    Answer::ok(&results)
}

/// Starts all, so that their requests wait in the lanes together, then takes one answer after another. Only the first
/// that is missing is looked at when an answer wakes the task.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
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

/// What one item of a batch came to.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResult)]
pub struct ItemResult<'a> {
    /// The status that the item alone would have had.
    status: u16,
    /// Whether an earlier request with the same key was answered so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    /// The answer that the item alone would have had.
    body: ItemBody<'a>,
}

/// The body of a charge, or of its problem.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ChargeOrProblem)]
pub enum ItemBody<'a> {
    /// It was charged.
    #[schema(value_type = Charge)]
    Charge(Box<Rendered<'a>>),
    /// It was not.
    #[schema(value_type = ProblemBody)]
    Problem(Told<'a>),
}

impl<'a> ItemResult<'a> {
    fn new(outcome: &'a Charged, path: &'a str) -> Self {
        let rendered = match outcome {
            Ok((customer, outcome)) => render::render(customer, outcome)
                .map(|(status, body)| (status, outcome.replayed, ItemBody::Charge(Box::new(body)))),
            Err(problem) => Err(problem.clone()),
        };
        let (status, replayed, body) = rendered.unwrap_or_else(|problem| {
            (problem.status(), problem.is_replay(), ItemBody::Problem(Told { problem, path }))
        });
        Self { status: status.as_u16(), replayed, body }
    }
}

/// A problem, told of a path.
pub struct Told<'a> {
    problem: Problem,
    path: &'a str,
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.problem.body(self.path).serialize(serializer)
    }
}
