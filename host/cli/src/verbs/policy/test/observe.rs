//! What a step can be held to: from what happened, values as text, one for each thing that a case may expect.

use super::{
    format::{Expect, ExpectBalance},
    play::{Outcome, Played, said},
};
use crate::verbs::policy::run::line_text;
use proviso_engine::EngineError;
use proviso_ledger::{
    journal::{DecisionRecord, Entry, Event, Line, Refused, Reset, ResetReason},
    model::{
        amounts::Credits,
        answers::SettleMethod,
        grant::Grant,
        ids::{GrantId, Key},
        time::Timestamp,
    },
    state::GrantState,
};
use std::collections::BTreeMap;

/// A value that is not what a case expects. Values are lists of lines; most have one.
#[derive(Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which.
    pub field: String,
    /// What the case says.
    pub expected: Vec<String>,
    /// What is so.
    pub got: Vec<String>,
}

/// Holds a step to what its case expects.
pub fn compare(expect: &Expect, played: &Played) -> Vec<Mismatch> {
    let mut found = Found { mismatches: Vec::new() };
    refusals(expect, played, &mut found);
    let cost = played.cost().map(|cost| cost.to_string());
    found.one("cost", expect.cost, cost);
    found.one("overage", expect.overage, played.entry().map(|entry| entry.overage().to_string()));
    found.one("returned", expect.returned, played.returned().map(|returned| returned.to_string()));
    found.many("lines", expect.lines.as_ref(), || played.lines().iter().map(line_text).collect());
    found.many("log", expect.log.as_ref(), || {
        played.decision().map(|decision| decision.log.clone()).unwrap_or_default()
    });
    found.pairs("draws", expect.draws.as_ref(), || played.draws());
    found.pairs("remaining", expect.remaining.as_ref(), || played.remaining());
    let ends = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
    let expires = expect.expires.as_ref().map(|expected| {
        expected.iter().map(|(name, end)| (name.clone(), ends(end.0))).collect::<BTreeMap<_, _>>()
    });
    found.pairs("expires", expires.as_ref(), || {
        played.live().map(|grant| (played.name(grant.grant.id), ends(grant.grant.expires_at))).collect()
    });
    found.many("entries", expect.entries.as_ref(), || {
        played.entries.iter().map(|entry| played.story(entry)).collect()
    });
    let reset = played.reset();
    found.pairs("fees", expect.fees.as_ref(), || {
        let fees = reset.map(|reset| reset.fees.as_slice()).unwrap_or_default();
        fees.iter().map(|fee| (fee.label.clone(), fee.amount)).collect()
    });
    found.pairs("settled", expect.settled.as_ref(), || {
        let settled = reset.map(|reset| reset.settled.as_slice()).unwrap_or_default();
        settled.iter().map(|settled| (method(settled.method).to_owned(), settled.amount)).collect()
    });
    found.many("notes", expect.notes.as_ref(), || reset.map(|reset| reset.notes.clone()).unwrap_or_default());
    let fuel = played.decision().map(|decision| decision.fuel);
    found.one("fuel", expect.fuel, fuel.map(|fuel| fuel.to_string()));
    if let (Some(most), Some(fuel)) = (expect.fuel_at_most, fuel)
        && fuel > most
    {
        found.one("fuel_at_most", Some(most), Some(fuel.to_string()));
    }
    let degraded = played.decision().map(|decision| decision.fault.is_some());
    found.one("degraded", expect.degraded, degraded.map(|degraded| degraded.to_string()));
    if let Some(expected) = &expect.balance {
        balance(expected, played, &mut found);
    }
    found.mismatches
}

