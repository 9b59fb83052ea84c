//! Abuse by keys of each scope at once, and by those who have none: whatever they send, the answer is no 500, honest customers
//! lose no charge, the books verify, and memory does not keep growing. A few seconds by default, ten minutes with `PROVISO_LONG=1`;
//! `PROVISO_SEED` repeats the choices.

use crate::support::{
    ADMIN_KEY, Client, STANDARD, Setup,
    fleet::Fleet,
    process::resident_kib,
    random::{self, Random},
    recount,
    traffic::{self, Traffic},
    verify,
};
use hyper::Method;
use proviso_fixtures::{guest::Draft, hostile::FAMILIES};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    task::{JoinSet, block_in_place},
    time::{Instant, sleep},
};

/// Honest customers, and how many clients charge for them.
const CUSTOMERS: u64 = 3;
const CLIENTS: u64 = 4;
/// Customers of the tenant that means harm.
const OWN: u64 = 12;
/// How much more memory there may be at the end than after a third of the time, when all caches have been used.
const GROWTH_KIB: u64 = 96 << 10;

/// How much more it may be a moment after the end.
const SLACK_KIB: u64 = 32 << 10;
const AFTERWARDS: Duration = Duration::from_secs(2);

/// What someone may send: a method, a path, an idempotency key, a content type, a body.
struct Sent {
    method: Method,
    path: String,
    key: Option<String>,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Sent {
    fn get(path: String) -> Self {
        Self { method: Method::GET, path, key: None, content_type: "application/json", body: Vec::new() }
    }

    fn json(method: Method, path: String, body: &Value) -> Self {
        Self {
            method,
            path,
            key: None,
            content_type: "application/json",
            body: body.to_string().into_bytes(),
        }
    }
}

/// Chooses what to send next.
type Act = fn(&mut Random) -> Sent;

/// One of them at work.
struct Abuser {
    random: Random,
    kind: &'static str,
    act: Act,
    key: String,
    address: String,
    seen: Arc<Mutex<BTreeMap<(&'static str, u16), u64>>>,
    sent: u64,
}

impl Abuser {
    async fn work(mut self, until: Instant) {
        let mut client = None;
        while Instant::now() < until {
            let mut connected = match client.take() {
                Some(client) => client,
                None => match Client::connect(&self.address, &self.key).await {
                    Ok(client) => client,
                    Err(_) => {
                        sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            let Sent { method, path, key, content_type, body } = (self.act)(&mut self.random);
            self.sent += 1;
            let key = match (key, self.random.below(8)) {
                (_, 0) => None,
                (Some(key), _) => Some(key),
                (None, 1) => Some(format!("again{}", self.random.below(20))),
                (None, _) => Some(format!("{}-{}", self.kind, self.sent)),
            };
            let mut headers = vec![("content-type", content_type)];
            headers.extend(key.as_deref().map(|key| ("idempotency-key", key)));
            let shown = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
            let Ok(answer) = connected.send(method, &path, &headers, body).await else { continue };
            assert!(
                answer.status < 500 || answer.status == 503 && answer.retry_after.is_some(),
                "{}: {shown}: {} {}",
                self.kind,
                answer.status,
                answer.body
            );
            *self.seen.lock().unwrap().entry((self.kind, answer.status)).or_default() += 1;
            client = Some(connected);
        }
    }
}

fn own(random: &mut Random) -> String {
    format!("evil{}", random.below(OWN))
}

fn pick<'a>(random: &mut Random, all: &[&'a str]) -> &'a str {
    all[random.place(all.len())]
}

/// A number as it should be, or not.
fn number(random: &mut Random) -> Value {
    match random.below(12) {
        0 => json!("-1"),
        1 => json!("1e30"),
        2 => json!("0.0000000000001"),
        3 => json!(1.5),
        4 => json!("999999999999999"),
        5 => json!("9999999999999999999999999999"),
        6 => Value::Null,
        _ => json!(random.below(50).to_string()),
    }
}

/// Text as it should be, or not.
fn words(random: &mut Random) -> String {
    match random.below(8) {
        0 => String::new(),
        1 => "x".repeat(usize::try_from(random.below(5_000)).unwrap()),
        2 => "Zoë \u{202e}\u{0} ' or 1=1 --".to_owned(),
        3 => "../../etc/passwd".to_owned(),
        _ => format!("t{}", random.below(100)),
    }
}

fn time(random: &mut Random) -> String {
    match random.below(5) {
        0 => "2999-01-01T00:00:00Z".to_owned(),
        1 => "2001-01-01T00:00:00Z".to_owned(),
        2 => "soon".to_owned(),
        _ => crate::support::minutes_ahead(random.below(3)),
    }
}

fn charge_body(random: &mut Random) -> Value {
    let mut body = json!({"feature": pick(random, &["chat", "sso", "nothing", ""]), "quantities": {"input_tokens": number(random)}});
    match random.below(6) {
        0 => {
            body["attributes"] = (0..random.below(40))
                .map(|at| (format!("a{at}"), json!(words(random))))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        1 => body["entity"] = json!(words(random)),
        2 if random.below(20) == 0 => body["occurred_at"] = json!(time(random)),
        3 => {
            body["quantities"] = (0..random.below(70))
                .map(|at| (format!("q{at}"), json!(at)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        4 => body["surprise"] = json!(words(random)),
        _ => {}
    }
    body
}

fn use_it(random: &mut Random) -> Sent {
    let customer = own(random);
    let path = |rest: &str| format!("/v1/customers/{customer}/{rest}");
    match random.below(11) {
        0 => {
            let all: Vec<Value> = (0..random.below(300))
                .map(|at| {
                    let mut body = charge_body(random);
                    (body["customer"], body["idempotency_key"]) =
                        (json!(own(random)), json!(format!("b{}", at % 50 + random.below(1 << 30))));
                    body
                })
                .collect();
            Sent::json(Method::POST, "/v1/charges/batch".to_owned(), &json!(all))
        }
        1 => {
            let mut body = charge_body(random);
            body["ttl_seconds"] = json!(random.below(100_000));
            Sent::json(Method::POST, path("reservations"), &body)
        }
        2 => {
            let what = pick(random, &["commit", "release", "extend"]);
            let body = if what == "commit" {
                json!({"quantities": {"input_tokens": number(random)}})
            } else {
                json!({"ttl_seconds": 5})
            };
            Sent::json(Method::POST, path(&format!("reservations/res_{}/{what}", random.below(300))), &body)
        }
        3 => Sent::json(Method::POST, path("check"), &charge_body(random)),
        4 => {
            let event = json!({"specversion": "1.0", "id": words(random), "source": "x", "type": "chat", "subject": customer, "data": {"quantities": {"input_tokens": number(random)}}});
            Sent {
                content_type: "application/cloudevents+json",
                ..Sent::json(Method::POST, "/v1/events".to_owned(), &event)
            }
        }
        5 => {
            let body = charge_body(random).to_string().into_bytes();
            let cut = random.place(body.len());
            Sent { body: body[..cut].to_vec(), ..Sent::json(Method::POST, path("charges"), &Value::Null) }
        }
        6 | 7 => {
            // The same again and again, mostly refused.
            let tokens = pick(random, &["900000000", "800000000"]);
            let body = json!({"feature": "chat", "quantities": {"input_tokens": tokens}});
            Sent::json(Method::POST, path("charges"), &body)
        }
        _ => Sent::json(Method::POST, path("charges"), &charge_body(random)),
    }
}

fn read(random: &mut Random) -> Sent {
    let customer =
        if random.below(4) == 0 { traffic::customer(random.below(CUSTOMERS)) } else { own(random) };
    let rest = pick(
        random,
        &[
            "balance",
            "entitlements",
            "entitlements/chat",
            "ledger?limit=1000",
            "ledger?limit=1000&order=asc",
            "ledger?type=refused",
            "ledger?cursor=xxx",
            "usage?group_by=feature",
            "usage?group_by=entity,model,hour",
            "usage?group_by=attributes.a1,attributes.a2",
            "usage?from=1970-01-01&to=2100-01-01&group_by=hour",
            "grants?limit=1000",
            "reservations?limit=1000",
            "budgets",
            "entities?limit=1000",
            "terms",
            "balance?at=1999-01-01T00:00:00Z",
            "plan-changes",
            "nothing",
            "",
        ],
    );
    match random.below(8) {
        0 => Sent::get(
            pick(
                random,
                &[
                    "/v1/plans?limit=1000",
                    "/v1/policies?limit=1000",
                    "/v1/customers?limit=1000",
                    "/openapi.json",
                    "/metrics",
                    "/v1/api_keys",
                    "/v1/audit",
                    "/docs",
                ],
            )
            .to_owned(),
        ),
        1 => {
            let customers: Vec<String> = (0..random.below(100)).map(|at| format!("evil{at}")).collect();
            Sent::json(
                Method::POST,
                "/v1/entitlements/query".to_owned(),
                &json!({"customers": customers, "features": ["chat", "sso"]}),
            )
        }
        2 => Sent::get("/v1/usage?group_by=customer,feature&from=2000-01-01&to=2100-01-01".to_owned()),
        _ => Sent::get(format!("/v1/customers/{customer}/{rest}")),
    }
}

fn terms(random: &mut Random) -> Value {
    let settings = match random.below(5) {
        0 => json!({"rates": words(random)}),
        1 => {
            json!({"rates": (0..random.below(300)).map(|at| json!({"feature": "chat", "quantity": format!("q{at}"), "price": {"per_unit": number(random)}})).collect::<Vec<_>>()})
        }
        _ => crate::support::settings("0.001"),
    };
    let policy = pick(random, &["standard", "evil-endless", "evil-endless", "evil-0"]);
    json!({"policy": policy, "version": 1 + random.below(2), "settings": if policy == "standard" { settings } else { json!({}) },
        "on_fault": pick(random, &["deny", "plan", "last_good"]), "mode": pick(random, &["active", "shadow"])})
}

fn manage(random: &mut Random) -> Sent {
    let customer = own(random);
    let path = |rest: &str| format!("/v1/customers/{customer}/{rest}");
    let plan = format!("evil-plan{}", random.below(3));
    match random.below(14) {
        0 => Sent::json(
            Method::PUT,
            format!("/v1/customers/{customer}"),
            &json!({"name": words(random), "plan": plan, "time_zone": pick(random, &["UTC", "Europe/Berlin", "Mars/Base"])}),
        ),
        1 => Sent::json(
            Method::PUT,
            format!("/v1/customers/{customer}"),
            &json!({"attributes": {"k": words(random)}, "anchor": time(random)}),
        ),
        2 => Sent::json(
            Method::PUT,
            format!("/v1/plans/{plan}"),
            &json!({"name": words(random), "interval": "month", "entitlements": {"chat": {"type": "metered"}}, "terms": terms(random)}),
        ),
        3 => Sent::json(Method::POST, path("terms"), &terms(random)),
        4 => Sent::json(Method::POST, path(&format!("terms/terms_{}/end", random.below(40))), &json!({})),
        5 => Sent::json(Method::POST, path("resets"), &json!({})),
        6 => Sent::json(
            Method::POST,
            path("adjustments"),
            &json!({"amount": number(random), "reason": words(random)}),
        ),
        7 => Sent::json(
            Method::PUT,
            path(&format!("entitlements/{}", pick(random, &["chat", "x", "sso"]))),
            &json!({"type": "static", "value": words(random).repeat(4)}),
        ),
        8 => Sent::json(
            Method::PUT,
            path(&format!("budgets/b{}", random.below(30))),
            &json!({"window": pick(random, &["day", "month", "never"]), "limit": number(random), "hard": true}),
        ),
        9 => Sent::json(
            Method::PUT,
            path(&format!("entities/t{}", random.below(100))),
            &json!({"parent": words(random)}),
        ),
        10 => Sent::json(
            Method::POST,
            path("plan-changes"),
            &json!({"plan": plan, "when": pick(random, &["now", "period_end"]), "allowance": pick(random, &["carry", "prorate", "full"])}),
        ),
        11 if random.below(20) == 0 => {
            Sent { method: Method::DELETE, ..Sent::get(format!("/v1/customers/{customer}")) }
        }
        _ => Sent::json(
            Method::POST,
            path("grants"),
            &json!({"amount": number(random), "category": pick(random, &["prepaid", "promotional", "plan"]), "metadata": {"m": words(random)}}),
        ),
    }
}

fn endless() -> Vec<u8> {
    Draft::good().body("rate", "(loop $again (br $again)) (unreachable)").build()
}

fn upload(random: &mut Random) -> Sent {
    let family = random.place(FAMILIES.len());
    let versions = |policy: &str| format!("/v1/policies/{policy}/versions");
    let module = match random.below(6) {
        0 => endless(),
        1 => STANDARD.clone(),
        2 => Draft::good().build(),
        _ => FAMILIES[family].module(random.place(3)),
    };
    match random.below(5) {
        0 => Sent {
            method: Method::DELETE,
            ..Sent::get(format!("/v1/policies/evil-{family}/versions/{}", random.below(4)))
        },
        1 => Sent::get(format!("/v1/policies/evil-{family}/versions/1/module")),
        2 => Sent::get(versions(&format!("evil-{family}"))),
        3 => Sent::json(
            Method::POST,
            "/v1/policies/evil-endless/versions/1/backtests".to_owned(),
            &json!({"customer": own(random), "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}),
        ),
        _ => Sent {
            content_type: "application/wasm",
            body: module,
            ..Sent::json(Method::POST, versions(&format!("evil-{family}")), &Value::Null)
        },
    }
}

fn administer(random: &mut Random) -> Sent {
    match random.below(5) {
        0 => Sent::json(
            Method::POST,
            "/v1/api_keys".to_owned(),
            &json!({"name": words(random), "scopes": [pick(random, &["usage", "read", "root"])], "customer": own(random)}),
        ),
        1 => Sent::get("/v1/api_keys?limit=1000".to_owned()),
        2 => Sent::get("/v1/audit?limit=1000".to_owned()),
        3 => Sent::json(
            Method::PUT,
            "/v1/policies/evil-endless".to_owned(),
            &json!({"resource_class": pick(random, &["small", "default", "large", "huge"])}),
        ),
        _ => Sent::json(
            Method::POST,
            format!(
                "/v1/api_keys/{}/revoke",
                words(random).replace(|c: char| !c.is_ascii_alphanumeric(), "")
            ),
            &json!({}),
        ),
    }
}

/// With a key of nobody, anything.
fn knock(random: &mut Random) -> Sent {
    let acts: [Act; 4] = [use_it, read, manage, administer];
    acts[random.place(acts.len())](random)
}

/// Bytes that are no request, or half of one.
async fn stammer(address: String, mut random: Random, until: Instant) {
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(&address).await else { continue };
        let bytes = match random.below(5) {
            0 => vec![0xff; 4_000],
            1 => b"GET /v1/plans HTTP/1.1\r\nhost: x\r\n".to_vec(),
            2 => format!("POST /v1/charges/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\nauthorization: Bearer {ADMIN_KEY}\r\n\r\n[").into_bytes(),
            3 => format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(40_000)).into_bytes(),
            _ => "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20).into_bytes(),
        };
        let _ = stream.write_all(&bytes).await;
        sleep(Duration::from_millis(random.below(100))).await;
    }
}

/// A key of a scope, narrowed to a customer where that is asked for.
async fn key(client: &mut Client, kind: &str) -> String {
    let (scope, narrowed) = kind.split_once(' ').unwrap_or((kind, ""));
    let mut body = json!({"name": kind, "scopes": [scope]});
    if scope == "policies" {
        body["policy_prefix"] = json!("evil");
    }
    if narrowed == "of one" {
        body["customer"] = json!("evil0");
    }
    client.post("/v1/api_keys", body).await.expect(201)["secret"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn abuse_of_all_kinds_at_once_breaks_nothing() {
    let seconds = if std::env::var_os("PROVISO_LONG").is_some() { 600 } else { 8 };
    let seed = random::seed();
    eprintln!("PROVISO_SEED={seed}: {seconds} s");
    let setup = Setup::new();
    let fleet = Arc::new(Fleet::start(vec![setup.clone()]).await);
    let mut client = fleet.client(0).await;
    traffic::set_up(&mut client, CUSTOMERS).await;
    client.upload("evil-endless", &endless()).await.expect(201);
    for number in 0..OWN {
        client.customer(&format!("evil{number}")).await;
    }
    let traffic = Traffic::start(&fleet, seed, CLIENTS, CUSTOMERS);
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut abusers = JoinSet::new();
    let acts: [(&str, Act); 9] = [
        ("usage", use_it),
        ("read", read),
        ("manage", manage),
        ("policies", upload),
        ("admin", administer),
        ("nobody", knock),
        ("usage of one", use_it),
        ("read of one", read),
        ("manage of one", manage),
    ];
    for (stream, (kind, act)) in acts.into_iter().cycle().take(2 * acts.len()).enumerate() {
        let key = if kind == "nobody" { "wrong".to_owned() } else { key(&mut client, kind).await };
        let (random, address) = (Random::new(seed, 1_000 + stream as u64), fleet.address(0));
        let abuser =
            Abuser { random, kind, act, key, address, seen: seen.clone(), sent: 1_000_000 * stream as u64 };
        abusers.spawn(abuser.work(until));
    }
    abusers.spawn(stammer(fleet.address(0), Random::new(seed, 2_000), until));
    let (process, step) = (fleet.process(0).await, Duration::from_secs(seconds).div_f64(6.0));
    let mut resident = Vec::new();
    for _ in 0..6 {
        sleep(step).await;
        resident.push(resident_kib(process) >> 10);
    }
    while let Some(ended) = abusers.join_next().await {
        ended.unwrap_or_else(|error| panic!("{error} {}", fleet.last_words()));
    }
    let (book, tally) = traffic.finish().await;
    sleep(AFTERWARDS).await;
    let afterwards = resident_kib(process) >> 10;
    eprintln!("MiB in turn {resident:?}, afterwards {afterwards}; honest {tally:?}");
    for ((kind, status), times) in &*seen.lock().unwrap() {
        eprintln!("{kind:>14} {status}: {times}");
    }
    assert_eq!(tally.failed, 0);
    assert!(tally.answered > 0);
    let entries = recount::check(&fleet, &book, CUSTOMERS).await;
    assert!(afterwards <= resident[5] + (SLACK_KIB >> 10), "memory grows afterwards: {afterwards} MiB");
    assert!(
        resident[5] <= resident[1].max(resident[2]) + (GROWTH_KIB >> 10),
        "memory keeps growing: {resident:?} MiB"
    );
    assert!(fleet.terminate(0).await.success());
    let (fine, text) = block_in_place(|| verify(setup.data.path()));
    assert!(fine, "{text}");
    eprintln!("PROVISO_SEED={seed}: {entries} entries of honest customers, all there");
}
