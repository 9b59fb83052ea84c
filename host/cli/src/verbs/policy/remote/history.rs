//! `proviso policy history`: the versions of a policy, or the terms of a plan or a customer.

use super::{Owner, Server, client, client::Client, line};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
};
use clap::Args;
use proviso_api::policy::PolicyVersion;
use proviso_ledger::model::ids::{Key, Name};
use serde_json::Value;

/// What `policy history` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The policy whose versions are listed
    #[arg(required_unless_present_any = ["plan", "customer"])]
    policy: Option<Name>,
    /// The plan whose terms are listed
    #[arg(long, conflicts_with_all = ["policy", "customer"])]
    plan: Option<Name>,
    /// The customer whose terms are listed
    #[arg(long, conflicts_with = "policy")]
    customer: Option<Key>,
    #[command(flatten)]
    server: Server,
}

/// Lists, oldest first.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { policy, plan, customer, server } = flags;
    let client = Client::new(&server.server)?;
    let owner = Owner { plan: plan.clone(), customer: customer.clone() };
    let versions =
        policy.as_ref().map(|policy| format!("/v1/policies/{}/versions", client::segment(policy.as_str())));
    if server.json {
        let all: Vec<Value> = client.all(&versions.unwrap_or_else(|| owner.path()))?;
        terminal::print(&format!("{:#}\n", Value::Array(all)))?;
        return Ok(Verdict::Fine);
    }
    let paint = Paint::for_stdout();
    let lines: Vec<String> = match versions {
        Some(path) => {
            client.all::<PolicyVersion<'static>>(&path)?.iter().map(|of| version(of, paint)).collect()
        }
        None => owner
            .terms(&client)?
            .iter()
            .map(|terms| {
                let mark = if terms.in_force == Some(true) { paint.good(" *") } else { "  ".to_owned() };
                format!("{mark} {}\n", line(terms))
            })
            .collect(),
    };
    terminal::print(&lines.concat())?;
    Ok(Verdict::Fine)
}

fn version(of: &PolicyVersion<'_>, paint: Paint) -> String {
    let deleted = if of.deleted { "  deleted" } else { "" };
    let signed = of.signed_by.as_ref().map(|by| format!("  signed by {}", by.name)).unwrap_or_default();
    let (author, digest) = (&of.manifest.version, paint.faint(&of.digest.to_string()));
    format!("{:>4}  {}  author's version {author}  {digest}{signed}{deleted}\n", of.version, of.created_at)
}
