//! What comes from the network without a key or with an old one: connections that hold on and send nothing, and admin keys
//! that were replaced.

use crate::support::{ADMIN_KEY, Client, Host, Setup, cluster::shared};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

/// How long a host may go on with an admin key that was replaced at another one.
const REPLACED_WITHIN: Duration = Duration::from_secs(2);
/// The admin key that replaces the one of the harness, and one that replaces that.
const SECOND: &str = "second-admin-key-of-the-tests";
const THIRD: &str = "third-admin-key-of-the-tests";
/// Slow clients of each kind.
const SLOW: usize = 500;
/// How much more memory they may take, in KiB.
const MORE_MEMORY_KIB: u64 = 64 << 10;

async fn status(host: &Host, key: &str) -> u16 {
    Client::connect(&host.address, key).await.unwrap().get("/v1/plans").await.status
}

/// What a host answers to each of these keys.
async fn statuses<const N: usize>(host: &Host, keys: [&str; N]) -> [u16; N] {
    let mut statuses = [0; N];
    for (status_of, key) in statuses.iter_mut().zip(keys) {
        *status_of = status(host, key).await;
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_admin_key_ends_the_one_before() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let start = |key: &'static str| {
        let setup = Setup::within(data.clone()).admin_key(key);
        async move { setup.start().await }
    };
    // None is given: one is made, and shown once.
    let host = start("").await;
    let log = std::fs::read_to_string(data.path().join("stderr.log")).unwrap();
    let (_, made) = log.split_once("admin key, shown only this once: ").unwrap_or_else(|| panic!("{log}"));
    let made = made.split_whitespace().next().unwrap().to_owned();
    let key = json!({"name": "of the API", "scopes": ["admin"]});
    let of_api =
        Client::connect(&host.address, &made).await.unwrap().post("/v1/api_keys", key).await.expect(201);
    let of_api = of_api["secret"].as_str().unwrap().to_owned();
    assert!(host.terminate().await.success());
    // What the API made stays. A host with an old key, or with none, changes nothing.
    let keys = [&*made, ADMIN_KEY, SECOND, &*of_api];
    for (given, expected) in [
        (ADMIN_KEY, [401, 200, 401, 200]),
        (ADMIN_KEY, [401, 200, 401, 200]),
        (SECOND, [401, 401, 200, 200]),
        (ADMIN_KEY, [401, 401, 200, 200]),
        ("", [401, 401, 200, 200]),
    ] {
        let host = start(given).await;
        assert_eq!(statuses(&host, keys).await, expected, "{given:?}");
        assert!(host.terminate().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_admin_key_ends_the_one_before_on_all_hosts() {
    let url = shared().url(&shared().create_database());
    let setup = Setup::on(&url);
    let [first, other] = [setup.start().await, Setup::on(&url).start().await];
    assert_eq!(statuses(&other, [ADMIN_KEY, SECOND]).await, [200, 401]);
    assert!(first.terminate().await.success());
    let first = setup.clone().admin_key(SECOND).start().await;
    let since = Instant::now();
    assert_eq!(statuses(&first, [ADMIN_KEY, SECOND]).await, [401, 200]);
    assert_eq!(status(&other, SECOND).await, 200, "the new key works at once");
    while status(&other, ADMIN_KEY).await != 401 {
        assert!(since.elapsed() < REPLACED_WITHIN, "the old key still works");
    }
    // One that was not given the new key yet starts again.
    assert!(other.terminate().await.success());
    let other = Setup::on(&url).start().await;
    for host in [&first, &other] {
        assert_eq!(statuses(host, [ADMIN_KEY, SECOND]).await, [401, 200]);
    }
    assert!(first.terminate().await.success());
    let first = setup.admin_key(THIRD).start().await;
    assert_eq!(statuses(&first, [ADMIN_KEY, SECOND, THIRD]).await, [401, 401, 200]);
    for host in [first, other] {
        assert!(host.terminate().await.success());
    }
}

/// Resident memory, in KiB.
fn resident_kib(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Charges one after another; how long each took, sorted.
async fn charged(client: &mut Client, name: &str, count: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let began = Instant::now();
        client.charge("acme", &format!("{name}-{number}"), 1).await.expect(201);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}

/// Half heads, half bodies, answers that are never read, and connections that send nothing: together they take little
/// memory, and hold nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_take_little() {
    let host = Host::start().await;
    let mut client = host.client().await;
    client.set_up().await;
    client.customer("acme").await;
    charged(&mut client, "first", 300).await;
    let alone = charged(&mut client, "alone", 300).await;
    let before = resident_kib(&host);
    let half_head = format!("GET /healthz HTTP/1.1\r\nx: {}", "y".repeat(31 << 10)).into_bytes();
    let half_body = format!(
        "POST /v1/charges/batch HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ADMIN_KEY}\r\n\
         content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{}",
        " ".repeat(900_000)
    )
    .into_bytes();
    let unread = "GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n".repeat(100).into_bytes();
    let kinds = [half_head, half_body, unread, Vec::new()].map(Arc::new);
    let mut slow = Vec::new();
    for number in 0..4 * SLOW {
        let bytes = kinds[number % kinds.len()].clone();
        let mut stream = TcpStream::connect(&host.address).await.unwrap();
        slow.push(tokio::spawn(async move {
            // What is refused halfway is not taken to its end.
            let _ = stream.write_all(&bytes).await;
            stream
        }));
    }
    let mut most = before;
    let mut meanwhile = Vec::new();
    for round in 0..5 {
        meanwhile.extend(charged(&mut client, &format!("meanwhile-{round}"), 100).await);
        most = most.max(resident_kib(&host));
    }
    meanwhile.sort_unstable();
    let tail = |times: &[Duration]| times[times.len() * 99 / 100];
    eprintln!(
        "{} slow clients: {} MiB more; p99 {:?} instead of {:?}",
        slow.len(),
        (most - before) >> 10,
        tail(&meanwhile),
        tail(&alone)
    );
    assert!(most < before + MORE_MEMORY_KIB, "{before} KiB became {most} KiB");
    // Those who sent half a head, or nothing, are not waited for; all the others are done with after a while, too.
    let since = Instant::now();
    let ends = |mut stream: TcpStream| async move {
        let mut rest = [0; 1 << 16];
        while stream.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
    };
    for (number, stream) in slow.into_iter().enumerate() {
        match number % kinds.len() {
            0 | 3 => {
                tokio::time::timeout(Duration::from_secs(20), ends(stream.await.unwrap())).await.unwrap()
            }
            _ => stream.abort(),
        }
    }
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    client.charge("acme", "last", 1).await.expect(201);
    assert!(host.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_may_have_an_address_of_their_own() {
    let setup = Setup::new().through(&["env", "PROVISO_OPS_LISTEN=127.0.0.1:0"]);
    let host = setup.start().await;
    let log = std::fs::read_to_string(setup.data.path().join("stderr.log")).unwrap();
    let (_, address) =
        log.split_once("operators are listened to address=").unwrap_or_else(|| panic!("{log}"));
    let address = address.split_whitespace().next().unwrap();
    let (mut operator, mut client) = (Client::connect(address, "").await.unwrap(), host.client().await);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!((operator.get(path).await.status, client.get(path).await.status), (200, 404), "{path}");
    }
    assert_eq!((operator.get("/v1/plans").await.status, client.get("/v1/plans").await.status), (404, 200));
    // It still tells what goes on while the host ends.
    let ended = tokio::spawn(host.terminate());
    let told = loop {
        // A new connection each time, as probes have: the last answer before the drain may end its own.
        let answer = Client::connect(address, "").await.unwrap().get("/readyz").await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((told.status, told.code()), (503, "draining"));
    assert!(ended.await.unwrap().success());
}