/// A step that names no refusal must not be refused.
fn refusals(expect: &Expect, played: &Played, found: &mut Found) {
    let (code, detail, retry_at, offers) = match &played.outcome {
        Outcome::Check(check) if !check.allowed => {
            (Some(&check.reason), &check.detail, check.retry_at, &check.offers)
        }
        _ => match played.refused() {
            Some(refused) => (Some(&refused.code), &refused.detail, refused.retry_at, &refused.offers),
            None => (None, &String::new(), None, &Vec::new()),
        },
    };
    let accepted = || "accepted".to_owned();
    match (&expect.code, code) {
        (None, Some(code)) => found.one("code", Some(accepted()), Some(format!("{code}: {detail}"))),
        (expected, code) => {
            found.one("code", expected.as_ref(), Some(code.cloned().unwrap_or_else(accepted)))
        }
    }
    found.one(
        "retry_at",
        expect.retry_at.map(|at| at.0),
        Some(retry_at.map_or("never".to_owned(), |at| at.to_string())),
    );
    found.many("offers", expect.offers.as_ref(), || offers.iter().map(|offer| offer.code.clone()).collect());
    let error = match &played.outcome {
        Outcome::Error(error) => Some(error),
        _ => None,
    };
    let pointers = match error {
        Some(EngineError::SettingsInvalid(problems)) => {
            problems.iter().map(|problem| problem.pointer.clone()).collect()
        }
        _ => Vec::new(),
    };
    found.many("problems", expect.problems.as_ref(), || pointers.clone());
    match (&expect.error, error) {
        (None, Some(error)) if expect.problems.is_none() => {
            found.one("error", Some("none".to_owned()), Some(said(error)));
        }
        (Some(expected), error) => {
            let got = error.map_or("none".to_owned(), said);
            if !got.contains(expected) {
                found.one("error", Some(expected), Some(got));
            }
        }
        (None, _) => {}
    }
}

fn balance(expected: &ExpectBalance, played: &Played, found: &mut Found) {
    let credit: Key = expected.credit.clone().unwrap_or_else(|| played.state.main_credit());
    let balance = played.state.balance(&credit, played.now);
    for (field, expected, got) in [
        ("granted", expected.granted, balance.granted),
        ("used", expected.used, balance.used),
        ("reserved", expected.reserved, balance.reserved),
        ("available", expected.available, balance.available),
        ("overage", expected.overage, balance.overage),
    ] {
        found.one(&format!("balance.{field}"), expected, Some(got.to_string()));
    }
    if let Some(expected) = expected.next_reset_at {
        let text = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
        found.one("balance.next_reset_at", Some(text(expected.0)), Some(text(played.state.next_reset_at())));
    }
}

struct Found {
    mismatches: Vec<Mismatch>,
}

impl Found {
    /// One value; nothing is what a step has that can't have it.
    fn one(&mut self, field: &str, expected: Option<impl ToString>, got: Option<String>) {
        let Some(expected) = expected.map(|expected| expected.to_string()) else { return };
        self.add(field, vec![expected], vec![got.unwrap_or_else(|| "nothing".to_owned())]);
    }

    fn many(&mut self, field: &str, expected: Option<&Vec<String>>, got: impl FnOnce() -> Vec<String>) {
        if let Some(expected) = expected {
            self.add(field, expected.clone(), got());
        }
    }

    fn pairs<T: ToString>(
        &mut self,
        field: &str,
        expected: Option<&BTreeMap<String, T>>,
        got: impl FnOnce() -> BTreeMap<String, T>,
    ) {
        let lines = |pairs: &BTreeMap<String, T>| {
            pairs.iter().map(|(name, value)| format!("{name} = {}", value.to_string())).collect()
        };
        if let Some(expected) = expected {
            self.add(field, lines(expected), lines(&got()));
        }
    }

    fn add(&mut self, field: &str, expected: Vec<String>, got: Vec<String>) {
        if expected != got {
            self.mismatches.push(Mismatch { field: field.to_owned(), expected, got });
        }
    }
}

impl Played {
    fn entry(&self) -> Option<&Entry> {
        match &self.outcome {
            Outcome::Entry(entry) => Some(entry),
            _ => None,
        }
    }

    fn refused(&self) -> Option<&Refused> {
        match &self.entry()?.event {
            Event::Refused(refused) => Some(refused),
            _ => None,
        }
    }

    fn decision(&self) -> Option<&DecisionRecord> {
        // A step without a decision of its own is looked at for the reset that it brought.
        let own = self.entry().and_then(Entry::decision);
        own.or_else(|| self.reset()?.decision.as_ref())
    }

    fn rated(&self) -> Option<&proviso_ledger::journal::Rated> {
        match &self.entry()?.event {
            Event::Charged(charged) => Some(&charged.rated),
            Event::Reserved(reserved) => Some(&reserved.rated),
            Event::Committed(committed) => Some(&committed.rated),
            Event::Refused(refused) => refused.rated.as_ref(),
            _ => None,
        }
    }

