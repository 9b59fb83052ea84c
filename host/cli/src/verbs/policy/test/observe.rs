//! Compares what a step came to with what its case expects: values as text, one for each thing that a case may name.

use super::{
    format::{Ends, Expect, ExpectBalance, Kind, Late},
    play::{Declined, Outcome, Played},
};
use crate::verbs::policy::text;
use proviso_ledger::{
    journal::{DecisionRecord, Entry, Event, Line, Offer, PeriodClosed, PeriodOpened, Rated, Settlement},
    model::{
        amounts::{Credits, Quantity},
        answers::{SettleMethod, Suggestion},
        grant::CreditType,
        ids::GrantId,
        time::Timestamp,
    },
    state::GrantState,
};
use serde_json::{Value, json};
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
    /// What is so as a case would say it; none where a case can't.
    pub value: Option<Value>,
}

/// Compares a step with what its case expects.
pub fn compare(expect: &Expect, played: &Played<'_>) -> Vec<Mismatch> {
    let mut found = Found { mismatches: Vec::new(), partial: expect.partial };
    faults(expect, played, &mut found);
    refusals(expect, played, &mut found);
    usage(expect, played, &mut found);
    grants(expect, played, &mut found);
    periods(expect, played, &mut found);
    let decisions = played.decisions();
    found.many("log", expect.log.as_ref(), || {
        decisions.iter().flat_map(|decision| decision.log.iter().cloned()).collect()
    });
    let fuel = decisions.iter().map(|decision| decision.fuel).reduce(u64::saturating_add);
    found.bare("fuel", expect.fuel, fuel);
    if let Some(most) = expect.fuel_at_most
        && fuel.is_none_or(|fuel| fuel > most)
    {
        found.bare("fuel_at_most", Some(most), fuel);
    }
    if let (Some(most), Some(fuel)) = (played.max_fuel, most_fuel(played))
        && fuel > most
    {
        found.add("max_fuel", vec![format!("at most {most}")], vec![fuel.to_string()], None);
    }
    found.pairs("shadows", expect.shadows.as_ref(), || played.shadows());
    if let Some(expected) = &expect.balance {
        balance(expected, played, &mut found);
    }
    found.mismatches
}

/// The most fuel of any one decision in a step.
fn most_fuel(played: &Played<'_>) -> Option<u64> {
    let entries = played.entries.iter().map(|entry| &**entry).chain(played.checked());
    entries.filter_map(Entry::decision).map(|decision| decision.fuel).max()
}

/// A policy that fails makes a case fail, wherever in the step it was asked, unless the step expects that.
fn faults(expect: &Expect, played: &Played<'_>, found: &mut Found) {
    let faults = played.faults();
    let expected = expect.degraded.unwrap_or(false);
    if expected == faults.is_empty() {
        let got = if faults.is_empty() { vec![(!expected).to_string()] } else { faults };
        found.add("degraded", vec![expected.to_string()], got, None);
    }
}

