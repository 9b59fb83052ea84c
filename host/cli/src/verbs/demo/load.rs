//! The load: one task for each connection, each sending its next charge as soon as the last is answered.
//! Out: what all answers came to.

use super::{
    cast::CUSTOMERS,
    client::Client,
    host::Host,
    trace::{Request, Trace},
};
use crate::{clock::Stopwatch, error::Error};
use hyper::{Method, body::Bytes};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use proviso_ledger::model::amounts::Credits;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::Notify, task::JoinSet};

/// A run over the trace.
pub struct Load {
    /// The trace.
    pub trace: Trace,
    /// How many requests are sent.
    pub requests: u64,
    address: String,
    key: String,
    next: AtomicU64,
    answered: AtomicU64,
    half: Notify,
    bar: ProgressBar,
}

/// What some answers came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// How long each request took, in microseconds.
    pub latencies: Vec<u64>,
    /// By the customer's place among [`CUSTOMERS`].
    pub customers: [CustomerTally; CUSTOMERS.len()],
    /// Requests that were neither charged nor refused.
    pub failed: u64,
    /// What the first of them met.
    pub first_failure: Option<String>,
}

/// What one customer's answers came to.
#[derive(Debug, Default)]
pub struct CustomerTally {
    /// Cost by feature.
    pub features: BTreeMap<String, Sum>,
    /// Cost by the policy that decided.
    pub policies: BTreeMap<String, Sum>,
    /// Refusals by code.
    pub refused: BTreeMap<String, u64>,
    /// Spent beyond all grants.
    pub overage: Credits,
    /// The entries that each policy decided, charges and refusals alike: the first and the last.
    pub spans: BTreeMap<String, (u64, u64)>,
}

/// Some charges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub charges: u64,
    /// What they cost.
    pub cost: Credits,
    /// Tokens in and out.
    pub tokens: u64,
}

impl Sum {
    /// Takes another one in.
    pub fn add(&mut self, other: Self) {
        self.charges += other.charges;
        self.cost = plus(self.cost, other.cost);
        self.tokens += other.tokens;
    }
}

fn plus(a: Credits, b: Credits) -> Credits {
    a.saturating_add(b)
}

/// The parts of an answer that the demo looks at.
#[derive(Deserialize)]
struct Charge<'a> {
    cost: Credits,
    overage: Credits,
    entry: u64,
    #[serde(borrow)]
    policy: Policy<'a>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    code: &'a str,
    entry: Option<u64>,
    #[serde(borrow)]
    policy: Option<Policy<'a>>,
}

#[derive(Deserialize)]
struct Policy<'a> {
    name: &'a str,
}

impl Load {
    /// A run that has not begun.
    pub fn new(trace: Trace, requests: u64, host: &Host) -> Self {
        let bar = ProgressBar::new(requests);
        let template = "charging {bar:40.green} {pos} of {len}, {rate} requests a second";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                // Nothing is lost when a progress bar can't be written.
                let _ = write!(out, "{:.0}", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
        }
        Self {
            trace,
            requests,
            address: host.address.clone(),
            key: host.admin_key.clone(),
            next: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            half: Notify::new(),
            bar,
        }
    }

    /// Done when half of the requests are answered.
    pub async fn half_done(&self) {
        self.half.notified().await;
    }

    /// Sends all requests; returns what came of them and how long it took, in microseconds.
    pub async fn run(self: Arc<Self>, connections: u64) -> Result<(Tally, u64), Error> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::connect(&self.address, &self.key).await?);
        }
        let watch = Stopwatch::start();
        let mut tasks = JoinSet::new();
        for client in clients {
            tasks.spawn(self.clone().send(client));
        }
        let mut tally = Tally::default();
        while let Some(part) = tasks.join_next().await {
            tally.add(part.map_err(|error| Error::Demo(format!("a connection's task ended: {error}")))?);
        }
        let elapsed = watch.micros();
        self.bar.finish_and_clear();
        tally.latencies.sort_unstable();
        Ok((tally, elapsed))
    }

    async fn send(self: Arc<Self>, mut client: Client) -> Tally {
        let mut tally = Tally::default();
        while let Some(request) = self.take() {
            let path = CUSTOMERS.get(request.customer).map_or("", |customer| customer.key);
            let path = format!("/v1/customers/{path}/charges");
            let key = format!("demo-{}", request.number);
            let watch = Stopwatch::start();
            let answer =
                client.send(Method::POST, &path, "application/json", Some(&key), body(&request)).await;
            tally.latencies.push(watch.micros());
            let broken = answer.is_err();
            tally.count(&request, answer);
            self.bar.inc(1);
            if self.answered.fetch_add(1, Ordering::Relaxed) + 1 == self.requests.div_ceil(2) {
                self.half.notify_one();
            }
            if broken {
                match Client::connect(&self.address, &self.key).await {
                    Ok(new) => client = new,
                    // What is left is for the other connections; the failure is counted already.
                    Err(_) => break,
                }
            }
        }
        tally
    }

    fn take(&self) -> Option<Request<'_>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number < self.requests { self.trace.request(number) } else { None }
    }
}

