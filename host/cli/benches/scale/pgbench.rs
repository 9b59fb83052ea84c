//! The peer that most teams would write: a transaction for each charge, in PostgreSQL, driven by PostgreSQL's own load
//! generator. It says transactions a second and their latencies.

use crate::{cluster::Cluster, load::Latency};
use std::{fs, path::PathBuf, process::Stdio, rc::Rc};
use tokio::process::Command;

/// What a careful user keeps: a balance that is locked while it changes, and a ledger in which no charge is written twice.
const SCHEMA: &str = "
create table account (id bigint primary key, balance bigint not null);
create table ledger (
    id bigint generated always as identity primary key,
    account bigint not null references account,
    idempotency_key text not null,
    usage jsonb not null,
    cost bigint not null,
    charged_at timestamptz not null default now(),
    unique (account, idempotency_key)
);
";
const SCRIPT: &str = r#"
\set account random(1, :accounts)
\set key random(1, 9223372036854775806)
begin;
select balance from account where id = :account for update;
update account set balance = balance - 1800000 where id = :account;
insert into ledger (account, idempotency_key, usage, cost) values (:account, :key, '{"feature": "chat", "quantities": {"input_tokens": 1200, "output_tokens": 300}, "attributes": {"model": "large"}, "entity": "user-7"}', 1800000);
commit;
"#;
/// Holds when every balance is what was given less what was charged.
const SOUND: &str = "select (select sum(1000000000000000 - balance) from account) = (select coalesce(sum(cost), 0) from ledger)";

/// Threads of the load generator.
const THREADS: &str = "2";

/// A database with accounts.
pub struct Pgbench {
    cluster: Rc<Cluster>,
    database: String,
    folder: tempfile::TempDir,
}

impl Pgbench {
    pub fn new(cluster: &Rc<Cluster>, accounts: usize) -> Self {
        let database = cluster.create_database();
        let fill =
            format!("insert into account select n, 1000000000000000 from generate_series(1, {accounts}) n");
        for statement in [SCHEMA, &fill, "vacuum analyze"] {
            cluster.sql(&database, statement);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("charge.sql"), SCRIPT).unwrap();
        Self { cluster: cluster.clone(), database, folder }
    }

    /// Charges some of the accounts for a while; returns transactions a second, how many, and their latencies.
    pub async fn run(&self, accounts: usize, connections: usize, seconds: f64) -> (f64, usize, Latency) {
        let output = Command::new(program())
            .current_dir(self.folder.path())
            .args(["-n", "-M", "prepared", "-j", THREADS, "-l", "--log-prefix=log", "-f", "charge.sql"])
            .args(["-c", &connections.to_string(), "-T", &seconds.ceil().to_string()])
            .args(["-D", &format!("accounts={accounts}")])
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.cluster.port().to_string(),
                "-U",
                "postgres",
                &self.database,
            ])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("pgbench runs");
        let (told, failure) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "pgbench failed: {failure}");
        let per_second = told
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("pgbench says no rate: {told}"));
        let micros = self.take_logs();
        (per_second, micros.len(), Latency::of(micros))
    }

    /// Ends the benchmark unless balances and ledger agree.
    pub fn verify(&self) {
        assert_eq!(self.cluster.sql(&self.database, SOUND), "t", "pgbench's balances and its ledger differ");
    }

    /// The third column of what it logged: how long each transaction took, in microseconds.
    fn take_logs(&self) -> Vec<u32> {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path());
        let logs = files
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")));
        logs.flat_map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            fs::remove_file(path).unwrap();
            let took = |line: &str| line.split(' ').nth(2)?.parse().ok();
            text.lines().filter_map(took).collect::<Vec<u32>>()
        })
        .collect()
    }
}

/// Debian keeps it beside the server, where no path leads.
fn program() -> PathBuf {
    let told = std::process::Command::new("pg_config").arg("--bindir").output().ok();
    let folder = told.map(|told| PathBuf::from(String::from_utf8_lossy(&told.stdout).trim_end()));
    folder
        .map(|folder| folder.join("pgbench"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| "pgbench".into())
}
