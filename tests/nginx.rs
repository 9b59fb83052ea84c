//! Two hosts behind nginx, with connections kept on both sides: a host that is restarted costs nobody a request. Where nginx is not
//! installed there is nothing to see. `PROVISO_RESTARTS` says how often each host is restarted (once).

use crate::support::{ADMIN_KEY, Client, Setup, cluster, fleet::Fleet};
use serde_json::json;
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

const CLIENTS: usize = 100;
const CUSTOMERS: usize = 50;

/// A port that nobody listens on.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// As the manual has it for kept connections; a request that can't be handed to one host goes to the other.
fn configuration(folder: &Path, front: u16, hosts: &[u16]) -> String {
    let folder = folder.display();
    let servers: String =
        hosts.iter().map(|port| format!("server 127.0.0.1:{port} max_fails=1 fail_timeout=1s; ")).collect();
    format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
         events {{ worker_connections 1024; }}
         http {{
           access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
           fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
           keepalive_requests 1000000;
           upstream hosts {{ {servers} keepalive 64; keepalive_requests 1000000; }}
           server {{
             listen 127.0.0.1:{front};
             location / {{ proxy_pass http://hosts; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
           }}
         }}"
    )
}

/// Ended when it is dropped.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, configuration: &str) -> Option<Nginx> {
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let program = ["nginx", "/usr/sbin/nginx"].into_iter().find(|program| {
        Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    })?;
    let child = Command::new(program).arg("-c").arg(&file).arg("-e").arg(folder.join("error.log")).spawn();
    Some(Nginx(child.expect("nginx starts")))
}

async fn charge(
    address: String,
    number: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut failed = Vec::new();
    let mut client = Client::connect(&address, ADMIN_KEY).await.expect("nginx listens");
    for charge in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let customer = number % CUSTOMERS;
        let body = json!({"feature": "chat", "quantities": {"input_tokens": 1}}).to_string();
        let key = format!("{number}-{charge}");
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let path = format!("/v1/customers/c{customer}/charges");
        match client.send(hyper::Method::POST, &path, &headers, body).await {
            Ok(answer) if answer.status == 201 => {}
            Ok(answer) => failed.push(format!("{key}: {} {}", answer.status, answer.body)),
            Err(error) => {
                failed.push(format!("{key}: {error}"));
                client = Client::connect(&address, ADMIN_KEY).await.expect("nginx listens");
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(50)).await;
    }
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_behind_nginx_fail_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let (front, hosts) = (free_port().await, [free_port().await, free_port().await]);
    let Some(_nginx) = start(folder.path(), &configuration(folder.path(), front, &hosts)) else {
        eprintln!("skipped: nginx is not installed");
        return;
    };
    let url = cluster::shared().url(&cluster::shared().create_database());
    let at = |port| Setup::on(&url).through(&["env", &format!("PROVISO_LISTEN=127.0.0.1:{port}")]);
    let fleet = Arc::new(Fleet::start(hosts.map(at).into()).await);
    let mut client = fleet.client(0).await;
    client.set_up().await;
    for number in 0..CUSTOMERS {
        client.customer(&format!("c{number}")).await;
    }
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(charge(format!("127.0.0.1:{front}"), number, stop.clone(), done.clone()));
    }
    let progress = async || {
        let goal = done.load(Ordering::Relaxed) + 3 * CLIENTS;
        while done.load(Ordering::Relaxed) < goal {
            sleep(Duration::from_millis(20)).await;
        }
    };
    progress().await;
    let restarts =
        std::env::var("PROVISO_RESTARTS").ok().and_then(|restarts| restarts.parse().ok()).unwrap_or(1);
    for _ in 0..restarts {
        for host in 0..hosts.len() {
            assert!(fleet.terminate(host).await.success());
            progress().await;
            fleet.start_again(host).await;
            // nginx has left it out for a second.
            sleep(Duration::from_millis(1_500)).await;
            progress().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let failed: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
    eprintln!(
        "{} restarts, {} requests, {} failed",
        2 * restarts,
        done.load(Ordering::Relaxed),
        failed.len()
    );
    assert_eq!(failed, Vec::<String>::new(), "{}", fleet.last_words());
    for host in 0..hosts.len() {
        assert!(fleet.terminate(host).await.success());
    }
}