/// A step that names no refusal must not be refused.
fn refusals(expect: &Expect, played: &Played<'_>, found: &mut Found) {
    let refusal = played.refusal();
    let accepted = || "accepted".to_owned();
    match (&expect.code, &refusal) {
        (None, Some(Refusal { code, detail, .. })) => {
            found.add("code", vec![accepted()], vec![format!("{code}: {detail}")], None);
        }
        (expected, refusal) => {
            let code = refusal.as_ref().map(|refusal| refusal.code.to_owned());
            let value = code.as_deref().map(Value::from);
            if let Some(expected) = expected {
                found.add("code", vec![expected.clone()], vec![code.unwrap_or_else(accepted)], value);
            }
        }
    }
    let detail = refusal.as_ref().map_or("", |refusal| refusal.detail);
    if let Some(expected) = expect.detail.as_ref().filter(|expected| !detail.contains(*expected)) {
        found.one("detail", Some(expected), Some(detail.to_owned()));
    }
    found.one("kind", expect.kind, refusal.as_ref().map(|refusal| refusal.kind.to_string()));
    let retry_at = refusal.as_ref().and_then(|refusal| refusal.retry_at);
    found.one("retry_at", expect.retry_at.map(|at| at.0), retry_at.map(|at| at.to_string()));
    found.many("offers", expect.offers.as_ref(), || {
        let offers = refusal.as_ref().map(|refusal| refusal.offers).unwrap_or_default();
        offers.iter().map(|offer| offer.code.clone()).collect()
    });
    found.many("suggestions", expect.suggestions.as_ref(), || {
        let suggestions = refusal.as_ref().map(|refusal| refusal.suggestions).unwrap_or_default();
        suggestions.iter().map(text::suggestion).collect()
    });
    let error = match &played.outcome {
        Outcome::Error(error) => Some(error),
        _ => None,
    };
    found.many("problems", expect.problems.as_ref(), || match error {
        Some(Declined::Settings(problems)) => {
            problems.iter().map(|problem| problem.pointer.clone()).collect()
        }
        _ => Vec::new(),
    });
    match (&expect.error, error) {
        (None, Some(error)) if expect.problems.is_none() => {
            found.add(
                "error",
                vec!["none".to_owned()],
                error.to_string().lines().map(str::to_owned).collect(),
                None,
            );
        }
        (Some(expected), error) => {
            let got = error.map_or_else(|| "none".to_owned(), ToString::to_string);
            if !got.contains(expected) {
                let value = error.map(|error| Value::from(error.to_string()));
                found.add("error", vec![expected.clone()], got.lines().map(str::to_owned).collect(), value);
            }
        }
        (None, _) => {}
    }
}

fn usage(expect: &Expect, played: &Played<'_>, found: &mut Found) {
    let entry = played.entry();
    found.one("cost", expect.cost, played.cost().map(|cost| cost.to_string()));
    found.many("lines", expect.lines.as_ref(), || played.lines().iter().map(text::line).collect());
    found.pairs("draws", expect.draws.as_ref(), || played.draws());
    found.one("overage", expect.overage, entry.map(|entry| entry.overage().to_string()));
    let committed = match entry.map(|entry| &entry.event) {
        Some(Event::Committed(committed)) => Some(committed),
        _ => None,
    };
    found.one("returned", expect.returned, committed.map(|committed| committed.returned.to_string()));
    found.one("exceeded", expect.exceeded, committed.map(|committed| committed.exceeded.to_string()));
    found.pairs("reduced_to", expect.reduced_to.as_ref(), || match entry.map(|entry| &entry.event) {
        Some(Event::Reserved(reserved)) if reserved.reduced_from.is_some() => {
            reserved.usage.quantities.iter().cloned().collect::<BTreeMap<String, Quantity>>()
        }
        _ => BTreeMap::new(),
    });
    let late = match &played.outcome {
        Outcome::Check(check, _) => Some(check.late),
        _ => entry.map(Entry::late),
    };
    match late {
        Some(Some(number)) => found.bare("late", expect.late, Some(u64::from(number))),
        other => found.one("late", expect.late, other.map(|late| Late(late).to_string())),
    }
}

fn grants(expect: &Expect, played: &Played<'_>, found: &mut Found) {
    found.pairs("remaining", expect.remaining.as_ref(), || {
        played.sums(played.live().map(|grant| (grant.grant.id, grant.remaining)))
    });
    // An ended grant holds credits until the reservation ends.
    found.pairs("held", expect.held.as_ref(), || {
        let holding = played.state.grants.iter().filter(|grant| !grant.held.is_zero());
        played.sums(holding.map(|grant| (grant.grant.id, grant.held)))
    });
    found.pairs("expires", expect.expires.as_ref(), || {
        played.live().map(|grant| (played.name(grant.grant.id), Ends(grant.ends_at))).collect()
    });
}

