//! Load on hosts, and how long each answer took.
//!
//! A closed load sends the next request when the last one is answered, on each connection. An open load has a schedule that
//! does not wait for answers, and counts latency from the time at which a request was due: so a host that stalls is charged
//! for all that it made wait ("coordinated omission", G. Tene).

use crate::{
    host::Host,
    population::{Population, USAGE},
    table::median,
    wire::Wire,
};
use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Seconds that outlast whatever a load runs beside.
const LONG: f64 = 3_600.0;

/// Before a request is sent again.
const PAUSE: Duration = Duration::from_millis(5);

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// One charge.
    Charge,
    /// So many charges in one request.
    Batch(usize),
    /// What a charge would do.
    Check,
    /// A correction: journaled as a charge is, but decided by no policy.
    Adjust,
}

/// How fast.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As fast as answers come.
    Closed,
    /// Requests a second, whatever the answers do.
    Open(f64),
}

/// Which host a customer's requests go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Any.
    Any,
    /// Always the same one, as a balancer that hashes customers would have it.
    Kept,
}

/// A load.
#[derive(Clone)]
pub struct Load {
    /// The hosts' addresses.
    pub hosts: Vec<String>,
    pub population: Arc<Population>,
    pub command: Command,
    pub connections: usize,
    pub pace: Pace,
    pub route: Route,
    /// Whether a request that two hosts quarrel over is sent again, with the same key. Otherwise it ends the benchmark.
    pub persistent: bool,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Timed {
    /// When it came, in microseconds since the load began.
    pub at: u32,
    /// How long it took, in microseconds.
    pub took: u32,
    /// How often it was sent before.
    pub attempts: u32,
}

/// All answers of a load.
pub struct Answers {
    /// In no order.
    pub timed: Vec<Timed>,
    /// Charges, checks or whatever was sent, for each request.
    pub each: usize,
    pub seconds: f64,
}

impl Load {
    /// Charges on one host, as fast as they are answered.
    pub fn charges(host: &Host, population: &Arc<Population>, connections: usize) -> Self {
        Self {
            hosts: vec![host.address.clone()],
            population: population.clone(),
            command: Command::Charge,
            connections,
            pace: Pace::Closed,
            route: Route::Any,
            persistent: false,
        }
    }

    /// Runs for a while.
    pub async fn run(&self, seconds: f64) -> Answers {
        self.run_or_stop(seconds, std::future::pending::<()>()).await.1
    }

    /// Runs for as long as something else does.
    pub async fn run_beside<T>(&self, other: impl Future<Output = T>) -> (T, Answers) {
        let (done, answers) = self.run_or_stop(LONG, other).await;
        (done.expect("what a load runs beside ends first"), answers)
    }

    async fn run_or_stop<T>(&self, seconds: f64, stop: impl Future<Output = T>) -> (Option<T>, Answers) {
        let mut wires = Vec::new();
        for place in 0..self.connections {
            wires.push(Wire::connect(&self.hosts[place % self.hosts.len()]).await);
        }
        let run = Arc::new(Run::begin(self.clone(), seconds));
        let mut clients = JoinSet::new();
        for (place, wire) in wires.into_iter().enumerate() {
            clients.spawn(run.clone().client(place, wire));
        }
        let answers = clients.join_all();
        tokio::pin!(answers, stop);
        let (done, timed) = tokio::select! {
            timed = &mut answers => (None, timed),
            done = &mut stop => {
                run.stopped.store(true, Ordering::Relaxed);
                (Some(done), answers.await)
            }
        };
        let each = if let Command::Batch(size) = self.command { size } else { 1 };
        (done, Answers { timed: timed.concat(), each, seconds: run.began.elapsed().as_secs_f64() })
    }
}

/// A load that runs.
struct Run {
    load: Load,
    began: Instant,
    ends: Instant,
    stopped: AtomicBool,
    /// Distinguishes this run's idempotency keys from all others.
    nonce: u64,
    schedule: Option<Schedule>,
}

/// The times at which requests are due.
struct Schedule {
    gap: Duration,
    slots: usize,
    next: AtomicUsize,
    due: Arc<Semaphore>,
}

impl Run {
    fn begin(load: Load, seconds: f64) -> Self {
        let nonce = Draw::seeded().0;
        let began = Instant::now();
        let schedule = match load.pace {
            Pace::Closed => None,
            Pace::Open(per_second) => Some(Schedule::begin(began, per_second, seconds)),
        };
        Self {
            load,
            began,
            ends: began + Duration::from_secs_f64(seconds),
            stopped: AtomicBool::new(false),
            nonce,
            schedule,
        }
    }

    /// Sends one request after another on its own connection.
    async fn client(self: Arc<Self>, place: usize, mut wire: Wire) -> Vec<Timed> {
        let mut draw = Draw(self.nonce ^ (place as u64) << 32);
        let (mut timed, mut request) = (Vec::new(), Request::default());
        while let Some(due) = self.turn().await {
            request.compose(&self.load, place, &mut draw);
            let attempts = self.send(&mut wire, &request).await;
            let at = self.began.elapsed().as_micros() as u32;
            timed.push(Timed { at, took: due.elapsed().as_micros() as u32, attempts });
            if self.load.command != Command::Check && self.load.command != Command::Adjust {
                request.customers.iter().for_each(|number| self.load.population.charged(*number));
            }
        }
        timed
    }

