//! An engine over a real database file and the real standard policy, under a virtual clock; and a store that fails on
//! purpose.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod dice;

use proviso_engine::{
    Clock, Engine, EngineError, LedgerFilter, Options, PlanChange, TermsInput,
    command::{Change, Command, CustomerChange, Outcome, Reply, Request, Ttl, UsageRequest},
};
use proviso_ledger::{
    journal::{Entry, Event},
    model::{
        amounts::Quantity,
        grant::{Category, default_credit},
        ids::Digest,
        period::{Interval, IntervalUnit},
        terms::{Mode, OnFault},
        time::Timestamp,
        view::Expiry,
    },
    rules::grants::GrantRequest,
    state::{CustomerState, Origin},
};
use proviso_policy::{Compiler, Limits, Runtime};
use proviso_store::{SqliteOptions, SqliteStore, Store};
use std::{
    num::NonZeroUsize,
    path::Path,
    str::FromStr,
    sync::{Arc, LazyLock},
    task::Poll,
    time::Duration,
};

/// The built standard policy; cargo does nothing when it is built already.
pub static STANDARD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/standard");
    proviso_policy::build::build(&dir).expect("the standard policy builds")
});

static RUNTIME: LazyLock<Arc<Runtime>> = LazyLock::new(|| {
    let limits = Limits { instances: 32, ..Limits::default() };
    Arc::new(Runtime::new(limits, None, Compiler::InProcess).expect("the sandbox starts"))
});

pub fn runtime() -> Arc<Runtime> {
    RUNTIME.clone()
}

pub const START: &str = "2026-01-15T10:00:00Z";

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A key or a name, as the place needs it.
pub fn key<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A host under test.
pub struct Host {
    pub engine: Arc<Engine>,
    pub clock: Clock,
    pub dir: Arc<tempfile::TempDir>,
}

pub async fn open(dir: &Path) -> Arc<dyn Store> {
    let options = SqliteOptions { memtable_entries: 64, ..SqliteOptions::new(dir.join("proviso.db")) };
    Arc::new(SqliteStore::open(options).await.expect("the database opens"))
}

impl Host {
    pub async fn start() -> Self {
        Self::start_with(Arc::new(tempfile::tempdir().unwrap()), START, |store| store).await
    }

    pub async fn start_with(
        dir: Arc<tempfile::TempDir>,
        now: &str,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
    ) -> Self {
        let store = wrap(open(dir.path()).await);
        Self { dir, ..Self::on(store, now).await }
    }

    /// On any database.
    pub async fn on(store: Arc<dyn Store>, now: &str) -> Self {
        Self::with_options(store, now, Options::default()).await
    }

    pub async fn with_options(store: Arc<dyn Store>, now: &str, options: Options) -> Self {
        let now = time(now);
        let clock = Clock::new(move || now);
        let options = Options {
            lanes: NonZeroUsize::new(2).unwrap(),
            sweep_every: Duration::from_secs(3_600),
            ..options
        };
        let engine =
            Engine::start(store, runtime(), clock.clone(), options).await.expect("the engine starts");
        Self { engine, clock, dir: Arc::new(tempfile::tempdir().unwrap()) }
    }

    /// Stops and starts again on the same file, at the same time.
    pub async fn restart(self) -> Self {
        let now = self.clock.now().to_string();
        self.engine.close().await;
        drop(self.engine);
        Self::start_with(self.dir, &now, |store| store).await
    }

    pub fn at(&self, text: &str) {
        assert!(self.clock.advance_to(time(text)), "the clock only moves forward");
    }

    /// A plan `pro`, monthly, on the standard policy: 0.001 for an input token, an allowance of 1,000.
    pub async fn with_plan(self) -> Self {
        self.engine
            .upload(key("standard"), STANDARD.clone(), || 0)
            .await
            .expect("the standard policy is admitted");
        self.put_plan(settings("0.001", "1000")).await;
        self
    }

    pub async fn put_plan(&self, settings: serde_json::Value) {
        let interval = Interval::new(IntervalUnit::Month, 1).unwrap();
        let change = PlanChange::replacing(
            "Pro".to_owned(),
            Some(interval),
            Default::default(),
            Some(input(settings)),
        );
        self.engine.put_plan(key("pro"), change).await.expect("the plan is put");
    }

    pub async fn customer(&self, customer: &str, plan: Option<&str>) -> Arc<CustomerState> {
        let change = CustomerChange {
            name: Change::Set(customer.to_owned()),
            plan: plan.map_or(Change::Clear, |plan| Change::Set(key(plan))),
            ..CustomerChange::default()
        };
        match self.execute(customer, Command::Configure(Box::new(change)), None).await {
            Ok(Reply::Configured { state, .. }) => state,
            other => panic!("{other:?}"),
        }
    }