fn periods(expect: &Expect, played: &Played<'_>, found: &mut Found) {
    found.many("entries", expect.entries.as_ref(), || {
        played.entries.iter().map(|entry| story(entry)).collect()
    });
    let (closed, opened) = played.turn();
    found.pairs("fees", expect.fees.as_ref(), || {
        let mut fees = BTreeMap::new();
        for fee in closed.iter().flat_map(|closed| &closed.fees) {
            add(fees.entry(fee.label.clone()).or_default(), fee.amount);
        }
        fees
    });
    found.pairs("settled", expect.settled.as_ref(), || {
        let settled = closed.iter().flat_map(|closed| &closed.settled);
        let mut sums = BTreeMap::new();
        for Settlement { method, amount, .. } in
            settled.chain(opened.iter().flat_map(|opened| &opened.settled))
        {
            add(sums.entry(method_name(*method).to_owned()).or_default(), *amount);
        }
        sums
    });
    found.many("notes", expect.notes.as_ref(), || {
        let notes = closed.iter().flat_map(|closed| &closed.notes);
        notes.chain(opened.iter().flat_map(|opened| &opened.notes)).cloned().collect()
    });
}

fn balance(expected: &ExpectBalance, played: &Played<'_>, found: &mut Found) {
    let credit: CreditType = expected.credit.clone().unwrap_or_else(|| played.state.main_credit());
    let all = played.state.balance(&credit, played.now);
    let seen =
        expected.feature.as_ref().map(|feature| played.state.balance_for(&credit, feature, played.now));
    let available = seen.as_ref().map_or(all.available, |seen| seen.available);
    for (field, expected, got) in [
        ("granted", expected.granted, Some(all.granted)),
        ("used", expected.used, Some(all.used)),
        ("reserved", expected.reserved, Some(all.reserved)),
        ("available", expected.available, Some(available)),
        // Only to a feature are other features' grants restricted.
        ("restricted", expected.restricted, seen.map(|seen| seen.restricted)),
        ("overage", expected.overage, Some(all.overage)),
        ("held_overage", expected.held_overage, Some(all.held_overage)),
    ] {
        found.one(&format!("balance.{field}"), expected, got.map(|got| got.to_string()));
    }
    let next_reset_at = Ends(played.state.next_reset_at()).to_string();
    found.one("balance.next_reset_at", expected.next_reset_at, Some(next_reset_at));
}

/// A refusal as a caller sees it.
struct Refusal<'a> {
    kind: Kind,
    code: &'a str,
    detail: &'a str,
    retry_at: Option<Timestamp>,
    offers: &'a [Offer],
    suggestions: &'a [Suggestion],
}

struct Found {
    mismatches: Vec<Mismatch>,
    /// Whether lists and tables may hold more than is expected.
    partial: bool,
}

impl Found {
    /// One value that is written as text; `nothing` where the step has none.
    fn one(&mut self, field: &str, expected: Option<impl ToString>, got: Option<String>) {
        let value = got.as_deref().map(Value::from);
        self.value(field, expected, got, value);
    }

    /// One number.
    fn bare(&mut self, field: &str, expected: Option<impl ToString>, got: Option<u64>) {
        self.value(field, expected, got.map(|got| got.to_string()), got.map(Value::from));
    }

    fn value(
        &mut self,
        field: &str,
        expected: Option<impl ToString>,
        got: Option<String>,
        value: Option<Value>,
    ) {
        let Some(expected) = expected.map(|expected| expected.to_string()) else { return };
        self.add(field, vec![expected], vec![got.unwrap_or_else(|| "nothing".to_owned())], value);
    }

    fn many(&mut self, field: &str, expected: Option<&Vec<String>>, got: impl FnOnce() -> Vec<String>) {
        let Some(expected) = expected else { return };
        let mut got = got();
        if self.partial {
            got.retain(|line| expected.contains(line));
        }
        let value = json!(got);
        self.add(field, expected.clone(), got, Some(value));
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
        let Some(expected) = expected else { return };
        let mut got = got();
        if self.partial {
            got.retain(|name, _| expected.contains_key(name));
        }
        let value = got.iter().map(|(name, value)| (name.clone(), Value::from(value.to_string()))).collect();
        self.add(field, lines(expected), lines(&got), Some(Value::Object(value)));
    }

