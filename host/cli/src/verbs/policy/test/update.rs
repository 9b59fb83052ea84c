//! `policy test --update`: writes what came in the place of expected values that differ, and leaves every other byte of a case file
//! as it is. What nothing can be written for (a refusal that is not expected, a fault, a step that can't be played) stays a failure.

use super::{files::Read, observe::Mismatch, report::Ran};
use crate::error::Error;
use serde_json::Value;
use std::{borrow::Cow, ops::Range, path::PathBuf};
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

/// A value of a step's expectation that is to be replaced.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Where the step, or the row of a table, stands in its file.
    step: Range<usize>,
    /// Which, such as `balance.available`.
    field: String,
    /// By what.
    value: Value,
}

impl Edit {
    /// What a mismatch asks for; see [`can_replace`].
    pub fn of(step: Range<usize>, mismatch: Mismatch) -> Self {
        Self { step, field: mismatch.field, value: mismatch.value.unwrap_or_default() }
    }
}

/// Whether a case can say what came.
pub fn can_replace(mismatch: &Mismatch) -> bool {
    mismatch.value.is_some()
}

/// The files that change: where, their new text, and how many values changed.
pub fn all(read: &[Read], ran: &[Ran]) -> Result<Vec<(PathBuf, String, usize)>, Error> {
    let mut changed = Vec::new();
    for file in read {
        let shown = file.path.display().to_string();
        let edits: Vec<&Edit> =
            ran.iter().filter(|ran| ran.file == shown).flat_map(|ran| &ran.edits).collect();
        if !edits.is_empty() {
            let (text, values) = apply(&file.text, &edits).map_err(Error::content(&file.path))?;
            changed.push((file.path.clone(), text, values));
        }
    }
    Ok(changed)
}

/// The text with values replaced, and how many were.
fn apply(text: &str, edits: &[&Edit]) -> Result<(String, usize), String> {
    let root = DeTable::parse(text).map_err(|error| error.to_string())?;
    let mut places = Vec::with_capacity(edits.len());
    for edit in edits {
        let place = place(root.get_ref(), edit).ok_or_else(|| {
            format!("{} can't be replaced: it stands in what several rows of a table share", edit.field)
        })?;
        places.push((place, &edit.value));
    }
    // From behind, so that what was found stays where it is.
    places.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    places.dedup_by_key(|(place, _)| place.start);
    let (mut text, count) = (text.to_owned(), places.len());
    for (place, value) in places {
        let old = text.get(place.clone()).unwrap_or_default();
        let new = literal(value, old, &indentation(&text, place.start));
        text.replace_range(place, &new);
    }
    Ok((text, count))
}

/// Where the value of an edit stands.
fn place(root: &DeTable<'_>, edit: &Edit) -> Option<Range<usize>> {
    let path = format!("expect.{}", edit.field);
    for case in tables(root, "case") {
        if let Some(step) = at(array(case, "steps"), edit) {
            return descend(step.as_table()?, &path);
        }
    }
    for table in tables(root, "table") {
        if let Some(row) = at(array(table, "rows"), edit) {
            let columns = array(table, "columns");
            let column = columns.iter().position(|column| column.get_ref().as_str() == Some(&*path))?;
            return row.as_array()?.get(column).map(Spanned::span);
        }
        if let Some(step) = at(array(table, "before"), edit) {
            return descend(step.as_table()?, &path);
        }
    }
    None
}

/// The step or row that an edit is about.
fn at<'t, 'i>(values: &'t [Spanned<DeValue<'i>>], edit: &Edit) -> Option<&'t DeValue<'i>> {
    values.iter().find(|value| value.span() == edit.step).map(Spanned::get_ref)
}