    pub async fn execute(
        &self,
        customer: &str,
        command: Command,
        idempotency: Option<&str>,
    ) -> Result<Reply, EngineError> {
        let digest = Digest::of(format!("{command:?}").as_bytes());
        let idempotency = idempotency.map(|key| (key.parse().unwrap(), digest));
        let origin = Origin { idempotency, by: None };
        self.engine.execute(Request { customer: key(customer), command, origin }).await
    }

    pub async fn entry(
        &self,
        customer: &str,
        command: Command,
        key: Option<&str>,
    ) -> Result<Outcome, EngineError> {
        match self.execute(customer, command, key).await? {
            Reply::Entry(outcome) => Ok(outcome),
            other => panic!("{other:?}"),
        }
    }

    pub async fn charge(&self, customer: &str, tokens: i64, key: Option<&str>) -> Outcome {
        self.entry(customer, charge(tokens), key).await.expect("a charge is answered")
    }

    pub async fn grant(&self, customer: &str, credits: &str) -> Outcome {
        self.entry(customer, Command::Grant(Box::new(grant(credits))), None).await.expect("a grant is given")
    }

    pub async fn state(&self, customer: &str) -> Arc<CustomerState> {
        self.engine.state(&key(customer)).await.expect("the customer is there")
    }

    pub async fn balance(&self, customer: &str) -> String {
        let state = self.state(customer).await;
        let balance = state.balance(&default_credit(), self.clock.now());
        format!(
            "granted {} used {} reserved {} available {} overage {}",
            balance.granted, balance.used, balance.reserved, balance.available, balance.overage
        )
    }

    /// The whole journal, oldest first.
    pub async fn journal(&self, customer: &str) -> Vec<(Entry, String)> {
        let mut page = self
            .engine
            .ledger(&key(customer), &LedgerFilter::default(), None, 10_000, usize::MAX)
            .await
            .expect("the ledger is read");
        page.entries.reverse();
        page.entries
    }
}

pub fn settings(per_token: &str, allowance: &str) -> serde_json::Value {
    serde_json::json!({
        "rates": [{"feature": "chat", "quantity": "input_tokens", "price": {"per_unit": per_token}}],
        "reset": {"allowance": [{"amount": allowance}]},
    })
}

pub fn input(settings: serde_json::Value) -> TermsInput {
    TermsInput {
        policy: key("standard"),
        version: None,
        settings,
        effective_at: None,
        ends_at: None,
        mode: Mode::Active,
        on_fault: OnFault::Deny,
        contract: None,
        time_zone: None,
        note: None,
    }
}

pub fn usage(tokens: i64) -> Box<UsageRequest> {
    Box::new(UsageRequest {
        feature: key("chat"),
        quantities: vec![("input_tokens".to_owned(), Quantity::from_whole(tokens))],
        attributes: Vec::new(),
        entity: None,
        occurred_at: None,
    })
}

pub fn charge(tokens: i64) -> Command {
    Command::Charge(usage(tokens))
}

pub fn reserve(tokens: i64, ttl_seconds: u32) -> Command {
    Command::Reserve(usage(tokens), Ttl::new(ttl_seconds).unwrap())
}

pub fn grant(credits: &str) -> GrantRequest {
    GrantRequest {
        credit: default_credit(),
        amount: credits.parse().unwrap(),
        category: Category::Prepaid,
        priority: 0,
        effective_at: None,
        expires: Expiry::default(),
        features: Vec::new(),
        cost_basis: None,
        metadata: Vec::new(),
    }
}

/// Drops `work` after so many polls unless it is done by then, as a server does when its client hangs up.
pub async fn hang_up_after<T>(polls: u64, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (Box::pin(work), polls);
    std::future::poll_fn(move |context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// What an entry is, in a word and its cost.
pub fn summary(entry: &Entry) -> String {
    match &entry.event {
        Event::Charged(charged) => format!("charged {}", charged.rated.cost),
        Event::Refused(refused) => format!("refused {}", refused.code),
        Event::Reserved(reserved) => format!("reserved {}", reserved.rated.cost),
        Event::Committed(committed) => format!("committed {}", committed.rated.cost),
        Event::PeriodClosed(closed) => format!("closed {} {}", closed.reason.as_str(), closed.period.number),
        Event::PeriodOpened(opened) => format!("opened {} {}", opened.reason.as_str(), opened.period.number),
        Event::GrantsExpired { grants } => format!("expired {}", grants.len()),
        Event::ReservationExpired { .. } => "reservation expired".to_owned(),
        Event::Configured(_) => "configured".to_owned(),
        Event::Granted(grant) => format!("granted {}", grant.amount),
        Event::TermsBound(_) => "terms bound".to_owned(),
        other => format!("{other:?}"),
    }
}