    fn add(&mut self, field: &str, expected: Vec<String>, got: Vec<String>, value: Option<Value>) {
        if expected != got {
            self.mismatches.push(Mismatch { field: field.to_owned(), expected, got, value });
        }
    }
}

impl Played<'_> {
    /// The entry of the action; of a check, the one that a charge would have made.
    fn entry(&self) -> Option<&Entry> {
        match &self.outcome {
            Outcome::Entry(entry) | Outcome::Check(_, entry) => Some(entry),
            Outcome::Nothing | Outcome::Error(_) => None,
        }
    }

    /// The entry that a charge would have made in place of the check.
    fn checked(&self) -> Option<&Entry> {
        match &self.outcome {
            Outcome::Check(_, entry) => Some(entry),
            _ => None,
        }
    }

    /// The refusal, if it is one, as a caller sees it.
    fn refusal(&self) -> Option<Refusal<'_>> {
        let Event::Refused(refused) = &self.entry()?.event else { return None };
        let kind = if refused.invalid { Kind::Invalid } else { Kind::Denied };
        Some(match &self.outcome {
            Outcome::Check(check, _) => Refusal {
                kind,
                code: &check.reason,
                detail: &check.detail,
                retry_at: check.retry_at,
                offers: &check.offers,
                suggestions: &check.suggestions,
            },
            _ => Refusal {
                kind,
                code: &refused.code,
                detail: &refused.detail,
                retry_at: refused.retry_at,
                offers: &refused.offers,
                suggestions: &refused.suggestions,
            },
        })
    }

    /// The decision about the step's usage; of a step without one, those of the period that ended and of the one that began.
    fn decisions(&self) -> Vec<&DecisionRecord> {
        let own = self.entry().filter(|entry| {
            matches!(
                entry.event,
                Event::Charged(_) | Event::Refused(_) | Event::Reserved(_) | Event::Committed(_)
            )
        });
        if let Some(decision) = own.and_then(Entry::decision) {
            return vec![decision];
        }
        let (closed, opened) = self.turn();
        let closed = closed.and_then(|closed| closed.decision.as_ref());
        closed.into_iter().chain(opened.and_then(|opened| opened.decision.as_ref())).collect()
    }

    /// What shadows would have said in those decisions, by the names of their terms.
    fn shadows(&self) -> BTreeMap<String, String> {
        let records = self.decisions().into_iter().flat_map(|decision| &decision.shadows);
        let said = records.map(|shadow| {
            let name = self.terms.get(&shadow.terms).cloned().unwrap_or_else(|| shadow.terms.to_string());
            let cost = shadow.cost.map(|cost| cost.to_string());
            (name, cost.or_else(|| shadow.code.clone()).unwrap_or_default())
        });
        said.collect()
    }

    fn rated(&self) -> Option<&Rated> {
        match &self.entry()?.event {
            Event::Charged(charged) => Some(&charged.rated),
            Event::Reserved(reserved) => Some(&reserved.rated),
            Event::Committed(committed) => Some(&committed.rated),
            Event::Refused(refused) => refused.rated.as_ref(),
            _ => None,
        }
    }

    /// The policies that failed in the step: whose, and all that is known of it.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for entry in self.entries.iter().map(|entry| &**entry).chain(self.checked()) {
            let Some(decision) = entry.decision() else { continue };
            let Some(fault) = &decision.fault else { continue };
            faults.push(format!("{}: {} failed", story(entry), fault.terms));
            faults.extend(text::fault(&fault.code, &fault.detail, &decision.log));
        }
        faults
    }

    /// The code of a refusal.
    pub fn code(&self) -> Option<String> {
        self.refusal().map(|refusal| refusal.code.to_owned())
    }

    /// The fuel of the step's decisions.
    pub fn fuel(&self) -> u64 {
        self.decisions().iter().fold(0, |sum, decision| sum.saturating_add(decision.fuel))
    }

    /// What the usage costs.
    pub fn cost(&self) -> Option<Credits> {
        match &self.outcome {
            Outcome::Check(check, _) => check.cost,
            _ => self.rated().map(|rated| rated.cost),
        }
    }

    fn lines(&self) -> &[Line] {
        match &self.outcome {
            Outcome::Check(check, _) => &check.lines,
            _ => self.rated().map(|rated| rated.lines.as_slice()).unwrap_or_default(),
        }
    }

    /// The newest end of a period among what was written, and the beginning after it.
    fn turn(&self) -> (Option<&PeriodClosed>, Option<&PeriodOpened>) {
        let mut opened = None;
        for entry in self.entries.iter().rev() {
            match &entry.event {
                Event::PeriodClosed(closed) => return (Some(&**closed), opened),
                Event::PeriodOpened(newer) if opened.is_none() => opened = Some(&**newer),
                _ => {}
            }
        }
        (None, opened)
    }

    fn live(&self) -> impl Iterator<Item = &GrantState> {
        self.state.grants.iter().filter(|grant| grant.is_usable(self.now))
    }

    /// A grant's name: as a step called it, else its category.
    fn name(&self, id: GrantId) -> String {
        let would_be = || self.checked().and_then(|entry| entry.grants().iter().find(|grant| grant.id == id));
        let name = self.names.get(&id).cloned();
        name.or_else(|| would_be().map(|grant| grant.category.as_str().to_owned()))
            .unwrap_or_else(|| id.to_string())
    }

    /// Amounts by the names of their grants; those of one name are added up.
    fn sums(&self, amounts: impl Iterator<Item = (GrantId, Credits)>) -> BTreeMap<String, Credits> {
        let mut sums: BTreeMap<String, Credits> = BTreeMap::new();
        for (grant, amount) in amounts {
            add(sums.entry(self.name(grant)).or_default(), amount);
        }
        sums
    }

    fn draws(&self) -> BTreeMap<String, Credits> {
        let draws = self.entry().map(Entry::draws).unwrap_or_default();
        self.sums(draws.into_iter().map(|draw| (draw.grant, draw.amount)))
    }
}

