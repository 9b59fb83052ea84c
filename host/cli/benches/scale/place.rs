//! Where a database lies, and what stands in it before the load: a policy, a plan, customers.

use crate::{host::Host, modules, population::Population, wire::Wire};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::JoinSet;

/// Connections that create customers.
const MAKERS: usize = 64;

/// A data directory and the database that goes with it.
pub struct Place {
    path: PathBuf,
    database_url: String,
    // Removed at the end, unless someone named it.
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    /// An empty one with a SQLite file.
    pub fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { _folder: Some(folder), ..Self::at(PathBuf::new()) }.resolved()
    }

    /// One that stays, with a SQLite file.
    pub fn kept(folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        fs::create_dir_all(&path).unwrap();
        Self::at(path)
    }

    /// A fresh one, or the kept one of this name when the run was told where to keep them.
    pub fn named(keep: Option<&Path>, name: &str) -> Self {
        keep.map_or_else(Self::fresh, |folder| Self::kept(folder, name))
    }

    fn at(path: PathBuf) -> Self {
        let database_url = format!("sqlite://{}", path.join("proviso.db").display());
        Self { path, database_url, _folder: None }
    }

    fn resolved(self) -> Self {
        let path = self._folder.as_ref().map(|folder| folder.path().to_owned()).unwrap_or_default();
        Self { _folder: self._folder, ..Self::at(path) }
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
        let host = self.serve(flags).await;
        let mut wire = host.wire().await;
        wire.upload("standard", modules::STANDARD.as_slice()).await.yes();
        put_plan(&mut wire, "pro", "standard").await;
        host
    }
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
