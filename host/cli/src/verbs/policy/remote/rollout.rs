//! `proviso policy rollout`: how a canary of a plan fares, and raising its share.

use super::{Owner, Server, client::Client};
use crate::{
    error::Error,
    exit::Verdict,
    terminal::{self, Paint},
    verbs::policy::remote::client,
};
use clap::Args;
use proviso_api::canary::{AffectedEntry, Rollout, RolloutDrift, RolloutState};
use proviso_ledger::model::{
    amounts::Percent,
    canary::Share,
    ids::{Name, TermsId},
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What `policy rollout` takes.
#[derive(Debug, Args)]
pub struct Flags {
    /// The plan
    #[arg(value_name = "NAME")]
    plan: Name,
    /// The canary [default: the plan's last one]
    #[arg(long, value_name = "TERMS")]
    terms: Option<TermsId>,
    /// Raise its share to this first, such as 20%; 100% makes its terms those of all customers
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    share: Option<Share>,
    /// List every affected entry, not only the first 20
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    server: Server,
}

/// Entries that are shown of one page.
const FEW: usize = 20;

/// A percentage, with or without its sign.
pub(super) fn percent(text: &str) -> Result<Percent, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    number.parse().map_err(|error| format!("must be a percentage such as 5%: {error}"))
}

/// A share of a plan's customers.
pub(super) fn share(text: &str) -> Result<Share, String> {
    let share = Share::new(percent(text)?);
    share.ok_or_else(|| "must be from 0.01% to 100%, with at most 2 decimal places".to_owned())
}

/// Shows a canary; the exit code is 1 when it was rolled back.
pub fn run(flags: &Flags) -> Result<Verdict, Error> {
    let Flags { plan, terms, share, all, server } = flags;
    let client = Client::new(&server.server)?;
    let owner = Owner { plan: Some(plan.clone()), customer: None };
    let id = match terms {
        Some(id) => *id,
        None => {
            let known = owner.terms(&client)?;
            let last = known.iter().rev().find(|terms| terms.canary.is_some());
            last.map(|terms| terms.id).ok_or_else(|| {
                Error::Server(format!("{owner}: has no canary; `policy activate --canary 5%` binds one"))
            })?
        }
    };
    let path = format!("{}/{id}", owner.path());
    if let Some(share) = share {
        let body = json!({ "share_percent": share }).to_string();
        let _: (u16, Value) = client.post(&format!("{path}/canary"), "application/json", body.as_bytes())?;
    }
    let first = format!("{path}/rollout?limit=1000");
    let mut page: Value = client.get(&first)?;
    while *all && let Some(cursor) = page.get("next_cursor").and_then(Value::as_str).map(client::segment) {
        let mut next: Value = client.get(&format!("{first}&cursor={cursor}"))?;
        let more = next.get_mut("affected").and_then(Value::as_array_mut).map(std::mem::take);
        if let (Some(affected), Some(more)) = (page.get_mut("affected").and_then(Value::as_array_mut), more) {
            affected.extend(more);
        }
        let cursor = next.get("next_cursor").cloned().unwrap_or_default();
        if let Some(place) = page.get_mut("next_cursor") {
            *place = cursor;
        }
    }
    let text = format!("{page:#}\n");
    let rollout: Rollout<'static> = serde_json::from_value(page).map_err(|error| {
        Error::Server(format!("{}: the answer is not one of this API: {error}", server.server))
    })?;
    let shown = if server.json { text } else { show(&rollout, *all, Paint::for_stdout()) };
    terminal::print(&shown)?;
    Ok(if rollout.state == RolloutState::RolledBack { Verdict::Failed } else { Verdict::Fine })
}

fn show(rollout: &Rollout<'_>, all: bool, paint: Paint) -> String {
    let Rollout { terms, state, replaces, canary, decisions, faults, drift, affected, next_cursor, .. } =
        rollout;
    let state = match state {
        RolloutState::Scheduled => paint.strong("scheduled"),
        RolloutState::Running => paint.good("running"),
        RolloutState::Complete => paint.good("complete"),
        RolloutState::Superseded => paint.strong("superseded"),
        RolloutState::Ended => paint.strong("ended"),
        RolloutState::RolledBack => paint.bad("rolled back"),
    };
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(text, "{state} {terms}  {} % of the customers", canary.share_percent.percent());
    if let Some(replaces) = replaces {
        let _ = write!(text, ", the others have {replaces}");
    }
    let _ = writeln!(text, "\n{decisions} decisions, {faults} failed");
    for RolloutDrift { credit, cost, replaced_cost, apart, percent } in drift {
        let what = credit.as_ref().map_or("periods", |credit| credit.as_str());
        let percent = percent.map(|percent| format!(" ({percent} %)")).unwrap_or_default();
        let _ = writeln!(text, "{what}: {cost}, the replaced terms {replaced_cost}; {apart} apart{percent}");
    }
    if let Some(ended) = &canary.rolled_back {
        let _ = writeln!(text, "ended at {}: {}", ended.at, ended.reason);
    }
    let shown = if all { affected.len() } else { affected.len().min(FEW) };
    for AffectedEntry { customer, entry, at, r#type, cost, replaced_cost, fault, .. } in
        affected.iter().take(shown)
    {
        let amounts = match (cost, replaced_cost, fault) {
            (_, _, Some(fault)) => format!("failed: {fault}"),
            (Some(cost), Some(replaced), _) => format!("{cost} in the place of {replaced}"),
            _ => String::new(),
        };
        let _ = writeln!(text, "  {customer} {entry}  {at}  {}  {amounts}", r#type);
    }
    if shown < affected.len() || next_cursor.is_some() {
        let _ = writeln!(text, "  and more; --all lists them");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_with_and_without_their_sign() {
        for (text, expected) in
            [("5%", Some("5")), ("12.5 %", Some("12.5")), ("100", Some("100")), ("0%", None), ("x", None)]
        {
            let read = share(text).ok().map(|share| share.percent().to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
