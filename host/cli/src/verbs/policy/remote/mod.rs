//! What is done with policies on a running server, over its API: upload, activate, roll back, list. The server's own words are shown.

pub mod activate;
pub mod client;
pub mod history;
pub mod push;
pub mod rollback;
pub mod rollout;

use crate::error::Error;
use clap::Args;
use client::Client;
use proviso_api::terms::Terms;
use proviso_ledger::model::ids::{Key, Name};

/// Which server, and as whom. The key is never an argument: those can be seen by everybody on the machine.
#[derive(Debug, Args)]
pub struct Server {
    /// Where the server is; its API key is taken from PROVISO_KEY
    #[arg(long, value_name = "URL", env = "PROVISO_SERVER", default_value = "http://127.0.0.1:7070")]
    pub server: String,
    /// Write the server's answer, JSON
    #[arg(long)]
    pub json: bool,
}

/// Whose terms.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Owner {
    /// Those of a plan
    #[arg(long)]
    plan: Option<Name>,
    /// Those of a customer
    #[arg(long)]
    customer: Option<Key>,
}

impl Owner {
    /// Where its terms are.
    fn path(&self) -> String {
        match (&self.plan, &self.customer) {
            (Some(plan), _) => format!("/v1/plans/{}/terms", client::segment(plan.as_str())),
            (None, Some(customer)) => format!("/v1/customers/{}/terms", client::segment(customer.as_str())),
            // The command line has demanded one.
            (None, None) => String::new(),
        }
    }

    /// All terms that it ever had, oldest first.
    fn terms(&self, client: &Client) -> Result<Vec<Terms<'static>>, Error> {
        client.all(&self.path())
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.plan, &self.customer) {
            (Some(plan), _) => write!(f, "plan {plan}"),
            (None, Some(customer)) => write!(f, "customer {customer}"),
            (None, None) => Ok(()),
        }
    }
}

/// Terms in one line.
fn line(terms: &Terms<'_>) -> String {
    let until = terms.ends_at.map(|end| format!(" until {end}")).unwrap_or_default();
    let note = terms.note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
    let Terms { id, policy, version, effective_at, mode, .. } = terms;
    let canary = terms.canary.as_ref().map(|canary| match &canary.rolled_back {
        Some(ended) => format!("  canary, rolled back: {}", ended.reason),
        None => format!("  canary of {} %", canary.share_percent.percent()),
    });
    let canary = canary.unwrap_or_default();
    let mode = if *mode == proviso_ledger::model::terms::Mode::Shadow { "  shadow" } else { "" };
    format!("{id}  {policy} {version}  from {effective_at}{until}{mode}{canary}{note}")
}