    /// Sends a request until it is answered; returns how often it was sent in vain.
    async fn send(&self, wire: &mut Wire, request: &Request) -> u32 {
        for attempts in 0.. {
            let (key, body) = (Some(request.key.as_str()), request.body.as_bytes());
            let answer = wire.send("POST", &request.path, "application/json", key, body).await;
            if self.load.persistent && answer.status == 503 && answer.json()["code"] == "contention" {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            request.check(self.load.command, answer.yes().body);
            return attempts;
        }
        unreachable!("attempts don't end")
    }

    /// Waits for the next request's time; none when the run is over.
    async fn turn(&self) -> Option<Instant> {
        match &self.schedule {
            None if self.stopped.load(Ordering::Relaxed) => None,
            None => Some(Instant::now()).filter(|now| *now < self.ends),
            Some(schedule) => Some(self.began + schedule.turn().await?),
        }
    }
}

impl Schedule {
    /// A thread of its own wakes clients at the right times: the runtime's timers know milliseconds only.
    fn begin(began: Instant, per_second: f64, seconds: f64) -> Self {
        let gap = Duration::from_secs_f64(1.0 / per_second);
        let (slots, due) = ((per_second * seconds) as usize, Arc::new(Semaphore::new(0)));
        let wake = due.clone();
        std::thread::spawn(move || {
            for slot in 0..slots {
                std::thread::sleep((began + gap * slot as u32).saturating_duration_since(Instant::now()));
                wake.add_permits(1);
            }
        });
        Self { gap, slots, next: AtomicUsize::new(0), due }
    }

    async fn turn(&self) -> Option<Duration> {
        let slot = self.next.fetch_add(1, Ordering::Relaxed);
        if slot >= self.slots {
            return None;
        }
        // Whoever waits first is woken first, so slots and permits meet in order.
        self.due.acquire().await.unwrap().forget();
        Some(self.gap * slot as u32)
    }
}

/// A request, composed in place.
#[derive(Default)]
struct Request {
    path: String,
    key: String,
    body: String,
    /// Whom it charges.
    customers: Vec<usize>,
}

impl Request {
    fn compose(&mut self, load: &Load, place: usize, draw: &mut Draw) {
        let Self { path, key, body, customers } = self;
        [&mut *path, key, body].into_iter().for_each(String::clear);
        customers.clear();
        let size = if let Command::Batch(size) = load.command { size } else { 1 };
        customers.extend((0..size).map(|_| load.pick(place, draw)));
        write!(key, "{:016x}{:016x}", draw.next(), draw.next()).unwrap();
        if let Command::Batch(_) = load.command {
            path.push_str("/v1/charges/batch");
            for (place, number) in customers.iter().enumerate() {
                body.push_str(if place == 0 { "[{\"customer\":\"" } else { ",{\"customer\":\"" });
                load.population.write_key(*number, body);
                write!(body, "\",\"idempotency_key\":\"{key}-{place}\",{USAGE}}}").unwrap();
            }
            return body.push(']');
        }
        path.push_str("/v1/customers/");
        load.population.write_key(customers[0], path);
        let (route, usage) = match load.command {
            Command::Check => ("/check", USAGE),
            Command::Adjust => ("/adjustments", r#""amount":"-1.8","reason":"what a charge would cost""#),
            Command::Charge | Command::Batch(_) => ("/charges", USAGE),
        };
        path.push_str(route);
        write!(body, "{{{usage}}}").unwrap();
    }

    /// Ends the benchmark unless the answer says yes to all.
    fn check(&self, command: Command, body: &[u8]) {
        if let Command::Batch(size) = command {
            let text = std::str::from_utf8(body).unwrap();
            let charged = text.matches("{\"status\":201,").count();
            assert_eq!(charged, size, "only so many of a batch were charged: {text}");
        }
    }
}

impl Load {
    /// A customer for a request on a connection.
    fn pick(&self, place: usize, draw: &mut Draw) -> usize {
        let (count, hosts) = (self.population.count(), self.hosts.len());
        match self.route {
            Route::Any => draw.below(count),
            Route::Kept => draw.below(count / hosts) * hosts + place % hosts,
        }
    }
}

/// Random numbers (splitmix64, G. Steele et al., OOPSLA 2014).
pub struct Draw(pub u64);

impl Draw {
    /// Numbers that no other run draws.
    pub fn seeded() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

impl Answers {
    /// What was sent a second.
    pub fn per_second(&self) -> f64 {
        (self.timed.len() * self.each) as f64 / self.seconds
    }

    /// Charges, checks or whatever was sent.
    pub fn count(&self) -> usize {
        self.timed.len() * self.each
    }

    /// Requests that were sent in vain.
    pub fn attempts(&self) -> usize {
        self.timed.iter().map(|timed| timed.attempts as usize).sum()
    }

    pub fn latency(&self) -> Latency {
        Latency::of(self.timed.iter().map(|timed| timed.took).collect())
    }
}

/// Latencies, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub most: f64,
}

impl Latency {
    pub fn of(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |per_mille: usize| {
            let place = micros.len().saturating_sub(1) * per_mille / 1_000;
            micros.get(place).map_or(f64::NAN, |micros| f64::from(*micros))
        };
        Self { p50: at(500), p99: at(990), p999: at(999), most: at(1_000) }
    }

    /// The median of each of some rounds' figures.
    pub fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        Self {
            p50: of(|round| round.p50),
            p99: of(|round| round.p99),
            p999: of(|round| round.p999),
            most: of(|round| round.most),
        }
    }
}
