//! Records as CSV: the head line names their fields, with dots where they are nested. An empty cell is an absent field. What a field
//! is made of decides how its cell is read, so that the same record comes of CSV as of JSON.

use super::Text;
use crate::problem::Problem;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Fields that are numbers.
const NUMBERS: [&str; 3] = ["priority", "expires_with_period", "plan_version"];
/// Fields that are true or false.
const FLAGS: [&str; 3] = ["allowance", "refund", "hard"];
/// Fields that are lists: their cells have a semicolon between items.
const LISTS: [&str; 3] = ["features", "ancestors", "warn_at"];
/// What says in a cell that a field is null.
const NULL: &str = "null";
/// Why a cell is refused that goes over several lines.
const LINE_BREAK: &str =
    "has a cell with a line break: close its quote, or send what has line breaks as JSON Lines";
/// The deepest that a field is nested.
const MOST_PARTS: usize = 3;

/// The records of a table as JSON, in the order of its lines, each with how many lines it is below the head line's next one.
///
/// A cell has no line break: a quote that is not closed would take in the lines after it, and nobody would see that they are missing.
pub fn records(bytes: &[u8]) -> Result<Vec<(u64, Text<'_>)>, Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let wrong = |error: csv::Error| Problem::invalid_field("", format!("the body is not CSV: {error}"));
    let heads = reader.headers().map_err(wrong)?.clone();
    let heads: Vec<Vec<&str>> = heads
        .iter()
        .map(|head| head.trim_start_matches('\u{feff}').splitn(MOST_PARTS, '.').collect())
        .collect();
    let heads: Vec<Vec<String>> =
        heads.into_iter().map(|parts| parts.into_iter().map(str::to_owned).collect()).collect();
    for (place, head) in heads.iter().enumerate() {
        if head.iter().any(|part| has_line_break(part)) {
            return Err(Problem::invalid_field("", format!("the head line: {LINE_BREAK}")));
        }
        if heads.iter().skip(place + 1).any(|other| other == head) {
            return Err(Problem::invalid_field(pointer(head), "is two columns"));
        }
    }
    let read = |row: csv::StringRecord| {
        if row.iter().any(has_line_break) {
            return Err(Problem::invalid_field("", LINE_BREAK));
        }
        if row.len() > heads.len() {
            return Err(Problem::invalid_field("", "has more cells than the head line"));
        }
        let record = record(&heads, row.iter())?;
        let text = serde_json::to_vec(&record).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Cow::Owned(text))
    };
    let mut before = 0;
    let rows = reader.records().map(|row| {
        let line = row.as_ref().ok().and_then(|row| line_of(row, bytes));
        // The head line is the first one.
        let line = line.map_or(before, |line| line.saturating_sub(2));
        before = line.saturating_add(1);
        (line, row.map_err(wrong).and_then(read))
    });
    Ok(rows.collect())
}

/// The line of a row, from 1. A row begins where the one before ended, so empty lines in between are its own.
fn line_of(row: &csv::StringRecord, bytes: &[u8]) -> Option<u64> {
    let position = row.position()?;
    let rest = bytes.get(usize::try_from(position.byte()).ok()?..)?;
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let empty = empty.filter(|byte| **byte == b'\n').count() as u64;
    position.line().checked_add(empty)
}

fn has_line_break(cell: &str) -> bool {
    cell.contains(['\n', '\r'])
}

fn record<'a>(heads: &[Vec<String>], cells: impl Iterator<Item = &'a str>) -> Result<Value, Problem> {
    let mut record = Map::new();
    for (head, cell) in heads.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        let Some((last, above)) = head.split_last() else { continue };
        let mut place = &mut record;
        for part in above {
            let inner = place.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
            place = match inner {
                Value::Object(inner) => inner,
                _ => return Err(Problem::invalid_field(pointer(head), "is named as a part of itself")),
            };
        }
        let value = if above.is_empty() { value(head, last, cell)? } else { Value::String(cell.to_owned()) };
        place.insert(last.clone(), value);
    }
    Ok(Value::Object(record))
}

fn value(head: &[String], name: &str, cell: &str) -> Result<Value, Problem> {
    let wrong = |detail: &str| Problem::invalid_field(pointer(head), detail);
    if cell == NULL {
        return Ok(Value::Null);
    }
    if NUMBERS.contains(&name) {
        return cell.parse::<i64>().map(Value::from).map_err(|_| wrong("must be a whole number"));
    }
    if FLAGS.contains(&name) {
        return cell.parse::<bool>().map(Value::from).map_err(|_| wrong("must be true or false"));
    }
    if LISTS.contains(&name) {
        let items = cell.split(';').map(str::trim).filter(|item| !item.is_empty());
        let item = |text: &str| match (name, text.parse::<u16>()) {
            ("warn_at", Ok(percent)) => Value::from(percent),
            _ => Value::String(text.to_owned()),
        };
        return Ok(items.map(item).collect());
    }
    Ok(Value::String(cell.to_owned()))
}

fn pointer(head: &[String]) -> String {
    head.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let records = records(text.as_bytes()).unwrap();
        let shown = records.into_iter().map(|(_, record)| match record {
            Ok(record) => String::from_utf8(record.into_owned()).unwrap(),
            Err(problem) => format!("{:?}", problem.details("").errors),
        });
        shown.collect()
    }

    #[test]
    fn a_row_is_a_record() {
        let text = "\u{feff}customer,id,amount,cost_basis.amount,cost_basis.currency,features,priority,expires_at,allowance\n\
                    acme,g-1, 100 ,9.90,EUR,chat; image,-2,null,true\n\
                    beta,g-2,5,,,,,,\n";
        assert_eq!(
            read(text),
            [
                r#"{"allowance":true,"amount":"100","cost_basis":{"amount":"9.90","currency":"EUR"},"customer":"acme","expires_at":null,"features":["chat","image"],"id":"g-1","priority":-2}"#,
                r#"{"amount":"5","customer":"beta","id":"g-2"}"#,
            ]
        );
    }

    #[test]
    fn lines_are_neither_lost_nor_counted_wrongly() {
        // An open quote takes in the lines after it.
        let found = read("customer,name\nacme,\"Acme\nbeta,Beta\ngamma,\"Gamma\"\ndelta,Delta\n");
        assert!(found[0].contains("line break"), "{found:?}");
        assert!(found[1].contains("delta"), "{found:?}");
        for (text, pointer) in [
            ("customer,\"name\nacme,Acme\n", ""),
            ("customer,amount,amount\nacme,1,2\n", "/amount"),
            ("customer,attributes.a,attributes.a\nacme,1,2\n", "/attributes/a"),
        ] {
            let problem = records(text.as_bytes()).unwrap_err();
            assert_eq!(problem.details("").errors[0].pointer, pointer, "{text}");
        }
        let lines = records(b"customer\na\n\n\nb\nc\n").unwrap();
        assert_eq!(lines.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [0, 3, 4]);
    }

    #[test]
    fn a_cell_that_does_not_fit_is_named() {
        let found = read("customer,priority,refund\nacme,high,\nacme,1,perhaps\nacme,1,true,more\n");
        let names = ["/priority", "/refund", "more cells"];
        assert!(found.iter().zip(names).all(|(found, name)| found.contains(name)), "{found:?}");
    }
}
