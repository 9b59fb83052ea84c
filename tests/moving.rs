//! Moving in and out with the real binary: what a random population has and used is exported from a file and imported into a PostgreSQL
//! database, and everything that can be asked of it is answered the same; and what is refused is said by line, field and code.

use crate::support::{
    ADMIN_KEY, BINARY, Client, Host, STANDARD, Setup, cluster::shared, random::Random, settings, verify,
    verify_database,
};
use hyper::Method;
use serde_json::{Value, json};
use std::{fmt::Write as _, path::Path, process::Command};

const CUSTOMERS: u64 = 8;
const DAY: i64 = 86_400;

/// `proviso import` or `export`: its exit code, and what it said.
fn proviso(host: &Host, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .args(["--server", &format!("http://{}", host.address)])
        .env("PROVISO_KEY", ADMIN_KEY)
        .env("NO_COLOR", "1")
        .output()
        .expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn report(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

async fn set_up(client: &mut Client) {
    client.upload("standard", &STANDARD).await.expect(201);
    let mut terms = settings("0.001");
    terms["overage"] = json!({"mode": "allow"});
    let plan = json!({
        "name": "Pro", "interval": "month",
        "entitlements": {"chat": {"type": "metered"}, "sso": {"type": "boolean", "value": false}, "seats": {"type": "static", "value": 5}},
        "grants": [{"key": "welcome", "amount": "50", "category": "promotional", "recurrence": "once"}],
        "terms": {"policy": "standard", "version": 1, "settings": terms},
    });
    client.put("/v1/plans/pro", plan).await.expect(201);
}

async fn now(client: &mut Client) -> String {
    client.get("/v1/test_clock").await.expect(200)["now"].as_str().unwrap().to_owned()
}

/// Seconds later, as the host writes times.
fn later(at: &str, seconds: i64) -> String {
    let at: jiff::Timestamp = at.parse().unwrap();
    (at + jiff::SignedDuration::from_secs(seconds)).to_string()
}

fn one_of<'a>(random: &mut Random, all: &[&'a str]) -> &'a str {
    all[random.place(all.len())]
}

/// Some months of some customers, whatever comes of each request.
async fn live(client: &mut Client, random: &mut Random) {
    let mut charges: Vec<(String, String)> = Vec::new();
    for n in 0..CUSTOMERS {
        let body = json!({
            "name": format!("Customer {n}"), "plan": if n == 0 { Value::Null } else { json!("pro") },
            "time_zone": one_of(random, &["UTC", "Europe/Berlin", "Asia/Kolkata"]),
            "attributes": {"tier": "gold"}, "external_ids": {"crm": format!("crm-{n}")},
        });
        client.put(&format!("/v1/customers/c%20{n}"), body).await.expect(201);
        for (entity, parent) in [("team", None), ("ann", Some("team")), ("a-sub", Some("ann"))] {
            let body = json!({"parent": parent, "attributes": {"role": entity}});
            client.put(&format!("/v1/customers/c%20{n}/entities/{entity}"), body).await.expect(201);
        }
    }
    for step in 0..160_u64 {
        let place = format!("/v1/customers/c%20{}", random.below(CUSTOMERS));
        let at = now(client).await;
        let key = format!("k{step}");
        match random.below(20) {
            0..=2 => {
                let to = later(&at, random.below(9) as i64 * DAY + 3_601);
                client.post("/v1/test_clock", json!({"now": to})).await.expect(200);
            }
            3..=6 => {
                let mut body = json!({
                    "amount": format!("{}.5", 1 + random.below(90)), "priority": random.below(3),
                    "category": one_of(random, &["prepaid", "promotional", "plan", "contract"]),
                    "metadata": {"order": step},
                });
                match random.below(4) {
                    0 => body["expires_at"] = json!(later(&at, 50 * DAY)),
                    1 => body["expires_with_period"] = json!(random.below(2)),
                    2 => body["effective_at"] = json!(later(&at, -3 * DAY)),
                    _ => body["effective_at"] = json!(later(&at, 2 * DAY)),
                }
                if random.below(2) == 0 {
                    body["cost_basis"] = json!({"amount": "9.99", "currency": "EUR"});
                }
                if random.below(3) == 0 {
                    body["features"] = json!(["chat"]);
                }
                client.post_once(&format!("{place}/grants"), &key, body).await;
            }
            7 => {
                let body = json!({"amount": "-7", "reason": "a mistake"});
                client.post_once(&format!("{place}/adjustments"), &key, body).await;
            }
            8 => {
                let body = json!({"window": "month", "limit": "100000", "entity": "team"});
                client.put(&format!("{place}/budgets/team"), body).await;
            }
            9 => {
                let body = json!({"type": "boolean", "value": random.below(2) == 0});
                client.put(&format!("{place}/entitlements/sso"), body).await;
            }
            10 if !charges.is_empty() => {
                let (place, charge) = charges[random.place(charges.len())].clone();
                let body = json!({"amount": "0.1", "reason": "a complaint"});
                client.post_once(&format!("{place}/charges/{charge}/refunds"), &key, body).await;
            }
            11 => {
                let body = json!({"feature": "chat", "quantities": {"input_tokens": 2_000}});
                let reserved = client.post_once(&format!("{place}/reservations"), &key, body).await;
                if let Some(id) = reserved.body["id"].as_str() {
                    let body = json!({"quantities": {"input_tokens": 1_500}});
                    client.post_once(&format!("{place}/reservations/{id}/commit"), &key, body).await;
                }
            }
            _ => {
                let mut body = json!({
                    "feature": "chat",
                    "quantities": {"input_tokens": random.below(90_000), "output_tokens": random.below(9_000)},
                });
                if random.below(2) == 0 {
                    body["entity"] = json!(one_of(random, &["team", "ann", "a-sub", "nobody"]));
                }
                if random.below(2) == 0 {
                    body["attributes"] = json!({"model": one_of(random, &["small", "large"])});
                }
                if random.below(4) == 0 {
                    body["occurred_at"] = json!(later(&at, -(random.below(20) as i64) * DAY));
                }
                let charged = client.post_once(&format!("{place}/charges"), &key, body).await;
                if let Some(id) = charged.body["id"].as_str() {
                    charges.push((place, id.to_owned()));
                }
            }
        }
    }
    // A closed customer, too.
    client.delete("/v1/customers/c%207").await.expect(200);
    assert!(charges.len() > 20, "{}", charges.len());
}