    fn cost(&self) -> Option<Credits> {
        match &self.outcome {
            Outcome::Check(check) => check.cost,
            _ => self.rated().map(|rated| rated.cost),
        }
    }

    fn lines(&self) -> &[Line] {
        match &self.outcome {
            Outcome::Check(check) => &check.lines,
            _ => self.rated().map(|rated| rated.lines.as_slice()).unwrap_or_default(),
        }
    }

    fn returned(&self) -> Option<Credits> {
        match &self.entry()?.event {
            Event::Committed(committed) => Some(committed.returned),
            _ => None,
        }
    }

    /// The newest reset among what was written.
    fn reset(&self) -> Option<&Reset> {
        self.entries.iter().rev().find_map(|entry| match &entry.event {
            Event::Reset(reset) => Some(&**reset),
            _ => None,
        })
    }

    fn live(&self) -> impl Iterator<Item = &GrantState> {
        self.state.grants.iter().filter(|grant| grant.is_usable(self.now))
    }

    /// A grant's name: as a step called it, else its category.
    fn name(&self, id: GrantId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    fn draws(&self) -> BTreeMap<String, Credits> {
        let mut draws: BTreeMap<String, Credits> = BTreeMap::new();
        for draw in self.entry().map(Entry::draws).unwrap_or_default() {
            add(draws.entry(self.name(draw.grant)).or_default(), draw.amount);
        }
        draws
    }

    fn remaining(&self) -> BTreeMap<String, Credits> {
        let mut remaining: BTreeMap<String, Credits> = BTreeMap::new();
        for grant in self.live() {
            add(remaining.entry(self.name(grant.grant.id)).or_default(), grant.remaining);
        }
        remaining
    }

    /// An entry in a few words.
    fn story(&self, entry: &Entry) -> String {
        match &entry.event {
            Event::Configured(_) => "configured".to_owned(),
            Event::Closed {} => "closed".to_owned(),
            Event::TermsBound(_) => "terms bound".to_owned(),
            Event::TermsEnded { .. } => "terms ended".to_owned(),
            Event::OverrideSet(_) => "override set".to_owned(),
            Event::OverrideRemoved { .. } => "override removed".to_owned(),
            Event::Granted(grant) => format!("granted {}", grant.amount),
            Event::Voided { .. } => "voided".to_owned(),
            Event::Adjusted(adjusted) => format!("adjusted {}", adjusted.amount),
            Event::Charged(charged) => format!("charged {}", charged.rated.cost),
            Event::Refused(refused) => format!("refused {}", refused.code),
            Event::Reserved(reserved) => format!("reserved {}", reserved.rated.cost),
            Event::Committed(committed) => format!("committed {}", committed.rated.cost),
            Event::Released { .. } => "released".to_owned(),
            Event::ReservationExpired { .. } => "reservation expired".to_owned(),
            Event::GrantsExpired { grants } => format!("grants expired {}", grants.len()),
            Event::Reset(reset) => {
                let reason = match reset.reason {
                    ResetReason::Started => "started",
                    ResetReason::Scheduled => "scheduled",
                    ResetReason::Early => "early",
                    ResetReason::PlanChanged => "plan changed",
                };
                format!("period {} {reason}", reset.opened.number)
            }
        }
    }
}

fn add(total: &mut Credits, more: Credits) {
    *total = Credits(total.0.saturating_add(more.0));
}

fn method(method: SettleMethod) -> &'static str {
    match method {
        SettleMethod::Invoice => "invoice",
        SettleMethod::Waive => "waive",
        SettleMethod::Deduct => "deduct",
    }
}

/// The grants that an entry made.
pub fn made(entry: &Entry) -> Vec<&Grant> {
    match &entry.event {
        Event::Granted(grant) => vec![grant],
        Event::Adjusted(adjusted) => adjusted.grant.iter().collect(),
        Event::Charged(charged) => charged.top_up.iter().collect(),
        Event::Reserved(reserved) => reserved.top_up.iter().collect(),
        Event::Committed(committed) => committed.top_up.iter().collect(),
        Event::Reset(reset) => reset.grants.iter().collect(),
        _ => Vec::new(),
    }
}
