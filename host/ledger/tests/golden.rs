//! Journals that were written by this format's first host still fold, verify, and come to the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use proviso_ledger::{
    journal::{self, Entry, Event, FORMAT},
    state::CustomerState,
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::PathBuf};

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Entry { hash: String, body: String },
    End { end: Value },
}

fn journals() -> Vec<(String, Vec<Line>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut journals = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            journals.push((path.display().to_string(), lines));
        }
    }
    journals
}

fn hash(text: &str) -> journal::ChainHash {
    let digits: Vec<u8> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    digits.try_into().unwrap()
}

#[test]
fn golden_journals_fold_and_come_to_what_they_came_to() {
    let journals = journals();
    assert!(!journals.is_empty());
    for (name, lines) in journals {
        let mut state = CustomerState::new("acme".parse().unwrap());
        for (seq, line) in (1..).zip(&lines) {
            match line {
                Line::Entry { hash: stored, body } => {
                    let entry = state
                        .fold_verified(seq, body, &hash(stored))
                        .unwrap_or_else(|error| panic!("{name}: {error}: {body}"));
                    assert!(read_kind(body) == entry.event.kind(), "{name}: entry {seq}");
                    // What was read is all that was written.
                    let read: Value = serde_json::from_str(body).unwrap();
                    assert_eq!(serde_json::to_value(&entry).unwrap(), read, "{name}: entry {seq}");
                }
                Line::End { end } => assert_eq!(&comes_to(&state), end, "{name}"),
            }
        }
        assert!(matches!(lines.last(), Some(Line::End { .. })), "{name} has no end");
    }
}

fn read_kind(body: &str) -> String {
    let read: Value = serde_json::from_str(body).unwrap();
    read["event"].as_object().unwrap().keys().next().unwrap().clone()
}

/// What must not change: the books, the periods, what is held, counted and left.
fn comes_to(state: &CustomerState) -> Value {
    let grants: Vec<Value> = state
        .grants
        .iter()
        .map(|grant| {
            serde_json::json!([
                grant.grant.id,
                grant.status,
                grant.remaining,
                grant.held,
                grant.spent,
                grant.expired
            ])
        })
        .collect();
    serde_json::json!({
        "seq": state.seq, "accounts": state.accounts, "grants": grants, "period": state.period,
        "reservations": state.reservations.keys().collect::<Vec<_>>(), "counters": state.counters,
        "closed": state.closed, "entities": state.entities, "budgets": state.budgets, "warned": state.warned,
        "top_ups": state.auto_top_ups,
    })
}

#[test]
fn the_newest_format_has_a_journal_with_every_kind_of_event_and_field() {
    let name = format!("v{FORMAT}-every-event.jsonl");
    let (_, lines) = journals().into_iter().find(|(path, _)| path.ends_with(&name)).unwrap();
    let mut kinds = BTreeSet::new();
    let mut fields = BTreeSet::new();
    for line in &lines {
        let Line::Entry { body, .. } = line else { continue };
        let value: Value = serde_json::from_str(body).unwrap();
        kinds.extend(value["event"].as_object().unwrap().keys().cloned());
        collect_fields(&value, &mut fields);
    }
    assert_eq!(kinds.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(Event::KINDS));
    let expected = "key request by after late invalid retry_at offers suggestions reduced_from top_up taken taken_overage \
                    exceeded as_reserved retried rolled held_share held_limit expired fees settled given notes whole extras carried \
                    skip limit cycle interval fault shadows log contract time_zone note cost_basis metadata \
                    expires_with_period expires_at features attributes external_ids entity ends_at zone held_overage \
                    next_reset_at allowance plan_change when effective_at subject period_categories settle_overage_from total_quantities \
                    import external_id used voided paid refund first \
                    settled ended drawn pending_top_up payment expired_before required reason until unit_price";
    let missing: Vec<&str> = expected.split_whitespace().filter(|field| !fields.contains(*field)).collect();
    assert!(missing.is_empty(), "no entry has {missing:?}");
}

fn collect_fields(value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                fields.insert(name.clone());
                collect_fields(value, fields);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_fields(item, fields)),
        _ => {}
    }
}

#[test]
fn a_golden_journal_is_found_when_anything_in_it_changes() {
    let (_, lines) = journals().remove(0);
    let entries: Vec<(&String, &String)> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Entry { hash, body } => Some((hash, body)),
            Line::End { .. } => None,
        })
        .collect();
    for changed in 0..entries.len() {
        let mut state = CustomerState::new("acme".parse().unwrap());
        let folded = entries.iter().enumerate().try_for_each(|(at, (stored, body))| {
            let body =
                if at == changed { body.replacen("\"seq\":", "\"seq\": ", 1) } else { (*body).clone() };
            state.fold_verified(at as u64 + 1, &body, &hash(stored)).map(drop)
        });
        assert!(folded.is_err(), "entry {}", changed + 1);
        assert!(Entry::parse(entries[changed].1).is_ok());
    }
}