/// Everything that can be asked of a customer and must not depend on where it is. Ids, and the numbers of periods, are a host's own.
async fn seen(client: &mut Client, n: u64) -> Value {
    let place = format!("/v1/customers/c%20{n}");
    let mut customer = client.get(&place).await.expect(200);
    // A closed customer moves without its plan.
    let is_closed = customer["closed"] == true;
    for field in ["created_at", "period"] {
        customer.as_object_mut().unwrap().remove(field);
    }
    if is_closed {
        customer["plan"] = Value::Null;
        customer["plan_version"] = Value::Null;
    }
    let mut balances = client.get(&format!("{place}/balance")).await.expect(200)["balances"].clone();
    for balance in balances.as_array_mut().unwrap() {
        if is_closed {
            balance.as_object_mut().unwrap().remove("next_reset_at");
        }
        for grant in balance["grants"].as_array_mut().unwrap() {
            for field in ["id", "expires_with_period"] {
                grant.as_object_mut().unwrap().remove(field);
            }
        }
    }
    let mut entitlements = client.get(&format!("{place}/entitlements")).await.expect(200);
    if is_closed {
        entitlements = Value::Null;
    }
    let entities = client.get(&format!("{place}/entities")).await.expect(200);
    let mut budgets = client.get(&format!("{place}/budgets")).await.expect(200);
    for budget in budgets["data"].as_array_mut().unwrap() {
        for field in ["used", "remaining", "resets_at"] {
            budget.as_object_mut().unwrap().remove(field);
        }
    }
    let mut reports = Vec::new();
    for group_by in ["feature,day", "entity,model", "category", "hour", "attributes.model", "month"] {
        let path = format!("{place}/usage?from=2020-01-01&to=2035-01-01&limit=1000&group_by={group_by}");
        let mut report = client.get(&path).await.expect(200);
        for row in report["data"].as_array_mut().unwrap() {
            row.as_object_mut().unwrap().remove("imported");
        }
        reports.push(report["data"].clone());
    }
    json!({
        "customer": customer, "balances": balances, "entitlements": entitlements, "entities": entities,
        "budgets": budgets, "reports": reports,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_an_export_gives_equal_balances_grants_entitlements_and_reports() {
    let seed = std::env::var("PROVISO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let mut random = Random::new(seed, 1);
    let from = Host::start().await;
    let mut client = from.client().await;
    set_up(&mut client).await;
    live(&mut client, &mut random).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("everything.jsonl");
    let name = file.to_str().unwrap();
    let (code, said) = proviso(&from, &["export", "-o", name]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("of {CUSTOMERS} customers")), "{said}");

    let url = shared().url(&shared().create_database());
    let to = Setup::on(&url).start().await;
    let mut other = to.client().await;
    set_up(&mut other).await;
    let at = now(&mut client).await;
    other.post("/v1/test_clock", json!({"now": at})).await.expect(200);
    let (code, said) = proviso(&to, &["import", name, "--import", "the move", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let first = report(&said);
    assert_eq!((&first["repeated"], &first["refused"]), (&json!(0), &json!([])), "{said}");
    for n in 0..CUSTOMERS {
        let (before, after) = (seen(&mut client, n).await, seen(&mut other, n).await);
        assert_eq!(before, after, "customer {n}, seed {seed}");
    }
    // The same file again moves nothing, whatever the import is called, and from anywhere on.
    let (code, said) = proviso(&to, &["import", name, "--import", "once more", "--json"]);
    let again = report(&said);
    assert_eq!((code, &again["imported"], &again["refused"]), (Some(0), &json!({}), &json!([])), "{said}");
    let (code, said) = proviso(&to, &["import", name, "--from", "20", "--json"]);
    assert_eq!((code, &report(&said)["imported"]), (Some(0), &json!({})), "{said}");
    for n in 0..CUSTOMERS {
        assert_eq!(seen(&mut client, n).await, seen(&mut other, n).await, "customer {n}, seed {seed}");
    }
    // What was imported is marked, and moved nothing that counts.
    let usage =
        other.get("/v1/usage?from=2020-01-01T00:00:00Z&to=2035-01-01T00:00:00Z&group_by=imported&limit=1000");
    let usage = usage.await.expect(200);
    let rows = usage["data"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["group"]["imported"] == "true"), "{usage}");
    assert!(rows.iter().all(|row| row["charges"] == row["imported"]), "{usage}");

    let data = from.data.clone();
    assert!(from.terminate().await.success() && to.terminate().await.success());
    let (fine, text) = verify(data.path());
    assert!(fine, "{text}");
    let (fine, text) = verify_database(&url);
    assert!(fine, "{text}");
}

fn write(folder: &Path, name: &str, lines: &[&str]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_and_can_be_put_right() {
    let host = Host::start().await;
    let mut client = host.client().await;
    set_up(&mut client).await;
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "old.jsonl",
        &[
            r#"{"type":"customer","customer":"acme","plan":"pro","anchor":"2025-03-14T00:00:00Z"}"#,
            r#"{"type":"customer","customer":"beta","plan":"gone"}"#,
            r#"{"type":"grant","customer":"acme","id":"g-1","amount":"1000","used":"400","category":"plan","expires_with_period":0}"#,
            r#"{"type":"grant","customer":"acme","id":"g-2","amount":"10","used":"11","category":"prepaid"}"#,
            "",
            r#"{"type":"grant","customer":"acme","id":"g-3","amount":10,"category":"prepaid"}"#,
            r#"{"type":"grant","customer":"beta","id":"g-4","amount":"10","category":"prepaid"}"#,
            r#"{"type":"usage","customer":"acme","id":"u-1","feature":"chat","quantities":{"input_tokens":120},"occurred_at":"2024-02-03T04:05:06Z","cost":"1.5","paid":{"prepaid":"1","tips":"0.5"}}"#,
            r#"{"type":"usage","customer":"acme","id":"u-2","feature":"chat","quantities":{"input_tokens":120},"occurred_at":"2024-02-03T04:05:06Z","cost":"1.5","entity":"ann"}"#,
            r#"{"type":"bill","customer":"acme"}"#,
            "no record",
        ],
    );
    let refused = folder.path().join("refused.jsonl");
    let (code, said) = proviso(&host, &["import", &file, "--json", "--refused", refused.to_str().unwrap()]);
    let found = report(&said);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(found["imported"], json!({"customer": 1, "grant": 1, "usage": 1}), "{said}");
    let mut lines = String::new();
    for one in found["refused"].as_array().unwrap() {
        let pointer = one["errors"][0]["pointer"].as_str().unwrap_or("-");
        writeln!(lines, "{} {} {pointer}", one["line"], one["code"].as_str().unwrap()).unwrap();
    }
    assert_eq!(
        lines,
        "2 plan_not_found /plan\n4 invalid_request /used\n6 invalid_request /amount\n\
         7 customer_not_found /customer\n8 invalid_request /paid/tips\n10 invalid_request /type\n11 malformed_json -\n"
    );
    assert_eq!(std::fs::read_to_string(&refused).unwrap().lines().count(), 7);
    // For people, too.
    let (_, said) = proviso(&host, &["import", &file]);
    assert!(said.contains("line 4  grant g-2 acme  invalid_request"), "{said}");
    assert!(said.contains("3 there already, import old"), "{said}");

    // The allowance that was half used goes on; the plan gives nothing, not even what welcomes.
    let balance = client.get("/v1/customers/acme/balance").await.expect(200)["balances"][0].clone();
    assert_eq!(
        (&balance["granted"], &balance["used"], &balance["available"]),
        (&json!("1000"), &json!("400"), &json!("600"))
    );
    client.charge("acme", "k", 100_000).await.expect(201);
    let usage =
        client.get("/v1/customers/acme/usage?from=2024-01-01&to=2035-01-01&group_by=month").await.expect(200);
    let row = &usage["data"][0];
    assert_eq!(
        (&row["group"]["month"], &row["charges"], &row["imported"]),
        (&json!("2024-02"), &json!(1), &json!(1))
    );
    assert_eq!(row["cost"], json!([{"credit": "credits", "cost": "1.5"}]));
    assert_eq!(usage["data"].as_array().unwrap().len(), 2, "{usage}");
    let entry = client.get("/v1/customers/acme/ledger?type=usage_imported").await.expect(200);
    assert_eq!(entry["data"][0]["event"]["import"], "old");
    assert_eq!((&entry["data"][0]["transfers"], &entry["data"][0]["counts"]), (&json!([]), &json!([])));

    // A table says the same of the same records.
    let table = write(
        folder.path(),
        "old.csv",
        &[
            "type,customer,id,amount,used,category,expires_with_period,feature,quantities.input_tokens,occurred_at,cost,entity",
            "grant,acme,g-1,1000,400,plan,0,,,,,",
            "usage,acme,u-2,,,,,chat,120,2024-02-03T04:05:06Z,1.5,ann",
            "grant,acme,g-5,\"25\",5,prepaid,,,,,,",
            "usage,acme,u-2,,,,,chat,121,2024-02-03T04:05:06Z,1.5,ann",
        ],
    );
    let (code, said) = proviso(&host, &["import", &table, "--json"]);
    let found = report(&said);
    assert_eq!(
        (code, &found["imported"], &found["repeated"]),
        (Some(1), &json!({"grant": 1}), &json!(2)),
        "{said}"
    );
    assert_eq!(
        (&found["refused"][0]["line"], &found["refused"][0]["code"]),
        (&json!(5), &json!("idempotency_key_reused"))
    );

    // A key that is narrowed to a customer may not.
    let answer = client
        .send(Method::POST, "/v1/imports?import=x", &[("content-type", "text/plain")], "x")
        .await
        .unwrap();
    assert_eq!((answer.status, answer.code()), (415, "unsupported_media_type"));
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let (fine, text) = verify(data.path());
    assert!(fine, "{text}");
}

/// Half of a file, a host that is killed, and the whole file: each record is there once.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_broke_off_is_begun_again() {
    let host = Host::start().await;
    let mut client = host.client().await;
    set_up(&mut client).await;
    let mut text = String::from("{\"type\":\"customer\",\"customer\":\"acme\"}\n");
    text.push_str("{\"type\":\"grant\",\"customer\":\"acme\",\"id\":\"g\",\"amount\":\"100\",\"category\":\"prepaid\"}\n");
    for n in 0..2_000 {
        let at = format!("2024-0{}-{:02}T0{}:00:00Z", 1 + n % 9, 1 + n % 28, n % 10);
        writeln!(text, "{{\"type\":\"usage\",\"customer\":\"acme\",\"id\":\"u-{n}\",\"feature\":\"chat\",\"quantities\":{{\"input_tokens\":3}},\"occurred_at\":\"{at}\",\"cost\":\"0.25\"}}").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.jsonl");
    std::fs::write(&whole, &text).unwrap();
    let half = folder.path().join("half.jsonl");
    let lines: Vec<&str> = text.lines().take(900).collect();
    std::fs::write(&half, lines.join("\n")).unwrap();
    let (code, said) = proviso(&host, &["import", half.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let host = Host::start_in(host.kill().await).await;
    let (code, said) = proviso(&host, &["import", whole.to_str().unwrap(), "--import", "half"]);
    assert!(code == Some(0) && said.contains("1,102 records: 1,102 usage\n  900 there already"), "{said}");
    let mut client = host.client().await;
    let path = "/v1/customers/acme/usage?from=2024-01-01&to=2025-01-01&group_by=feature";
    let expected = json!([{
        "group": {"feature": "chat"}, "charges": 2_000, "imported": 2_000,
        "cost": [{"credit": "credits", "cost": "500"}], "quantities": {"input_tokens": "6000"},
    }]);
    assert_eq!(client.get(path).await.expect(200)["data"], expected);
    let balance = client.get("/v1/customers/acme/balance").await.expect(200)["balances"][0].clone();
    assert_eq!((&balance["available"], &balance["used"]), (&json!("100"), &json!("0")));
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let (fine, text) = verify(data.path());
    assert!(fine, "{text}");
}
