//! What host and model must agree on after each command.

use crate::{
    answer::{Answer, Books, Id, Snapshot, Status},
    calendar,
    model::LATE,
    settings::{DAY, Window},
};
use std::{
    collections::BTreeSet,
    fmt::{Debug, Display},
};

/// What differs, host first; empty when nothing does.
pub fn differences(now: i64, host: &Snapshot, model: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    different(&mut found, "entries", &host.entries, &model.entries);
    different(&mut found, "closed", &host.closed, &model.closed);
    different(&mut found, "plan", &host.plan, &model.plan);
    different(&mut found, "pending", &host.pending, &model.pending);
    different(&mut found, "period", &host.period, &model.period);
    let credits: BTreeSet<&String> = host.books.keys().chain(model.books.keys()).collect();
    let none = Books::default();
    for credit in credits {
        let of = |snapshot: &Snapshot| snapshot.books.get(credit).unwrap_or(&none).clone();
        different(&mut found, &format!("books of {credit}"), &of(host), &of(model));
        let of = |snapshot: &Snapshot| {
            let mut balance = snapshot.balances.get(credit).cloned().unwrap_or_default();
            if model.crowded {
                balance.granted -= balance.used;
                balance.used = 0;
            }
            balance
        };
        different(&mut found, &format!("balance of {credit}"), &of(host), &of(model));
    }
    grants(&mut found, now, host, model);
    different(&mut found, "reservations", &host.reservations, &model.reservations);
    different(&mut found, "top-ups", &host.top_ups, &model.top_ups);
    counters(&mut found, now, host, model);
    budgets(&mut found, now, host, model);
    found
}

fn grants(found: &mut Vec<String>, now: i64, host: &Snapshot, model: &Snapshot) {
    for (id, grant) in &host.grants {
        match model.grants.get(id) {
            Some(other) => {
                let mut grant = grant.clone();
                // The order in which it would have been drawn; what counts is when it ended.
                if grant.status != Status::Live {
                    grant.ends_at = other.ends_at;
                }
                different(found, &format!("grant {}", name(*id)), &grant, other);
            }
            None => {
                let matters = grant.status == Status::Live || grant.held > 0;
                if matters {
                    found.push(format!("grant {} is only in the host: {grant:?}", name(*id)));
                }
            }
        }
    }
    for (id, grant) in &model.grants {
        let left = grant.remaining > 0 || grant.held > 0;
        let drawable = grant.expired > 0 && grant.ends_at.is_some_and(|end| end > now - LATE);
        if (left || drawable) && grant.status != Status::Voided && !host.grants.contains_key(id) {
            found.push(format!("grant {} is only in the model: {grant:?}", name(*id)));
        }
    }
}

fn counters(found: &mut Vec<String>, now: i64, host: &Snapshot, model: &Snapshot) {
    for (at, total) in &host.counters {
        let other = model.counters.get(at).copied().unwrap_or_default();
        if *total != other {
            found.push(format!("counter {at:?}: host {total:?}, model {other:?}"));
        }
    }
    for (at, total) in &model.counters {
        if is_kept(at.0.window, at.1, now, model) && *total != (0, 0) && !host.counters.contains_key(at) {
            found.push(format!("counter {at:?}: host none, model {total:?}"));
        }
    }
}

fn budgets(found: &mut Vec<String>, now: i64, host: &Snapshot, model: &Snapshot) {
    for (at, total) in &host.budgets {
        let other = model.budgets.get(at).copied().unwrap_or_default();
        if *total != other {
            found.push(format!("budget {at:?}: host {total:?}, model {other:?}"));
        }
    }
    for (at, total) in &model.budgets {
        if is_kept(at.1, at.2, now, model) && *total != (0, 0) && !host.budgets.contains_key(at) {
            found.push(format!("budget {at:?}: host none, model {total:?}"));
        }
    }
}

/// Windows of which usage may still be reported, with a day's slack for zones.
fn is_kept(window: Window, id: i64, now: i64, model: &Snapshot) -> bool {
    let running = model.period.map_or(u32::MAX, |period| period.0);
    let utc = calendar::zone("UTC");
    match window {
        Window::Period => id >= i64::from(running),
        Window::Cycle => id == model.cycle,
        Window::Hours(_) | Window::Day | Window::Week | Window::Month => {
            id > calendar::window(window, now - LATE + DAY, (0, 0), &utc)
        }
        Window::Lifetime => true,
    }
}

pub fn answers(host: &Answer, model: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    let mut host = host.clone();
    // A refusal that names no cost names no balance either.
    if host.what.starts_with("refused:") && model.available.is_none() {
        host.available = None;
    }
    different(&mut found, "answer", &host, model);
    found
}

fn different<T: PartialEq + Debug>(found: &mut Vec<String>, what: &str, host: &T, model: &T) {
    if host != model {
        found.push(format!("{what}:\n    host  {host:?}\n    model {model:?}"));
    }
}

fn name((entry, index): Id) -> impl Display {
    format!("{entry}/{index}")
}
