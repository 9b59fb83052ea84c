//! A backtest's report for people.

use crate::terminal::{self, Paint};
use proviso_engine::backtests::{Answer, Cell, Change, Flow, Report};
use proviso_ledger::model::amounts::Credits;
use std::fmt::Write as _;

/// Rows and customers that are shown; JSON has more.
const MOST_SHOWN: usize = 20;

/// The report.
pub fn report(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    let followed = terminal::journals(report.entries, report.customers);
    let sum = report.sum();
    // Writing to a String does not fail.
    let _ = if report.is_same() {
        writeln!(text, "{} {followed}: the candidate changes nothing", paint.good("same"))
    } else {
        writeln!(
            text,
            "{} {followed}: {} of {} decisions and {} would change",
            paint.strong("differs"),
            terminal::count(sum.differ),
            terminal::count(sum.decisions),
            terminal::plural(report.changed, "customer"),
        )
    };
    let _ = writeln!(text, "\ncharged {}", both(sum.recorded, sum.candidate));
    let (recorded, candidate) = report.flows;
    for (name, of) in [
        ("issued as periods began", (|flow: &Flow| flow.issued) as fn(&Flow) -> Credits),
        ("carried over", |flow| flow.rolled_over),
        ("fees", |flow| flow.fees),
    ] {
        let (was, would) = (of(&recorded), of(&candidate));
        if !(was.is_zero() && would.is_zero()) {
            let _ = writeln!(text, "{name} {}", both(was, would));
        }
    }
    if !report.rows.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("by feature and month"));
        let mut rows: Vec<_> = report.rows.iter().collect();
        rows.sort_by_key(|(_, cell)| std::cmp::Reverse(size(cell)));
        for (key, cell) in rows.iter().take(MOST_SHOWN) {
            let feature = if key.feature.is_empty() { "the rest" } else { &key.feature };
            let _ = writeln!(
                text,
                "  {feature} {} ({}): {}{}",
                key.month,
                key.credit,
                both(cell.recorded, cell.candidate),
                turned(cell)
            );
        }
        left_off(&mut text, rows.len());
    }
    if !report.by_customer.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("by customer"));
        for (customer, part) in report.by_customer.iter().take(MOST_SHOWN) {
            let sum = part.total;
            let both = both(sum.recorded, sum.candidate);
            let _ = writeln!(text, "  {}: {both}{}", paint.strong(customer.as_str()), turned(&sum));
            for (credit, (was, would)) in part.left.iter().filter(|(_, (was, would))| was != would) {
                let _ = writeln!(
                    text,
                    "    at the end {} {credit} instead of {}, {} owed instead of {}",
                    would.available, was.available, would.overage, was.overage
                );
            }
        }
        left_off(&mut text, usize::try_from(report.changed).unwrap_or(usize::MAX));
    }
    if !report.refusals.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("who would be refused"));
        for (code, count) in &report.refusals {
            let _ = writeln!(text, "  {} {code}", terminal::count(*count));
        }
        let refused = report.by_customer.iter().filter(|(_, part)| !part.refusals.is_empty());
        let names: Vec<&str> =
            refused.clone().take(MOST_SHOWN).map(|(customer, _)| customer.as_str()).collect();
        let _ = writeln!(
            text,
            "  of {}: {}",
            terminal::plural(refused.count() as u64, "customer"),
            names.join(", ")
        );
    }
    if !report.changes.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("largest changes"));
        report.changes.iter().for_each(|change| one(&mut text, change, paint));
    }
    if !report.left_out.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("could not be asked of the candidate"));
        for (why, count) in &report.left_out {
            let _ = writeln!(text, "  {} {why}", terminal::count(*count));
        }
    }
    if report.failures > 0 {
        let failures = terminal::plural(report.failures, "customer");
        let _ = writeln!(text, "\n{} {failures} can't be followed", paint.bad("failed"));
        for (customer, why) in report.failed.iter().take(MOST_SHOWN) {
            let _ = writeln!(text, "  {}: {why}", paint.strong(customer.as_str()));
        }
    }
    text
}

fn one(text: &mut String, change: &Change, paint: Paint) {
    let Change { customer, entry, at, feature, recorded, candidate } = change;
    let _ = writeln!(text, "  {}, entry {entry}, {at}, {feature}", paint.strong(customer.as_str()));
    let _ = writeln!(text, "    was   {}", answer(recorded));
    let would = candidate.as_ref().map_or_else(|| "nothing: its reservation was refused".to_owned(), answer);
    let _ = writeln!(text, "    would {would}");
}

/// An answer with what explains it.
fn answer(answer: &Answer) -> String {
    let mut text = answer.outcome.to_owned();
    if let Some(code) = &answer.code {
        let _ = write!(text, " ({code})");
    }
    if let Some(cost) = answer.cost {
        let _ = write!(text, " {cost}");
    }
    let lines = answer.lines.iter();
    let lines: Vec<String> = lines
        .map(|line| format!("{} {} × {} = {}", line.label, line.quantity, line.unit_cost, line.cost))
        .collect();
    if !lines.is_empty() {
        let _ = write!(text, ": {}", lines.join(", "));
    }
    text
}

fn both(was: Credits, would: Credits) -> String {
    let change = would.saturating_sub(was);
    if change.is_zero() {
        return format!("{was}, the same");
    }
    let sign = if change.is_positive() { "+" } else { "" };
    format!("{was}, would be {would} ({sign}{change})")
}

/// How many would be refused or accepted instead.
fn turned(cell: &Cell) -> String {
    let mut text = String::new();
    for (count, what) in [(cell.newly_refused, "refused"), (cell.newly_accepted, "accepted")] {
        if count > 0 {
            let _ = write!(text, ", {} newly {what}", terminal::count(count));
        }
    }
    text
}

fn size(cell: &Cell) -> Credits {
    cell.candidate.saturating_sub(cell.recorded).checked_abs().unwrap_or(Credits::ZERO)
}

fn left_off(text: &mut String, count: usize) {
    if count > MOST_SHOWN {
        let rest = u64::try_from(count.saturating_sub(MOST_SHOWN)).unwrap_or(u64::MAX);
        let _ = writeln!(text, "  and {} more (--json shows more of them)", terminal::count(rest));
    }
}
