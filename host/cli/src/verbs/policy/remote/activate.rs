//! `proviso policy activate`: binds a version of a policy with its settings to a plan or a customer, now or at a time.

use super::{Owner, Server, client::Client, line, rollout};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::settings,
};
use clap::{Args, ValueEnum};
use proviso_api::terms::Terms;
use proviso_ledger::model::{amounts::Percent, canary::Share, ids::Name, time::Timestamp};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// What `policy activate` takes.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    owner: Owner,
    /// The policy
    #[arg(long, value_name = "NAME")]
    policy: Name,
    /// Its version [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    version: Option<u32>,
    /// The settings, JSON or TOML; of a case file, what stands under [settings] [default: those in force, of the same policy]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// From when, such as 2026-12-01T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Whether they decide, or are only recorded beside what decides
    #[arg(long, default_value = "active")]
    mode: ModeName,
    /// What decides when the policy fails
    #[arg(long, default_value = "deny")]
    on_fault: OnFaultName,
    /// Decide for a share of the plan's customers only, such as 5%
    #[arg(long, value_name = "PERCENT", value_parser = rollout::share, conflicts_with = "customer")]
    canary: Option<Share>,
    /// Of a canary: the most decisions that may fail, such as 1%, before the host ends it
    #[arg(long, value_name = "PERCENT", value_parser = rollout::percent, requires = "canary")]
    max_faults: Option<Percent>,
    /// Of a canary: the most that decisions may differ in credits from the terms that it replaces, before the host ends it
    #[arg(long, value_name = "PERCENT", value_parser = rollout::percent, requires = "canary")]
    max_drift: Option<Percent>,
    /// Of a canary: decisions without which no limit counts as passed [default: 20]
    #[arg(long, value_name = "NUMBER", requires = "canary")]
    min_decisions: Option<u64>,
    /// Of a canary: only look at the decisions of the last so many seconds [default: at all]
    #[arg(long, value_name = "SECONDS", requires = "canary")]
    within: Option<u32>,
    /// A remark, for people
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// Whether terms decide.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeName {
    /// They decide
    Active,
    /// They are recorded beside what decides
    Shadow,
}

/// What decides when a policy fails.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnFaultName {
    /// Nothing: the usage is refused
    Deny,
    /// The plan's terms
    Plan,
    /// The terms before
    LastGood,
}

/// Binds.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { owner, policy, version, settings, at, mode, on_fault, note, server, .. } = flags;
    let file = settings.as_deref().map(settings::read).transpose()?;
    let client = Client::new(&server.server)?;
    let settings = match file {
        Some(settings) => settings,
        None => in_force(owner, policy, &client)?,
    };
    let mut body = Map::new();
    body.insert("policy".to_owned(), json!(policy));
    body.insert("settings".to_owned(), settings);
    let mode = match mode {
        ModeName::Active => "active",
        ModeName::Shadow => "shadow",
    };
    let on_fault = match on_fault {
        OnFaultName::Deny => "deny",
        OnFaultName::Plan => "plan",
        OnFaultName::LastGood => "last_good",
    };
    body.insert("mode".to_owned(), mode.into());
    body.insert("on_fault".to_owned(), on_fault.into());
    let more = [
        ("version", version.map(Value::from)),
        ("effective_at", at.map(|at| at.to_string().into())),
        ("note", note.clone().map(Value::from)),
        ("canary", canary(flags)),
    ];
    body.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    bind(owner, server, &client, &Value::Object(body))
}

/// The canary that is asked for.
fn canary(flags: &Flags) -> Option<Value> {
    let Flags { canary, max_faults, max_drift, min_decisions, within, .. } = flags;
    let mut body = json!({ "share_percent": (*canary)? });
    if max_faults.is_some() || max_drift.is_some() || min_decisions.is_some() || within.is_some() {
        let limits = json!({
            "max_fault_percent": max_faults,
            "max_drift_percent": max_drift,
            "min_decisions": min_decisions,
            "within_seconds": within,
        });
        body.as_object_mut()?.insert("rollback".to_owned(), limits);
    }
    Some(body)
}

/// Binds terms and shows them.
pub(super) fn bind(owner: &Owner, server: &Server, client: &Client, body: &Value) -> Result<Verdict, Error> {
    let body = body.to_string();
    let (_, bound): (u16, Value) = client.post(&owner.path(), "application/json", body.as_bytes())?;
    if server.json {
        terminal::print(&format!("{bound:#}\n"))?;
        return Ok(Verdict::Fine);
    }
    let terms: Terms<'static> = serde_json::from_value(bound).map_err(|error| {
        Error::Server(format!("{}: the answer is not one of this API: {error}", server.server))
    })?;
    let paint = Paint::for_stdout();
    terminal::print(&format!("{} {owner}  {}\n", paint.good("bound"), line(&terms)))?;
    Ok(Verdict::Fine)
}

/// The settings that are in force, where they are of this policy.
fn in_force(owner: &Owner, policy: &Name, client: &Client) -> Result<Value, Error> {
    let terms = owner.terms(client)?;
    let now = terms.iter().find(|terms| terms.in_force == Some(true)).filter(|terms| terms.policy == *policy);
    let Some(now) = now else {
        let detail =
            format!("is needed: {owner} has no terms of {policy} in force whose settings could stay");
        return Err(Error::Setting { origin: "--settings".to_owned(), detail });
    };
    serde_json::from_str(now.settings.as_str()).map_err(|error| Error::Server(error.to_string()))
}