fn array<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> &'t [Spanned<DeValue<'i>>] {
    let found = value(table, name).and_then(|value| value.get_ref().as_array());
    found.map_or(&[], |array: &DeArray<'_>| array)
}

fn tables<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> impl Iterator<Item = &'t DeTable<'i>> {
    array(table, name).iter().filter_map(|value| value.get_ref().as_table())
}

fn value<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<&'t Spanned<DeValue<'i>>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

fn descend(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    match path.split_once('.') {
        None => value(table, path).map(Spanned::span),
        Some((first, rest)) => descend(value(table, first)?.get_ref().as_table()?, rest),
    }
}

/// The spaces that the line of a place begins with.
fn indentation(text: &str, place: usize) -> String {
    let line = text.get(..place).and_then(|before| before.rsplit('\n').next()).unwrap_or_default();
    line.chars().take_while(|c| *c == ' ').collect()
}

/// A value as TOML, written as the old one was: a time without quotes, a list of many lines on many.
fn literal(value: &Value, old: &str, indentation: &str) -> String {
    match value {
        Value::String(text) if !old.starts_with(['"', '\'']) && text.parse::<jiff::Timestamp>().is_ok() => {
            text.clone()
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| literal(item, "\"", "")).collect();
            listed(&items, old, indentation, ['[', ']'])
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), literal(value, "\"", "")))
                .collect();
            listed(&fields, old, indentation, ['{', '}'])
        }
        // JSON's strings, numbers and truth values are TOML's.
        other => other.to_string(),
    }
}

fn listed(items: &[String], old: &str, indentation: &str, [open, close]: [char; 2]) -> String {
    if items.is_empty() {
        format!("{open}{close}")
    } else if old.contains('\n') {
        let lines: String = items.iter().map(|item| format!("{indentation}    {item},\n")).collect();
        format!("{open}\n{lines}{indentation}{close}")
    } else if open == '{' {
        format!("{open} {} {close}", items.join(", "))
    } else {
        format!("{open}{}{close}", items.join(", "))
    }
}

fn key(name: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(bare) {
        name.into()
    } else {
        Value::from(name).to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A file, and the text of its steps and rows by number.
    const TEXT: &str = r#"# kept
[[case]]
name = "one" # kept, too
steps = [
    { charge = { feature = "chat" }, expect = { cost = "1", draws = { plan = "1" }, balance.available = "9" } },
    { at = 2026-02-01T00:00:00Z, expect = {
        retry_at = 2026-02-01T00:00:00Z,
        entries = [
            "a",
        ],
        fuel = 10,
    } },
]

[[table]]
name = "t"
columns = ["check.feature", "expect.cost"]
rows = [["chat", "1"], ["images", "2"]]
"#;

    fn span(of: &str) -> Range<usize> {
        let start = TEXT.find(of).unwrap();
        let depth = |text: &str| {
            text.chars().fold(0, |depth, c| match c {
                '{' | '[' => depth + 1,
                '}' | ']' => depth - 1,
                _ => depth,
            })
        };
        let end = (start + 1..).find(|end| depth(&TEXT[start..*end]) == 0).unwrap();
        start..end
    }

    #[test]
    fn values_are_replaced_where_they_stand_and_nothing_else_changes() {
        let (charge, turn, row) = (span("{ charge"), span("{ at"), span("[\"images\""));
        for (step, field, value, from, to) in [
            (&charge, "cost", json!("1.5"), "cost = \"1\"", "cost = \"1.5\""),
            (
                &charge,
                "draws",
                json!({"a gift": "2", "plan": "3"}),
                "{ plan = \"1\" }",
                "{ \"a gift\" = \"2\", plan = \"3\" }",
            ),
            (&charge, "balance.available", json!("8"), "\"9\"", "\"8\""),
            (&turn, "retry_at", json!("2026-03-01T00:00:00Z"), "retry_at = 2026-02", "retry_at = 2026-03"),
            (
                &turn,
                "entries",
                json!(["b", "c"]),
                "            \"a\",\n",
                "            \"b\",\n            \"c\",\n",
            ),
            (&turn, "fuel", json!(11), "fuel = 10", "fuel = 11"),
            (&row, "cost", json!("3"), "\"images\", \"2\"", "\"images\", \"3\""),
        ] {
            let edit = Edit { step: step.clone(), field: field.to_owned(), value };
            let (text, count) = apply(TEXT, &[&edit]).unwrap();
            assert_eq!((text.as_str(), count), (TEXT.replacen(from, to, 1).as_str(), 1), "{field}");
        }
        let shared = Edit { step: row, field: "code".to_owned(), value: json!("x") };
        assert!(apply(TEXT, &[&shared]).unwrap_err().contains("several rows"));
    }
}
