//! Fills a database quickly: through the engine in this process, many requests at once. What it writes is what a host would
//! have written, entry for entry.

use crate::{place, policies};
use proviso_engine::{
    Clock, Engine, Options, PlanChange, TermsInput,
    command::{Change, Command, CustomerChange, Request, UsageRequest},
};
use proviso_ledger::{
    model::{
        amounts::{Decimal, Quantity},
        ids::Digest,
        period::{Interval, IntervalUnit},
        terms::{Mode, OnFault},
        time::Timestamp,
    },
    state::Origin,
};
use proviso_policy::{Compiler, Limits, Runtime};
use proviso_store::{Access, DatabaseUrl};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;

/// Requests at once.
const AT_ONCE: usize = 2_048;

/// How much there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub customers: usize,
    /// Entries of all customers' journals together, give or take a customer's worth.
    pub entries: usize,
}

/// Fills an empty database with customers `c0`, `c1`, … whose entries lie mixed, as those of real customers do.
pub fn fill(database_url: &str, size: Size) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = start(database_url, size.customers).await;
        each(&engine, size.customers, |number| Request {
            customer: key(&format!("c{number}")),
            command: Command::Configure(Box::new(profile())),
            origin: Origin::default(),
        })
        .await;
        // A customer begins with more than one entry: the first period's opening, too.
        let left = size.entries.saturating_sub(usize::try_from(engine.stats().entries()).unwrap());
        each(&engine, left, move |number| {
            let idempotency = Some((format!("fill-{number}").parse().unwrap(), Digest::of(b"fill")));
            Request {
                customer: key(&format!("c{}", number % size.customers)),
                command: charge(),
                origin: Origin { idempotency, by: None },
            }
        })
        .await;
        engine.close().await;
    });
}

async fn start(database_url: &str, customers: usize) -> Arc<Engine> {
    let url: DatabaseUrl = database_url.parse().expect("an address of a database");
    let store = url.open(Access::ReadWrite, None).await.expect("the database opens");
    let limits = Limits { instances: 32, ..Limits::default() };
    let runtime = Runtime::new(limits, None, Compiler::InProcess).expect("the sandbox starts");
    let options = Options {
        lanes: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        cached_customers: customers.max(1_000),
        ..Options::default()
    };
    let engine =
        Engine::start(store, Arc::new(runtime), Clock::new(now), options).await.expect("the engine starts");
    engine
        .upload(key("standard"), policies::STANDARD.clone(), || 0)
        .await
        .expect("the standard policy is admitted");
    engine.put_plan(key("pro"), plan()).await.expect("the plan is put");
    engine
}

/// Makes so many requests, many at once.
async fn each(engine: &Arc<Engine>, count: usize, make: impl Fn(usize) -> Request + Copy + Send + 'static) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (engine, next) = (engine.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                engine.execute(make(number)).await.expect("the engine does as it is told");
            }
        });
    }
    tasks.join_all().await;
}

fn key<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

fn plan() -> PlanChange {
    let terms = TermsInput {
        policy: key("standard"),
        version: None,
        settings: place::settings(),
        effective_at: None,
        ends_at: None,
        mode: Mode::Active,
        on_fault: OnFault::Deny,
        contract: None,
        time_zone: None,
        note: None,
        canary: None,
    };
    let month = Interval::new(IntervalUnit::Month, 1).unwrap();
    PlanChange::replacing("Pro".to_owned(), Some(month), Default::default(), Some(terms))
}

fn profile() -> CustomerChange {
    CustomerChange {
        name: Change::Set("someone".to_owned()),
        plan: Change::Set(key("pro")),
        anchor: Change::Set(Timestamp(0)),
        ..CustomerChange::default()
    }
}

/// The charge of [`crate::population::USAGE`].
fn charge() -> Command {
    let quantity =
        |name: &str, count: i64| (name.to_owned(), Quantity::from_units(i128::from(count) * Decimal::SCALE));
    Command::Charge(Box::new(UsageRequest {
        feature: key("chat"),
        quantities: vec![quantity("input_tokens", 1_200), quantity("output_tokens", 300)],
        attributes: vec![("model".to_owned(), "large".to_owned())],
        entity: Some(key("user-7")),
        occurred_at: None,
    }))
}
