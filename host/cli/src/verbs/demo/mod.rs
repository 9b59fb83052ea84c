//! `proviso demo`: the main job on real input. A host is started as anyone would start it, policies are built and
//! uploaded, a real LLM trace is charged through HTTP at full speed, one customer's terms are swapped for a contract
//! exception meanwhile; then all sums are held against the host's, and the database is verified.

mod cast;
mod client;
mod host;
mod load;
mod report;
mod sums;
mod trace;

use crate::{
    database::Database,
    error::Error,
    exit::Verdict,
    secrets,
    terminal::{self, Paint},
    verbs::{policy, verify},
};
use clap::Args;
use client::Client;
use host::Host;
use load::Load;
use report::{Report, Swap};
use serde_json::json;
use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};
use trace::Trace;

/// Requests when the trace that comes with the binary is used: its 4,000 rows ten times.
const USUAL_REQUESTS: u64 = 40_000;

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// Files of the trace, in the format of the Azure LLM inference trace 2023 [default: 2,000 rows each of conv.csv and
    /// code.csv, which are built in]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    trace: Vec<PathBuf>,
    /// How many requests to send; after the last row the first one follows [default: 40000, or each row of --trace once]
    #[arg(long, value_name = "COUNT")]
    requests: Option<NonZeroU64>,
    /// Connections that send at once
    #[arg(long, value_name = "COUNT", default_value = "64")]
    connections: NonZeroU64,
    /// Where the host listens; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// A folder for the host's data, which is kept; it must hold no database [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The folder of the policies' crates [default: policies/, looked for from here and from the binary upwards]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Stop the host after the report instead of leaving it running
    #[arg(long)]
    exit: bool,
}

/// The policies that the demo runs, built.
struct Modules {
    standard: Vec<u8>,
    committed_use: Vec<u8>,
    night_rates: Vec<u8>,
}

impl Modules {
    fn build(folder: &Path) -> Result<Self, Error> {
        let build = |name: &str| policy::build_crate(&folder.join(name));
        Ok(Self {
            standard: build("standard")?,
            committed_use: build("committed-use")?,
            night_rates: build("night-rates")?,
        })
    }
}

/// Runs the demo.
pub fn run(flags: Flags) -> Result<Verdict, Error> {
    let trace = Trace::read(&flags.trace)?;
    let folder = match &flags.policies {
        Some(folder) => folder.clone(),
        None => find_policies()?,
    };
    let modules = Modules::build(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::system("starting threads"))?;
    runtime.block_on(async {
        let mut host = Host::start(&flags.listen, flags.data_dir.clone(), secrets::new_api_key()).await?;
        let mut signals = host::Signals::listen().map_err(Error::system("listening for signals"))?;
        let verdict = tokio::select! {
            verdict = show(&flags, &host, trace, &modules) => verdict,
            () = signals.next() => Err(Error::Demo("interrupted".to_owned())),
        };
        if verdict.is_ok() && !flags.exit {
            terminal::print(&report::farewell(&host, Paint::for_stdout()))?;
            host.ends_or(signals.next()).await;
        }
        host.stop().await?;
        verdict
    })
}

/// All but the host's beginning and end.
async fn show(flags: &Flags, host: &Host, trace: Trace, modules: &Modules) -> Result<Verdict, Error> {
    let mut manager = Client::connect(&host.address, &host.admin_key).await?;
    set_up(&mut manager, modules).await?;
    let usual = if flags.trace.is_empty() { USUAL_REQUESTS } else { trace.rows() };
    let requests = flags.requests.map_or(usual, NonZeroU64::get);
    let load = Arc::new(Load::new(trace, requests, host));
    let (done, swap) = tokio::join!(load.clone().run(flags.connections.get()), async {
        load.half_done().await;
        swap(&mut manager, &modules.committed_use).await
    });
    let (swap, (tally, elapsed_micros)) = (swap?, done?);
    let sums = sums::compare(&mut manager, &tally).await?;
    let verification =
        verify::verify(&Database::file(host.database.clone()), proviso_engine::Against::default()).await?;
    let connections = flags.connections.get();
    let report = Report {
        load: &load,
        connections,
        address: &host.address,
        elapsed_micros,
        tally,
        swap,
        sums,
        verification,
    };
    terminal::print(&report.text(Paint::for_stdout()))?;
    Ok(Verdict::of(report.is_fine()))
}

/// Policies, plans, customers and their credits.
async fn set_up(manager: &mut Client, modules: &Modules) -> Result<(), Error> {
    manager.upload("standard", &modules.standard).await?;
    manager.upload("night-rates", &modules.night_rates).await?;
    for (plan, body) in cast::plans() {
        manager.put(&format!("/v1/plans/{plan}"), &body).await?;
    }
    for customer in cast::CUSTOMERS {
        let path = format!("/v1/customers/{}", customer.key);
        let body = json!({"name": customer.name, "plan": customer.plan, "time_zone": customer.time_zone});
        manager.put(&path, &body).await?;
        if let Some(credits) = customer.prepaid {
            let grant = json!({"amount": credits, "category": "prepaid", "cost_basis": {"amount": "100", "currency": "EUR"}});
            manager.post(&format!("{path}/grants"), &grant).await?;
        }
    }
    manager.post(&format!("/v1/customers/{}/terms", cast::NIGHT_OWL), &cast::night_terms()).await?;
    Ok(())
}

/// Uploads the contract exception and binds it to its customer, while charges flow.
async fn swap(manager: &mut Client, module: &[u8]) -> Result<Swap, Error> {
    let version = manager.upload("committed-use", module).await?;
    let path = format!("/v1/customers/{}/terms", cast::SWAPPED);
    let terms = manager.post(&path, &cast::contract_terms()).await?;
    let id = terms.get("id").and_then(serde_json::Value::as_str).unwrap_or_default();
    let id: proviso_ledger::model::ids::TermsId =
        id.parse().map_err(|_| Error::Demo(format!("the bound terms have no id: {terms}")))?;
    let compile_ms = version.get("compile_ms").and_then(serde_json::Value::as_u64).unwrap_or_default();
    Ok(Swap { compile_ms, entry: id.entry })
}

/// The `policies` folder of the clone that this is run from, or that the binary was built in.
fn find_policies() -> Result<PathBuf, Error> {
    let here = std::env::current_dir().ok();
    let binary = std::env::current_exe().ok();
    let starts = [here.as_deref(), binary.as_deref()];
    let folders =
        starts.into_iter().flatten().flat_map(Path::ancestors).map(|folder| folder.join("policies"));
    folders.into_iter().find(|folder| folder.join("standard/Cargo.toml").is_file()).ok_or_else(|| {
        Error::Demo(
            "there is no folder policies/standard up from here: run this in the clone, or say --policies DIR"
                .to_owned(),
        )
    })
}
