//! `proviso policy rollback`: binds again what decided before the terms that decide now. History stays: a rollback is terms of its
//! own, whose note says what it undoes.

use super::{Owner, Server, activate, client::Client};
use crate::{error::Error, exit::Verdict};
use clap::Args;
use proviso_api::{canary::Canary, terms::Terms};
use proviso_ledger::model::{canary::Share, ids::TermsId, terms::Mode};
use serde_json::{Value, json};

/// What `policy rollback` takes.
#[derive(Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    owner: Owner,
    /// The terms to bind again [default: the last ones that say something else than those that decide now]
    #[arg(long, value_name = "TERMS")]
    to: Option<TermsId>,
    #[command(flatten)]
    server: Server,
}

/// Rolls back.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { owner, to, server } = flags;
    let client = Client::new(&server.server)?;
    let all = owner.terms(&client)?;
    let refused = |detail: String| Error::Server(format!("{owner}: {detail}"));
    let now = all
        .iter()
        .find(|terms| terms.in_force == Some(true))
        .ok_or_else(|| refused("no terms decide now, so there is nothing to roll back".to_owned()))?;
    let target = match to {
        Some(id) => {
            all.iter().find(|terms| terms.id == *id).ok_or_else(|| refused(format!("has no {id}")))?
        }
        None => before(&all, now).ok_or_else(|| {
            refused(format!(
                "no terms before {}, which decide now, say anything else; `policy history` lists all",
                now.id
            ))
        })?,
    };
    let contract = target.contract.as_ref().map(|contract| json!({"id": contract.id}));
    let settings: Value =
        serde_json::from_str(target.settings.as_str()).map_err(|error| refused(error.to_string()))?;
    let body = json!({
        "policy": target.policy,
        "version": target.version,
        "settings": settings,
        "on_fault": target.on_fault,
        "contract": contract,
        "time_zone": target.time_zone,
        "note": note(now.id, target.id),
    });
    activate::bind(owner, server, &client, &body)
}

/// What a rollback says of itself, from which the next one knows where it stands.
fn note(from: TermsId, to: TermsId) -> String {
    format!("rollback of {from} to {to}")
}

/// The terms that a note says were bound again.
fn rolled_back_to(terms: &Terms<'_>) -> Option<TermsId> {
    terms.note.as_deref()?.strip_prefix("rollback of ")?.split_once(" to ")?.1.parse().ok()
}

/// All terms did but a canary that did not come to that.
fn decided_for_all(terms: &Terms<'_>) -> bool {
    let is_complete =
        |canary: &Canary<'_>| canary.rolled_back.is_none() && canary.share_percent == Share::ALL;
    terms.canary.as_ref().is_none_or(is_complete)
}

/// The terms that decided before these did and said something else: what was activated twice is left by one rollback. A rollback stands
/// where the terms stand that it bound again, so that a second one goes
/// further back and not forth.
fn before<'t>(all: &'t [Terms<'static>], now: &'t Terms<'static>) -> Option<&'t Terms<'static>> {
    let mut original = now;
    while let Some(earlier) = rolled_back_to(original).and_then(|id| all.iter().find(|terms| terms.id == id))
    {
        if earlier.effective_at >= original.effective_at && earlier.id == original.id {
            break;
        }
        original = earlier;
    }
    let decided = all.iter().filter(|terms| {
        terms.mode == Mode::Active && rolled_back_to(terms).is_none() && decided_for_all(terms)
    });
    let place = |terms: &Terms<'_>| (terms.effective_at, terms.id);
    let says = |terms: &Terms<'_>| (terms.policy.clone(), terms.version, terms.settings.as_str().to_owned());
    let others = decided.filter(|terms| says(terms) != says(now));
    others.filter(|terms| place(terms) < place(original)).max_by_key(|terms| place(terms))
}