/// An entry in a few words.
fn story(entry: &Entry) -> String {
    match &entry.event {
        Event::Closed {} => "customer closed".to_owned(),
        Event::Granted(grant) => format!("granted {}", grant.amount),
        Event::Adjusted(adjusted) => format!("adjusted {}", adjusted.amount),
        Event::Charged(charged) => format!("charged {}", charged.rated.cost),
        Event::Refused(refused) => format!("refused {}", refused.code),
        Event::Reserved(reserved) => format!("reserved {}", reserved.rated.cost),
        Event::Committed(committed) => format!("committed {}", committed.rated.cost),
        Event::Refunded(refunded) => format!("refunded {}", refunded.amount),
        Event::GrantsExpired { grants } => format!("grants expired {}", grants.len()),
        Event::PeriodClosed(closed) => {
            period("closed", closed.period.number, closed.reason.as_str(), closed.retried)
        }
        Event::OverageSettled(_) => "overage settled".to_owned(),
        Event::PeriodOpened(opened) => {
            period("opened", opened.period.number, opened.reason.as_str(), opened.retried)
        }
        event => event.kind().replace('_', " "),
    }
}

fn period(what: &str, number: u32, reason: &str, retried: bool) -> String {
    let retried = if retried { " retried" } else { "" };
    format!("period {number} {what} {}{retried}", reason.replace('_', " "))
}

fn add(total: &mut Credits, more: Credits) {
    *total = total.saturating_add(more);
}

fn method_name(method: SettleMethod) -> &'static str {
    match method {
        SettleMethod::Invoice => "invoice",
        SettleMethod::Waive => "waive",
        SettleMethod::Deduct => "deduct",
    }
}
