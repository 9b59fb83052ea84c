//! Policies that mean harm and pass the upload, or all but do: what they answer, keep, grow or burn harms nobody else, and whoever
//! is bound to one is told which fault it was, or gets what the policy's own words mean. All at once, while an honest customer is
//! charged.

use crate::support::{Client, Host, process::resident_kib, verify};
use proviso_fixtures::guest::{Draft, NEVER, NO_MONEY, costs, none, parts, slice, units};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

/// What becomes of a module.
#[derive(Clone, Copy)]
enum Fate {
    /// It is refused at its upload, with this code.
    Refused(&'static str),
    /// Each charge faults, with this code.
    Faults(&'static str),
    /// The first period begins without it, with this fault.
    Opens(&'static str),
    /// A period ends without it, with this fault.
    Closes(&'static str),
    /// Each charge costs this.
    Costs(&'static str),
    /// Each charge is refused: code, and the policy's own where that is another.
    Denies(&'static str, Option<&'static str>),
}
use Fate::{Closes, Costs, Denies, Faults, Opens, Refused};

const LOOP: &str = "(loop $again (br $again)) (unreachable)";
const ONE: &str = "0.000000000001";

/// How long an honest charge may take meanwhile, at the worst, on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much more memory the host may have after all of it.
const MORE_KIB: u64 = 192 << 10;

fn with(change: impl FnOnce(&mut Draft)) -> Vec<u8> {
    let mut draft = Draft::good();
    change(&mut draft);
    draft.build()
}

/// A policy that costs what this text leaves, in units, after it did what it wants.
fn costing(fields: &str, before: &str, units: &str) -> Vec<u8> {
    let mut draft = Draft::good().more(fields);
    let rating = draft.rating("credits", 1, &[("usage", 1)], &[]);
    let body = format!("{before} {} (i32.const {rating})", costs(rating, units));
    draft.memory = "(memory (export \"memory\") 64)".to_owned();
    draft.overage_allow(1_000_000);
    draft.body("rate", &body).build()
}

/// A grant as `open` issues it.
fn grant(
    draft: &mut Draft,
    amount: [u8; 16],
    category: &str,
    effective: Option<i64>,
    expires: [u8; 24],
) -> Vec<u8> {
    let mut item = draft.image.text("credits").to_vec();
    item.resize(8, 0);
    item.extend(amount);
    item.extend(draft.image.text(category));
    item.extend(0_i32.to_le_bytes());
    item.extend([0; 4]);
    item.extend(u64::from(effective.is_some()).to_le_bytes());
    item.extend(effective.unwrap_or(0).to_le_bytes());
    item.extend(expires);
    item.extend(none());
    item.extend(NO_MONEY);
    item.extend(draft.image.text("full"));
    while !item.len().is_multiple_of(8) {
        item.push(0);
    }
    item
}

/// Opens with so many of the same grant.
fn opening(
    count: usize,
    amount: [u8; 16],
    category: &str,
    effective: Option<i64>,
    expires: [u8; 24],
) -> Vec<u8> {
    with(|draft| {
        let item = grant(draft, amount, category, effective, expires);
        let list = draft.image.slice(&item.repeat(count), count);
        draft.open(&[list, none(), none()]);
        draft.make_space();
    })
}

fn at(micros: i64) -> [u8; 24] {
    let mut expiry = NEVER;
    expiry[..8].copy_from_slice(&1_u64.to_le_bytes());
    expiry[8..16].copy_from_slice(&micros.to_le_bytes());
    expiry
}

fn rated(credit: &[u8], cost: [u8; 16], label: &[u8]) -> Vec<u8> {
    with(|draft| {
        let mut line = draft.image.slice(label, label.len()).to_vec();
        line.extend(parts(1, 0));
        line.extend(units(5));
        line.extend(cost);
        let lines = draft.image.slice(&line, 1);
        let credit = draft.image.slice(credit, credit.len());
        draft.raw_rating(credit, cost, lines, none());
    })
}

fn attacks() -> Vec<(&'static str, Vec<u8>, Fate)> {
    let good = Draft::good;
    let far = 250_000_000_000_000_000; // The year 9892.
    vec![
        // What it remembers of one call must be gone in the next.
        (
            "remembers in a global",
            costing(
                "(global $n (mut i64) (i64.const 0))",
                "(global.set $n (i64.add (global.get $n) (i64.const 1)))",
                "(global.get $n)",
            ),
            Costs(ONE),
        ),
        (
            "remembers in the memory that a slot keeps",
            costing("", "(i64.store (i32.const 200000) (i64.add (i64.load (i32.const 200000)) (i64.const 1)))", "(i64.load (i32.const 200000))"),
            Costs(ONE),
        ),
        (
            "remembers in memory far away",
            costing("", "(i64.store (i32.const 4000000) (i64.add (i64.load (i32.const 4000000)) (i64.const 1)))", "(i64.load (i32.const 4000000))"),
            Costs(ONE),
        ),
        (
            "remembers in a table",
            costing(
                "(table $t 9000 funcref) (elem declare func $realloc)",
                "(local $n i64) (local.set $n (i64.add (i64.const 1) (i64.extend_i32_u (i32.eqz (ref.is_null (table.get $t (i32.const 8999)))))))
                 (table.set $t (i32.const 8999) (ref.func $realloc))",
                "(local.get $n)",
            ),
            Costs(ONE),
        ),
        (
            "remembers what it dropped",
            costing("(data $d \"x\")", "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)", "(i64.const 1)"),
            Costs(ONE),
        ),
        // What it burns, grows and recurses.
        ("calls itself", good().body("rate", "(call $rate (local.get 0))").build(), Faults("stack_overflow")),
        (
            "calls itself with large frames",
            good()
                .more(&format!("(func $deep (param {}) (call $deep {}))", "i64 ".repeat(60), "(local.get 0)".repeat(60)))
                .body("rate", &format!("(call $deep {}) (unreachable)", "(i64.const 1)".repeat(60)))
                .build(),
            Faults("stack_overflow"),
        ),
        (
            "grows memory for ever",
            good().body("rate", "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)").build(),
            Faults("memory_limit"),
        ),
        (
            "grows memory by all there is",
            good().body("rate", "(drop (memory.grow (i32.const 65534))) (unreachable)").build(),
            Faults("out_of_fuel"),
        ),
        (
            "grows a table for ever",
            good()
                .more("(table $t 1 funcref)")
                .body("rate", "(loop $again (drop (table.grow $t (ref.null func) (i32.const 999))) (br $again)) (unreachable)")
                .build(),
            Faults("table_limit"),
        ),
        (
            "burns fuel when it is made",
            good()
                .more("(func $start (local i32) (loop $again (br_if $again (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 400000))))) (start $start)")
                .body("rate", LOOP)
                .build(),
            Faults("out_of_fuel"),
        ),
        (
            "never ends after its result is read",
            good().more(&format!("(func (export \"cabi_post_rate\") (param i32) {LOOP})")).build(),
            Faults("out_of_fuel"),
        ),
        ("logs for ever", good().body("rate", "(loop $again (call $log (i32.const 70000) (i32.const 8000)) (br $again)) (unreachable)").build(), Faults("out_of_fuel")),
        ("gives no place for its arguments", with(|draft| draft.realloc = "(i32.const 0x7ffffff8)".to_owned()), Refused("invalid_output")),
        ("ends while it is handed its arguments", with(|draft| draft.realloc = "(unreachable)".to_owned()), Refused("trap")),
        // Results that mean nothing, or too much.
        ("costs less than nothing", rated(b"credits", parts(-1, 0), b"a"), Faults("invalid_output")),
        ("costs 10^19", rated(b"credits", parts(i64::MAX, 999_999_999_999), b"a"), Faults("invalid_output")),
        ("costs with two signs", rated(b"credits", parts(5, -1), b"a"), Faults("invalid_output")),
        ("draws credits with a name of 300 bytes", rated(&[b'x'; 300], parts(0, 0), b"a"), Faults("invalid_output")),
        ("draws credits with a line feed", rated(b"cre\ndits", parts(0, 0), b"a"), Faults("invalid_output")),
        ("labels with half of a character", rated(b"credits", parts(1, 0), &[0xed, 0xa0, 0x80]), Faults("invalid_output")),
        ("labels with bytes of a terminal", rated(b"credits", parts(1, 0), b"\x1b[2J"), Faults("invalid_output")),
        (
            "explains at length",
            with(|draft| {
                let label = "x".repeat(1_000);
                let lines: Vec<(&str, i64)> = vec![(label.as_str(), 0); 257];
                draft.rating("credits", 0, &lines, &[]);
                draft.make_space();
            }),
            Faults("invalid_output"),
        ),
        (
            "says one text ten thousand times",
            with(|draft| {
                let text = draft.image.text(&"g".repeat(1_000));
                let ids = draft.image.slice(&text.repeat(10_000), 10_000);
                let credit = draft.image.text("credits");
                draft.raw_rating(credit, parts(0, 0), none(), ids);
                draft.make_space();
            }),
            Faults("output_too_large"),
        ),
        ("names a grant that is not there", with(|draft| _ = draft.rating("credits", 0, &[], &["grant_999999"])), Faults("invalid_output")),
        ("names a grant twice", with(|draft| _ = draft.rating("credits", 0, &[], &["grant_2", "grant_2"])), Faults("invalid_output")),
        ("answers beyond its memory", good().body("rate", "(i32.const 0x7ffffff0)").build(), Faults("invalid_output")),
        ("answers a list of all memory", with(|draft| {
            let credit = draft.image.text("credits");
            draft.raw_rating(credit, parts(0, 0), slice(0, 0x00ff_ffff), none());
        }), Faults("invalid_output")),
        // Codes of others.
        ("refuses with the code of a key", with(|draft| draft.refusal("denied", "api_key_invalid")), Denies("policy_denied", Some("api_key_invalid"))),
        ("refuses with the code of a fault", with(|draft| draft.refusal("denied", "policy_fault")), Denies("policy_denied", Some("policy_fault"))),
        ("refuses with ok", with(|draft| draft.refusal("denied", "ok")), Denies("policy_denied", Some("ok"))),
        ("refuses with trap", with(|draft| draft.refusal("denied", "trap")), Denies("trap", None)),
        // The overage of one who has nothing.
        ("tops up with nothing", with(|draft| {
            _ = draft.rating("credits", 5, &[("a", 5)], &[]);
            draft.overage(3, &[&units(0)[..], &[0; 64]].concat());
        }), Faults("invalid_output")),
        ("tops up without an end", with(|draft| {
            _ = draft.rating("credits", 5, &[("a", 5)], &[]);
            draft.overage(3, &[&parts(i64::MAX, 0)[..], &[0; 64]].concat());
        }), Faults("invalid_output")),
        // Periods.
        ("opens with less than nothing", opening(1, parts(-5, 0), "prepaid", None, NEVER), Opens("invalid_output")),
        ("opens with nothing", opening(1, parts(0, 0), "prepaid", None, NEVER), Opens("")),
        ("opens with 10^15", opening(1, parts(1_000_000_000_000_000, 0), "prepaid", None, NEVER), Opens("invalid_output")),
        ("opens with a category of its own", opening(1, parts(5, 0), "money", None, NEVER), Opens("invalid_output")),
        ("opens with what has expired", opening(1, parts(5, 0), "prepaid", None, at(1)), Opens("invalid_output")),
        ("opens with what expires before time began", opening(1, parts(5, 0), "prepaid", None, at(i64::MIN)), Opens("invalid_output")),
        ("opens with what begins after time ends", opening(1, parts(5, 0), "prepaid", Some(i64::MAX), NEVER), Opens("invalid_output")),
        ("opens with what begins when it has ended", opening(1, parts(5, 0), "prepaid", Some(far), at(far - 1)), Opens("invalid_output")),
        ("opens with ten thousand and one", with(|draft| {
            draft.memory = "(memory (export \"memory\") 64)".to_owned();
            draft.open(&[slice(0x0020_0000, 10_001), none(), none()]);
        }), Opens("invalid_output")),
        ("opens with all it may, for ever", opening(1_500, parts(0, 1), "prepaid", None, NEVER), Closes("")),
        ("never opens", good().body("open", LOOP).build(), Opens("out_of_fuel")),
        ("never closes", good().body("close", LOOP).build(), Closes("out_of_fuel")),
        ("closes with a grant of others", with(|draft| {
            let ids = draft.image.texts(&["grant_999999", "grant_1"]);
            draft.close(&[none(), ids, none(), none(), none()]);
        }), Closes("invalid_output")),
    ]
}

async fn bind(client: &mut Client, place: usize) -> String {
    let (policy, customer) = (format!("attack-{place}"), format!("victim-{place}"));
    let plan = json!({"name": policy, "interval": "month", "entitlements": {"chat": {"type": "metered"}},
        "terms": {"policy": policy, "version": 1, "settings": {}}});
    client.put(&format!("/v1/plans/{policy}"), plan).await.expect(201);
    client.put(&format!("/v1/customers/{customer}"), json!({"plan": policy})).await.expect(201);
    customer
}

/// The newest entry of one of these types.
async fn entry(client: &mut Client, customer: &str, types: &str) -> Value {
    let path = format!("/v1/customers/{customer}/ledger?limit=1&type={types}");
    client.get(&path).await.expect(200)["data"][0].clone()
}

async fn meets(client: &mut Client, name: &str, customer: &str, fate: Fate) {
    let fault = |entry: &Value| entry["decision"]["fault"]["code"].as_str().unwrap_or("").to_owned();
    match fate {
        Refused(_) => {}
        Faults(code) => {
            for number in 0..3 {
                let refused = client.charge(customer, &format!("f{number}"), 1).await;
                assert_eq!(
                    (refused.status, refused.code()),
                    (402, "policy_fault"),
                    "{name}: {}",
                    refused.body
                );
            }
            assert_eq!(fault(&entry(client, customer, "refused").await), code, "{name}");
        }
        Costs(cost) => {
            for number in 0..8 {
                let charged = client.charge(customer, &format!("c{number}"), 1).await.expect(201);
                assert_eq!(charged["cost"], cost, "{name}: {charged}");
            }
        }
        Denies(code, own) => {
            let refused = client.charge(customer, "d", 1).await;
            assert_eq!((refused.status, refused.code()), (402, code), "{name}: {}", refused.body);
            assert_eq!(refused.body["policy_code"].as_str(), own, "{name}");
            let body = json!({"feature": "chat", "quantities": {"input_tokens": 1}});
            let check = client.post(&format!("/v1/customers/{customer}/check"), body).await.expect(200);
            let said = (check["allowed"].as_bool(), check["reason"].as_str(), check["policy_code"].as_str());
            assert_eq!(said, (Some(false), Some(code), own), "{name}");
            let access = client.get(&format!("/v1/customers/{customer}/entitlements/chat")).await.expect(200);
            let said = (access["has_access"].as_bool(), access["reason"].as_str());
            assert_eq!(said, (Some(false), Some(code)), "{name}");
        }
        Opens(code) => {
            let opened = entry(client, customer, "period_opened").await;
            assert_eq!(fault(&opened), code, "{name}: {opened}");
            assert_eq!(opened["event"]["grants"].as_array().map_or(0, Vec::len), 0, "{name}");
        }
        Closes(code) => {
            for round in 0..4 {
                let path = format!("/v1/customers/{customer}/resets");
                let reset = client.post_once(&path, &format!("r{round}"), json!({})).await;
                assert!(reset.status < 300, "{name}: {} {}", reset.status, reset.body);
            }
            assert_eq!(fault(&entry(client, customer, "period_closed").await), code, "{name}");
        }
    }
    // Whatever it is, it can be read, and bound to other terms.
    client.get(&format!("/v1/customers/{customer}/balance")).await.expect(200);
    client.get(&format!("/v1/customers/{customer}/ledger?limit=1000")).await.expect(200);
    let terms = json!({"policy": "standard", "version": 1, "settings": crate::support::settings("0.001")});
    client.post(&format!("/v1/customers/{customer}/terms"), terms).await.expect(201);
    let grant = json!({"amount": "5", "category": "prepaid"});
    client.post_once(&format!("/v1/customers/{customer}/grants"), "g", grant).await.expect(201);
    client.charge(customer, "after", 1).await.expect(201);
}

async fn attack(mut client: Client, place: usize, name: &'static str, module: Vec<u8>, fate: Fate) {
    let answer = client.upload(&format!("attack-{place}"), &module).await;
    if let Refused(code) = fate {
        assert_eq!((answer.status, answer.code()), (422, "policy_rejected"), "{name}: {}", answer.body);
        assert_eq!(answer.body["errors"][0]["code"].as_str(), Some(code), "{name}: {}", answer.body);
        return;
    }
    assert_eq!(answer.status, 201, "{name}: {}", answer.body);
    let customer = bind(&mut client, place).await;
    meets(&mut client, name, &customer, fate).await;
}

/// Charges until it is told to stop; how long the slowest took.
async fn charge(mut client: Client, stop: Arc<AtomicBool>) -> (Duration, usize) {
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        client.charge("acme", &format!("honest-{count}"), 1).await.expect(201);
        slowest = slowest.max(began.elapsed());
        count += 1;
        sleep(Duration::from_millis(5)).await;
    }
    (slowest, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_that_mean_harm_are_faults_of_their_own() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    let stop = Arc::new(AtomicBool::new(false));
    let honest = tokio::spawn(charge(host.client().await, stop.clone()));
    let before = resident_kib(host.process());
    let attacks = attacks();
    let count = attacks.len();
    let mut failed = Vec::new();
    for (place, (name, module, fate)) in attacks.into_iter().enumerate() {
        let attacked = tokio::spawn(attack(host.client().await, place, name, module, fate));
        if attacked.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    stop.store(true, Ordering::Relaxed);
    let (slowest, charges) = honest.await.unwrap();
    let more = resident_kib(host.process()).saturating_sub(before);
    eprintln!("{count} attacks: {charges} honest charges, the slowest {slowest:?}; {} MiB more", more >> 10);
    assert!(slowest < PATIENCE, "{slowest:?}");
    assert!(more < MORE_KIB, "{more} KiB more");
    let data = host.data.clone();
    assert!(host.terminate().await.success());
    let (fine, text) = block_in_place(|| verify(data.path()));
    assert!(fine, "{text}");
}
