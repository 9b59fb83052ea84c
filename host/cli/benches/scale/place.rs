//! Where a database lies, and what stands in it before the load: a policy, a plan, customers.

use crate::{
    Kind, Options, cluster::Cluster, host::Host, load::Load, machine::Process, policies,
    population::Population, wire::Wire,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};
use tokio::task::JoinSet;

/// Connections that create customers.
const MAKERS: usize = 64;

/// Which database a host keeps its journal in.
#[derive(Clone)]
pub enum Database {
    /// A file of its own.
    Sqlite,
    /// A server, at the settings it comes with: what it answers is on the disk.
    Postgres(Rc<Cluster>),
}

impl Database {
    /// Those that were asked for.
    pub fn chosen(options: &Options) -> Vec<Self> {
        let postgres = || {
            let cluster = Cluster::start_new();
            cluster.settle();
            Self::Postgres(Rc::new(cluster))
        };
        match options.database {
            Kind::Sqlite => vec![Self::Sqlite],
            Kind::Postgres => vec![postgres()],
            Kind::Both => vec![Self::Sqlite, postgres()],
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// CPU time of the database's own processes so far, in microseconds.
    pub fn cpu_micros(&self) -> Option<u64> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(cluster) => {
                Some(cluster.processes().into_iter().map(|id| Process(id).cpu_micros()).sum())
            }
        }
    }
}

/// A data directory and the database that goes with it.
pub struct Place {
    path: PathBuf,
    database_url: String,
    // Removed at the end, unless someone named it.
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// An empty one.
    pub fn fresh(database: &Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let database_url = match database {
            Database::Sqlite => file_in(&path),
            Database::Postgres(cluster) => cluster.url(&cluster.create_database()),
        };
        Self { path, database_url, _folder: Some(folder) }
    }

    /// As [`Place::fresh`], but where runs keep their files, the one of this name if that is there.
    pub fn named(database: &Database, keep: Option<&Path>, name: &str) -> Self {
        match (database, keep) {
            (Database::Sqlite, Some(folder)) => {
                let path = folder.join(name);
                fs::create_dir_all(&path).unwrap();
                Self { database_url: file_in(&path), path, _folder: None }
            }
            _ => Self::fresh(database),
        }
    }

    /// A second host's folder, on the same database.
    pub fn beside(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().to_owned(),
            database_url: self.database_url.clone(),
            _folder: Some(folder),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// A host on it.
    pub async fn serve(&self, flags: &[&str]) -> Host {
        Host::start(&self.path, &self.database_url, flags).await
    }

    /// A host on it that knows the standard policy and the plan `pro`.
    pub async fn serve_pro(&self, flags: &[&str]) -> Host {
        // Built before a connection waits for it: the host closes those that say nothing for long.
        let module = policies::STANDARD.as_slice();
        let host = self.serve(flags).await;
        let mut wire = host.wire().await;
        wire.upload("standard", module).await.yes();
        put_plan(&mut wire, "pro", "standard").await;
        host
    }
}

/// A host with customers on one of the databases, warm, and the load that saturates it.
pub struct Stage {
    pub database: Database,
    pub saturating: Load,
    host: Host,
    _place: Place,
}

impl Stage {
    pub async fn start(database: Database, options: &Options) -> Self {
        let place = Place::fresh(&database);
        let host = place.serve_pro(&[]).await;
        let spread = customers(&host, "c", options.customers).await;
        let saturating = Load::charges(&host, &spread, options.connections);
        saturating.run(1.0).await;
        Self { database, saturating, host, _place: place }
    }

    /// Ends with words when a customer did not use exactly what was answered.
    pub async fn verify(&self) {
        self.saturating.population.verify(&mut self.host.wire().await).await;
    }
}

fn file_in(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("proviso.db").display())
}

/// Settings of the standard policy: 50 rates, of which the charges use two, and more credits than any run uses.
pub fn settings() -> Value {
    let rate = |feature: &str, quantity: &str, price: &str| json!({"feature": feature, "quantity": quantity, "price": {"per_unit": price}});
    let mut rates: Vec<Value> =
        (2..50).map(|number| rate(&format!("feature-{number}"), "input_tokens", "0.003")).collect();
    rates.push(rate("chat", "input_tokens", "0.001"));
    rates.push(rate("chat", "output_tokens", "0.002"));
    json!({"rates": rates, "reset": {"allowance": [{"amount": "1000000000"}]}})
}

/// A monthly plan on a policy that takes the standard one's settings.
pub async fn put_plan(wire: &mut Wire, plan: &str, policy: &str) {
    let terms = json!({"policy": policy, "settings": settings()});
    wire.put(&format!("/v1/plans/{plan}"), &json!({"interval": "month", "terms": terms})).await.yes();
}

/// Customers `PREFIX0`, `PREFIX1`, … of plan `pro`.
pub async fn customers(host: &Host, prefix: &str, count: usize) -> Arc<Population> {
    let mut makers = JoinSet::new();
    for maker in 0..MAKERS.min(count) {
        let (mut wire, prefix) = (host.wire().await, prefix.to_owned());
        makers.spawn(async move {
            for number in (maker..count).step_by(MAKERS) {
                wire.put(&format!("/v1/customers/{prefix}{number}"), &json!({"plan": "pro"})).await.yes();
            }
        });
    }
    makers.join_all().await;
    Arc::new(Population::known(&mut host.wire().await, prefix, count).await)
}