/// The trace's times lie in 2023, outside the window for late usage: so no `occurred_at`, and the host takes its own time.
fn body(request: &Request<'_>) -> Bytes {
    let Request { user, feature, model, input_tokens, output_tokens, .. } = request;
    format!(
        "{{\"feature\":\"{feature}\",\"quantities\":{{\"input_tokens\":{input_tokens},\"output_tokens\":{output_tokens}}},\
         \"attributes\":{{\"model\":\"{model}\"}},\"entity\":\"user-{user}\"}}"
    )
    .into()
}

impl Tally {
    fn count(&mut self, request: &Request<'_>, answer: Result<(u16, Bytes), String>) {
        let Some(customer) = self.customers.get_mut(request.customer) else { return };
        let failure = match answer {
            Ok((201, body)) => match serde_json::from_slice::<Charge<'_>>(&body) {
                Ok(charge) => return customer.charged(request, &charge),
                Err(error) => error.to_string(),
            },
            Ok((402, body)) => match serde_json::from_slice::<Refusal<'_>>(&body) {
                Ok(refusal) => return customer.refused(&refusal),
                Err(error) => error.to_string(),
            },
            Ok((status, body)) => format!("{status}: {}", String::from_utf8_lossy(&body)),
            Err(error) => error,
        };
        self.failed += 1;
        self.first_failure.get_or_insert(failure);
    }

    fn add(&mut self, mut other: Self) {
        self.latencies.append(&mut other.latencies);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        for (mine, theirs) in self.customers.iter_mut().zip(other.customers) {
            mine.add(theirs);
        }
    }
}

impl CustomerTally {
    fn charged(&mut self, request: &Request<'_>, charge: &Charge<'_>) {
        let tokens = u64::from(request.input_tokens) + u64::from(request.output_tokens);
        let one = Sum { charges: 1, cost: charge.cost, tokens };
        of(&mut self.features, request.feature).add(one);
        of(&mut self.policies, charge.policy.name).add(one);
        self.overage = plus(self.overage, charge.overage);
        self.decided(charge.policy.name, charge.entry);
    }

    fn refused(&mut self, refusal: &Refusal<'_>) {
        *of(&mut self.refused, refusal.code) += 1;
        if let (Some(policy), Some(entry)) = (&refusal.policy, refusal.entry) {
            self.decided(policy.name, entry);
        }
    }

    fn decided(&mut self, policy: &str, entry: u64) {
        let span = self.spans.entry(policy.to_owned()).or_insert((entry, entry));
        *span = (span.0.min(entry), span.1.max(entry));
    }

    fn add(&mut self, other: Self) {
        other.features.into_iter().for_each(|(name, sum)| of(&mut self.features, &name).add(sum));
        other.policies.into_iter().for_each(|(name, sum)| of(&mut self.policies, &name).add(sum));
        other.refused.into_iter().for_each(|(code, count)| *of(&mut self.refused, &code) += count);
        for (policy, (first, last)) in other.spans {
            self.decided(&policy, first);
            self.decided(&policy, last);
        }
        self.overage = plus(self.overage, other.overage);
    }

    /// All charges.
    pub fn total(&self) -> Sum {
        let mut total = Sum::default();
        self.features.values().for_each(|sum| total.add(*sum));
        total
    }

    /// All refusals.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

fn of<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    map.entry(name.to_owned()).or_default()
}
